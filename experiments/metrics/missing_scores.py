"""Score the images of a results folder that have no score yet.

What is written for an image is written whole and at once: a scorer killed midway loses at most the batch in hand.
A new metric costs no generation. A metric of pairs scores a picture beside the baseline's of the same prompt and seed,
and anew where either was drawn anew. Pictures are judged by the prompt as it stands in the prompt file, whatever a
level made of it: the intention is the common yardstick.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from experiments.metrics.declaration import Metric, ScoreInput, Scorer, Scores
from experiments.metrics.images import check_image
from experiments.prompts import Prompt
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord
from experiments.store.verification import hash_problem
from llm_dit.errors import LlmDitError, OutputError

ROWS_PER_WRITE = 64
WRITER_THREADS = 4
CHECKING_THREADS = 4


class ScoredResults(Protocol):
    """What scoring needs of a results folder."""

    def manifest(self) -> Manifest:
        """Return the experiment, whose prompts say what is asked of their pictures."""

    def runs(self) -> list[RunRecord]:
        """Return finished and failed runs."""

    def baselines(self, records: Sequence[RunRecord]) -> dict[str, RunRecord]:
        """Return run id to the baseline's run of the same prompt and seed, for the runs that have one."""

    def write_scores(self, record: RunRecord, values: Mapping[str, Any], *, metric: str, model: str) -> RunRecord:
        """Add a metric's columns to a run."""

    def write_pair_scores(
        self, record: RunRecord, baseline: RunRecord, values: Mapping[str, Any], *, metric: str, model: str
    ) -> RunRecord:
        """Keep a metric's columns of a picture beside the baseline's."""


@dataclass(frozen=True)
class Valueless:
    """How many images a metric looked at in vain, now and before, and what each would need."""

    now: int = 0
    before: int = 0
    needs: str = ""


@dataclass(frozen=True)
class ScoringResult:
    """What one pass did.

    Attributes:
        scored: Metric name to the number of images scored now.
        present: Metric name to the number of images that had their score already.
        unreadable: One sentence for each image that could not be read.
        unpaired: Images that metrics of pairs left out, since the baseline has none of their prompt and seed.
        valueless: Metric name to the number of images, among both, that got no value, for what they lack.
    """

    scored: Mapping[str, int]
    present: Mapping[str, int]
    unreadable: tuple[str, ...]
    unpaired: int = 0
    valueless: Mapping[str, Valueless] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Return what was done, a sentence for each metric."""
        done = [self._sentence(name, self.valueless.get(name, Valueless())) for name in self.scored]
        left_out = f"{self.unpaired} images have no picture of the baseline with their prompt and seed, so no distance."
        return [*done, *([left_out] if self.unpaired else [])]

    def _sentence(self, name: str, valueless: Valueless) -> str:
        scored, present = self.scored[name] - valueless.now, self.present[name] - valueless.before
        without = valueless.now + valueless.before
        reason = f", since each needs {valueless.needs}" if valueless.needs else ""
        if without and not scored + present:
            return f"{name}: nothing was measured of {without} images{reason}."
        told = f"{name}: {scored} images scored, {present} had their score already."
        return f"{told} {without} have no value{reason}." if without else told


Spread = Callable[[Scorer, Iterable[list[ScoreInput]]], Iterator[list[Scores]]]
"""Scores batches of rows, in their order; it may take several batches before it gives the first one's scores."""


def one_by_one(scorer: Scorer, batches: Iterable[list[ScoreInput]]) -> Iterator[list[Scores]]:
    """Yield the scores of each batch, made in this process."""
    return map(scorer.score_rows, batches)


@dataclass(frozen=True)
class _Batch:
    """Rows that are written together.

    Attributes:
        count: Runs of it, readable or not.
        readable: Those that are scored.
        company: How many rows before them are there for comparison only.
    """

    count: int
    readable: list[RunRecord]
    company: int


def score_results(
    results: ScoredResults,
    scorers: Sequence[Scorer],
    on_progress: Callable[[int, int], None] | None = None,
    spread: Spread = one_by_one,
) -> ScoringResult:
    """Score every finished run that a scorer has not scored with its present weights.

    Args:
        results: The folder, held by the caller.
        scorers: Loaded scorers.
        on_progress: Called with scores done and scores to do, after each batch.
        spread: Who scores the batches: this process, or workers.

    Raises:
        LlmDitError: If a scorer names no weights, or a score is not a number.

    Returns:
        Counts, and the images that can't be read; the others are scored all the same.
    """
    _require_weights(scorers)
    finished = [record for record in results.runs() if record.is_finished]
    baselines = results.baselines(finished) if any(scorer.metric.fidelity for scorer in scorers) else {}
    paired = [record for record in finished if record.run_id in baselines]
    of_metric = [paired if scorer.metric.fidelity else finished for scorer in scorers]
    prompts = {(prompt.id, prompt.text): prompt for prompt in results.manifest().prompts}
    work = [(scorer, runs_to_score(records, scorer.metric)) for scorer, records in zip(scorers, of_metric, strict=True)]
    total, done = sum(len(records) for _, records in work), 0
    unreadable: dict[str, str] = {}
    scored: dict[str, int] = {}
    empty: Counter[str] = Counter()
    rows_of = partial(_batches_of_rows, finished, prompts, unreadable)
    for scorer, records in work:
        name = scorer.metric.name
        scored[name] = 0
        pairs = baselines if scorer.metric.fidelity else {}
        begun: deque[_Batch] = deque()
        for scores in spread(scorer, rows_of(records, scorer.metric, pairs, begun)):
            batch = begun.popleft()
            _write(results, scorer.metric, batch.readable, scores[batch.company :], pairs)
            scored[name] += len(batch.readable)
            empty[name] += sum(name not in columns for columns in scores[batch.company :])
            done += batch.count
            if on_progress:
                on_progress(done, total)
    present = {
        scorer.metric.name: len(asked) - len(records) for (scorer, records), asked in zip(work, of_metric, strict=True)
    }
    unpaired = len(finished) - len(paired) if any(scorer.metric.fidelity for scorer in scorers) else 0
    valueless = {
        scorer.metric.name: Valueless(
            empty[scorer.metric.name], _without_value(asked, records, scorer.metric), scorer.metric.needs
        )
        for (scorer, records), asked in zip(work, of_metric, strict=True)
    }
    return ScoringResult(scored, present, tuple(unreadable.values()), unpaired, valueless)


def _require_weights(scorers: Sequence[Scorer]) -> None:
    for scorer in scorers:
        if not scorer.metric.model:
            raise LlmDitError(
                f"{scorer.metric.name} chooses its weights by each picture, and a column holds scores of one kind; "
                "name its weights, or load it by load_configured_scorers."
            )


def _without_value(asked: Sequence[RunRecord], to_do: Sequence[RunRecord], metric: Metric) -> int:
    """Return how many of the runs that had been scored before got no value; of pairs they stand elsewhere."""
    if metric.fidelity is not None:
        return 0
    again = {record.run_id for record in to_do}
    return sum(record.run_id not in again and metric.name not in record.scores for record in asked)


def _batches_of_rows(
    finished: Sequence[RunRecord],
    prompts: Mapping[tuple[str, str], Prompt],
    unreadable: dict[str, str],
    records: Sequence[RunRecord],
    metric: Metric,
    pairs: Mapping[str, RunRecord],
    begun: deque[_Batch],
) -> Iterator[list[ScoreInput]]:
    """Yield the rows of each batch, and keep in `begun` what they are the rows of."""
    for batch in _whole_groups(records):
        readable = _readable_ones(batch, unreadable)
        if pairs:
            readable = [record for record in readable if _is_readable(pairs[record.run_id], unreadable)]
        company = _company(finished, readable, metric, unreadable)
        rows = [_row(record, is_wanted=False) for record in company] + [
            _row(record, pairs.get(record.run_id)) for record in readable
        ]
        begun.append(_Batch(len(batch), readable, len(company)))
        yield [_asked(row, record, prompts) for row, record in zip(rows, [*company, *readable], strict=True)]


def runs_to_score(finished: Sequence[RunRecord], metric: Metric) -> list[RunRecord]:
    """Return the runs without a score by the metric's present weights.

    A metric that compares seeds takes a group whole where one of the seeds that the others are compared with is new or
    changed; one that joins after them changes no other's value.
    """
    if not metric.compares_seeds:
        return [record for record in finished if record.scores_of.get(metric.name) != metric.model]
    return [record for group in _groups(finished).values() for record in _to_compare(group, metric)]


def group_of(record: RunRecord) -> str:
    """Return what the seeds of one prompt at one level share."""
    return f"{record.prompt_id}|{record.level}"


def _groups(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the runs by their group, each group in the order of its seeds."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.seed):
        groups[group_of(record)].append(record)
    return groups


def _to_compare(group: Sequence[RunRecord], metric: Metric) -> Sequence[RunRecord]:
    """Return the runs of a group, in the order of its seeds, whose value is missing or was made in other company."""
    first = group[: metric.compares_seeds + 1]
    missing = [
        record
        for record in group
        if record.scores_of.get(metric.name) != metric.model
        or record.scores.get(f"{metric.name}_seeds", 1) != len(first)
    ]
    return group if any(record.run_id == other.run_id for record in missing for other in first) else missing


def _company(
    finished: Sequence[RunRecord], batch: Sequence[RunRecord], metric: Metric, unreadable: dict[str, str]
) -> list[RunRecord]:
    """Return the runs that those of a batch are compared with and that are not in it themselves."""
    if not metric.compares_seeds:
        return []
    names, groups = {record.run_id for record in batch}, {group_of(record) for record in batch}
    own = _groups(record for record in finished if group_of(record) in groups)
    return [
        record
        for group in own.values()
        for record in group[: metric.compares_seeds + 1]
        if record.run_id not in names and _is_readable(record, unreadable)
    ]


def _row(record: RunRecord, baseline: RunRecord | None = None, *, is_wanted: bool = True) -> ScoreInput:
    beside = None if baseline is None else _path(baseline)
    return ScoreInput(record.prompt, _path(record), group_of(record), is_wanted, beside)


def _asked(row: ScoreInput, record: RunRecord, prompts: Mapping[tuple[str, str], Prompt]) -> ScoreInput:
    """Add what the prompt's file asks of the picture."""
    known = prompts.get((record.prompt_id, record.prompt))
    return row if known is None else row._replace(words=known.words, questions=known.questions)


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


def _readable_ones(records: Sequence[RunRecord], unreadable: dict[str, str]) -> list[RunRecord]:
    """Return the runs whose pictures are whole; reading them and their hashes is done on threads."""
    with ThreadPoolExecutor(CHECKING_THREADS, thread_name_prefix="picture-check") as pool:
        are_readable = list(pool.map(lambda record: _is_readable(record, unreadable), records))
    return [record for record, is_readable in zip(records, are_readable, strict=True) if is_readable]


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


def _write(
    results: ScoredResults,
    metric: Metric,
    records: Sequence[RunRecord],
    columns: Sequence[Scores],
    baselines: Mapping[str, RunRecord],
) -> None:
    """Write on threads: each write waits for the disk, and each goes to its own file.

    Raises:
        LlmDitError: If a score is not a number; nothing of the batch is written then.
    """
    for record, values in zip(records, columns, strict=True):
        bound = None if metric.fidelity is None else metric.fidelity.equal
        if not all(isinstance(value, str) or math.isfinite(value) or value == bound for value in values.values()):
            raise LlmDitError(
                f"{metric.name} of {record.run_id} is not a number: the weights {metric.model} are damaged."
            )

    def write(record: RunRecord, values: Scores) -> None:
        if metric.fidelity is None:
            results.write_scores(record, values, metric=metric.name, model=metric.model)
            return
        baseline = baselines[record.run_id]
        results.write_pair_scores(record, baseline, values, metric=metric.name, model=metric.model)

    with ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="score-writer") as pool:
        list(pool.map(write, records, columns))
