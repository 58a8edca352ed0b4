"""What planned looks say in sentences: of each level how it ended, and an account of looks, error and pictures."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.stats.level_names import quoted
from experiments.stats.measures import Measure
from experiments.stats.numbers_as_text import decimals_for, format_number
from experiments.stats.paired_statistics import ALPHA
from experiments.store.look_log import LevelAtLook, LookLog
from llm_dit.errors import listed

MOST_LEVELS_NAMED = 12
ENDS = {
    "decided": "every level was decided",
    "prompts": "the prompts were used up",
    "images": "the next look would have taken more pictures than --max-images",
    "hours": "--max-hours were over",
    "": "it is not finished",
}
"""Why it stopped, as the rest of a sentence."""


def look_sentences(log: LookLog, measure: Measure, variable: str, baseline: str) -> list[str]:
    """Return what the looks have shown, the verdict first and the account of it last.

    Args:
        log: The looks taken.
        measure: That decides.
        variable: What is varied.
        baseline: The level that others are compared with, as a sentence names it.
    """
    latest = log.latest
    if latest is None:
        return [f"No look has been taken yet; the first comes after {log.plan.prompts[0]} prompts."]
    verdict = _race_sentence(log, measure, variable) if log.plan.is_race else _verdict(log, measure, variable, baseline)
    return [verdict, account_sentence(log)]


def account_sentence(log: LookLog) -> str:
    """Return how often was looked, what error that spent, which pictures it saved, and why it stopped."""
    latest, plan = log.latest, log.plan
    assert latest is not None, "an account needs a look"
    looks = len(log.taken)
    times = listed([str(count) for count in plan.prompts], len(plan.prompts))
    last = len(plan.prompts) - 1
    is_early = any(level.ended_at is not None and level.ended_at < last for level in latest.levels.values())
    bias = "; means of levels that ended early lie a little too far from 0." if is_early else "."
    return (
        f"{looks} of {len(plan.prompts)} planned looks taken (after {times} prompts), {_spent(log)}, "
        f"{_saved(log)} pictures of the full design not drawn; "
        f"{ENDS.get(log.end, log.end)}. Intervals hold at all looks together{bias}"
    )


def _spent(log: LookLog) -> str:
    latest, plan = log.latest, log.plan
    assert latest is not None
    time = latest.prompts / plan.prompts[-1]
    told = f"{100 * ALPHA * time**plan.exponent:.1f} of {100 * ALPHA:.0f} % of error spent"
    if plan.is_race or plan.margin is None or (plan.within_exponent == plan.exponent and not plan.outside_share):
        return told
    whole = 100 * ALPHA * (1 - plan.outside_share)
    return f'{told} and {whole * time**plan.within_exponent:.1f} of {whole:g} % of that of "as good as"'


def _saved(log: LookLog) -> str:
    latest = log.latest
    assert latest is not None
    whole = len(log.plan.order) * log.pictures_a_prompt
    return f"{whole - log.pictures_drawn} of {whole}"


def _verdict(log: LookLog, measure: Measure, variable: str, baseline: str) -> str:
    latest = log.latest
    assert latest is not None
    groups: dict[str, list[tuple[str, LevelAtLook]]] = {}
    for name, item in latest.levels.items():
        groups.setdefault(item.state, []).append((name, item))
    clauses = []
    for state, verb in (("better", "beats"), ("worse", "loses to")):
        for name, item in _by_size(groups.get(state, ())):
            clauses.append(f"{quoted(name)} {verb} {baseline} by {_amount(item, measure)} after {item.prompts} prompts")
    equal = groups.get("as good as", ())
    if equal:
        margin = f"{log.plan.margin:g}{_unit(measure)}"
        clauses.append(
            f"{_names(equal)} {_be(equal)} as good as {baseline}: {'they differ' if len(equal) > 1 else 'it differs'} "
            f"by less than {margin}"
        )
    stopped = groups.get("unpromising", ())
    if stopped:
        were = "were" if len(stopped) > 1 else "was"
        clauses.append(
            f"{_names(stopped)} {were} stopped as unpromising, which says nothing of a difference too small to find"
        )
    undecided = groups.get("open", ())
    if undecided:
        when = "at the end" if log.end else f"after {latest.prompts} prompts"
        clauses.append(f"{_names(undecided)} {_be(undecided)} undecided {when}")
    return f"{variable} {'; '.join(clauses)}."


def _race_sentence(log: LookLog, measure: Measure, variable: str) -> str:
    latest = log.latest
    assert latest is not None
    left = [(name, item) for name, item in latest.levels.items() if item.state != "dropped"]
    dropped = [(name, item) for name, item in latest.levels.items() if item.state == "dropped"]
    tail = f"; {_names(dropped)} dropped out" if dropped else ""
    if len(left) == 1:
        best = quoted(left[0][0])
        return f"{variable} {best} is the best: every other level was shown to be worse than the leader{tail}."
    if latest.is_within_margin:
        whom = "they differ" if len(left) == 2 else f"they differ from {quoted(latest.leader)}, which leads,"
        return f"{variable} {_names(left)} are left; {whom} by less than {log.plan.margin:g}{_unit(measure)}{tail}."
    when = "at the end" if log.end else f"after {latest.prompts} prompts"
    return f"{variable} {_names(left)} are left {when}, and {quoted(latest.leader)} leads{tail}."


def _amount(item: LevelAtLook, measure: Measure) -> str:
    assert item.mean is not None, "what was decided has a mean"
    if item.low is None or item.high is None:
        return f"{format_number(abs(item.mean), 3)}{_unit(measure)}"
    decimals = decimals_for((item.high - item.low) / 2)
    sign = 1 if item.mean > 0 else -1
    low, high = sorted((sign * item.low, sign * item.high))
    amounts = [format_number(value, decimals) for value in (abs(item.mean), low, high)]
    return f"{amounts[0]}{_unit(measure)} (95 % interval {amounts[1]} to {amounts[2]})"


def _by_size(items: Iterable[tuple[str, LevelAtLook]]) -> list[tuple[str, LevelAtLook]]:
    return sorted(items, key=lambda pair: -abs(pair[1].mean or 0.0))


def _names(items: Iterable[tuple[str, LevelAtLook]]) -> str:
    names = [quoted(name) for name, _ in items]
    if len(names) <= MOST_LEVELS_NAMED and len(names) > 1:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return listed(names, MOST_LEVELS_NAMED)


def _be(items: object) -> str:
    return "are" if isinstance(items, list) and len(items) > 1 else "is"


def _unit(measure: Measure) -> str:
    return f" {measure.unit}" if measure.unit else ""
