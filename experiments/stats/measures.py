"""What of an experiment's numbers is compared: scored columns that have a direction, votes, and the generation time.

Nothing here knows a metric by name; the metrics declare themselves in `experiments.metrics`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.metrics.declaration import Band, Column, Metric
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError, nearest

TIME_COLUMN = "generation_time_seconds"

GENERATION_TIME = Metric(
    name=TIME_COLUMN,
    title="Generation time",
    unit="s",
    direction="lower",
    model="clock",
    columns=(Column(TIME_COLUMN, "Seconds for encoding (its share), denoising and decoding one picture"),),
    source="time.perf_counter on the machine in the manifest",
)

VOTES = Metric(
    name="votes",
    title="Votes",
    unit="share of votes",
    direction="higher",
    model="people",
    columns=(Column("votes", "Share of votes for it minus share for the baseline, in votes on the two, -1 to 1"),),
    source="Davidson 1970, doi:10.1080/01621459.1970.10481082",
    counted="votes_counted",
)
"""What people say. No scorer makes it: `experiments.voting` reads the votes of a results folder."""


@dataclass(frozen=True)
class Measure:
    """One column of numbers, one per picture.

    Attributes:
        column: Name in the summary.
        title: Name in tables, plots and sentences.
        meaning: What the number says, in a few words.
        metric: The declaration it comes from.
    """

    column: str
    title: str
    meaning: str
    metric: Metric

    @property
    def is_main(self) -> bool:
        """True for a metric's main column, whose unit and bands the declaration gives."""
        return self.column == self.metric.name

    @property
    def is_of_pairs(self) -> bool:
        """True if it says how far a picture is from the baseline's; then no level beats another by it."""
        return self.metric.fidelity is not None

    @property
    def direction(self) -> str:
        """`higher`, `lower` or `none`: which direction is the better one."""
        return self.metric.direction

    @property
    def reading(self) -> str:
        """Return what stands under a title: `higher is better`, or which direction is the closer one."""
        if self.metric.fidelity is not None:
            return f"{self.metric.fidelity.closer} is closer to the baseline, not better"
        return "neither direction is better" if self.direction == "none" else f"{self.direction} is better"

    @property
    def unit(self) -> str:
        """Short unit to print after a number; empty where it would not be short."""
        return self.metric.unit if self.is_main and len(self.metric.unit) <= 3 else ""

    @property
    def bands(self) -> tuple[Band, ...]:
        """Rule-of-thumb labels, best first."""
        return self.metric.bands if self.is_main else ()

    def label(self, value: float) -> str:
        """Return the band of `value`; empty where there are none."""
        return self.metric.label(value) if self.bands else ""

    def counted(self, record: RunRecord) -> float:
        """Return what a finished run adds to means and tests: its number, but for votes; NaN where there is none."""
        return self.counted_of([record])[0]

    def counted_of(self, records: Iterable[RunRecord]) -> list[float]:
        """Return what each of many finished runs adds."""
        if self.column == TIME_COLUMN:
            return [number(record.generation_time_seconds) for record in records]
        column = self.metric.counted if self.is_main and self.metric.counted else self.column
        return [number(record.scores.get(column)) for record in records]

    def value(self, record: RunRecord) -> float:
        """Return a finished run's number; NaN where there is none."""
        value = record.generation_time_seconds if self.column == TIME_COLUMN else record.scores.get(self.column)
        return number(value)


def check_measure(column: str, flag: str, metrics: Sequence[Metric]) -> None:
    """Refuse what no metric writes.

    Raises:
        LlmDitError: If `column`, given as `flag`, is no measure; it names the nearest.
    """
    known = [name.name for metric in (*metrics, VOTES, GENERATION_TIME) for name in metric.columns]
    if column not in known:
        raise LlmDitError(f"{flag} {column!r} is no measure{nearest(column, known)}", field=flag.lstrip("-"))


def number(value: Any) -> float:
    """Return a finite number as float, anything else (None, a switch, text, infinity) as NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return math.nan
    return float(value)


def measures_of(records: Sequence[RunRecord], metrics: Sequence[Metric]) -> tuple[Measure, ...]:
    """Return the measures that at least one run has, in the order of `metrics`, votes and the generation time last.

    Further columns of a metric are measures only where the metric has a direction; flags never are.
    """
    present: set[str] = set()
    for record in records:
        present.update(name for name, value in record.scores.items() if name not in present and _is_measured(value))
    measures = [
        Measure(column.name, metric.title if column.name == metric.name else column.name, column.meaning, metric)
        for metric in (*metrics, VOTES)
        for column in metric.columns
        if column.name in present and (column.name == metric.name or metric.direction != "none")
    ]
    if any(not math.isnan(number(record.generation_time_seconds)) for record in records):
        meaning = GENERATION_TIME.columns[0].meaning
        measures.append(Measure(TIME_COLUMN, GENERATION_TIME.title, meaning, GENERATION_TIME))
    return tuple(measures)


def _is_measured(value: Any) -> bool:
    """Return True for a number, and for infinity, which is what equal pictures have where there is no bound."""
    return value == math.inf or not math.isnan(number(value))


def set_flags(records: Iterable[RunRecord]) -> Counter[str]:
    """Return for how many runs each column holds a flag that is set."""
    return Counter(name for record in records for name, value in record.scores.items() if value is True)


def flags_of(counts: Mapping[str, int], metric: Metric) -> Mapping[Column, int]:
    """Return how many runs each flag of a metric is set for; flags that are never set are left out."""
    return {column: counts[column.name] for column in metric.columns if column.name in counts}
