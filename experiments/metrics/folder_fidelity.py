"""Distances of pictures from their partners in another folder, made when they are asked for and kept nowhere.

PSNR and SSIM, which need no weights, always; others where they are named, or where both folders have them already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.metrics.declaration import ScoreInput, Scorer, Scores
from experiments.metrics.images import check_image
from experiments.metrics.pixel_fidelity import PSNRScorer, SSIMScorer
from experiments.metrics.registry import METRICS, load_configured_scorers, metric_named
from experiments.store.manifest import Manifest
from experiments.store.pair_scores import pair_values
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError
from llm_dit.parameters import MetricSettings

WITHOUT_WEIGHTS = (PSNRScorer.metric.name, SSIMScorer.metric.name)


def distance_scorers(
    names: Sequence[str], records: Sequence[RunRecord], first: Manifest
) -> tuple[list[Scorer], list[str]]:
    """Load the distances that two folders are compared by, with the weights that the first folder's command had.

    Args:
        names: Those that are asked for beside the ones without weights; none asks for those that both folders have.
        records: Finished runs of both, whose levels are the folders.
        first: What the first folder says of itself.

    Returns:
        The scorers, and a sentence for each that nobody named and that can't be loaded.

    Raises:
        LlmDitError: If a name is no distance's, or a scorer that was named can't be loaded.
    """
    for name in names:
        if metric_named(name).fidelity is None:
            distances = [metric.name for metric in METRICS if metric.fidelity is not None]
            raise LlmDitError(
                f"--metric {name} is no distance between two pictures; use {' or '.join(distances)}, or score.py for "
                f"{name}.",
                field="metric",
            )
    settings = MetricSettings.parse(first.raw.get("config", {}).get("metrics", {}))
    generator = str(first.raw.get("model_path", "mini"))
    scorers: list[Scorer] = [PSNRScorer(), SSIMScorer()]
    problems = []
    for name in [name for name in (names or _in_both(records)) if name not in WITHOUT_WEIGHTS]:
        try:
            scorers += load_configured_scorers([name], settings, generator)
        except LlmDitError as error:
            if names:
                raise
            problems.append(f"{metric_named(name).title} is left out, though both folders have it: {error}")
    return scorers, problems


def _in_both(records: Sequence[RunRecord]) -> Collection[str]:
    """Return the metrics of pairs that pictures of every folder have, in the registry's order."""
    of_folder: dict[str, set[str]] = {}
    for record in records:
        of_folder.setdefault(record.level, set()).update(record.pair_scores)
    common = set.intersection(*of_folder.values()) if of_folder else set()
    return [metric.name for metric in METRICS if metric.fidelity is not None and metric.name in common]


def with_fidelity(
    records: Sequence[RunRecord], partners: Mapping[int, RunRecord], scorers: Sequence[Scorer]
) -> tuple[list[RunRecord], list[str]]:
    """Put distances from the partners in place of those beside each folder's own baseline.

    Args:
        records: Finished runs.
        partners: Place of a run to the run that it is compared with; none for a run without.
        scorers: Of pairs.

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
    for scorer in scorers:
        found = zip(rows, scorer.score_rows(list(rows.values())), strict=True)
        for place, scores in found:
            if scores:
                plain[place] = _with_distance(plain[place], partners[place], scorer, scores)
    return plain, [problem for problem in problems.values() if problem]


def _with_distance(record: RunRecord, partner: RunRecord, scorer: Scorer, scores: Scores) -> RunRecord:
    name, model = scorer.metric.name, scorer.metric.model
    return replace(
        record,
        scores={**record.scores, **scores},
        scores_of={**record.scores_of, name: model},
        pair_scores={**record.pair_scores, name: pair_values(record, partner, scores, model)},
    )


def _without_distances(record: RunRecord) -> RunRecord:
    columns = {column.name for metric in METRICS if metric.fidelity is not None for column in metric.columns}
    scores = {name: value for name, value in record.scores.items() if name not in columns}
    return replace(record, scores=scores, pair_scores={})


def _path(record: RunRecord) -> Path:
    assert record.image_path is not None, "a finished run has an image"
    return record.image_path


def _problem(path: Path) -> str | None:
    try:
        check_image(path)
    except LlmDitError as error:
        return f"No distance: {error}"
    return None
