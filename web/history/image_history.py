"""The images made with the page: a SQLite table, and a PNG and a thumbnail a row, in one folder.

A row is written before its job begins, the image before the row says `done`; so whatever instant the server is killed
at, each row tells the truth after `open_history`. Knows neither HTTP nor the queue.
"""

from __future__ import annotations

import io
import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from llm_dit.atomic_file import remove_partial_files
from llm_dit.errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at REAL NOT NULL,
    params TEXT NOT NULL,
    metadata TEXT,
    error TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS images_by_number ON images (number);
"""
THUMBNAIL_PIXELS = 320
SHOWN_STATES = ("done", "failed", "interrupted")


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        id: 32 hexadecimal digits.
        state: `waiting`, `done`, `failed` or `interrupted`; a waiting row belongs to a job in the queue.
        created_at: Unix time.
        params: The generation parameters; resolved ones (seed, size) once the image is there.
        metadata: The whole record of a finished image; None in lists.
        error: One sentence, if it failed.
    """

    id: str
    state: str
    created_at: float
    params: dict[str, Any]
    metadata: dict[str, Any] | None
    error: str | None


class History:
    """The table and its folder. Every method may be called from any thread.

    Use `open_history`.
    """

    def __init__(self, folder: Path, size: int, connection: sqlite3.Connection, lock: FileLock) -> None:
        self.folder = folder
        self.size = size
        self._connection = connection
        self._lock = lock
        self._mutex = threading.Lock()

    def image_path(self, entry_id: str) -> Path:
        """Return where the image of `entry_id` is, finished or not."""
        return self.folder / "images" / f"{entry_id}.png"

    def thumbnail_path(self, entry_id: str) -> Path:
        """Return where the thumbnail of `entry_id` is."""
        return self.folder / "thumbnails" / f"{entry_id}.webp"

    def add_waiting(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Add rows for jobs that were accepted: id to parameters, in order."""
        with self._mutex, self._connection as database:
            for entry_id, params in entries.items():
                database.execute(
                    "INSERT INTO images (id, number, state, created_at, params)"
                    " VALUES (?, (SELECT COALESCE(MAX(number), 0) + 1 FROM images), 'waiting', ?, ?)",
                    (entry_id, time.time(), json.dumps(params)),
                )

    def store_image(
        self, entry_id: str, png: bytes, image: Image, params: Mapping[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Write the image, its thumbnail, and then the row; afterwards drop what is beyond `size`.

        Raises:
            OutputError: If the folder can't be written.
        """
        from llm_dit.image_io import write_whole

        write_whole(self.image_path(entry_id), png)
        write_whole(self.thumbnail_path(entry_id), thumbnail_bytes(image))
        with self._mutex, self._connection as database:
            database.execute(
                "UPDATE images SET state = 'done', params = ?, metadata = ?,"
                " number = (SELECT COALESCE(MAX(number), 0) + 1 FROM images) WHERE id = ?",
                (json.dumps(params), json.dumps(metadata), entry_id),
            )
        self._drop_oldest()

    def set_failed(self, entry_id: str, state: str, error: str | None) -> None:
        """Record that a job ended without an image: state `failed` or `interrupted`."""
        with self._mutex, self._connection as database:
            database.execute("UPDATE images SET state = ?, error = ? WHERE id = ?", (state, error, entry_id))
        self._drop_oldest()

    def get(self, entry_id: str) -> Entry | None:
        """Return one row, None if there is none of that id."""
        rows = self._select("WHERE id = ?", (entry_id,))
        return rows[0] if rows else None

    def newest(self, limit: int | None = None) -> list[Entry]:
        """Return the finished, failed and interrupted rows, newest first, without their records."""
        marks = ", ".join("?" * len(SHOWN_STATES))
        return self._select(
            f"WHERE state IN ({marks}) ORDER BY number DESC LIMIT ?",
            (*SHOWN_STATES, limit or self.size),
            with_metadata=False,
        )

    def delete(self, entry_id: str) -> bool:
        """Remove a row and its files; return whether it was there."""
        with self._mutex, self._connection as database:
            was_there = database.execute("DELETE FROM images WHERE id = ?", (entry_id,)).rowcount > 0
        self.image_path(entry_id).unlink(missing_ok=True)
        self.thumbnail_path(entry_id).unlink(missing_ok=True)
        return was_there

    def close(self) -> None:
        """Close the database and let another server have the folder."""
        with self._mutex:
            self._connection.close()
        self._lock.release()

    def _select(self, where: str, values: tuple[Any, ...], *, with_metadata: bool = True) -> list[Entry]:
        columns = f"id, state, created_at, params, {'metadata' if with_metadata else 'NULL'}, error"
        with self._mutex:
            rows = self._connection.execute(f"SELECT {columns} FROM images {where}", values).fetchall()  # noqa: S608
        return [
            Entry(entry_id, state, created_at, json.loads(params), json.loads(metadata) if metadata else None, error)
            for entry_id, state, created_at, params, metadata, error in rows
        ]

    def _drop_oldest(self) -> None:
        marks = ", ".join("?" * len(SHOWN_STATES))
        for entry in self._select(
            f"WHERE state IN ({marks}) ORDER BY number DESC LIMIT -1 OFFSET ?",
            (*SHOWN_STATES, self.size),
            with_metadata=False,
        ):
            self.delete(entry.id)

    def recover(self) -> None:
        """Mark what a former server left unfinished, and remove files without a row."""
        with self._mutex, self._connection as database:
            database.execute(
                "UPDATE images SET state = 'interrupted', error = 'The server stopped before the image was finished.'"
                " WHERE state = 'waiting'"
            )
            kept = {row[0] for row in database.execute("SELECT id FROM images WHERE state = 'done'")}
        for folder in (self.folder / "images", self.folder / "thumbnails"):
            for path in folder.iterdir():
                if path.is_file() and path.stem not in kept:
                    path.unlink()


def open_history(folder: Path, size: int) -> History:
    """Open or create a history.

    Args:
        folder: Where database, images and thumbnails are.
        size: Rows kept.

    Raises:
        OutputError: If the folder can't be written, holds something else, or another server uses it.
    """
    try:
        for name in ("images", "thumbnails"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "history.lock", thread_local=False)  # released on the event loop's thread
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"{folder} is in use by another server; stop it or choose another --data-dir.", field="data_dir"
        ) from None
    except OSError as error:
        raise OutputError(f"{folder} can't be written: {error}.", field="data_dir") from None
    try:
        connection = _connect(folder / "history.sqlite3")
    except (sqlite3.DatabaseError, OutputError) as error:
        lock.release()
        raise OutputError(f"{folder / 'history.sqlite3'} can't be read: {error}.", field="data_dir") from None
    history = History(folder, size, connection, lock)
    history.recover()
    for name in ("images", "thumbnails"):
        remove_partial_files(folder / name)  # of a server that was killed; this one holds the folder
    return history


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a row that was told to be there survives a power cut, as files do
    with closing(connection.execute("PRAGMA user_version")) as cursor:
        version = cursor.fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        connection.close()
        raise OutputError(f"it has version {version}, and this server reads {SCHEMA_VERSION}")
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return connection


def thumbnail_bytes(image: Image) -> bytes:
    """Return a small copy of an image as WebP."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=82)
    return buffer.getvalue()
