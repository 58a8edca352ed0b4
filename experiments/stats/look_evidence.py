"""What the scores of planned looks say of each level: tests against boundaries of spent error, and what to expect yet.

`planned_looks` decides by it. What nobody asks for is not computed, and what was found at a look is kept for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import special

from experiments.planning.looks import OUTSIDE_SHARE, WITHIN_EXPONENT
from experiments.stats.error_spending import (
    RELATIVE_TOLERANCE,
    Bools,
    Boundaries,
    Floats,
    Ints,
    Looks,
    Walks,
    boundaries,
    walks,
)
from experiments.stats.paired_statistics import ALPHA

UNPROMISING_BELOW: Final = 0.07
"""Probability to be decided yet below which a level is stopped as unpromising."""
HOPELESS_BELOW: Final = 0.001
"""The same where levels are to go on as long as anything can come of it."""
OUTSIDE_EXPONENT: Final = 0.5
"""Of the power family, by which that is spent; early, since levels far from the baseline are drawn for few looks."""
_REFERENCE_WALKS: Final = 2**15


@dataclass(frozen=True)
class Rules:
    """How levels are decided; fixed before the first score.

    Attributes:
        looks: When.
        margin: Largest difference that does not matter, in the unit of the scores; None asks for no equivalence.
        stops_below: Probability to be decided yet below which a level is stopped.
        alpha: Probability of a false claim of either kind among all levels.
        outside_share: Probability to find a level just at the margin to be outside of it, by which the error of "as
            good as" is lowered. Levels found so share that error no more. 0 finds none.
        within_exponent: Of the power family by which the error of "as good as" is spent.
    """

    looks: Looks
    margin: float | None = None
    stops_below: float = UNPROMISING_BELOW
    alpha: float = ALPHA
    outside_share: float = OUTSIDE_SHARE
    within_exponent: float = WITHIN_EXPONENT

    def shares(self, levels: int) -> list[float]:
        """Return the error of one level when all, all but one, ... one share it."""
        return [self.alpha / sharing for sharing in range(levels, 0, -1)]

    @property
    def within_alpha(self) -> float:
        """Return the error of "as good as" among all levels."""
        return self.alpha * (1 - self.outside_share)


@dataclass
class _Together:
    """One test of several levels for difference, as far as it was taken.

    Attributes:
        boundaries: For the look that comes next.
        beyond: What the data gave less what the boundary was, [looks][levels].
        drawn: Which levels were drawn at each look.
        spent: Error spent so far.
    """

    boundaries: Boundaries
    beyond: list[Floats] = field(default_factory=list)
    drawn: list[tuple[bool, ...]] = field(default_factory=list)
    spent: float = 0.0


@dataclass
class _Within:
    """Two one-sided tests of each level, as far as they were taken.

    Attributes:
        boundaries: For the look that comes next of each level and side.
        beyond: What the data gave less what the boundary was, [looks][levels, 2].
    """

    boundaries: Boundaries
    beyond: list[Floats] = field(default_factory=list)


class Evidence:
    """What the scores say of each level, at every look they reach.

    Args:
        differences: Level minus baseline, [levels, prompts]; NaN where a prompt has none.
        rules: How levels are decided.
        found: `walks` of the differences, where several rules share them.

    Attributes:
        rules: As handed over.
        promise: Probability that the level will still be decided if it goes on as it did, [levels, looks, shares].
    """

    def __init__(self, differences: Floats, rules: Rules, found: Walks | None = None) -> None:
        self.rules = rules
        self.promise = promise_of(differences, rules)
        self._walks = walks(differences, rules.looks) if found is None else found
        lengths = self._walks.lengths
        self._inverse_lengths = 1 / np.where(lengths > 0, lengths, 1.0)  # no sign changes them, so that levels compare
        self._together: dict[tuple[float, tuple[int, ...]], _Together] = {}
        self._slack = self._walks.slack + RELATIVE_TOLERANCE * (rules.margin or 0.0) * rules.looks.prompts[-1]
        self._within: dict[int, _Within] = {}
        self._outside: dict[tuple[int, int], bool] = {}
        self._alone: list[Floats] = []
        self._spent = np.array([rules.looks.spent(look, 1.0) for look in range(len(rules.looks.prompts))])
        self._spent_within = (np.array(rules.looks.prompts) / rules.looks.prompts[-1]) ** rules.within_exponent
        self._spent_before = np.concatenate([[0.0], self._spent[:-1]])

    def different(self, members: tuple[int, ...], ends: tuple[int, ...], look: int, alpha: float) -> list[int]:
        """Return the levels that are shown to differ by a look, by one boundary for the most extreme of all members.

        Args:
            members: Levels that are tested together.
            ends: The last look that each was drawn for.
            look: Index of the look.
            alpha: Error for all of them.
        """
        drawn = [tuple(end >= index for end in ends) for index in range(look + 1)]
        test = self._together.get((alpha, members))
        if test is None or test.drawn != drawn[: len(test.drawn)]:
            test = self._together[alpha, members] = _Together(Boundaries(1, 1, self.rules.looks.patterns))
        rows = np.array(members)
        for index in range(len(test.drawn), look + 1):
            going = rows[list(drawn[index])]
            # a level that was stopped takes its part of what is spent later along
            test.spent += alpha * float(self._spent[index] - self._spent_before[index]) * len(going) / len(rows)
            statistics = np.abs(self._walks.sums[going, index]) * self._inverse_lengths[going, index, None]
            pooled = statistics.max(axis=0, keepdims=True) if len(going) else np.zeros((1, statistics.shape[1]))
            bound = test.boundaries.next(pooled, np.full(1, RELATIVE_TOLERANCE), [test.spent])[0, 0]
            beyond = np.full(len(members), -np.inf)
            beyond[list(drawn[index])] = statistics[:, 0] - bound
            test.beyond.append(beyond)
            test.drawn.append(drawn[index])
        passed = (np.array(test.beyond[: look + 1]) > 0).any(axis=0)
        return [int(level) for level in rows[passed]]

    def within_margin(self, ends: Sequence[int], look: int, sharing: int) -> Bools:
        """Return which levels are shown to be above minus the margin and below it, each by some look, [levels].

        Args:
            ends: The last look that each level was drawn for.
            look: Index of the look; none of `ends` is beyond.
            sharing: Number of levels that share the error.
        """
        assert self.rules.margin is not None, "without a margin nothing is within it"
        self._alone.extend(self._shares_alone(index) for index in range(len(self._alone), look + 1))
        spent = self.rules.within_alpha / sharing * self._spent_within[: look + 1]
        last = np.asarray(ends)
        is_drawn = (np.arange(look + 1)[:, None] <= last)[..., None]
        # what is no rare pattern at a look does not pass there, whatever was spent before
        is_rare = np.stack(self._alone[: look + 1]) <= spent[:, None, None] * (1 + RELATIVE_TOLERANCE)
        if not (is_rare & is_drawn).any(axis=0).all(axis=-1).any():
            return np.zeros(len(last), dtype=bool)
        test = self._within.get(sharing)
        if test is None:
            patterns = self.rules.looks.patterns
            test = self._within[sharing] = _Within(Boundaries(1, 2 * len(last), patterns, has_mirrors=True))
        for index in range(len(test.beyond), look + 1):
            levels = np.flatnonzero(last >= index)
            sides = self._sides(index, levels)
            rows = (2 * levels[:, None] + (0, 1)).ravel()
            bounds = test.boundaries.next(sides, self._slack[levels].repeat(2), [float(spent[index])], rows)[0]
            test.beyond.append(np.full((len(last), 2), -np.inf))
            test.beyond[index][levels] = (sides[:, 0] - bounds).reshape(-1, 2)
        is_passed = (np.stack(test.beyond[: look + 1]) > 0) & is_drawn  # [looks, levels, 2]
        return np.asarray(is_passed.any(axis=0).all(axis=-1))

    def is_outside(self, level: int, look: int) -> bool:
        """Return whether a level is shown to be above the margin, or below minus the margin, by some look.

        Args:
            level: Drawn up to this look at least.
            look: Index of the look.
        """
        if (level, look) not in self._outside:
            self._outside[level, look] = self._is_found_outside(level, look)
        return self._outside[level, look]

    def _is_found_outside(self, level: int, look: int) -> bool:
        assert self.rules.margin is not None, "without a margin nothing is outside it"
        looks, share = self.rules.looks, self.rules.outside_share
        counts = self._walks.counts[0 if len(self._walks.counts) == 1 else level]
        bounds = Boundaries(1, 2, looks.patterns, has_mirrors=True)
        for index in range(look + 1):
            sums, reach = self._walks.sums[level, index], self.rules.margin * counts[index]
            sides = np.stack([sums - reach, -sums - reach])
            spent = share * (looks.prompts[index] / looks.prompts[-1]) ** OUTSIDE_EXPONENT
            if (sides[:, 0] > bounds.next(sides, self._slack[[level, level]], [spent])[0]).any():
                return True
        return False

    def _sides(self, look: int, levels: Ints | slice) -> Floats:
        """Return how far each pattern's sum is above minus the margin and below the margin, [2 x levels, patterns]."""
        assert self.rules.margin is not None, "without a margin nothing is within it"
        sums = self._walks.sums[levels, look]
        counts = self._walks.counts if len(self._walks.counts) == 1 else self._walks.counts[levels]
        reach = self.rules.margin * counts[:, look]
        sides: Floats = np.stack([sums + reach, reach - sums], axis=1).reshape(-1, sums.shape[-1])
        return sides

    def _shares_alone(self, look: int) -> Floats:
        """Return the share of patterns that are as far on each side as the one seen, [levels, 2]."""
        sides = self._sides(look, slice(None))
        seen = sides[:, :1]
        # of a pattern and its mirror, one at most is that far above zero
        share = np.count_nonzero(np.abs(sides) >= seen * (1 - RELATIVE_TOLERANCE), axis=-1) / (2 * sides.shape[-1])
        return np.where(seen[:, 0] > 0, share, 1.0).reshape(-1, 2)


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
    counts = np.array([count for count in looks.prompts if count <= differences.shape[-1]])
    mean, deviation = _moments(differences, counts)
    is_sure = mean != 0 if rules.margin is None else np.full(mean.shape, True)  # where nothing varies
    scale = np.where(deviation > 0, deviation, 1.0) / np.sqrt(looks.prompts[-1])
    trend = (mean / scale)[..., None]  # what the standardised sum will be on average
    time = counts / looks.prompts[-1]
    is_last = time == 1
    spread = np.sqrt((1 - time) / time)[:, None] + is_last[:, None]
    last = np.array([_last_boundary(looks, share, True) for share in shares])
    shown = special.ndtr((np.abs(trend) - last) / spread)
    if rules.margin is not None:
        edge = (rules.margin / scale)[..., None]
        one_sided = np.array([_last_boundary(looks, share, False) for share in shares])
        room = np.maximum(edge - one_sided, 0.0)
        shown = shown + special.ndtr((room - trend) / spread) - special.ndtr((-room - trend) / spread)
    promise: Floats = np.where((deviation > 0)[..., None], shown, is_sure[..., None])
    promise[:, is_last] = 1.0
    return promise


def _moments(differences: Floats, counts: Ints) -> tuple[Floats, Floats]:
    """Return mean and deviation over the prompts that are there, [levels, looks]; 0 where fewer than two are."""
    is_there = np.isfinite(differences)[:, None] & (np.arange(differences.shape[-1]) < counts[:, None])
    count = is_there.sum(axis=-1)
    filled = np.where(np.isfinite(differences), differences, 0.0)[:, None]
    mean = np.where(is_there, filled, 0.0).sum(axis=-1) / np.maximum(count, 1)
    squares = np.where(is_there, (filled - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    return mean, np.sqrt(squares / np.maximum(count - 1, 1))


@lru_cache(maxsize=256)
def _last_boundary(looks: Looks, alpha: float, two_sided: bool) -> float:
    """Return the boundary of the last look for sums of normal numbers, in their standard deviations."""
    generator = np.random.default_rng(0)
    steps = np.sqrt(np.diff([0, *looks.prompts]))
    paths = np.cumsum(generator.normal(size=(_REFERENCE_WALKS, len(steps))) * steps, axis=1).T[None]
    spent = [looks.spent(look, alpha) for look in range(len(steps))]
    statistics = np.abs(paths) if two_sided else paths
    bound = boundaries(statistics, np.zeros(1), [spent], has_mirrors=not two_sided)[0, 0, -1]
    return float(bound / np.sqrt(looks.prompts[-1]))
