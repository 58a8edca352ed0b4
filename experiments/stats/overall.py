"""One sentence over all measures of an experiment: which of them agree about a level, and which contradict each other.

It says no more than the tests of each measure do, each corrected for itself, and no amounts: those are in
`experiments.stats.verdict`, measure by measure. Distances to the baseline have no test and so no part in it; of a race,
which compares no level with the baseline, it says nothing. The time is told where it differs by a tenth or more, or
counts: less can be found as surely, and is the machine's as easily as the level's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.level_names import quoted
from experiments.stats.levels import Comparison
from experiments.stats.margins import MarginAnswer
from experiments.stats.measures import TIME_COLUMN, Measure
from llm_dit.errors import listed

State = Literal["better", "worse", "as good", "open", "hopeless"]
"""What a test says of a level: `hopeless` is one that could have shown no difference, however large."""

FOUND: tuple[State, ...] = ("better", "worse")
NOTABLE_TIME: Final = 0.1
"""Share of the baseline's time from which a difference is told beside scores; `measure_speed.py` calls a machine
disturbed on which one level's own times lie so far apart."""
MOST_LEVELS = 6
MOST_TITLES = 4


@dataclass(frozen=True)
class _Findings:
    """What one measure's tests say: level to state, the prompts that they rest on, and levels that differ by little."""

    measure: Measure
    states: Mapping[str, State]
    prompts: int
    slight: frozenset[str] = frozenset()

    @property
    def is_score(self) -> bool:
        return self.measure.direction != "none" and self.measure.column != TIME_COLUMN

    def levels(self, *states: State) -> list[str]:
        return [level for level, state in self.states.items() if state in states]

    def notable(self) -> _Findings:
        """Return it without the levels that differ by little."""
        states = {level: state for level, state in self.states.items() if level not in self.slight}
        return replace(self, states=states)


def overall_sentence(analysis: Analysis, results: Sequence[MeasureAnalysis] | None = None) -> str:
    """Return what all measures together say of the levels.

    The measure that counts, where somebody named one, leads, and the others are told by how they stand to it.

    Args:
        analysis: The experiment's numbers.
        results: Some of its measures; all of them by default.

    Returns:
        One sentence; empty where no level has been tested by any measure, and of a race, which has its own verdict.
    """
    if any(item.looks is not None and item.looks.plan.is_race for item in analysis.measures):
        return ""
    shown = analysis.measures if results is None else results
    main = [item for item in shown if item.measure.is_main and not item.measure.is_of_pairs]
    found = [_findings(item.measure, item.comparisons, item.margin, item) for item in main]
    tested = [item for item in found if item.states]
    if not tested:
        return _untested(main)
    variable = " x ".join(analysis.axes)
    baseline = f"{variable} {quoted(analysis.baseline)}"
    primary = next((item for item in tested if item.measure.column == analysis.primary), None)
    clauses = [*_scores(tested, primary, baseline), *_averaged(main), *_others(tested, primary)]
    sentence = "; ".join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _findings(
    measure: Measure,
    comparisons: Sequence[Comparison],
    margin: MarginAnswer | None,
    result: MeasureAnalysis | None = None,
) -> _Findings:
    as_good = set() if margin is None else {item.level for item in margin.standings if item.is_as_good}
    if result is not None and result.looks is not None and result.looks.latest is not None:
        as_good |= {name for name, item in result.looks.latest.levels.items() if item.state == "as good as"}
    tested = [item for item in comparisons if item.p_holm is not None and item.difference is not None]
    states = {item.level: _state(measure, item, is_as_good=item.level in as_good) for item in tested}
    slight = _slight_times(result) if result is not None and measure.column == TIME_COLUMN else frozenset()
    return _Findings(measure, states, max((item.prompts for item in tested), default=0), slight)


def _slight_times(result: MeasureAnalysis) -> frozenset[str]:
    """Return the levels whose time differs from the baseline's by less than `NOTABLE_TIME` of it."""
    usual = {item.level: item.estimate.mean for item in result.levels if item.estimate is not None}
    return frozenset(
        item.level
        for item in result.comparisons
        if item.difference is not None and abs(item.difference.mean) < NOTABLE_TIME * usual.get(item.baseline, 0.0)
    )


def _state(measure: Measure, comparison: Comparison, *, is_as_good: bool) -> State:
    if comparison.is_found:
        assert comparison.difference is not None
        is_higher = comparison.difference.mean > 0
        return "better" if is_higher != (measure.direction == "lower") else "worse"
    if is_as_good:
        return "as good"
    return "open" if comparison.can_be_found else "hopeless"


def _untested(results: Sequence[MeasureAnalysis]) -> str:
    """Say that one prompt tests nothing; empty where there is nothing to compare, which each measure says itself.

    Times leave the first prompt out, which carries the warm-up, so they say nothing of how many there are.
    """
    scores = [result for result in results if result.measure.column != TIME_COLUMN]
    compared = [item for result in scores for item in result.comparisons if item.pairs]
    if not compared or max(item.prompts for item in compared) > 1:
        return ""
    return "With one prompt nothing can be shown by any measure: it does not say how the next would differ."


def _scores(tested: Sequence[_Findings], primary: _Findings | None, baseline: str) -> list[str]:
    """Return the clauses on scores, the measure that counts first."""
    scores = [item for item in tested if item.is_score]
    if primary is not None and not primary.is_score:
        first = f"by {primary.measure.title}, which counts, {_of_another_kind(primary, baseline)}"
        return [first, *_together(scores, baseline)]
    if primary is None or len(scores) == 1:
        return _together(scores, baseline) or [f"no score compares any level with {baseline} yet"]
    own = "; ".join(_by_state([primary], baseline))
    others = [f"{item.measure.title} {_beside(primary, item)}" for item in scores if item is not primary]
    return [f"by {primary.measure.title}, which counts, {own}", f"exploratory: {listed(others, MOST_TITLES)}"]


def _together(scores: Sequence[_Findings], baseline: str) -> list[str]:
    """Return what scores of which none counts more say, each level with those that say the same of it."""
    clauses = _by_state(scores, baseline)
    if not clauses:
        return []
    titles = _and([item.measure.title for item in scores], MOST_TITLES)
    beginning = f"by {titles}, the only score, " if len(scores) == 1 else f"over {titles}: "
    return [f"{beginning}{clauses[0]}", *clauses[1:]]


def _by_state(scores: Sequence[_Findings], baseline: str, *, only_found: bool = False) -> list[str]:
    """Return a clause for each group of levels of which every score says the same."""
    groups: dict[tuple[State, ...], list[str]] = {}
    for level in dict.fromkeys(name for item in scores for name in item.states):
        seen = tuple(_plain(item.states.get(level, "open")) for item in scores)
        groups.setdefault(seen, []).append(level)
    told = [states for states in groups if set(states) & {*FOUND, "as good"}]
    clauses: list[str] = []
    for states in sorted(told, key=_rank):
        clauses.append(_clause(scores, states, groups[states], "it" if clauses else baseline))
    rest = [level for states, levels in groups.items() if states not in told for level in levels]
    if rest and not only_found:
        clauses.append(_nothing(scores, rest, baseline, are_all=not told))
    return clauses


def _plain(state: State) -> State:
    return "open" if state == "hopeless" else state


def _rank(states: Sequence[State]) -> tuple[bool, bool, bool]:
    """Order groups: contradictions first, then what is better, then what is worse, then what is as good."""
    return (not set(FOUND) <= set(states), "better" not in states, "worse" not in states)


def _clause(scores: Sequence[_Findings], states: Sequence[State], levels: Sequence[str], baseline: str) -> str:
    by = {
        state: [item.measure.title for item, seen in zip(scores, states, strict=True) if seen == state]
        for state in ("better", "worse", "as good", "open")
    }
    named, is_one = _levels(levels), len(levels) == 1
    alone = len(scores) == 1
    if by["better"] and by["worse"]:
        sides = f"better than {baseline} by {_and(by['better'])}, worse by {_and(by['worse'])}"
        return f"the scores contradict each other about {named}, {sides}"
    verbs: dict[str, str] = {
        "better": f"beat{'s' if is_one else ''}",
        "worse": f"lose{'s' if is_one else ''} to",
        "as good": f"{'is' if is_one else 'are'} as good as",
    }
    first, *further = (state for state in verbs if by[state])
    clause = f"{named} {verbs[first]} {baseline}" + ("" if alone else f" by {_all_of(by[first], scores)}")
    clause += "".join(f", {verbs[state]} it by {_and(by[state])}" for state in further)
    return clause + (f", and can't be told apart from it by {_and(by['open'])}" if by["open"] else "")


def _nothing(scores: Sequence[_Findings], levels: Sequence[str], baseline: str, *, are_all: bool) -> str:
    whom, is_any = baseline if are_all else "it", are_all and len(levels) > 1
    if len(scores) == 1:
        who = "no level can" if is_any else f"{_levels(levels)} can't"
        clause = f"{who} be told apart from {whom}"
    else:
        clause = f"no score tells {'any level' if is_any else _levels(levels)} from {whom}"
    if any(item.states.get(level, "hopeless") != "hopeless" for item in scores for level in levels):
        return clause
    return (
        f"{clause}, and with {max(item.prompts for item in scores)} prompts no difference could be shown, however large"
    )


def _beside(primary: _Findings, other: _Findings) -> str:
    """Return how an exploratory score stands to the one that counts."""
    found = other.levels(*FOUND)
    same = [level for level in found if primary.states.get(level) == other.states[level]]
    against = [level for level in found if level not in same and primary.states.get(level) in FOUND]
    parts = []
    if against:
        parts.append(f"contradicts it about {_levels(against)}")
    if same:
        parts.append("agrees" if len(same) == len(primary.levels(*FOUND)) else f"agrees about {_levels(same)}")
    for state in FOUND:
        alone = [level for level in found if level not in same + against and other.states[level] == state]
        if alone:
            parts.append(f"alone finds {_levels(alone)} {state}")
    return " and ".join(parts) or "finds no difference"


def _averaged(results: Sequence[MeasureAnalysis]) -> list[str]:
    """Return what scores say of an axis of a grid, averaged over the other axes, where they find something."""
    scores = [item for item in results if item.measure.direction != "none" and item.measure.column != TIME_COLUMN]
    axes = list(dict.fromkeys(effect.axis for item in scores for effect in item.main_effects))
    clauses = []
    for axis in axes:
        effects = [(item, effect) for item in scores for effect in item.main_effects if effect.axis == axis]
        found = [_findings(item.measure, effect.comparisons, effect.margin) for item, effect in effects]
        told = _by_state(found, f"{axis} {quoted(effects[0][1].baseline)}", only_found=True)
        clauses += [f"averaged over the other axes, {clause}" for clause in told]
    return clauses


def _others(tested: Sequence[_Findings], primary: _Findings | None) -> list[str]:
    """Return what is found by the time and by measures of which no direction is better."""
    others = [item.notable() for item in tested if not item.is_score and item is not primary]
    return [f"by {item.measure.title} {_of_another_kind(item, 'it')}" for item in others if item.levels(*FOUND)]


def _of_another_kind(item: _Findings, baseline: str) -> str:
    is_time = item.measure.column == TIME_COLUMN
    words = {"better": "faster", "worse": "slower"} if is_time else {"better": "higher", "worse": "lower"}
    parts = [
        f"{_levels(levels)} {'is' if len(levels) == 1 else 'are'} {words[state]} than {baseline}"
        for state in FOUND
        if (levels := item.levels(state))
    ]
    return " and ".join(parts) or f"no level can be told apart from {baseline}"


def _all_of(titles: Sequence[str], scores: Sequence[_Findings]) -> str:
    if len(titles) < len(scores):
        return _and(titles)
    return "both" if len(scores) == 2 else f"all {len(scores)}"


def _levels(levels: Sequence[str]) -> str:
    return _and([quoted(level) for level in levels], MOST_LEVELS)


def _and(names: Collection[str], most: int = MOST_TITLES) -> str:
    """Return `a`, `a and b`, `a, b and c`, or the first `most` and how many more."""
    given = list(names)
    if len(given) > most:
        return listed(given, most)
    return given[0] if len(given) == 1 else f"{', '.join(given[:-1])} and {given[-1]}"
