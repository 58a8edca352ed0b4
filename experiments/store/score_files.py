"""Scores added to the file of a finished run, which is replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.store.json_file import read_json, write_json
from experiments.store.pair_scores import pair_values
from experiments.store.records import RunRecord, record_from_metadata
from llm_dit.errors import OutputError, unwritable


def add_scores(folder: Path, record: RunRecord, values: Mapping[str, Any], *, metric: str, model: str) -> RunRecord:
    """Add a metric's columns; see `ResultStore.write_scores`."""
    current = _current(folder, record)
    current["scores"] = {**current.get("scores", {}), **values}
    current["scores_of"] = {**current.get("scores_of", {}), metric: model}
    return _rewritten(folder, record, current)


def add_pair_scores(
    folder: Path, record: RunRecord, baseline: RunRecord, values: Mapping[str, Any], *, metric: str, model: str
) -> RunRecord:
    """Keep a metric's columns beside the baseline's picture; see `ResultStore.write_pair_scores`."""
    current = _current(folder, record)
    kept = pair_values(record, baseline, values, model)
    current["pair_scores"] = {**current.get("pair_scores", {}), metric: kept}
    return _rewritten(folder, record, current)


def _path(folder: Path, record: RunRecord) -> Path:
    return folder / "metadata" / f"{record.run_id}.json"


def _current(folder: Path, record: RunRecord) -> dict[str, Any]:
    path = _path(folder, record)
    current = read_json(path)
    if current is None:
        raise OutputError(f"{path} has gone while its image was scored; run the experiment again.")
    return current


def _rewritten(folder: Path, record: RunRecord, current: Mapping[str, Any]) -> RunRecord:
    try:
        write_json(_path(folder, record), current)
    except OSError as error:
        raise unwritable(f"The scores of {record.run_id} could not be written", error) from None
    updated = record_from_metadata(current, folder)
    assert updated is not None
    return updated
