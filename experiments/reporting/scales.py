"""Axes of the report's plots, and where numbers lie on them: percent of a plot's width and height.

Percent rather than pixels, so that the same page fits a phone and a wide screen without its letters shrinking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.stats.levels import Estimate
from experiments.stats.numbers_as_text import format_number

MOST_TICKS = 5
MARGIN = 0.04
"""Free share of the plot beyond the outermost marks."""


@dataclass(frozen=True)
class Scale:
    """A linear axis.

    Attributes:
        low: Value at 0 %.
        high: Value at 100 %.
        ticks: Round values on it with their labels.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def percent(self, value: float) -> float:
        """Return the position of `value`, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Mark:
    """A point with its interval, in percent; without ends where there is no interval."""

    at: float
    low: float | None
    high: float | None


def scale_over(values: Sequence[float]) -> Scale:
    """Return an axis that holds all `values` with a margin, and up to five round ticks."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        centre = abs(low) or 1.0
        low, high = low - 0.1 * centre, high + 0.1 * centre
    margin = MARGIN * (high - low)
    low, high = low - margin, high + margin
    step = _round_step((high - low) / MOST_TICKS)
    first = math.ceil(low / step)
    decimals = max(0, -math.floor(math.log10(step)))
    count = math.floor(high / step) - first + 1
    return Scale(low, high, tuple((k * step, format_number(k * step, decimals)) for k in range(first, first + count)))


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def values_of(estimate: Estimate | None) -> list[float]:
    """Return an estimate's mean and the ends that it has."""
    if estimate is None:
        return []
    return [value for value in (estimate.mean, estimate.low, estimate.high) if value is not None]


def mark_of(estimate: Estimate | None, scale: Scale) -> Mark | None:
    """Return where an estimate lies on a horizontal axis."""
    if estimate is None:
        return None
    ends = [None if value is None else scale.percent(value) for value in (estimate.low, estimate.high)]
    return Mark(scale.percent(estimate.mean), ends[0], ends[1])


def flipped_mark(estimate: Estimate, scale: Scale) -> Mark:
    """Return a mark for a vertical axis, whose 0 % is at the top."""
    mark = mark_of(estimate, scale)
    assert mark is not None
    ends = [None if end is None else round(100 - end, 2) for end in (mark.low, mark.high)]
    return Mark(round(100 - mark.at, 2), ends[0], ends[1])


def signed_text(value: float, decimals: int) -> str:
    """Return a number with its sign, which zero lacks."""
    text = format_number(value, decimals)
    return f"+{text}" if value > 0 and float(text) else text
