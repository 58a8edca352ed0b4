"""Scores of a picture beside another one: that of the same prompt and seed at the baseline.

They stand in the record with the hashes of both pictures. A value whose pictures are not the ones that lie there now is
none: the baseline was drawn again, or another level became it. Which metrics are of pairs is not known here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.store.manifest import Manifest
from experiments.store.records import INFINITE, RunRecord
from llm_dit.errors import OutputError


def pairing_seed(manifest: Manifest, record: RunRecord) -> int:
    """Return the seed by which a run is paired; 0 for all where an axis sets the seed itself."""
    return 0 if manifest.sets_seeds else record.seed


def baselines_of(manifest: Manifest, records: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """Return the run id of each finished run to the baseline's run of its prompt and seed; its own for the baseline's.

    Runs whose partner is missing are left out.
    """
    finished = [record for record in records if record.is_finished]
    keys = {record.run_id: (record.prompt_id, pairing_seed(manifest, record)) for record in finished}
    baseline = {keys[record.run_id]: record for record in finished if record.level == manifest.baseline_name}
    return {name: baseline[key] for name, key in keys.items() if key in baseline}


def pair_values(record: RunRecord, baseline: RunRecord, values: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return what a record keeps of one metric of a pair, ready for JSON.

    Raises:
        OutputError: If a picture can't be read.
    """
    return {
        "model": model,
        "picture": picture_hash(record),
        "baseline": picture_hash(baseline),
        "values": {name: INFINITE if value == math.inf else value for name, value in values.items()},
    }


def with_pair_scores(manifest: Manifest, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Add to the scores of each run those beside the baseline that hold for the pictures that are there now."""
    if not any(record.pair_scores for record in records):
        return list(records)
    baselines = baselines_of(manifest, records)
    return [_with_scores(record, baselines.get(record.run_id)) for record in records]


def _with_scores(record: RunRecord, baseline: RunRecord | None) -> RunRecord:
    if baseline is None or not record.pair_scores:
        return record
    hashes = (picture_hash(record), picture_hash(baseline))
    kept = {
        metric: found for metric, found in record.pair_scores.items() if (found["picture"], found["baseline"]) == hashes
    }
    values = {
        name: math.inf if value == INFINITE else value
        for found in kept.values()
        for name, value in found["values"].items()
    }
    models = {metric: found["model"] for metric, found in kept.items()}
    return replace(record, scores={**record.scores, **values}, scores_of={**record.scores_of, **models})


def picture_hash(record: RunRecord) -> str:
    """Return the sha256 of a run's picture: as it was written, or from the file where an old record does not say.

    Raises:
        OutputError: If it has to be read and can't be.
    """
    assert record.image_path is not None, "a finished run has an image"
    written = record.metadata["image"].get("sha256")
    if written:
        return str(written)
    try:
        with record.image_path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OutputError(f"{record.image_path} can't be read: {error.strerror}.") from None
