"""Levels beside a baseline, decided while prompts come in: which are better, worse, as good as it, or unpromising.

Scores come prompt by prompt in an order fixed beforehand, and are looked at after fixed numbers of them. A level whose
fate is decided gets no more prompts. Two claims are guarded, each for all levels together: "better" or "worse" where
nothing differs, and "as good as" where the margin is reached. For either the error is divided among the levels that it
was not claimed for yet (Holm 1979; Maurer & Bretz 2013 for several looks), and what a level gets is spent over the
looks by `error_spending`. Stopping a level as unpromising binds nobody: no boundary counts on it.

`step` is what the runner asks at each look, and what a simulation asks thousands of times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from experiments.stats.error_spending import NEVER, Looks
from experiments.stats.look_evidence import Evidence
from experiments.stats.paired_statistics import ALPHA

FIRST_FUTILITY_LOOK: Final = 1
"""Index of the first look that may stop a level as unpromising: the second."""


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
    if look >= FIRST_FUTILITY_LOOK:  # at the last all are promised
        share = min(standing.states.count(State.DIFFERS), evidence.promise.shape[-1] - 1)
        promise = evidence.promise[:, look, share]
        still_open = [
            level
            for level, state in enumerate(standing.states)
            if state == State.OPEN and promise[level] < rules.stops_below
        ]
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
    members = tuple(level for level, state in enumerate(standing.states) if state != State.DIFFERS)
    if not members:
        return []
    ends = tuple(min(standing.ended_at[level], look) for level in members)
    found = evidence.different(members, ends, look, evidence.rules.alpha if alpha is None else alpha)
    return [level for level in found if standing.states[level] in UNDECIDED]


def _equivalent_levels(evidence: Evidence, standing: Standing, look: int) -> list[int]:
    """Return the undecided levels that are shown to be within the margin by a look.

    The error of each look is divided among all levels but those claimed already (Holm) and those that are shown to
    differ and, by a test of their own, to lie outside the margin. That a level differs is not enough to leave its part:
    that others are still there speaks for their being claimed, so it would reach just those that need it least (three
    of four levels at the margin: 7.5 % false claims instead of 5). A level outside the margin is claimed the less, the
    likelier it is to be found there: with an error e, and a chance f to be found outside when just at the margin, the
    level and what it leaves come to e / (1 - f) at most, however far outside it is.
    """
    if evidence.rules.margin is None:
        return []
    gone = standing.states.count(State.EQUIVALENT) + sum(
        state == State.DIFFERS and evidence.is_outside(level, min(end, look))
        for level, (state, end) in enumerate(zip(standing.states, standing.ended_at, strict=True))
    )
    sharing = max(len(standing.states) - gone, 1)
    is_within = evidence.within_margin([min(end, look) for end in standing.ended_at], look, sharing)
    return [level for level, state in enumerate(standing.states) if state in UNDECIDED and is_within[level]]


def decide(evidence: Evidence) -> Standing:
    """Take every look one after the other, until all levels are decided.

    Args:
        evidence: Of all prompts of the plan; what lies behind a level's end is not used.
    """
    standing = Standing.at_start(len(evidence.promise))
    for look in range(len(evidence.rules.looks.prompts)):
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
