"""The records that one process has read, so that a second look at a folder reads only what has changed.

Twenty thousand records say most things twenty thousand times: blocks and texts that equal those of the record before
are kept once, and so are the names of blocks.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.store.entries import SharedNames
from experiments.store.json_file import read_json
from experiments.store.records import DamagedRecord, RunRecord, read_record
from experiments.store.verification import size_problem

SHARED_BLOCKS = ("model_defaults", "numerics", "versions", "machine", "sigmas", "notices", "scores_of")
"""Entries of a record that are the same in many; nothing writes into what was read."""
BLOCKS_OF_TEXTS = ("run", "parameters")
"""Entries whose texts are."""
EXACT_FORMAT = 2
"""Of `marshal`, the last one that writes equal values of equal kinds as equal bytes."""


@dataclass
class Before:
    """What records share with those that were read before them.

    Attributes:
        last: Content of the file read last.
        exact: Name of each shared block to what tells it from all that are not equal.
        names: Of the blocks of all.
    """

    last: dict[str, Any] = field(default_factory=dict)
    exact: dict[str, bytes] = field(default_factory=dict)
    names: SharedNames = field(default_factory=SharedNames)


class KnownFiles:
    """Records by their files; a file that was replaced since is read anew."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[tuple[int, int, int], RunRecord | DamagedRecord]] = {}
        self._before = Before()

    def records(self, folder: Path, results: Path) -> Iterator[RunRecord | DamagedRecord]:
        """Yield the records in a folder of them by name: whole with their pictures, or named with what is wrong.

        Args:
            folder: Where they lie.
            results: The results folder.
        """
        try:
            entries = sorted((entry for entry in os.scandir(folder) if entry.name.endswith(".json")), key=_name_of)
        except OSError:  # there is none yet
            return
        for entry in entries:
            yield with_picture(self._record(entry, results))

    def _record(self, entry: os.DirEntry[str], folder: Path) -> RunRecord | DamagedRecord:
        """Return the record in a file, whatever its picture is like."""
        try:
            about = entry.stat()
        except OSError:  # gone since the folder was listed
            return DamagedRecord(entry.name.removesuffix(".json"), "its metadata can't be read")
        state = (about.st_mtime_ns, about.st_size, about.st_ino)
        known = self._records.get(entry.path)
        if known is not None and known[0] == state:
            return known[1]
        found = record_in_file(Path(entry.path), folder, self._before)
        self._records[entry.path] = (state, found)
        return found


def with_picture(found: RunRecord | DamagedRecord) -> RunRecord | DamagedRecord:
    """Return a record that is whole with its picture, else what is wrong."""
    if isinstance(found, DamagedRecord) or not found.is_finished:
        return found
    problem = size_problem(found)
    return found if problem is None else DamagedRecord(found.run_id, problem)


def record_in_file(path: Path, folder: Path, before: Before | None = None) -> RunRecord | DamagedRecord:
    """Read a record, whatever its picture is like: whole, or named with what is wrong.

    Args:
        path: The file.
        folder: The results folder.
        before: Of the files read before it, with which equal parts are shared.
    """
    values = read_json(path)
    if values is None:
        return DamagedRecord(path.stem, "its metadata can't be read")
    if before is not None:
        _share(values, before)
    record = read_record(values, folder)
    if isinstance(record, str):
        return DamagedRecord(path.stem, record)
    if record.run_id != path.stem:
        return DamagedRecord(path.stem, f"its metadata is that of {record.run_id}")
    return record if before is None else _compact(record, before.names)


def _compact(record: RunRecord, names: SharedNames) -> RunRecord:
    """Return a record whose blocks share their names with others; those that are the same in many stay as they are."""
    own = {"scores": names.entries(record.scores), "pair_scores": names.with_shared_texts(record.pair_scores)}
    rest = {
        name: names.entries(value) if isinstance(value, dict) and name not in SHARED_BLOCKS else value
        for name, value in record.metadata.items()
    }
    return replace(
        record,
        level=names.text(record.level),
        levels=names.texts(record.levels),
        parameters=names.entries(record.parameters),
        metadata=names.entries({name: own.get(name, value) for name, value in rest.items()}),
        scores=own["scores"],
        pair_scores=own["pair_scores"],
        load_seconds=names.entries(record.load_seconds),
    )


def _share(values: dict[str, Any], before: Before) -> None:
    """Put the parts of the file read last in the place of a record's equal ones."""
    last, before.last = before.last, values
    _share_texts(values, last)
    for name in BLOCKS_OF_TEXTS:
        block, known = values.get(name), last.get(name)
        if isinstance(block, dict) and isinstance(known, dict):
            _share_texts(block, known)
    for name in SHARED_BLOCKS:
        if name in values:
            exact = marshal.dumps(values[name], EXACT_FORMAT)  # 3 and 3.0 are two
            if name in last and exact == before.exact.get(name):
                values[name] = last[name]
            before.exact[name] = exact


def _share_texts(values: dict[str, Any], last: dict[str, Any]) -> None:
    for name, known in last.items():
        if known.__class__ is str and values.get(name) == known:
            values[name] = known


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name
