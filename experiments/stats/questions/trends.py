"""Whether a number rises or falls along an axis of numbers, how steeply for each prompt, and whether the line bends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.stats import paired_statistics as statistics
from experiments.stats.extension import Look
from experiments.stats.levels import Estimate, by_prompt_id, difference_of
from experiments.stats.questions.contrasts import corrected_together

STRAIGHT, BEND = "straight", "bend"


@dataclass(frozen=True)
class Trend:
    """A straight line, and what bends it, through each prompt's numbers.

    Attributes:
        axis: The axis of numbers.
        values: Its levels' numbers, in rising order.
        prompts: Prompts that have every level.
        slope: Change of the measure for one more of the axis, mean over prompts; None without prompts.
        p_value: Of "there is no slope", sign flips of prompts; None below two prompts.
        p_corrected: The same, corrected for the bend.
        bend: Coefficient of the square beside the line; None with two levels.
        p_bend: Corrected for the slope.
        slopes: Prompt id to its own slope, in the order of ids.
        tests: What the smallest possible p-value is multiplied by.
        filled: Names of the levels that have any number, as the experiment orders them.
        empty: Names of those that have none.
    """

    axis: str
    values: tuple[float, ...]
    prompts: int
    slope: Estimate | None
    p_value: float | None
    p_corrected: float | None
    bend: Estimate | None
    p_bend: float | None
    slopes: Mapping[str, float]
    tests: int = 1
    filled: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def is_found(self) -> bool:
        """True if there is a slope at the 5 % level."""
        return self.p_corrected is not None and self.p_corrected <= statistics.ALPHA

    @property
    def is_bent(self) -> bool:
        """True if the line bends at the 5 % level."""
        return self.p_bend is not None and self.p_bend <= statistics.ALPHA

    @property
    def can_be_found(self) -> bool:
        """True if so many prompts could show a slope, were it steep enough."""
        differing = sum(slope != 0 for slope in self.slopes.values())
        return differing > 0 and statistics.smallest_p_value(differing) * self.tests <= statistics.ALPHA


def numbers_of(levels: Sequence[str]) -> tuple[float, ...] | None:
    """Return the numbers that levels are named after; None where one is no finite number, or two are the same."""
    try:
        numbers = tuple(float(level) for level in levels)
    except ValueError:
        return None
    return numbers if all(np.isfinite(numbers)) and len(set(numbers)) == len(numbers) else None


def trend_weights(values: Sequence[float]) -> tuple[statistics.Floats, statistics.Floats | None]:
    """Return the weights that make a slope of numbers at `values`, and those of the square beside it.

    Least squares: the slope is the sum of weight times number. The square's weights see no straight line; None for two
    values, which no line can miss.

    Args:
        values: Distinct numbers, two or more.
    """
    points = np.asarray(values, dtype=np.float64)
    centred = points - points.mean()
    line = centred / (centred**2).sum()
    if len(points) < 3:
        return line, None
    square = centred**2 - (centred**2).mean()
    square = square - centred * ((square * centred).sum() / (centred**2).sum())
    return line, square / (square**2).sum()


def trend_of(paired: pd.DataFrame, axis: str, levels: Sequence[str], looks: tuple[Look, ...]) -> Trend:
    """Fit a line to each prompt's numbers along an axis, averaged over seeds and other axes.

    Args:
        paired: One row per pairing unit, one column per level.
        axis: Name of the axis.
        levels: Its levels, named after numbers.
        looks: Analyses before.
    """
    numbers = numbers_of(levels)
    assert numbers is not None, f"{axis} has levels that are no numbers"
    order = sorted(range(len(levels)), key=lambda index: numbers[index])
    values = tuple(numbers[index] for index in order)
    whole = paired.reindex(columns=[levels[index] for index in order]).dropna()
    line, square = trend_weights(values)
    table = whole.to_numpy(dtype=np.float64)
    contrasts = {
        name: pd.Series(statistics.beyond_rounding(table @ weights, np.abs(table) @ np.abs(weights)), index=whole.index)
        for name, weights in ((STRAIGHT, line), (BEND, square))
        if weights is not None
    }
    by_prompt = by_prompt_id(contrasts[STRAIGHT])
    p_values, tests = corrected_together(contrasts, looks)
    slopes = by_prompt.to_numpy(dtype=np.float64)
    return Trend(
        axis=axis,
        values=values,
        prompts=len(by_prompt),
        slope=difference_of(slopes),
        p_value=float(statistics.sign_flip_p_value(slopes)) if len(slopes) >= 2 else None,
        p_corrected=p_values.get(STRAIGHT),
        bend=difference_of(by_prompt_id(contrasts[BEND]).to_numpy(dtype=np.float64)) if BEND in contrasts else None,
        p_bend=p_values.get(BEND),
        slopes={str(name): float(slope) for name, slope in by_prompt.items()},
        tests=tests.get(STRAIGHT, 1),
        filled=tuple(level for level in levels if level in paired.columns),
        empty=tuple(level for level in levels if level not in paired.columns),
    )
