"""An analysis of the measure that planned looks decided by, in the words of the looks instead of a fixed design's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.stats.levels import Comparison, Estimate

if TYPE_CHECKING:
    from experiments.store.look_log import LookLog


def decided_comparisons(comparisons: Sequence[Comparison], log: LookLog) -> tuple[Comparison, ...]:
    """Return comparisons with the estimate, the interval and the p-value that hold at all looks together.

    A race compares no level with the baseline: there the p-values of a fixed design, which know nothing of levels that
    dropped out, are taken away.
    """
    if log.plan.is_race or log.latest is None:
        return tuple(replace(item, p_value=None, p_holm=None) for item in comparisons)
    known = log.latest.levels
    return tuple(
        item
        if item.level not in known or known[item.level].mean is None
        else replace(
            item,
            prompts=known[item.level].prompts,
            difference=Estimate(known[item.level].mean or 0.0, known[item.level].low, known[item.level].high),
            p_value=known[item.level].p_value,
            p_holm=known[item.level].p_value,
            detectable=None,
            prompts_for_half=None,
        )
        for item in comparisons
    )


def other_measures_note(log: LookLog) -> str:
    """Return what a reader must know of the measures that did not decide."""
    return (
        f"Pictures were drawn until {log.plan.measure} had decided, so levels have different numbers of prompts, and "
        "the tests of other measures, which take them for fixed, are exploratory."
    )
