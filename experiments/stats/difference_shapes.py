"""Differences that the tests don't fit: strongly skewed ones, and those of which most are 0."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from experiments.stats import paired_statistics as statistics
from experiments.stats.levels import Comparison, prompt_means
from llm_dit.errors import listed

STRONG_SKEW = 1.5
"""Skewness of the differences from which is warned; a dozen normal ones stay below it in 99 of 100 cases."""
MOST_NAMED = 5


def shape_notes(paired: pd.DataFrame, comparisons: Sequence[Comparison]) -> list[str]:
    """Warn of differences that promise more than they hold, and give the test that their shape doesn't harm.

    Args:
        paired: One row per prompt and seed, one column per level.
        comparisons: What was found.
    """
    findings, skewed, tied = [], [], []
    for comparison in comparisons:
        if comparison.p_value is None or not comparison.can_be_found:
            continue
        by_prompt = prompt_means((paired[comparison.level] - paired[comparison.baseline]).dropna())
        is_tied = 2 * comparison.differing < comparison.prompts
        if not is_tied and abs(statistics.skewness(by_prompt)) < STRONG_SKEW:
            continue
        if comparison.is_found:
            findings.append(_finding(comparison, statistics.sign_test_p_value(by_prompt), is_tied=is_tied))
        elif is_tied:
            tied.append(f"{comparison.level} ({comparison.differing} of {comparison.prompts} do)")
        else:
            skewed.append(comparison.level)
    if skewed:
        named = listed(skewed, MOST_NAMED)
        findings.append(f"Strongly skewed differences: {named}. p and interval may promise more than they hold.")
    if tied:
        findings.append(
            f"Most prompts don't differ: {listed(tied, MOST_NAMED)}. Interval and detects rest on the few that do."
        )
    return findings


def _finding(comparison: Comparison, sign_test: float, *, is_tied: bool) -> str:
    if is_tied:
        return (
            f"Most prompts don't differ at {comparison.level} ({comparison.differing} of {comparison.prompts} do): the "
            "interval may promise more than it holds. The sign test, which counts only whether prompts got better or "
            f"worse, gives p {sign_test:.2g}."
        )
    return (
        f"The differences of {comparison.level} are strongly skewed: p and interval may promise more than they hold. "
        f"The sign test, which skew doesn't harm but which asks about the median, gives p {sign_test:.2g}."
    )
