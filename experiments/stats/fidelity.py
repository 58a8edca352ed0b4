"""How far each level's pictures are from the baseline's: means and intervals, and what can be said of them.

A distance has no "better" and no test: the baseline's own distance is 0 by definition, and one channel that differs by
one is a difference. So levels get an estimate with its interval and no p-value, and no sentence says that one beats
another. Pictures whose value has no bound (PSNR of equal ones) are counted apart, since no mean holds them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.metrics.declaration import Fidelity
from experiments.stats.comparable_scores import counts_with, prompt_units, weights_that_count
from experiments.stats.level_names import quoted
from experiments.stats.levels import CELL, LevelSummary, level_summaries
from experiments.stats.measures import Measure
from experiments.stats.numbers_as_text import decimals_for, format_number
from llm_dit.errors import listed

if TYPE_CHECKING:
    import pandas as pd

    from experiments.store.records import RunRecord

MOST_NAMED = 5


def fidelity_of(measure: Measure) -> Fidelity:
    """Return how a measure of pairs reads."""
    assert measure.metric.fidelity is not None, f"{measure.column} is no measure of pairs"
    return measure.metric.fidelity


def fidelity_summaries(
    frame: pd.DataFrame, records: Sequence[RunRecord], names: Sequence[str], measure: Measure
) -> tuple[LevelSummary, ...]:
    """Summarise a measure of pairs for each level.

    Args:
        frame: Table of runs, its rows in any order, with the column of the measure; no number where it has no bound.
        records: The finished runs.
        names: The levels, in the order wanted.
        measure: The measure.
    """
    equal_value, weights = fidelity_of(measure).equal, weights_that_count(records, measure.metric)
    units = prompt_units(records)
    counted = [
        record for record in records if measure.column in record.scores and counts_with(record, measure.metric, weights)
    ]
    equal = [record for record in counted if record.scores[measure.column] == equal_value]
    counts = Counter(record.level for record in equal)
    numbers = frame.dropna(subset=[measure.column])
    prompts: dict[str, set[str]] = {}
    for record in counted:
        prompts.setdefault(record.level, set()).add(units[record.prompt_id])
    return tuple(
        replace(
            summary,
            runs=summary.runs + (counts[summary.level] if math.isinf(equal_value) else 0),
            prompts=len(prompts.get(summary.level, ())),
            equal=counts[summary.level],
        )
        for summary in level_summaries(numbers, CELL, names, measure.column)
    )


def fidelity_notes(levels: Sequence[LevelSummary], baseline: str, measure: Measure) -> list[str]:
    """Say which pictures a mean can't hold."""
    if not math.isinf(fidelity_of(measure).equal):
        return []
    some = [
        f"{quoted(summary.level)} ({summary.equal} of {summary.runs})"
        for summary in levels
        if summary.equal and summary.estimate
    ]
    if not some:
        return []
    return [
        f"Pictures equal to {quoted(baseline)}'s pixel for pixel have no bound here and are left out of the mean: "
        f"{listed(some, MOST_NAMED)}."
    ]


def fidelity_sentences(measure: Measure, levels: Sequence[LevelSummary], variable: str, baseline: str) -> list[str]:
    """Return how far each level is from the baseline, the farthest first; equal ones in a sentence of their own."""
    closer = fidelity_of(measure).closer
    others = [summary for summary in levels if summary.level != baseline and summary.runs]
    if not others:
        return [f"Nothing can be compared with {variable} {quoted(baseline)}: no other level has pictures beside its."]
    same = [summary for summary in others if summary.equal == summary.runs]
    apart = [summary for summary in others if summary.equal < summary.runs]
    apart.sort(key=lambda summary: _mean(summary), reverse=closer == "lower")
    sentences = []
    if apart:
        clauses = [_clause(summary, measure) for summary in apart[:MOST_NAMED]]
        if len(apart) > MOST_NAMED:
            clauses.append(_closer_ones(len(apart) - MOST_NAMED))
        sentences.append(f"Beside {variable} {quoted(baseline)}: {'; '.join(clauses)}.")
    if same:
        named = listed([f"{quoted(summary.level)} (all {summary.runs})" for summary in same], MOST_NAMED)
        what = "pixel for pixel" if math.isinf(fidelity_of(measure).equal) else f"by {measure.title}"
        sentences.append(f"The same pictures as {variable} {quoted(baseline)}, {what}: {named}.")
    return sentences


def _clause(summary: LevelSummary, measure: Measure) -> str:
    assert summary.estimate is not None
    estimate = summary.estimate
    unit = f" {measure.unit}" if measure.unit else ""
    prompts = f"{summary.prompts} prompt{'' if summary.prompts == 1 else 's'}"
    named = f"{quoted(summary.level)} has {measure.title}"
    if estimate.low is None or estimate.high is None:
        return f"{named} {format_number(estimate.mean, 3)}{unit} ({prompts}, no interval)"
    decimals = decimals_for((estimate.high - estimate.low) / 2)
    mean, low, high = (format_number(value, decimals) for value in (estimate.mean, estimate.low, estimate.high))
    return f"{named} {mean}{unit} (95 % interval {low} to {high}, {prompts})"


def _closer_ones(count: int) -> str:
    if count == 1:
        return "another level lies closer to it, see the table"
    return f"{count} other levels lie closer to it, see the table"


def _mean(summary: LevelSummary) -> float:
    assert summary.estimate is not None
    return summary.estimate.mean
