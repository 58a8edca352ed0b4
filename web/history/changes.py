"""Which rows changed since when, so that a page asks for those alone."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

CHANGES_KEPT = 10_000


class ChangeLog:
    """Numbers the changes of rows: made, ended, starred, deleted. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._first = self._version = time.time_ns() // 1000  # above the numbers of the server before this one
        self._changes: deque[tuple[int, str]] = deque()
        self._listeners: list[Callable[[], None]] = []

    @property
    def version(self) -> int:
        """Number of the last change."""
        return self._version

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` on any thread after any change."""
        self._listeners.append(listener)

    def note(self, entry_ids: Iterable[str]) -> None:
        """Write down that rows changed, and tell the listeners."""
        with self._mutex:
            for entry_id in entry_ids:
                self._version += 1
                self._changes.append((self._version, entry_id))
            while len(self._changes) > CHANGES_KEPT:
                self._first = self._changes.popleft()[0]
        for listener in self._listeners:
            listener()

    def since(self, version: int) -> tuple[int, list[str] | None]:
        """Return the number of the last change, and the rows that changed after `version`; None where that is lost."""
        with self._mutex:
            if not self._first <= version <= self._version:
                return self._version, None
            return self._version, list(dict.fromkeys(entry for number, entry in self._changes if number > version))
