"""How measures go together: over prompts, and within a prompt, which is what a choice between levels needs.

Over prompts two judges agree where they find the same prompts hard. Within a prompt and seed they agree where they
prefer the same level; its test flips the signs of whole prompts' products, all pairs of measures corrected together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from experiments.stats import paired_statistics as statistics
from experiments.stats.levels import PROMPT, SEED
from experiments.stats.measures import Measure
from experiments.stats.questions.contrasts import corrected_together


@dataclass(frozen=True)
class Correlation:
    """Two measures.

    Attributes:
        first: One.
        second: The other.
        prompts: Prompts with both at two levels or more of a seed.
        within: Correlation of what is left after each prompt and seed's mean; None where one of them does not vary.
        low: Lower end of its 95 % interval; None below six prompts.
        high: Upper end.
        p_corrected: Of "they have nothing to do with each other within prompts"; None without a test.
        over_prompts: Correlation of the prompts' means; None below three prompts.
    """

    first: Measure
    second: Measure
    prompts: int
    within: float | None
    low: float | None
    high: float | None
    p_corrected: float | None
    over_prompts: float | None

    @property
    def is_found(self) -> bool:
        """True if they go together, or against each other, at the 5 % level."""
        return self.p_corrected is not None and self.p_corrected <= statistics.ALPHA


def correlations_of(runs: pd.DataFrame, measures: Sequence[Measure]) -> tuple[Correlation, ...]:
    """Correlate every pair of measures.

    Args:
        runs: Table of runs with one column per measure; rows of a prompt and seed differ in their levels.
        measures: Those to correlate.
    """
    pairs = list(itertools.combinations(measures, 2))
    products = {index: _products(runs, one.column, other.column) for index, (one, other) in enumerate(pairs)}
    p_values, _tests = corrected_together({index: table["xy"] for index, table in products.items()}, ())
    return tuple(
        _correlation(runs, one, other, products[index], p_values.get(index)) for index, (one, other) in enumerate(pairs)
    )


def _products(runs: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Return, per prompt and seed, the sums of squares and products after the mean; rows with one level left out."""
    both = runs[[PROMPT, SEED, one, other]].dropna()
    centred = both[[one, other]] - both.groupby([PROMPT, SEED])[[one, other]].transform("mean")
    table = pd.DataFrame(
        {
            PROMPT: both[PROMPT],
            SEED: both[SEED],
            "xx": centred[one] ** 2,
            "yy": centred[other] ** 2,
            "xy": centred[one] * centred[other],
            "n": 1,
        }
    )
    summed = table.groupby([PROMPT, SEED]).sum()
    return summed[summed["n"] > 1]


def _correlation(
    runs: pd.DataFrame, one: Measure, other: Measure, products: pd.DataFrame, p_value: float | None
) -> Correlation:
    by_prompt = products[["xx", "yy", "xy"]].groupby(level=PROMPT, sort=True).sum().to_numpy(dtype=np.float64)
    both = runs[[PROMPT, one.column, other.column]].dropna()
    least = _least_squares(both[[one.column, other.column]].to_numpy(dtype=np.float64))
    within = _ratio(by_prompt.sum(axis=0), least)
    low, high = _interval(by_prompt, within, least)
    means = both.groupby(PROMPT).mean().to_numpy(dtype=np.float64)
    over_prompts = None
    if len(means) >= 3:
        centred = means - means.mean(axis=0)
        over_prompts = _ratio(
            np.array([(centred[:, 0] ** 2).sum(), (centred[:, 1] ** 2).sum(), (centred[:, 0] * centred[:, 1]).sum()]),
            least,
        )
    return Correlation(one, other, len(by_prompt), within, low, high, None if within is None else p_value, over_prompts)


def _least_squares(values: statistics.Floats) -> tuple[float, float]:
    """Return the sums of squares of two columns up to which they vary by rounding alone."""
    if not len(values):
        return 0.0, 0.0
    one, other = (statistics.RELATIVE_TOLERANCE * np.abs(values).max(axis=0)) ** 2
    return float(one), float(other)


def _ratio(sums: statistics.Floats, least: tuple[float, float]) -> float | None:
    """Return xy over the root of xx times yy; None where one of them does not vary."""
    xx, yy, xy = (float(value) for value in sums)
    return xy / math.sqrt(xx * yy) if xx > least[0] and yy > least[1] else None


def _interval(
    by_prompt: statistics.Floats, within: float | None, least: tuple[float, float]
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a correlation within prompts: Fisher's z, its error by leaving out prompts in turn.

    Source: Fisher 1921 (z); Efron & Stein 1981 (jackknife).
    """
    prompts = len(by_prompt)
    if within is None or abs(within) >= 1 or prompts < statistics.LEAST_PROMPTS_FOR_BOOTSTRAP:
        return None, None
    left_out = [_ratio(row, least) for row in by_prompt.sum(axis=0) - by_prompt]
    inside = [value for value in left_out if value is not None and abs(value) < 1]
    if len(inside) < prompts:
        return None, None
    z_values = np.arctanh(np.array(inside))
    error = math.sqrt((prompts - 1) / prompts * float(((z_values - z_values.mean()) ** 2).sum()))
    half = float(special.stdtrit(prompts - 1, 0.5 + statistics.CONFIDENCE / 2)) * error
    centre = math.atanh(within)
    return math.tanh(centre - half), math.tanh(centre + half)
