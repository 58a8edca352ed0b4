"""The answer in sentences, and how numbers are rounded in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.stats.extension import Extension, Look
from experiments.stats.fidelity import fidelity_sentences
from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.grids import AxisEffect, Interaction
from experiments.stats.level_names import quoted
from experiments.stats.levels import Comparison, Estimate
from experiments.stats.look_sentences import look_sentences
from experiments.stats.margin_sentences import margin_sentence, without_margin_sentence
from experiments.stats.measures import TIME_COLUMN, Measure
from experiments.stats.numbers_as_text import (
    decimals_for,
    format_amount,
    format_number,
    format_p_value,
    format_share,
    least_shown,
)
from experiments.stats.paired_statistics import at_least, least_prompts
from llm_dit.errors import listed

MOST_LEVELS_NAMED = 3
MOST_LOOKS_NAMED = 6


def sentences(analysis: Analysis, result: MeasureAnalysis) -> list[str]:
    """Return what can be said about one measure.

    The first sentence compares the levels with the baseline, by planned looks where they decided; the next says which
    of them are as good as it, or which margin could have shown that; in grids one per axis and one per interaction
    follow. The last one tells of results that were extended after they had been analysed.
    Of a measure of pairs they say how far each level is, and nothing of better.
    """
    variable = " x ".join(analysis.axes)
    if result.measure.is_of_pairs:
        return fidelity_sentences(result.measure, result.levels, variable, analysis.baseline)
    if result.looks is not None:
        first = look_sentences(result.looks, result.measure, variable, quoted(analysis.baseline))
    else:
        first = [comparison_sentence(result.measure, variable, analysis.baseline, result.comparisons)]
    axes = [sentence for effect in result.main_effects for sentence in _axis_sentences(result.measure, effect)]
    rest = [_interaction_sentence(item) for item in result.interactions]
    can_claim = result.extension is not None and not all(item.is_identical for item in result.comparisons)
    extended = [_extension_sentence(result, result.extension)] if result.extension and can_claim else []
    return [*first, *_margin_sentences(analysis, result, variable), *axes, *rest, *extended]


def _margin_sentences(analysis: Analysis, result: MeasureAnalysis, variable: str) -> list[str]:
    answer = result.margin
    if answer is None:
        return []
    if answer.margin is not None:
        return [margin_sentence(result.measure, variable, analysis.baseline, answer)]
    asked = without_margin_sentence(result.measure, answer, result.comparisons)
    return [] if asked is None else [asked]


def format_estimate(estimate: Estimate, unit: str = "", decimals: int | None = None) -> tuple[str, str, str]:
    """Return mean and interval ends as text, rounded alike; empty ends where there is no interval."""
    if decimals is None:
        decimals = decimals_for(_half_width(estimate))
    mean = format_number(estimate.mean, decimals) + _spaced(unit)
    if estimate.low is None or estimate.high is None:
        return mean, "", ""
    return mean, format_number(estimate.low, decimals), format_number(estimate.high, decimals)


def is_too_small_to_show(estimate: Estimate, decimals: int) -> bool:
    """Return whether an estimate is not 0 and yet, with its whole interval, would look like 0."""
    ends = [end for end in (estimate.low, estimate.high) if end is not None]
    return estimate.mean != 0 and not any(float(format_number(value, decimals)) for value in (estimate.mean, *ends))


def decimals_of(result: MeasureAnalysis) -> int:
    """Return the decimals for a table of one measure: what its most certain difference, else its means deserve."""
    differences = [item.difference for item in result.comparisons if item.difference]
    widths = [_half_width(item) for item in differences] or [
        _half_width(summary.estimate) for summary in result.levels if summary.estimate
    ]
    return decimals_for(min((width for width in widths if width), default=0.0))


def _half_width(estimate: Estimate) -> float:
    """Return half the interval's width; 0 where there is none, or none but for rounding."""
    if estimate.low is None or estimate.high is None:
        return 0.0
    width = (estimate.high - estimate.low) / 2
    return width if width > 1e-9 * max(abs(estimate.low), abs(estimate.high)) else 0.0


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def _verbs(measure: Measure) -> tuple[str, str]:
    """Return what a better and a worse level does to the baseline; higher and lower where neither is better."""
    if measure.column == TIME_COLUMN:
        return "is faster than", "is slower than"
    return ("is higher than", "is lower than") if measure.direction == "none" else ("beats", "loses to")


def comparison_sentence(measure: Measure, variable: str, baseline: str, comparisons: Sequence[Comparison]) -> str:
    """Return how the levels stand to the baseline: what is found, what is not, and what could not have been."""
    paired = [comparison for comparison in comparisons if comparison.pairs]
    named = f"{variable} {quoted(baseline)}"
    if not paired:
        return f"Nothing can be compared with {named}: no other level shares a scored prompt and seed with it."
    prompts = max(comparison.prompts for comparison in paired)
    if prompts < 2:
        reason = "no interval and no test, since one prompt does not say how the next would differ"
        return f"Only one prompt: {reason}{_tendency(measure, paired)}."
    if all(comparison.is_identical for comparison in paired):
        return f"Every level gave exactly the same numbers as {named}."
    found = sorted((item for item in paired if item.is_found), key=lambda item: -_gain(measure, item))
    if not found:
        return _nothing_found(measure, variable, baseline, paired)
    clauses = [f"{variable} {_clause(measure, found[0], quoted(baseline))}"]
    clauses += [_clause(measure, item, "it") for item in found[1:MOST_LEVELS_NAMED]]
    if len(found) > MOST_LEVELS_NAMED:
        more = len(found) - MOST_LEVELS_NAMED
        clauses.append(f"{more} more {'differs' if more == 1 else 'differ'} from it, see the table")
    rest = [comparison for comparison in paired if not comparison.is_found]
    return "; ".join([*clauses, *_rest_clause(rest, are_all=len(paired) == len(comparisons))]) + "."


def _gain(measure: Measure, comparison: Comparison) -> float:
    """Return the difference counted so that positive is the first of `_verbs`."""
    assert comparison.difference is not None
    return -comparison.difference.mean if measure.direction == "lower" else comparison.difference.mean


def _clause(measure: Measure, comparison: Comparison, baseline: str) -> str:
    assert comparison.difference is not None
    difference = comparison.difference
    assert difference.low is not None
    assert difference.high is not None
    sign = math.copysign(1.0, difference.mean)
    ends = sorted((sign * difference.low, sign * difference.high))
    verb = _verbs(measure)[0 if _gain(measure, comparison) > 0 else 1]
    named = f"{quoted(comparison.level)} {verb} {baseline} by"
    amount, low, high = format_estimate(Estimate(abs(difference.mean), *ends), measure.unit)
    if _is_nothing(amount):
        return f"{named} less than {least_shown(_decimals_in(amount))}{_spaced(measure.unit)}"
    return f"{named} {amount}, 95 % interval {low} to {high}"


def _is_nothing(amount: str) -> bool:
    """Return whether a formatted amount rounds to zero."""
    return float(amount.split()[0]) == 0


def _decimals_in(amount: str) -> int:
    return len(amount.split()[0].partition(".")[2])


def _rest_clause(rest: Sequence[Comparison], *, are_all: bool) -> list[str]:
    """Say what of the levels that were not found to differ; not `are_all` where others have no numbers at all."""
    open_, hopeless = _by_hope(rest)
    clauses = []
    if open_:
        who = quoted(open_[0].level) if len(rest) == 1 else "the others" if are_all else "the others that have numbers"
        clauses.append(f"{who} can't be told apart from it with {_prompts_of(open_)} prompts")
    return clauses + _hopeless_clause(hopeless)


def _by_hope(comparisons: Sequence[Comparison]) -> tuple[list[Comparison], list[Comparison]]:
    """Part comparisons into those that could have shown a difference and those that could not, however large."""
    return [item for item in comparisons if item.can_be_found], [item for item in comparisons if not item.can_be_found]


def _prompts_of(comparisons: Sequence[Comparison]) -> str:
    """Return `60`, or `40 to 60` where levels have different numbers of prompts."""
    least, most = (choose(item.prompts for item in comparisons) for choose in (min, max))
    return f"{most}" if least == most else f"{least} to {most}"


def _hopeless_clause(hopeless: Sequence[Comparison]) -> list[str]:
    """Name the levels that could show nothing, with what they lack."""
    if not hopeless:
        return []
    lacking = [_what_it_lacks(item) for item in hopeless]
    return [f"too little to show any difference, however large: {listed(lacking, MOST_LEVELS_NAMED)}"]


def _what_it_lacks(comparison: Comparison) -> str:
    name, prompts = quoted(comparison.level), comparison.prompts
    if comparison.differing < prompts:
        return f"{name} (differs on {comparison.differing} of {prompts} prompts)"
    return f"{name} ({prompts} prompt{'s' if prompts > 1 else ''})"


def _tendency(measure: Measure, paired: Sequence[Comparison]) -> str:
    """Return what was seen without claiming it for other prompts."""
    best = max(paired, key=lambda item: _gain(measure, item))
    prompts = "this one" if best.prompts == 1 else f"these {best.prompts}"
    if _gain(measure, best) <= 0:
        return ""
    assert best.difference is not None
    amount = format_estimate(Estimate(abs(best.difference.mean), None, None), measure.unit)[0]
    if _is_nothing(amount):
        return ""
    side = "above" if best.difference.mean > 0 else "below"
    return f"; on {prompts}, the mean of {quoted(best.level)} is {amount} {side} that of {quoted(best.baseline)}"


def _nothing_found(measure: Measure, variable: str, baseline: str, paired: Sequence[Comparison]) -> str:
    open_, hopeless = _by_hope(paired)
    if not open_:
        return _nothing_possible(measure, variable, baseline, paired)
    who, whom = f"{variable} {quoted(open_[0].level)} can't", quoted(baseline)
    if len(paired) > 1:
        who, whom = "No level can", f"{variable} {quoted(baseline)}"
    clauses = [f"{who} be told apart from {whom} with {_prompts_of(open_)} prompts"]
    detectable = [item.detectable for item in open_ if item.detectable is not None]
    if detectable:
        amount = format_amount(max(detectable), decimals_for(max(detectable))) + _spaced(measure.unit)
        half = max((item.prompts_for_half or 0) for item in open_)
        needs = f", half of that needs {half} prompts" if half else ""
        clauses.append(f"4 in 5 such experiments would have found a difference of {amount}{needs}")
    return "; ".join([*clauses, *_hopeless_clause(hopeless)]) + "."


def _nothing_possible(measure: Measure, variable: str, baseline: str, paired: Sequence[Comparison]) -> str:
    prompts, tests, cost = max(comparison.prompts for comparison in paired), paired[0].tests, paired[0].cost
    beginning = f"With {prompts} prompts no difference from {variable} {quoted(baseline)} can be shown, however large"
    least = least_prompts(tests * cost)
    if prompts >= least:
        return f"{beginning}: {', '.join(_what_it_lacks(item) for item in paired[:MOST_LEVELS_NAMED])}."
    needed = f"{tests} comparisons need" if tests > 1 else "one comparison needs" if len(paired) == 1 else "it takes"
    if cost > 1:
        needed = "after an earlier analysis it takes"
    elif math.isinf(least):
        needed = "it takes"
    return f"{beginning}: {needed} {at_least(least, ' prompts')}{_tendency(measure, paired)}."


def _axis_sentences(measure: Measure, effect: AxisEffect) -> list[str]:
    found = [comparison_sentence(measure, effect.axis, effect.baseline, effect.comparisons)]
    if effect.margin is not None and effect.margin.margin is not None:
        found.append(margin_sentence(measure, effect.axis, effect.baseline, effect.margin))
    return [f"Averaged over the other axes: {sentence}" for sentence in found]


def _extension_sentence(result: MeasureAnalysis, extension: Extension) -> str:
    """Say how often the results were looked at before they were extended, and what that does to the error."""
    count = len(extension.looks)
    times = {1: "once", 2: "twice"}.get(count, f"{count} times")
    sentence = (
        f"Extended {times} after it had been analysed (on {_looked_at(extension.looks)}): "
        f"who adds prompts or seeds until p is below 5 % "
        f"claims something in up to {format_share(extension.false_claims)} of the experiments where nothing differs"
    )
    tested = [item for item in result.comparisons if item.p_holm is not None]
    if not tested:
        return f"{sentence}."
    surest = min(tested, key=lambda item: (item.p_holm or 0.0, item.p_value or 0.0))
    assert surest.p_holm is not None and surest.p_value is not None
    return (
        f"{sentence}. The corrected p allows for it: {format_p_value(surest.p_holm)} for {quoted(surest.level)}, "
        f"{format_p_value(surest.p_value)} alone. To start afresh, take another --name, new seeds "
        "and looks that are planned (--until-decided)."
    )


def _looked_at(looks: Sequence[Look]) -> str:
    """Return `12, 18 prompts`, with seeds where there were several."""
    if all(look.seeds == 1 for look in looks):
        return f"{listed([str(look.prompts) for look in looks], MOST_LOOKS_NAMED)} prompts"
    counted = [f"{look.prompts} prompts with {look.seeds} seed{'s' if look.seeds > 1 else ''}" for look in looks]
    return listed(counted, MOST_LOOKS_NAMED)


def _interaction_sentence(interaction: Interaction) -> str:
    axes = f"{interaction.row_axis} and {interaction.column_axis}"
    cells = [cell for row in interaction.deviations for cell in row]
    if interaction.prompts < 2:
        return f"Whether {axes} depend on each other can't be said: fewer than two prompts have every combination."
    if interaction.prompts < least_prompts(1):
        return (
            f"Whether {axes} depend on each other can't be shown with {interaction.prompts} prompts: "
            f"it takes at least {least_prompts(1)}."
        )
    found = sorted((cell for cell in cells if cell.is_found), key=lambda cell: cell.p_holm or 0.0)
    if not found:
        return (
            f"No sign that {axes} depend on each other, with {interaction.prompts} prompts that have every combination."
        )
    levels = listed([cell.level for cell in found], MOST_LEVELS_NAMED)
    return f"{axes[0].upper()}{axes[1:]} depend on each other: {levels} differ from the sum of the two effects."
