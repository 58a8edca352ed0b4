"""Score the images of a results folder that have no score yet.

What is written for an image is written whole and at once: a scorer killed midway loses at most the batch in hand.
A new metric costs no generation. Pictures are judged by the prompt as it stands in the prompt file, whatever a level
made of it: the intention is the common yardstick.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from experiments.metrics.declaration import Metric, ScoreInput, Scorer, Scores
from experiments.metrics.images import check_image
from experiments.store.records import RunRecord
from experiments.store.verification import hash_problem
from llm_dit.errors import LlmDitError, OutputError

ROWS_PER_WRITE = 64
WRITER_THREADS = 4


class ScoredResults(Protocol):
    """What scoring needs of a results folder."""

    def runs(self) -> list[RunRecord]:
        """Return finished and failed runs."""

    def write_scores(self, record: RunRecord, values: Mapping[str, Any], *, metric: str, model: str) -> RunRecord:
        """Add a metric's columns to a run."""


@dataclass(frozen=True)
class ScoringResult:
    """What one pass did.

    Attributes:
        scored: Metric name to the number of images scored now.
        present: Metric name to the number of images that had their score already.
        unreadable: One sentence for each image that could not be read.
    """

    scored: Mapping[str, int]
    present: Mapping[str, int]
    unreadable: tuple[str, ...]


def score_results(
    results: ScoredResults, scorers: Sequence[Scorer], on_progress: Callable[[int, int], None] | None = None
) -> ScoringResult:
    """Score every finished run that a scorer has not scored with its present weights.

    Args:
        results: The folder, held by the caller.
        scorers: Loaded scorers.
        on_progress: Called with scores done and scores to do, after each batch.

    Raises:
        LlmDitError: If a scorer names no weights, or a score is not a number.

    Returns:
        Counts, and the images that can't be read; the others are scored all the same.
    """
    for scorer in scorers:
        if not scorer.metric.model:
            raise LlmDitError(
                f"{scorer.metric.name} chooses its weights by each picture, and a column holds scores of one kind; "
                "name its weights, or load it by load_configured_scorers."
            )
    finished = [record for record in results.runs() if record.is_finished]
    work = [(scorer, runs_to_score(finished, scorer.metric)) for scorer in scorers]
    total, done = sum(len(records) for _, records in work), 0
    unreadable: dict[str, str] = {}
    scored: dict[str, int] = {}
    for scorer, records in work:
        name = scorer.metric.name
        scored[name] = 0
        for batch in _whole_groups(records):
            readable = [record for record in batch if _is_readable(record, unreadable)]
            rows = [ScoreInput(record.prompt, _path(record), group_of(record)) for record in readable]
            _write(results, scorer.metric, readable, scorer.score_rows(rows))
            scored[name] += len(readable)
            done += len(batch)
            if on_progress:
                on_progress(done, total)
    present = {scorer.metric.name: len(finished) - len(records) for scorer, records in work}
    return ScoringResult(scored, present, tuple(unreadable.values()))


def runs_to_score(finished: Sequence[RunRecord], metric: Metric) -> list[RunRecord]:
    """Return the runs without a score by the metric's present weights.

    A metric that compares seeds takes a group whole: once a seed joins, the others' values change too.
    """
    if not metric.compares_seeds:
        return [record for record in finished if record.scores_of.get(metric.name) != metric.model]
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in finished:
        groups[group_of(record)].append(record)
    return [record for group in groups.values() if not _is_compared(group, metric) for record in group]


def group_of(record: RunRecord) -> str:
    """Return what the seeds of one prompt at one level share."""
    return f"{record.prompt_id}|{record.level}"


def _is_compared(group: Sequence[RunRecord], metric: Metric) -> bool:
    """Return whether every run of a group was scored in a group of its present size."""
    is_scored = all(record.scores_of.get(metric.name) == metric.model for record in group)
    return is_scored and all(record.scores.get(f"{metric.name}_seeds", 1) == len(group) for record in group)


def _whole_groups(records: Iterable[RunRecord]) -> Iterator[list[RunRecord]]:
    """Yield batches of about `ROWS_PER_WRITE` runs that never divide a group."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[group_of(record)].append(record)
    batch: list[RunRecord] = []
    for group in groups.values():
        batch += group
        if len(batch) >= ROWS_PER_WRITE:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_readable(record: RunRecord, unreadable: dict[str, str]) -> bool:
    try:
        check_image(_path(record))
        problem = hash_problem(record)
        if problem is not None:
            raise OutputError(f"{record.run_id}: {problem}.")
    except LlmDitError as error:
        unreadable[record.run_id] = str(error)
    return record.run_id not in unreadable


def _path(record: RunRecord) -> Path:
    assert record.image_path is not None, "a finished run has an image"
    return record.image_path


def _write(results: ScoredResults, metric: Metric, records: Sequence[RunRecord], columns: Sequence[Scores]) -> None:
    """Write on threads: each write waits for the disk, and each goes to its own file.

    Raises:
        LlmDitError: If a score is not a number; nothing of the batch is written then.
    """
    for record, values in zip(records, columns, strict=True):
        if not all(math.isfinite(value) for value in values.values()):
            raise LlmDitError(
                f"{metric.name} of {record.run_id} is not a number: the weights {metric.model} are damaged."
            )

    def write(record: RunRecord, values: Scores) -> None:
        results.write_scores(record, values, metric=metric.name, model=metric.model)

    with ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="score-writer") as pool:
        list(pool.map(write, records, columns))
