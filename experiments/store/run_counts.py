"""How far an experiment is, asked again and again while it grows: only what changed since is read."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore

RunKey = tuple[str, str, int]


@dataclass(frozen=True)
class Counts:
    """Runs of a folder that its manifest has a place for, each once: the same that summaries and reports count."""

    finished: int
    failed: int


class RunCounter:
    """Counts the runs of one folder. May be used from any thread."""

    def __init__(self, folder: Path) -> None:
        self._store = ResultStore(folder)
        self._known: dict[Path, tuple[tuple[int, int], RunKey | None]] = {}
        self._manifest: Manifest | None = None
        self._lock = threading.Lock()

    def counts(self, manifest: Manifest) -> Counts:
        """Return the counts under the folder's present manifest."""
        with self._lock:
            if self._manifest is None or manifest.raw != self._manifest.raw:  # it may know the runs by other names
                self._known, self._manifest = {}, manifest
            finished = self._keys(self._store.metadata, manifest)
            failed = self._keys(self._store.failed, manifest) - finished
        return Counts(len(finished), len(failed))

    def _keys(self, folder: Path, manifest: Manifest) -> set[RunKey]:
        """Read the records that are new or changed; return what all of them show."""
        keys: set[RunKey] = set()
        try:
            entries = [entry for entry in os.scandir(folder) if entry.name.endswith(".json")]
        except OSError:
            return keys
        for entry in entries:
            path = folder / entry.name
            try:
                stat = entry.stat()
            except FileNotFoundError:  # made again this instant
                continue
            state = (stat.st_mtime_ns, stat.st_size)
            if path not in self._known or self._known[path][0] != state:
                self._known[path] = (state, _key(self._store.read(path), manifest))
            key = self._known[path][1]
            if key is not None:
                keys.add(key)
        return keys


def _key(found: object, manifest: Manifest) -> RunKey | None:
    placed = manifest.place(found) if isinstance(found, RunRecord) else None
    return None if placed is None else (placed.prompt_id, placed.level, placed.seed)
