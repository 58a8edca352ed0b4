"""PSNR and SSIM of pictures beside their partners in another folder, made when they are asked for and kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.metrics.declaration import ScoreInput
from experiments.metrics.images import check_image
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.metrics.registry import METRICS
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError


def with_pixel_fidelity(
    records: Sequence[RunRecord], partners: Mapping[int, RunRecord]
) -> tuple[list[RunRecord], list[str]]:
    """Put the distances that need no weights in place of those beside each folder's own baseline.

    Args:
        records: Finished runs.
        partners: Place of a run to the run that it is compared with; none for a run without.

    Returns:
        The runs with their scores, and a sentence for each picture that can't be read.
    """
    plain = [_without_distances(record) for record in records]
    problems: dict[Path, str | None] = {}
    rows: dict[int, ScoreInput] = {}
    for place, partner in partners.items():
        paths = (_path(records[place]), _path(partner))
        for path in paths:
            problems.setdefault(path, _problem(path))
        if not any(problems[path] for path in paths):
            rows[place] = ScoreInput(records[place].prompt, paths[0], "", True, paths[1])
    for scorer in (PSNRScorer(), SSIMScorer()):
        found = zip(rows, scorer.score_rows(list(rows.values())), strict=True)
        for place, scores in found:
            if scores:
                names = {**plain[place].scores_of, scorer.metric.name: scorer.metric.model}
                plain[place] = replace(plain[place], scores={**plain[place].scores, **scores}, scores_of=names)
    return plain, [problem for problem in problems.values() if problem]


def _without_distances(record: RunRecord) -> RunRecord:
    columns = {column.name for metric in METRICS if metric.fidelity is not None for column in metric.columns}
    return replace(record, scores={name: value for name, value in record.scores.items() if name not in columns})


def _path(record: RunRecord) -> Path:
    assert record.image_path is not None, "a finished run has an image"
    return record.image_path


def _problem(path: Path) -> str | None:
    try:
        check_image(path)
    except LlmDitError as error:
        return f"No distance: {error}"
    return None
