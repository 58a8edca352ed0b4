"""The images made with the page: a SQLite table, and a PNG and a thumbnail a row, in one folder.

A row is written before its job begins, the image before the row says `done`; so whatever instant the server is killed
at, each row tells the truth after `open_history`. Each picture carries its record, so rows that are lost, or were not
finished, are made again from the pictures (`recovery`). Knows neither HTTP nor the queue.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from llm_dit.atomic_file import remove_partial_files, write_atomically
from llm_dit.errors import OutputError
from web.history.entry import Entry
from web.history.recovery import entry_of_picture, lost_entries, restore_thumbnails
from web.history.thumbnail import thumbnail_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

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
SHOWN_STATES = ("done", "failed", "interrupted")
UNFINISHED = "The server stopped before the image was finished."


class StorageError(OutputError):
    """The data folder takes nothing more: the disk is full, or can't be written."""

    def __init__(self, problem: object) -> None:
        super().__init__(
            f"The history can't be written ({problem}); free some space, or start with another --data-dir.",
            field="data_dir",
        )


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
        """Add rows for jobs that were accepted: id to parameters, in order.

        Raises:
            StorageError: If the disk is full.
        """
        with self._writing() as database:
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
            StorageError: If the folder can't be written.
        """
        try:
            write_atomically(self.image_path(entry_id), png)
            write_atomically(self.thumbnail_path(entry_id), thumbnail_bytes(image))
        except OSError as error:
            raise StorageError(error.strerror) from None
        with self._writing() as database:
            _set_done(database, entry_id, params, metadata)
        self._drop_oldest()

    def set_failed(self, entry_id: str, state: str, error: str | None) -> None:
        """Record that a job ended without an image: state `failed` or `interrupted`."""
        with self._writing() as database:
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
        """Remove a row and its files; return whether it was there.

        The row goes last: it is what says that the files may go.
        """
        with self._writing() as database:
            marked = database.execute("UPDATE images SET state = 'deleted' WHERE id = ?", (entry_id,))
            was_there = marked.rowcount > 0
        if was_there:
            self._remove_files(entry_id)
            with self._writing() as database:
                database.execute("DELETE FROM images WHERE id = ?", (entry_id,))
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

    def _remove_files(self, entry_id: str) -> None:
        self.image_path(entry_id).unlink(missing_ok=True)
        self.thumbnail_path(entry_id).unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give a transaction that is kept if the block ends well."""
        try:
            with self._mutex, self._connection as database:
                yield database
        except sqlite3.OperationalError as error:  # full, or not to be written
            raise StorageError(error) from None

    def recover(self) -> None:
        """Let rows and pictures agree: finish what a former server left, and write down pictures that no row knows.

        A picture that was written just before its row could say so is finished from the record inside it. Only files of
        rows that were marked as deleted are removed; any other file is not ours to delete.
        """
        for entry in self._select("WHERE state = 'deleted'", (), with_metadata=False):
            self._remove_files(entry.id)
        finished = self._finish_waiting()
        with self._writing() as database:
            database.execute("DELETE FROM images WHERE state = 'deleted'")
            known = {row[0] for row in database.execute("SELECT id FROM images")}
        found = lost_entries(self.folder / "images", known)
        with self._writing() as database:
            for entry in found:
                database.execute(
                    "INSERT INTO images (id, number, state, created_at, params, metadata)"
                    " VALUES (?, (SELECT COALESCE(MAX(number), 0) + 1 FROM images), 'done', ?, ?, ?)",
                    (entry.id, entry.created_at, json.dumps(entry.params), json.dumps(entry.metadata)),
                )
        if found:
            logger.warning("the history did not know %d pictures of %s and lists them again", len(found), self.folder)
        restore_thumbnails(self.folder, [*finished, *(entry.id for entry in found)])

    def _finish_waiting(self) -> list[str]:
        """Finish the rows whose picture is there, and say of the others that they were interrupted.

        Returns:
            Ids of the finished ones.
        """
        finished = []
        for row in self._select("WHERE state = 'waiting' ORDER BY number", (), with_metadata=False):
            picture = entry_of_picture(self.image_path(row.id))
            if picture is None or picture.metadata is None:
                self.set_failed(row.id, "interrupted", UNFINISHED)
                continue
            with self._writing() as database:
                _set_done(database, row.id, picture.params, picture.metadata)
            finished.append(row.id)
        return finished


def _set_done(
    database: sqlite3.Connection, entry_id: str, params: Mapping[str, Any], metadata: Mapping[str, Any]
) -> None:
    database.execute(
        "UPDATE images SET state = 'done', params = ?, metadata = ?,"
        " number = (SELECT COALESCE(MAX(number), 0) + 1 FROM images) WHERE id = ?",
        (json.dumps(params), json.dumps(metadata), entry_id),
    )


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
    path = folder / "history.sqlite3"
    try:
        history = History(folder, size, _connect_or_set_aside(path), lock)
        history.recover()
    except (sqlite3.DatabaseError, OSError, OutputError) as error:
        lock.release()
        raise OutputError(f"{path} can't be read: {error}.", field="data_dir") from None
    for name in ("images", "thumbnails"):
        remove_partial_files(folder / name)  # of a server that was killed; this one holds the folder
    return history


def _connect_or_set_aside(path: Path) -> sqlite3.Connection:
    """Open the database; a damaged one is kept under another name, and the rows are made again from the pictures."""
    try:
        return _connect(path)
    except sqlite3.OperationalError:  # locked, full, not to be opened: nothing is damaged
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
    if version not in (0, SCHEMA_VERSION):
        raise OutputError(f"it has version {version}, and this server reads {SCHEMA_VERSION}")
    problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return connection
