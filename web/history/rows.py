"""Rows written and read: what `Entry` is in SQLite, with what is searched of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from web.history.entry import Entry
from web.history.search_index import add_to_index

NEXT_NUMBER = "(SELECT COALESCE(MAX(number), 0) + 1 FROM images)"


def insert_row(database: sqlite3.Connection, entry: Entry) -> None:
    """Add a row as the newest, whatever `Entry.number` says."""
    metadata = None if entry.metadata is None else json.dumps(entry.metadata)
    database.execute(
        "INSERT INTO images (id, number, state, is_starred, created_at, params, metadata)"  # noqa: S608
        f" VALUES (?, {NEXT_NUMBER}, ?, ?, ?, ?, ?)",
        (entry.id, entry.state, int(entry.is_starred), entry.created_at, json.dumps(entry.params), metadata),
    )
    add_to_index(database, entry.id, entry.params, entry.metadata)


def set_done(
    database: sqlite3.Connection, entry_id: str, params: Mapping[str, Any], metadata: Mapping[str, Any]
) -> None:
    """Say that the image of a row is there, which makes it the newest."""
    database.execute(
        f"UPDATE images SET state = 'done', params = ?, metadata = ?, number = {NEXT_NUMBER} WHERE id = ?",  # noqa: S608
        (json.dumps(params), json.dumps(metadata), entry_id),
    )
    add_to_index(database, entry_id, params, metadata)


def select_rows(
    connection: sqlite3.Connection, where: str, values: tuple[Any, ...], *, with_metadata: bool
) -> list[Entry]:
    """Return the rows that the end of a SELECT says, with or without their records."""
    metadata = "metadata" if with_metadata else "NULL"
    columns = f"id, state, created_at, params, {metadata}, error, number, is_starred"
    rows = connection.execute(f"SELECT {columns} FROM images {where}", values).fetchall()  # noqa: S608
    return [
        Entry(
            id=entry_id,
            state=state,
            created_at=created_at,
            params=json.loads(params),
            metadata=json.loads(record) if record else None,
            error=error,
            number=number,
            is_starred=bool(is_starred),
        )
        for entry_id, state, created_at, params, record, error, number, is_starred in rows
    ]
