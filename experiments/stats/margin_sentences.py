"""What a margin says, in sentences: as good as, not worse, or not shown; and without one, which could have been shown.

"As good as" is said of what was shown within the margin, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.stats.level_names import quoted
from experiments.stats.levels import Comparison
from experiments.stats.margins import MarginAnswer, MarginStanding
from experiments.stats.measures import TIME_COLUMN, Measure
from experiments.stats.numbers_as_text import decimals_for, format_number
from experiments.stats.paired_statistics import ALPHA, at_least

MOST_LEVELS_NAMED = 6


def margin_sentence(measure: Measure, variable: str, baseline: str, answer: MarginAnswer) -> str:
    """Return how each level stands against the margin: first those shown within it, then those not worse, then others.

    Args:
        measure: What was measured.
        variable: What is varied.
        baseline: The level that others are compared with.
        answer: With a margin.
    """
    assert answer.margin is not None, "without a margin nothing stands against it"
    groups: tuple[list[MarginStanding], ...] = ([], [], [])
    for item in answer.standings:
        groups[0 if item.is_as_good else 1 if item.is_not_worse else 2].append(item)
    whom = quoted(baseline)
    clauses: list[str] = []
    for kind, group in enumerate(groups):
        for item in group[:MOST_LEVELS_NAMED]:
            clauses.append(_clause(measure, item, whom if not clauses else "it", answer.margin, kind))
        if len(group) > MOST_LEVELS_NAMED:
            clauses.append(f"{len(group) - MOST_LEVELS_NAMED} more likewise, see the table")
    return f"{variable} {'; '.join(clauses)}{_what_it_takes(measure, answer, groups[2])}."


def without_margin_sentence(measure: Measure, answer: MarginAnswer, comparisons: Sequence[Comparison]) -> str | None:
    """Return which margin could have been shown, where some level can't be told apart; else None."""
    untold = [item for item in comparisons if item.can_be_found and not item.is_found and not item.is_identical]
    if answer.margin is not None or answer.could_show is None or not untold:
        return None
    return (
        f"That does not show them {_equal(measure)}: where nothing differs, 4 in 5 such experiments would show a "
        f"margin of {_amount(answer.could_show, measure)}; --margin {measure.column}=X asks about yours."
    )


def margin_note(margin: float, measure: Measure, analyses_before: int) -> str:
    """Return whether the margin was fixed before anybody saw the numbers."""
    if not analyses_before:
        return f"The margin of {_margin_text(margin, measure)} was named before any analysis of it."
    counted = f"{analyses_before} {'analysis' if analyses_before == 1 else 'analyses'}"
    return (
        f"The margin of {_margin_text(margin, measure)} was named only after {counted} of it, so it may have been "
        "chosen to fit."
    )


def _clause(measure: Measure, item: MarginStanding, baseline: str, margin: float, kind: int) -> str:
    name, within = quoted(item.level), _margin_text(margin, measure)
    is_neutral, is_time = measure.direction == "none", measure.column == TIME_COLUMN
    if kind == 0:
        said = (
            f"{name} differs from {baseline} by less than {within}"
            if is_neutral
            else f"{name} is as {'fast' if is_time else 'good'} as {baseline} within {within}"
        )
    elif kind == 1:
        said = f"{name} is not {'slower' if is_time else 'worse'} than {baseline} by more than {within}"
    else:
        said = f"{name} is not shown to be {_as(measure)} {baseline} within {within}"
    return f"{said} ({_evidence(item, margin, is_shown=kind < 2)})"


def _evidence(item: MarginStanding, margin: float, *, is_shown: bool) -> str:
    prompts = f"{item.prompts} prompts"
    interval = item.difference
    if interval.low is None or interval.high is None:
        return prompts
    decimals = max(decimals_for((interval.high - interval.low) / 2), decimals_for(margin))
    ends = f"90 % interval {format_number(interval.low, decimals)} to {format_number(interval.high, decimals)}"
    is_alone = item.p_alone is not None and item.p_alone <= ALPHA
    corrected = ", not after correction" if is_alone and not is_shown else ""
    return f"{ends}{corrected}, {prompts}"


def _what_it_takes(measure: Measure, answer: MarginAnswer, unshown: Sequence[MarginStanding]) -> str:
    """Return what would have been needed for the levels that may be within the margin and are not shown to be."""
    unshown = [item for item in unshown if _may_be_within(item, answer.margin or 0.0)]
    if not unshown:
        return ""
    if max(item.prompts for item in unshown) < answer.least_prompts:
        return f"; whatever the margin, that takes {at_least(answer.least_prompts, ' prompts')}"
    if answer.could_show is None:
        return ""
    return (
        f"; where nothing differs, 4 in 5 such experiments would show a margin of {_amount(answer.could_show, measure)}"
    )


def _may_be_within(item: MarginStanding, margin: float) -> bool:
    low, high = item.difference.low, item.difference.high
    return low is None or high is None or (low < margin and high > -margin)


def _equal(measure: Measure) -> str:
    if measure.direction == "none":
        return "equal"
    return "equally fast" if measure.column == TIME_COLUMN else "equally good"


def _as(measure: Measure) -> str:
    if measure.direction == "none":
        return "equal to"
    return "as fast as" if measure.column == TIME_COLUMN else "as good as"


def _amount(value: float, measure: Measure) -> str:
    return format_number(value, decimals_for(value)) + _unit(measure)


def _margin_text(margin: float, measure: Measure) -> str:
    return f"{margin:g}{_unit(measure)}"


def _unit(measure: Measure) -> str:
    return f" {measure.unit}" if measure.unit else ""


def standing_text(item: MarginStanding, measure: Measure) -> str:
    """Return whether a level is within the margin, for tables: `as good`, `not worse` or `not shown`."""
    if item.is_as_good:
        return _as(measure).removesuffix(" as").removesuffix(" to")
    if item.is_not_worse:
        return "not slower" if measure.column == TIME_COLUMN else "not worse"
    return "not shown"
