"""Speed beside quality: a row a level with its scores, its distance from the baseline, its seconds and its memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.level_names import quoted
from experiments.stats.numbers_as_text import format_number
from experiments.stats.speed_sentences import MOST_NAMED, gib
from experiments.stats.verdict import decimals_of
from experiments.store.speeds import LevelSpeed, Speeds
from llm_dit.errors import listed


@dataclass(frozen=True)
class SpeedRow:
    """One level; `scores` stand under the table's `measures`; `is_unbeaten` says that no other is as good in all."""

    level: str
    is_baseline: bool
    is_unbeaten: bool
    scores: tuple[str, ...]
    seconds: str
    range: str
    memory: str
    load: str


@dataclass(frozen=True)
class SpeedTable:
    """All levels that were measured.

    Attributes:
        measures: Titles of the scores' columns.
        columns: Their measures' columns.
        rows: In the experiment's order.
        judged_by: What `is_unbeaten` looks at, in words.
        sentence: Which levels are unbeaten.
    """

    measures: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[SpeedRow, ...]
    judged_by: str
    sentence: str


def speed_table(analysis: Analysis, speeds: Speeds) -> SpeedTable:
    """Lay out what was measured beside the scores."""
    shown = [
        result
        for result in analysis.measures
        if result.measure.is_main
        and result.measure.metric.model != "clock"
        and (result.measure.is_of_pairs or result.measure.direction != "none")
    ]
    quality = next((result for result in shown if not result.measure.is_of_pairs), None)
    fidelity = next((result for result in shown if result.measure.is_of_pairs), None)
    costs = {
        level.level: _costs(level, [result for result in (quality, fidelity) if result]) for level in speeds.levels
    }
    judged = [result.measure.title for result in (quality, fidelity) if result]
    has_memory = any(level.peak_memory_bytes is not None for level in speeds.levels)
    judged_by = ", ".join([*judged, "seconds", *(["memory"] if has_memory else [])])
    unbeaten = [name for name, cost in costs.items() if not any(_dominates(other, cost) for other in costs.values())]
    return SpeedTable(
        tuple(result.measure.title for result in shown),
        tuple(result.measure.column for result in shown),
        tuple(
            SpeedRow(
                level.level,
                level.level == analysis.baseline,
                level.level in unbeaten,
                tuple(_score(result, level.level) for result in shown),
                f"{level.median_seconds:.3g} s",
                f"{min(level.seconds):.3g} to {max(level.seconds):.3g}",
                "not told" if level.peak_memory_bytes is None else gib(level.peak_memory_bytes),
                f"{level.load_seconds:.3g} s",
            )
            for level in speeds.levels
        ),
        judged_by,
        f"No other measured level is at least as good in all of {judged_by} as: "
        f"{listed([quoted(name) for name in unbeaten], MOST_NAMED)}.",
    )


def _costs(level: LevelSpeed, results: Sequence[MeasureAnalysis]) -> tuple[float, ...]:
    """Return what a level costs in each respect, less being better; unknown ones cost everything."""
    found = [level.median_seconds, float(level.peak_memory_bytes or 0)]
    for result in results:
        summary = next((item for item in result.levels if item.level == level.level), None)
        fidelity = result.measure.metric.fidelity
        if summary is None or not summary.runs:
            found.append(math.inf)
        elif summary.estimate is None or (fidelity and summary.equal == summary.runs):
            found.append(-math.inf)
        else:
            is_lower_good = (fidelity.closer if fidelity else result.measure.direction) == "lower"
            found.append(summary.estimate.mean if is_lower_good else -summary.estimate.mean)
    return tuple(found)


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def _score(result: MeasureAnalysis, level: str) -> str:
    summary = next((item for item in result.levels if item.level == level), None)
    if summary is None or not summary.runs:
        return ""
    if summary.estimate is None:
        return "equal"
    unit = f" {result.measure.unit}" if result.measure.unit else ""
    return format_number(summary.estimate.mean, decimals_of(result)) + unit
