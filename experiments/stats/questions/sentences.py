"""What can be said of questions after the first, as carefully as of the first one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from experiments.stats.level_names import quoted
from experiments.stats.levels import Comparison, Estimate
from experiments.stats.measures import Measure
from experiments.stats.numbers_as_text import decimals_for, format_number, format_p_value
from experiments.stats.paired_statistics import at_least, least_prompts
from experiments.stats.questions.all_pairs import PairedLevels
from experiments.stats.questions.answering import Answer
from experiments.stats.questions.correlations import Correlation
from experiments.stats.questions.groups import Disagreement, Grouped
from experiments.stats.questions.trends import Trend
from experiments.stats.verdict import comparison_sentence, format_estimate
from llm_dit.errors import listed

MOST_LEVELS_NAMED = 3


def answer_sentences(answer: Answer) -> list[str]:
    """Return what can be said of one measure: pairs, groups, then the trend."""
    return [
        *(pairs_sentence(answer.measure, pairs) for pairs in answer.pairs),
        *(group_sentences(answer.measure, answer.grouped) if answer.grouped else ()),
        *([trend_sentence(answer.measure, answer.trend)] if answer.trend else ()),
    ]


def pairs_sentence(measure: Measure, pairs: PairedLevels) -> str:
    """Return which level leads and which others it beats, corrected for all pairs."""
    tested = [item for item in pairs.comparisons.values() if item.p_holm is not None]
    if not tested:
        return f"No two levels of {pairs.variable} can be compared: each pair shares fewer than two prompts."
    sign = -1.0 if measure.direction == "lower" else 1.0
    best = max(pairs.levels, key=lambda level: sign * pairs.lead(level))
    found = [item for item in tested if item.is_found]
    counted = f"{len(tested)} pair{'s' if len(tested) > 1 else ''} of levels"
    prompts = _range(item.prompts for item in tested)
    lead = {"none": "the highest mean", "lower": "the best (lowest) mean"}.get(measure.direction, "the best mean")
    if not found:
        if not any(item.can_be_found for item in tested):
            return _no_pair_can_be_found(pairs.variable, tested, prompts)
        return f"No two levels of {pairs.variable} can be told apart with {prompts} prompts, corrected for {counted}."
    beaten: list[str] = []
    open_: list[str] = []
    others = [level for level in pairs.levels if level != best]
    for level in others:
        known = pairs.of(best, level)
        if known is not None:
            item, turn = known
            ahead = item.difference is not None and sign * turn * item.difference.mean > 0
            (beaten if item.is_found and ahead else open_).append(level)
    verb = "lies above" if measure.direction == "none" else "beats"
    clauses = [f"{pairs.variable} {quoted(best)} has {lead}"]
    if beaten:
        are_all = len(beaten) == len(others)
        everyone = "" if open_ else " every other level:" if are_all else " every other level that has numbers:"
        clauses.append(f"it {verb}{everyone} {_named(beaten)}")
    if open_:
        clauses.append(f"it can't be told apart from {_named(open_)} with {prompts} prompts")
    differ = "differs" if len(found) == 1 else "differ"
    return f"{'; '.join(clauses)}. {len(found)} of {counted} {differ} after correction for all of them."


def _no_pair_can_be_found(variable: str, tested: Sequence[Comparison], prompts: str) -> str:
    """Say why no difference between any two levels could be shown: too few prompts, or too few that differ."""
    if all(item.is_identical for item in tested):
        return f"All levels of {variable} gave exactly the same numbers."
    beginning = f"With {prompts} prompts no two levels of {variable} can be told apart, however far they lie"
    needed = least_prompts(max(item.tests for item in tested) * tested[0].cost)
    if max(item.prompts for item in tested) >= needed:
        return f"{beginning}: at most {max(item.differing for item in tested)} of them differ."
    return f"{beginning}: it takes {at_least(needed)}."


def group_sentences(measure: Measure, grouped: Grouped) -> list[str]:
    """Return the verdict in each group, and whether the groups differ."""
    verdicts = [
        f"{grouped.by} {quoted(group.name)}: "
        f"{comparison_sentence(measure, grouped.variable, grouped.baseline, group.comparisons)}"
        for group in grouped.groups
    ]
    return [*verdicts, disagreement_sentence(measure, grouped)]


def disagreement_sentence(measure: Measure, grouped: Grouped) -> str:
    """Return whether the answer differs by groups."""
    found = [item for item in grouped.disagreements if item.is_found]
    beginning = f"Whether the answer differs by {grouped.by}"
    if not any(item.p_corrected is not None for item in grouped.disagreements):
        return f"{beginning} can't be said: fewer than two groups have two prompts with both levels."
    if found:
        clauses = [
            _disagreement_clause(measure, grouped, item)
            for item in sorted(found, key=lambda item: item.p_corrected or 0.0)
        ]
        return f"The answer differs by {grouped.by}: {listed(clauses, MOST_LEVELS_NAMED)}."
    sizes = _range(group.prompts for group in grouped.groups)
    if not grouped.is_possible:
        return f"{beginning} can't be shown with {sizes} prompts in a group, however much."
    return (
        f"No sign that the answer differs by {grouped.by}, with {sizes} prompts in a group; that does not show it to "
        "be the same."
    )


def _disagreement_clause(measure: Measure, grouped: Grouped, item: Disagreement) -> str:
    spread = abs(item.high[1] - item.low[1])
    decimals = decimals_for(spread / 4)
    assert item.p_corrected is not None
    ends = [
        f"{_signed(amount, decimals)}{_unit(measure)} for {quoted(group)}" for group, amount in (item.high, item.low)
    ]
    return f"{grouped.variable} {quoted(item.level)} is {ends[0]} and {ends[1]} (p {format_p_value(item.p_corrected)})"


def trend_sentence(measure: Measure, trend: Trend) -> str:
    """Return whether the measure rises or falls along an axis, and whether the line bends."""
    if trend.slope is None or trend.p_corrected is None:
        return f"No line can be tested along {trend.axis}: fewer than two prompts have every level.{_way_out(trend)}"
    if not trend.can_be_found:
        needed, differing = least_prompts(trend.tests), sum(slope != 0 for slope in trend.slopes.values())
        if differing < trend.prompts and trend.prompts >= needed:
            return (
                f"No slope along {trend.axis} can be shown, however steep: {differing} of {trend.prompts} prompts have "
                "one."
            )
        return (
            f"With {trend.prompts} prompts no slope along {trend.axis} can be shown, however steep: it takes "
            f"{at_least(needed)}."
        )
    rising = sum(slope > 0 for slope in trend.slopes.values())
    share = f"it rises for {rising} of {trend.prompts} prompts"
    if trend.is_found:
        amount, low, high = format_estimate(_upright(trend.slope), measure.unit)
        verb = "rises" if trend.slope.mean > 0 else "falls"
        ends = f", 95 % interval {low} to {high}" if low else ""
        first = f"It {verb} along {trend.axis}, by {amount} for each 1 more{ends}; {share}"
    else:
        first = f"No slope along {trend.axis} can be told from 0 with {trend.prompts} prompts; {share}"
    if trend.bend is None:
        return f"{first}."
    if not trend.is_bent:
        return f"{first}. No sign that the line bends."
    side = "above" if trend.bend.mean < 0 else "below"
    return (
        f"{first}. The line bends (p {format_p_value(trend.p_bend or 0.0)}): levels in the middle lie {side} it, so "
        "one slope does not say it all."
    )


def _way_out(trend: Trend) -> str:
    """Say how a line is asked for without the levels that have no number."""
    if not trend.empty or len(trend.filled) < 2:
        return ""
    have = "has" if len(trend.empty) == 1 else "have"
    rest = ",".join(trend.filled)
    return f" {listed(trend.empty, MOST_LEVELS_NAMED)} {have} no number; --where {trend.axis}={rest} leaves them out."


def correlation_sentence(item: Correlation) -> str:
    """Return whether two measures go together within prompts."""
    pair = f"{item.first.title} and {item.second.title}"
    if item.within is None:
        return f"Whether {pair} go together can't be said: one of them does not vary within prompts."
    if item.p_corrected is None:
        return f"Whether {pair} go together can't be said: fewer than two prompts have both at two levels."
    ends = "" if item.low is None or item.high is None else f", 95 % interval {item.low:.2f} to {item.high:.2f}"
    known = f"correlation {item.within:.2f}{ends}, {item.prompts} prompts"
    if not item.is_found:
        return f"Within a prompt, no sign that {pair} go together ({known})."
    how = "go together" if item.within > 0 else "go against each other"
    return f"Within a prompt, {pair} {how} ({known}, p {format_p_value(item.p_corrected)})."


def _upright(slope: Estimate) -> Estimate:
    """Return a slope counted in its own direction, with its ends in order."""
    if slope.mean >= 0:
        return slope
    ends = (None, None) if slope.low is None or slope.high is None else (-slope.high, -slope.low)
    return Estimate(-slope.mean, *ends)


def _named(levels: Sequence[str]) -> str:
    return listed([quoted(level) for level in levels], MOST_LEVELS_NAMED)


def _range(counts: Iterable[int]) -> str:
    numbers = list(counts)
    least, most = min(numbers, default=0), max(numbers, default=0)
    return f"{most}" if least == most else f"{least} to {most}"


def _signed(value: float, decimals: int) -> str:
    text = format_number(value, decimals)
    return f"+{text}" if value > 0 and float(text) else text


def _unit(measure: Measure) -> str:
    return f" {measure.unit}" if measure.unit else ""
