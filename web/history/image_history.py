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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from llm_dit.atomic_file import remove_partial_files, write_atomically
from llm_dit.errors import OutputError
from web.history.changes import ChangeLog
from web.history.database import connect_or_set_aside
from web.history.entry import SHOWN_STATES, Entry
from web.history.recovery import entry_of_picture, lost_entries, read_stars, restore_thumbnails, write_stars
from web.history.rows import insert_row, select_rows, set_done
from web.history.search import EVERYTHING, Search
from web.history.thumbnail import thumbnail_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

SHOWN = f"state IN {SHOWN_STATES}"
IN_LIST = "id IN (SELECT value FROM json_each(?))"
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

    Attributes:
        folder: Where database, images and thumbnails are.
        size: Rows kept beside the starred ones.
        changes: Which rows changed since when.
    """

    def __init__(self, folder: Path, size: int, connection: sqlite3.Connection, lock: FileLock) -> None:
        self.folder = folder
        self.size = size
        self.changes = ChangeLog()
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
                insert_row(database, Entry(entry_id, "waiting", time.time(), dict(params), None, None))

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
            set_done(database, entry_id, params, metadata)
        self._drop_oldest()
        self.changes.note([entry_id])

    def set_failed(self, entry_id: str, state: str, error: str | None) -> None:
        """Record that a job ended without an image: state `failed` or `interrupted`."""
        with self._writing() as database:
            database.execute("UPDATE images SET state = ?, error = ? WHERE id = ?", (state, error, entry_id))
        self._drop_oldest()
        self.changes.note([entry_id])

    def get(self, entry_id: str) -> Entry | None:
        """Return one row, None if there is none of that id."""
        rows = self._select("WHERE id = ?", (entry_id,))
        return rows[0] if rows else None

    def newest(self, limit: int | None = None, search: Search = EVERYTHING, before: int | None = None) -> list[Entry]:
        """Return the finished, failed and interrupted rows, newest first, without their records.

        Args:
            limit: Most rows; None for all.
            search: Only those it is true for.
            before: Only those with a lower `Entry.number`: what comes after the last one of a page.
        """
        place, values = ("", ()) if before is None else ("AND number < ?", (before,))
        return self._select(
            f"WHERE {SHOWN} AND {search.where} {place} ORDER BY number DESC LIMIT ?",
            (*search.values, *values, -1 if limit is None else limit),
            with_metadata=False,
        )

    def among(self, entry_ids: Iterable[str], search: Search = EVERYTHING) -> list[Entry]:
        """Return those of some rows that are there, that are over, and that a search is true for, newest first."""
        return self._select(
            f"WHERE {SHOWN} AND {IN_LIST} AND {search.where} ORDER BY number DESC",
            (json.dumps(list(entry_ids)), *search.values),
            with_metadata=False,
        )

    def count(self, search: Search = EVERYTHING) -> int:
        """Return how many finished, failed and interrupted rows a search is true for."""
        with self._mutex:
            query = f"SELECT COUNT(*) FROM images WHERE {SHOWN} AND {search.where}"  # noqa: S608
            count: int = self._connection.execute(query, search.values).fetchone()[0]
        return count

    def neighbours(self, entry: Entry) -> tuple[str | None, str | None]:
        """Return the ids of the rows that are just newer and just older than `entry`, None where there is none."""
        newer = self._select(f"WHERE {SHOWN} AND number > ? ORDER BY number LIMIT 1", (entry.number,))
        older = self._select(f"WHERE {SHOWN} AND number < ? ORDER BY number DESC LIMIT 1", (entry.number,))
        return newer[0].id if newer else None, older[0].id if older else None

    def set_starred(self, entry_ids: Iterable[str], *, is_starred: bool) -> list[str]:
        """Star rows that are over, or take their stars away; return which of them there are."""
        found = [entry.id for entry in self.among(entry_ids)]
        with self._writing() as database:
            database.execute(
                f"UPDATE images SET is_starred = ? WHERE {IN_LIST}", (int(is_starred), json.dumps(found))  # noqa: S608
            )  # fmt: skip
        self._write_stars()  # a row that only its star kept goes with the next image, not at once
        self.changes.note(found)
        return found

    def delete(self, entry_id: str) -> bool:
        """Remove a row and its files; return whether it was there."""
        is_there = self.get(entry_id) is not None
        if is_there:
            self._delete([entry_id])
        return is_there

    def delete_over(self, entry_ids: Iterable[str]) -> list[str]:
        """Remove rows that are over, and their files; return which of them there were."""
        found = [entry.id for entry in self.among(entry_ids)]
        self._delete(found)
        return found

    def close(self) -> None:
        """Close the database and let another server have the folder."""
        with self._mutex:
            self._connection.close()
        self._lock.release()

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
        stars = read_stars(self.folder) if found else frozenset()
        with self._writing() as database:
            for entry in found:
                insert_row(database, replace(entry, is_starred=entry.id in stars))
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
                set_done(database, row.id, picture.params, picture.metadata)
            finished.append(row.id)
        return finished

    def _select(self, where: str, values: tuple[Any, ...], *, with_metadata: bool = True) -> list[Entry]:
        with self._mutex:
            return select_rows(self._connection, where, values, with_metadata=with_metadata)

    def _drop_oldest(self) -> None:
        """Delete what is beyond `size`, starred rows left aside."""
        with self._mutex:
            rows = self._connection.execute(
                f"SELECT id FROM images WHERE {SHOWN} AND NOT is_starred ORDER BY number DESC LIMIT -1 OFFSET ?",  # noqa: S608
                (self.size,),
            ).fetchall()
        self._delete([row[0] for row in rows])

    def _delete(self, entry_ids: list[str]) -> None:
        """Remove rows and their files. The rows go last: they are what says that the files may go."""
        if not entry_ids:
            return
        listed = json.dumps(entry_ids)
        with self._writing() as database:
            starred = database.execute(f"SELECT COUNT(*) FROM images WHERE is_starred AND {IN_LIST}", (listed,))  # noqa: S608
            had_stars = starred.fetchone()[0] > 0
            database.execute(f"UPDATE images SET state = 'deleted', is_starred = 0 WHERE {IN_LIST}", (listed,))  # noqa: S608
        for entry_id in entry_ids:
            self._remove_files(entry_id)
        with self._writing() as database:
            database.execute(f"DELETE FROM images WHERE {IN_LIST}", (listed,))  # noqa: S608
        if had_stars:
            self._write_stars()
        self.changes.note(entry_ids)

    def _write_stars(self) -> None:
        with self._mutex:
            rows = self._connection.execute("SELECT id FROM images WHERE is_starred ORDER BY number").fetchall()
        try:
            write_stars(self.folder, [row[0] for row in rows])
        except OSError as error:
            raise StorageError(error.strerror) from None

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
        history = History(folder, size, connect_or_set_aside(path), lock)
        history.recover()
    except (sqlite3.DatabaseError, OSError, OutputError) as error:
        lock.release()
        raise OutputError(f"{path} can't be read: {error}.", field="data_dir") from None
    for name in ("images", "thumbnails"):
        remove_partial_files(folder / name)  # of a server that was killed; this one holds the folder
    return history
