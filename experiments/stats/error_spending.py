"""Sign-flip tests that may be looked at several times: the error is spent over looks that were fixed beforehand.

A sign pattern, drawn for all prompts of the plan at once, gives a statistic at every look, from the prompts up to
there. So the patterns that a test has rejected by some look are counted over all looks together, and a boundary takes
just as much error as the spending function allows up to then: no bound over looks, and nothing is given away. Whatever
a look left unspent, as coarse p-values of few prompts do, is there for the next one.

The last axis of differences is prompts in the order in which they are drawn; leading axes are independent data sets.
The module knows nothing of levels, pictures or files.

Sources: Lan & DeMets 1983 (error spending); Kim & DeMets 1987 (power family); Jennison & Turnbull 1999, chapters 7 and
9 (boundaries from spent error, repeated confidence intervals); Fisher 1935 (sign flips).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

EXPONENT: Final = 1.5
"""Of the power family: spent error is alpha times the share of prompts to this power."""
ENUMERATED_PROMPTS: Final = 14
"""The first so many prompts have every sign pattern; 2^13 patterns, mirrors left out."""
SEED: Final = 7
NEVER: Final = np.iinfo(np.int64).max
"""The look of a boundary that was not crossed."""
RELATIVE_TOLERANCE: Final = 1e-9
_CHUNK_ELEMENTS: Final = 2**18
_INTERVAL_STEPS: Final = 40


@dataclass(frozen=True)
class Looks:
    """When the data are looked at, and how much of the error may be spent by then.

    Attributes:
        prompts: Number of prompts at each look, rising; the last is all of the plan.
        exponent: Of the power family.
        enumerated: Prompts with every sign pattern, 2^(enumerated - 1) patterns in all.
    """

    prompts: tuple[int, ...]
    exponent: float = EXPONENT
    enumerated: int = ENUMERATED_PROMPTS

    def __post_init__(self) -> None:
        assert self.prompts and self.prompts[0] >= 1, f"looks need prompts, got {self.prompts}"
        assert all(a < b for a, b in pairwise(self.prompts)), f"not rising: {self.prompts}"

    @property
    def patterns(self) -> int:
        """Number of sign patterns, mirrors left out."""
        return int(2 ** (self.enumerated - 1))

    def spent(self, look: int, alpha: float) -> float:
        """Return the error that may be spent up to and with a look.

        Source: Kim & DeMets 1987.
        """
        return float(alpha * (self.prompts[look] / self.prompts[-1]) ** self.exponent)

    def until(self, looks: int) -> tuple[int, ...]:
        """Return the prompts at the first so many looks."""
        return self.prompts[:looks]


@dataclass(frozen=True)
class Walks:
    """Sums of differences under every sign pattern, look by look; the first pattern is the one seen.

    Attributes:
        looks: When.
        sums: Of signed differences, [data sets, looks, patterns].
        counts: Of signs, where there is a difference, [data sets or 1, looks, patterns].
        lengths: Root of the sum of squares, [data sets, looks].
        slack: What counts as 0 in a sum, [data sets].
    """

    looks: Looks
    sums: Floats
    counts: Floats
    lengths: Floats
    slack: Floats

    def two_sided(self, value: float = 0.0) -> Floats:
        """Return how far each pattern's sum is from zero if `value` is taken from every difference."""
        return np.abs(self._less(value))

    def above(self, value: float = 0.0) -> Floats:
        """Return how far each pattern's sum is above zero if `value` is taken off; its mirror is as far below."""
        return self._less(value)

    def below(self, value: float = 0.0) -> Floats:
        """Return how far each pattern's sum is below zero if `value` is taken off; its mirror is as far above."""
        return -self._less(value)

    def _less(self, value: float) -> Floats:
        return self.sums if value == 0.0 else self.sums - value * self.counts


Statistic = Callable[[Walks], Floats]


def walks(differences: Floats, looks: Looks) -> Walks:
    """Flip the signs of whole prompts, and sum up to each look that the data reach.

    Args:
        differences: [data sets, prompts] in the plan's order; NaN where a prompt has none.
        looks: The plan. Looks beyond the number of prompts given are left out.
    """
    prompts = differences.shape[-1]
    reached = sum(count <= prompts for count in looks.prompts)
    signs = _signs(looks.prompts[-1], looks.enumerated)
    is_there = np.isfinite(differences)
    filled = np.where(is_there, differences, 0.0)
    everywhere = bool(is_there.all())
    there = np.ones((1, prompts)) if everywhere else is_there.astype(np.float64)
    return Walks(
        looks,
        _prefix_sums(filled, signs, looks.until(reached)),
        _prefix_sums(there, signs, looks.until(reached)),
        np.sqrt(np.cumsum(filled**2, axis=-1)[:, [end - 1 for end in looks.until(reached)]]),
        RELATIVE_TOLERANCE * np.abs(filled).sum(axis=-1),
    )


def _prefix_sums(values: Floats, signs: Floats, ends: Sequence[int]) -> Floats:
    found = np.empty((len(values), len(ends), signs.shape[1]))
    total, start = np.zeros((len(values), signs.shape[1])), 0
    for look, end in enumerate(ends):
        total = total + values[:, start:end] @ signs[start:end]
        found[:, look], start = total, end
    return found


@lru_cache(maxsize=8)
def _signs(prompts: int, enumerated: int) -> Floats:
    """Return sign patterns, [prompts, patterns]: all of the first prompts, random beyond; the first is all plus."""
    patterns, known = 2 ** (enumerated - 1), min(enumerated, prompts)
    signs = np.ones((prompts, patterns))
    signs[1:known] = 1.0 - 2.0 * (np.arange(patterns)[None, :] >> np.arange(known - 1)[:, None] & 1)
    if prompts > known:
        drawn = np.random.default_rng(SEED).integers(0, 2, size=(prompts - known, patterns))
        signs[known:] = 1.0 - 2.0 * drawn
        signs[known:, 0] = 1.0
    return signs


def crossings(
    statistics: Floats, slack: Floats, looks: Looks, alphas: Sequence[float], *, has_mirrors: bool = False
) -> Ints:
    """Return the first look at which the pattern seen is rejected, for each of several levels of the test.

    Args:
        statistics: The larger, the more extreme, [data sets, looks, patterns]; the pattern seen is the first.
        slack: Differences of statistics that are none, [data sets].
        looks: The plan; the first of its looks are those of `statistics`.
        alphas: Levels of the test.
        has_mirrors: As for `Boundaries`.

    Returns:
        Index of the look, `NEVER` where there is none, [data sets, alphas].
    """
    spent = [[looks.spent(look, alpha) for look in range(statistics.shape[1])] for alpha in alphas]
    bounds = boundaries(statistics, slack, spent, has_mirrors=has_mirrors)
    is_crossed = statistics[None, :, :, 0] > bounds
    first: Ints = np.where(is_crossed.any(axis=-1), is_crossed.argmax(axis=-1), NEVER).T
    return first


class Boundaries:
    """What a statistic must exceed, look by look.

    Patterns above a boundary, with those rejected at earlier looks, are at most the share that may be spent. Patterns
    that tie are rejected together or not at all, so that p-values of few prompts stay as coarse as they are.

    Args:
        plans: Number of ways to spend the error.
        rows: Number of data sets.
        patterns: Number of patterns.
        has_mirrors: Each pattern stands for its mirror too, of which the statistic is the negative.
    """

    def __init__(self, plans: int, rows: int, patterns: int, *, has_mirrors: bool = False) -> None:
        self._patterns = patterns
        self._has_mirrors = has_mirrors
        self._all = 2 * patterns if has_mirrors else patterns
        self._is_rejected = np.zeros((plans, rows, self._all), dtype=bool)
        self._rejected = np.zeros((plans, rows), dtype=np.int64)

    def next(self, statistics: Floats, slack: Floats, spent: Sequence[float], rows: Ints | None = None) -> Floats:
        """Return the boundaries of the look that comes next, [plans, data sets].

        Args:
            statistics: The larger, the more extreme, [data sets, patterns].
            slack: Differences of statistics that are none, [data sets].
            spent: Error that may be spent up to this look, for each plan.
            rows: Which data sets these are; all if None.
        """
        rows = np.arange(len(statistics)) if rows is None else rows
        budgets = [self._budget(share) for share in spent]
        top, values = self._largest(statistics, max(budgets) + 1)
        row, every = rows[:, None], np.arange(len(rows))
        bounds = np.empty((len(budgets), len(rows)))
        for index, budget in enumerate(budgets):
            best, best_values = top[:, : budget + 1], values[:, : budget + 1]
            is_new = ~self._is_rejected[index, row, best]
            # the first that may not be rejected any more: of the largest budget + 1, at most `rejected` are not new
            is_beyond = is_new & (is_new.cumsum(axis=-1) > (budget - self._rejected[index, rows])[:, None])
            bounds[index] = best_values[every, is_beyond.argmax(axis=-1)] + slack
            is_over = is_new & (best_values > bounds[index][:, None])
            self._rejected[index, rows] += is_over.sum(axis=-1)
            self._is_rejected[index, row, best] |= is_over
        return bounds

    def _budget(self, share: float) -> int:
        """Return how many patterns may be rejected; never all."""
        return min(int(share * self._all * (1 + RELATIVE_TOLERANCE)), self._patterns - 1)

    def _largest(self, values: Floats, count: int) -> tuple[Ints, Floats]:
        """Return positions and values of the largest, descending, [data sets, count] each.

        Of a pattern and its mirror one is not below zero, and no more than half of all are ever asked for.
        """
        row, size = np.arange(len(values))[:, None], np.abs(values) if self._has_mirrors else values
        top = np.argpartition(size, self._patterns - count, axis=-1)[:, self._patterns - count :]
        top = top[row, np.argsort(-size[row, top], axis=-1, kind="stable")]
        if self._has_mirrors:
            return top + np.where(values[row, top] < 0, self._patterns, 0), size[row, top]
        return top, size[row, top]


def boundaries(
    statistics: Floats, slack: Floats, spent: Sequence[Sequence[float]], *, has_mirrors: bool = False
) -> Floats:
    """Return what a statistic must exceed at each look, [plans, data sets, looks].

    Args:
        statistics: The larger, the more extreme, [data sets, looks, patterns].
        slack: Differences of statistics that are none, [data sets].
        spent: Error that may be spent up to each look, for each of several plans, [plans, looks].
        has_mirrors: As for `Boundaries`.
    """
    rows, reached, patterns = statistics.shape
    found = Boundaries(len(spent), rows, patterns, has_mirrors=has_mirrors)
    bounds = np.empty((len(spent), rows, reached))
    for look in range(reached):
        bounds[..., look] = found.next(statistics[:, look], slack, [shares[look] for shares in spent])
    return bounds


def chunked_crossings(
    differences: Floats,
    looks: Looks,
    alphas: Sequence[float],
    statistics: Sequence[Statistic],
    *,
    has_mirrors: bool = False,
) -> Ints:
    """Return `crossings` of several statistics of many data sets, a part of them at a time.

    Args:
        differences: [data sets, prompts].
        looks: The plan.
        alphas: Levels of the test.
        statistics: Each makes a statistic from walks, such as `Walks.above`.
        has_mirrors: As for `Boundaries`.

    Returns:
        [statistics, data sets, alphas].
    """
    size = max(1, _CHUNK_ELEMENTS // (looks.patterns * len(looks.prompts)))
    parts = []
    for start in range(0, len(differences), size):
        found = walks(differences[start : start + size], looks)
        parts.append(
            np.stack(
                [crossings(make(found), found.slack, looks, alphas, has_mirrors=has_mirrors) for make in statistics]
            )
        )
    return np.concatenate(parts, axis=1)


def repeated_interval(differences: Floats, looks: Looks, alpha: float) -> tuple[float, float]:
    """Return every mean that the test at the last look reached would not reject: valid at all looks together.

    Whoever looks at each of these intervals, and stops when he likes, finds the truth outside of any of them with
    probability `alpha` at most.

    Args:
        differences: [prompts]; NaN where a prompt has none.
        looks: The plan.
        alpha: 1 minus the confidence.

    Returns:
        Lower and upper end; minus and plus infinity where so few prompts can exclude nothing.

    Source: Jennison & Turnbull 1999, chapter 9.
    """
    found = walks(differences[None], looks)
    there = differences[np.isfinite(differences)]
    if not len(there) or not found.sums.shape[1]:
        return -np.inf, np.inf
    mean, reach = float(there.mean()), float(there.max() - there.min())
    spent = [[looks.spent(look, alpha) for look in range(found.sums.shape[1])]]

    def is_rejected(value: float) -> bool:
        statistics = found.two_sided(value)
        slack = found.slack + RELATIVE_TOLERANCE * abs(value) * len(there)
        return bool(statistics[0, -1, 0] > boundaries(statistics, slack, spent)[0, 0, -1])

    far = 2 * reach or max(abs(mean), 1.0)  # where all are equal, any other mean is as far
    ends = []
    for side in (-1.0, 1.0):
        if not is_rejected(mean + side * far):
            ends.append(side * np.inf)
            continue
        inside, outside = 0.0, 2 * reach
        for _ in range(_INTERVAL_STEPS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if is_rejected(mean + side * middle) else (middle, outside)
        ends.append(mean + side * inside)
    return ends[0], ends[1]
