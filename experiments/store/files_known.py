"""The records that one process has read, so that a second look at a folder reads only what has changed.

Twenty thousand records say most things twenty thousand times: blocks and texts that equal those of the record before
are kept once, and so are the names of blocks.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.store.entries import SharedNames
from experiments.store.json_file import read_json
from experiments.store.records import DamagedRecord, RunRecord, first_problem, whole_record
from experiments.store.verification import size_problem

SHARED_BLOCKS = ("model_defaults", "numerics", "versions", "machine", "sigmas", "notices", "scores_of")
"""Entries of a record that are the same in many; nothing writes into what was read."""
KEPT_BLOCKS = frozenset(("run", *SHARED_BLOCKS))
"""Blocks that stay dictionaries: these, and the one that is read by its fields."""
BLOCKS_OF_TEXTS = ("parameters", "pair_scores")
"""Blocks whose texts are."""
OWN_TEXTS = ("formatted_prompt", "model_path", "model_fingerprint")
"""Texts that are the same in many."""
RUN_TEXTS_OF_MANY = ("conditions", "prompt_id", "prompt", "category", "difficulty", "session")
"""Texts of the block `run` that are."""
EXACT_FORMAT = 2
"""Of `marshal`, the last one that writes equal values of equal kinds as equal bytes."""


@dataclass
class Before:
    """What records share with those that were read before them.

    Attributes:
        last: The shared blocks of the file read last.
        exact: What tells them from all that are not equal.
        blocks: Every shared block by what tells it from all that are not equal.
        names: Of the blocks of all, and the texts of many.
    """

    last: dict[str, Any] = field(default_factory=dict)
    exact: bytes = b""
    blocks: dict[bytes, Any] = field(default_factory=dict)
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
    problem = first_problem(values)
    if problem is not None:
        return DamagedRecord(path.stem, problem)
    if values["run"]["run_id"] != path.stem:
        return DamagedRecord(path.stem, f"its metadata is that of {values['run']['run_id']}")
    if before is not None:
        _share(values, before)
    return whole_record(values, folder, None if before is None else before.names)


def _share(values: dict[str, Any], before: Before) -> None:
    """Put in the place of a record's parts the equal ones of records read before, and share the names of its blocks."""
    _share_blocks(values, before)
    names, run = before.names, values["run"]
    for block, texts in ((values, OWN_TEXTS), (run, RUN_TEXTS_OF_MANY)):
        for name in texts:
            if block.get(name).__class__ is str:
                block[name] = names.text(block[name])
    run["levels"] = names.texts(run["levels"])
    for name, value in values.items():
        if value.__class__ is dict and name not in KEPT_BLOCKS:
            values[name] = names.with_shared_texts(value) if name in BLOCKS_OF_TEXTS else names.entries(value)
    if "load_seconds" in run:
        run["load_seconds"] = names.entries(run["load_seconds"])


def _share_blocks(values: dict[str, Any], before: Before) -> None:
    found = {name: values[name] for name in SHARED_BLOCKS if name in values}
    exact = marshal.dumps(found, EXACT_FORMAT)  # 3 and 3.0 are two
    if exact != before.exact:
        known = before.blocks.setdefault
        before.last = {name: known(marshal.dumps(value, EXACT_FORMAT), value) for name, value in found.items()}
        before.exact = exact
    values.update(before.last)


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name
