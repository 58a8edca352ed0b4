"""The history's SQLite file: its tables, and what becomes of a damaged or an older one."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from llm_dit.errors import OutputError
from web.history.search_index import INDEX_SCHEMA, add_to_index

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_starred INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    params TEXT NOT NULL,
    error TEXT,
    metadata TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS images_in_order ON images (number, state, is_starred);
"""


def connect_or_set_aside(path: Path) -> sqlite3.Connection:
    """Open the database; a damaged one is kept under another name, and the rows are made again from the pictures.

    Raises:
        OutputError: If it is of another version.
        sqlite3.OperationalError: If it is locked, full, or not to be opened.
    """
    try:
        return _connect(path)
    except sqlite3.OperationalError:  # nothing is damaged
        raise
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        logger.error("%s is damaged (%s); it is kept as %s", path, error, aside.name)
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            left = path.with_name(path.name + suffix)
            if left.exists():
                left.rename(aside.with_name(aside.name + suffix))
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        return _prepared(connection)
    except BaseException:
        connection.close()
        raise


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Check a database whole, and bring it to our schema."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a row that was told to be there survives a power cut, as files do
    with closing(connection.execute("PRAGMA user_version")) as cursor:
        version = cursor.fetchone()[0]
    if version not in range(SCHEMA_VERSION + 1):
        raise OutputError(f"it has version {version}, and this server reads up to {SCHEMA_VERSION}")
    problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    if version == 1:
        _move_from_version_1(connection)
    connection.executescript(SCHEMA + INDEX_SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _move_from_version_1(connection: sqlite3.Connection) -> None:
    """Bring the rows of a history without stars and search into the tables of today, all or none."""
    connection.executescript(
        "BEGIN IMMEDIATE; DROP INDEX IF EXISTS images_by_number; ALTER TABLE images RENAME TO images_1;"
        + SCHEMA
        + INDEX_SCHEMA
    )
    columns = "id, number, state, created_at, params, error, metadata"
    connection.execute(f"INSERT INTO images ({columns}) SELECT {columns} FROM images_1 ORDER BY number")  # noqa: S608
    for entry_id, params, metadata in connection.execute("SELECT id, params, metadata FROM images").fetchall():
        add_to_index(connection, entry_id, json.loads(params), json.loads(metadata) if metadata else None)
    connection.execute("DROP TABLE images_1")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.commit()
