"""Levels beside a baseline, decided while prompts come in: which are better, worse, as good as it, or unpromising.

Scores come prompt by prompt in an order fixed beforehand, and are looked at after fixed numbers of them. A level whose
fate is decided gets no more prompts. Two claims are guarded, each for all levels together: "better" or "worse" where
nothing differs, and "as good as" where the margin is reached. For either the error is divided among the levels that it
was not claimed for yet (Holm 1979; Maurer & Bretz 2013 for several looks), and what a level gets is spent over the
looks by `error_spending`. Stopping a level as unpromising binds nobody: no boundary counts on it.

Arrays have leading axes [experiments, levels], so that thousands of simulated experiments are one call; `step` is what
the runner asks at each look, with one experiment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import special

from experiments.stats.equivalence import equivalence_sides
from experiments.stats.error_spending import (
    NEVER,
    RELATIVE_TOLERANCE,
    Floats,
    Looks,
    boundaries,
    walks,
)
from experiments.stats.paired_statistics import ALPHA

UNPROMISING_BELOW: Final = 0.09
"""Probability to be decided yet below which a level is stopped as unpromising."""
HOPELESS_BELOW: Final = 0.001
"""The same where levels are to go on as long as anything can come of it."""
FIRST_FUTILITY_LOOK: Final = 1
"""Index of the first look that may stop a level as unpromising: the second."""
_REFERENCE_WALKS: Final = 2**15


class State(IntEnum):
    """What is known of a level."""

    OPEN = 0
    DIFFERS = 1
    EQUIVALENT = 2
    UNPROMISING = 3


UNDECIDED: Final = (State.OPEN, State.UNPROMISING)


P_VALUES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, ALPHA, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
"""To which corrected p-values are rounded up."""


@dataclass(frozen=True)
class Rules:
    """How levels are decided; fixed before the first score.

    Attributes:
        looks: When.
        margin: Largest difference that does not matter, in the unit of the scores; None asks for no equivalence.
        stops_below: Probability to be decided yet below which a level is stopped.
        alpha: Probability of a false claim of either kind among all levels.
    """

    looks: Looks
    margin: float | None = None
    stops_below: float = UNPROMISING_BELOW
    alpha: float = ALPHA

    def shares(self, levels: int) -> list[float]:
        """Return the error of one level when all, all but one, ... one share it."""
        return [self.alpha / sharing for sharing in range(levels, 0, -1)]


@dataclass(frozen=True)
class Evidence:
    """What the scores say of each level, at every look they reach.

    Attributes:
        rules: How levels are decided.
        statistics: Distance from no difference under every sign pattern, [levels, looks, patterns].
        alone: Share of patterns that are as far from it as what was seen, [levels, looks].
        sides: Distance above minus the margin and below the margin, [2, levels, looks, patterns and mirrors]; None
            without a margin.
        sides_alone: Share of patterns that are as far there, [2, levels, looks].
        promise: Probability that the level will still be decided if it goes on as it did, [levels, looks, shares].
    """

    rules: Rules
    statistics: Floats
    alone: Floats
    sides: Floats | None
    sides_alone: Floats | None
    promise: Floats


@dataclass(frozen=True)
class Standing:
    """What is known of the levels after some look.

    Attributes:
        states: One for each level.
        ended_at: The look that ended a level, `NEVER` for those that go on.
    """

    states: tuple[State, ...]
    ended_at: tuple[int, ...]

    @classmethod
    def at_start(cls, levels: int) -> Standing:
        """Return the standing before the first look."""
        return cls((State.OPEN,) * levels, (NEVER,) * levels)

    @property
    def is_open(self) -> bool:
        """True while some level goes on."""
        return State.OPEN in self.states

    def ended(self, levels: Iterable[int], state: State, look: int) -> Standing:
        """Return the standing in which these levels have a state; those that had ended keep their look."""
        chosen = set(levels)
        return Standing(
            tuple(state if level in chosen else old for level, old in enumerate(self.states)),
            tuple(min(look, old) if level in chosen else old for level, old in enumerate(self.ended_at)),
        )


def evidence_of(differences: Floats, rules: Rules) -> Evidence:
    """Weigh paired differences at every look that they reach.

    Args:
        differences: Level minus baseline, [levels, prompts]; NaN where a prompt has none.
        rules: How levels are decided.
    """
    found = walks(differences, rules.looks)
    statistics = found.standardised()
    sides = None if rules.margin is None else equivalence_sides(found, rules.margin)
    return Evidence(
        rules,
        statistics,
        _alone(statistics),
        sides,
        None if sides is None else _alone(sides),
        promise_of(differences, rules),
    )


def _alone(statistics: Floats) -> Floats:
    """Return the share of patterns that are as extreme as the one seen."""
    share: Floats = (statistics >= statistics[..., :1] - RELATIVE_TOLERANCE).mean(axis=-1)
    return share


def step(evidence: Evidence, before: Standing, look: int) -> Standing:
    """Decide what can be decided at a look.

    Args:
        evidence: Reaching at least this look.
        before: The standing after the look before.
        look: Index of the look.
    """
    standing, claimed = before, True
    while claimed:  # each claim leaves the others a larger share of the error
        differing = different_levels(evidence, standing, look)
        standing = standing.ended(differing, State.DIFFERS, look)
        equivalent = _equivalent_levels(evidence, standing, look)
        standing = standing.ended(equivalent, State.EQUIVALENT, look)
        claimed = bool(differing or equivalent)
    rules = evidence.rules
    if FIRST_FUTILITY_LOOK <= look < len(rules.looks.prompts) - 1:
        share = min(standing.states.count(State.DIFFERS), evidence.promise.shape[-1] - 1)
        hopeless = np.flatnonzero(evidence.promise[:, look, share] < rules.stops_below)
        still_open = [int(level) for level in hopeless if standing.states[level] == State.OPEN]
        standing = standing.ended(still_open, State.UNPROMISING, look)
    return standing


def different_levels(evidence: Evidence, standing: Standing, look: int, alpha: float | None = None) -> list[int]:
    """Return the undecided levels that are shown to differ by a look, all that no difference was claimed for together.

    One boundary holds for the most extreme of them. A level that was stopped takes its part of the error with it, as if
    it were still there: so a boundary never counts on a stop.

    Args:
        evidence: Reaching at least this look.
        standing: Which levels are tested together, and until when each was drawn.
        look: Index of the look.
        alpha: Error for all of them; that of the rules if None.
    """
    rules, alpha = evidence.rules, evidence.rules.alpha if alpha is None else alpha
    members = [level for level, state in enumerate(standing.states) if state != State.DIFFERS]
    ends = [min(standing.ended_at[level], look) for level in members]
    spent = np.array([rules.looks.spent(index, alpha) for index in range(look + 1)])
    candidates = [
        (level, end)
        for level, end in zip(members, ends, strict=True)
        if standing.states[level] in UNDECIDED
        # what does not pass alone does not pass together with others
        and (evidence.alone[level, : end + 1] <= spent[: end + 1] * (1 + RELATIVE_TOLERANCE)).any()
    ]
    if not candidates:
        return []
    drawn = np.array(ends)[:, None] >= np.arange(look + 1)  # [members, looks]
    shared = np.cumsum(np.diff(spent, prepend=0.0) * drawn.mean(axis=0))
    pooled = np.where(drawn[..., None], evidence.statistics[members, : look + 1], 0.0).max(axis=0)
    bounds = boundaries(pooled[None], np.full(1, RELATIVE_TOLERANCE), [shared.tolist()])[0, 0]
    return [level for level, end in candidates if (evidence.statistics[level, : end + 1, 0] > bounds[: end + 1]).any()]


def _equivalent_levels(evidence: Evidence, standing: Standing, look: int) -> list[int]:
    """Return the undecided levels that are shown to be within the margin by a look.

    The error of each look is divided among all levels but those claimed already (Holm). Those that are shown to differ
    keep their part: that a level is still there speaks for its being claimed, so what others left would reach just the
    levels that need it least (three of four levels at the margin: 7.5 % false claims instead of 5).
    """
    if evidence.sides is None or evidence.sides_alone is None:
        return []
    looks = evidence.rules.looks
    spent = np.array([looks.spent(index, evidence.rules.alpha) for index in range(look + 1)])
    each = spent / max(len(standing.states) - standing.states.count(State.EQUIVALENT), 1)
    found = []
    for level, state in enumerate(standing.states):
        end = min(standing.ended_at[level], look)
        can_pass = evidence.sides_alone[:, level, : end + 1] <= each[: end + 1] * (1 + RELATIVE_TOLERANCE)
        if state not in UNDECIDED or not can_pass.any(axis=1).all():
            continue
        statistics = evidence.sides[:, level, : end + 1]
        bounds = boundaries(statistics, np.full(2, RELATIVE_TOLERANCE), [each[: end + 1].tolist()])[0]
        if (statistics[..., 0] > bounds).any(axis=1).all():
            found.append(level)
    return found


def decide(differences: Floats, rules: Rules) -> Standing:
    """Take every look one after the other, until all levels are decided.

    Args:
        differences: Level minus baseline over all prompts of the plan, [levels, prompts]; what lies behind a level's
        end
            is not used.
        rules: How levels are decided.
    """
    evidence = evidence_of(differences, rules)
    standing = Standing.at_start(len(differences))
    for look in range(len(rules.looks.prompts)):
        if standing.is_open:
            standing = step(evidence, standing, look)
    return standing


def corrected_p_values(evidence: Evidence, standing: Standing, look: int) -> list[float]:
    """Return, for each level, the smallest error at which it would be shown to differ by a look, of a fixed list.

    So a level is shown to differ at 5 % where this is at most 0.05. It is rounded up to the next number of the list.
    """
    found = [1.0] * len(standing.states)
    undecided = Standing((State.OPEN,) * len(standing.states), standing.ended_at)
    for alpha in reversed(P_VALUES):
        left = undecided
        while differing := different_levels(evidence, left, look, alpha):
            left = left.ended(differing, State.DIFFERS, look)
        for level, state in enumerate(left.states):
            if state == State.DIFFERS:
                found[level] = alpha
    return found


def prompts_drawn(standing: Standing, looks: Looks) -> tuple[list[int], int]:
    """Return the prompts drawn of each level, and of the baseline."""
    last = len(looks.prompts) - 1
    drawn = [looks.prompts[min(end, last)] for end in standing.ended_at]
    return drawn, max(drawn)


def promise_of(differences: Floats, rules: Rules) -> Floats:
    """Return the probability that a level is decided at the last look, by what was seen of it so far.

    The true difference is taken to be where the data put it, with their uncertainty: few prompts rule nothing out.

    Args:
        differences: [levels, prompts].
        rules: How levels are decided.

    Returns:
        [levels, looks reached, shares of the error].

    Source: Spiegelhalter, Freedman & Blackburn 1986 (predictive power), by a normal approximation of the sums.
    """
    looks, shares = rules.looks, rules.shares(len(differences))
    reached = [count for count in looks.prompts if count <= differences.shape[-1]]
    promise = np.ones((len(differences), len(reached), len(shares)))
    for look, count in enumerate(reached):
        time = count / looks.prompts[-1]
        if time == 1:
            continue
        seen = differences[..., :count]
        mean, deviation = _moments(seen)
        is_sure = mean != 0 if rules.margin is None else np.full(len(mean), True)  # where nothing varies
        scale = np.where(deviation > 0, deviation, 1.0) / np.sqrt(looks.prompts[-1])
        trend = (mean / scale)[..., None]  # what the standardised sum will be on average
        spread = np.sqrt((1 - time) / time)
        last = np.array([_last_boundary(looks, share, True) for share in shares])
        shown = special.ndtr((np.abs(trend) - last) / spread)
        if rules.margin is not None:
            edge = (rules.margin / scale)[..., None]
            one_sided = np.array([_last_boundary(looks, share, False) for share in shares])
            room = np.maximum(edge - one_sided, 0.0)
            shown = shown + special.ndtr((room - trend) / spread) - special.ndtr((-room - trend) / spread)
        promise[:, look] = np.where((deviation > 0)[:, None], shown, is_sure[:, None])
    return promise


def _moments(seen: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation over the prompts that are there; 0 where fewer than two are."""
    is_there = np.isfinite(seen)
    count = is_there.sum(axis=-1)
    filled = np.where(is_there, seen, 0.0)
    mean = filled.sum(axis=-1) / np.maximum(count, 1)
    squares = np.where(is_there, (seen - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    return mean, np.sqrt(squares / np.maximum(count - 1, 1))


@lru_cache(maxsize=256)
def _last_boundary(looks: Looks, alpha: float, two_sided: bool) -> float:
    """Return the boundary of the last look for sums of normal numbers, in their standard deviations."""
    generator = np.random.default_rng(0)
    steps = np.sqrt(np.diff([0, *looks.prompts]))
    paths = np.cumsum(generator.normal(size=(_REFERENCE_WALKS, len(steps))) * steps, axis=1).T[None]
    statistics = np.abs(paths) if two_sided else np.concatenate([paths, -paths], axis=-1)
    spent = [looks.spent(look, alpha) for look in range(len(steps))]
    bound = boundaries(statistics, np.zeros(1), [spent])[0, 0, -1]
    return float(bound / np.sqrt(looks.prompts[-1]))
