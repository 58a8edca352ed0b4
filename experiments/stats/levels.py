"""Levels beside each other: summaries, paired differences and their tests, from a table of runs.

A table has one row per picture with the columns `prompt_id`, `seed`, `cell` (name of the combination of levels), one
column `axis 0`, `axis 1`, ... with level names, and one per measure. Prompts are the unit: each prompt's pairs are
averaged first, since seeds of one prompt are not independent. The arithmetic is in `paired_statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.stats import paired_statistics as statistics
from experiments.stats import power
from experiments.stats.extension import COST, Look, at_looks, corrected_over_looks, level_of_last_test

CELL, PROMPT, SEED, AXIS = "cell", "prompt_id", "seed", "axis "


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its 95 % interval; the ends are None where there are too few prompts for one."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LevelSummary:
    """One level's numbers.

    Attributes:
        level: Its name.
        runs: Pictures that have the number.
        prompts: Prompts among them.
        estimate: Mean of the prompts' means, with its interval; None without runs.
        deviation: Standard deviation over pictures, n - 1 in the denominator; None below two.
        equal: Of a measure of pairs, the pictures whose value is that of the baseline's own.
    """

    level: str
    runs: int
    prompts: int
    estimate: Estimate | None
    deviation: float | None
    equal: int = 0


@dataclass(frozen=True)
class Comparison:
    """One level beside the baseline, paired.

    Attributes:
        level: The level.
        baseline: What it is compared with.
        pairs: Pairs (prompt, seed) that both have.
        prompts: Prompts among them.
        difference: Level minus baseline; None without pairs.
        p_value: Of the sign-flip test; None below two prompts.
        p_holm: The same, corrected for all comparisons: by Holm's method, in a grid by the one plan of its tests; where
            the results were extended after an analysis, for that as well.
        win_rate: Share of pairs in which the level's number is higher, ties half.
        effect_size: Hedges' g of the paired differences; None where undefined.
        detectable: Smallest true difference found with 80 % power after correction; None where no difference could be.
        prompts_for_half: Prompts that would find half of `detectable`.
        is_identical: True if no pair differs at all.
        differing: Prompts whose difference is not 0; the others say nothing.
        tests: Number that the smallest possible p-value is multiplied by.
        cost: What it is multiplied by besides, since there were analyses before.
    """

    level: str
    baseline: str
    pairs: int
    prompts: int
    difference: Estimate | None = None
    p_value: float | None = None
    p_holm: float | None = None
    win_rate: float | None = None
    effect_size: float | None = None
    detectable: float | None = None
    prompts_for_half: int | None = None
    is_identical: bool = False
    differing: int = 0
    tests: int = 1
    cost: float = 1.0

    @property
    def can_be_found(self) -> bool:
        """True if so many prompts could show a difference at all, were it large enough."""
        return statistics.smallest_p_value(self.differing) * self.tests * self.cost <= statistics.ALPHA

    @property
    def is_found(self) -> bool:
        """True if the level differs from the baseline at the 5 % level after correction."""
        return self.p_holm is not None and self.p_holm <= statistics.ALPHA


@dataclass(frozen=True)
class Correction:
    """Corrected p-values of a family of comparisons, which may be larger than one call of `compare`.

    Attributes:
        p_values: Level name to corrected p-value.
        contrasts: Independent contrasts in the family, by which `detects` is reckoned.
        tests: Number that the smallest possible p-value is multiplied by.
        looks: Analyses before that the p-values are corrected for as well.
    """

    p_values: Mapping[str, float]
    contrasts: int
    tests: int = 1
    looks: tuple[Look, ...] = ()

    @property
    def cost(self) -> float:
        """What p-values are multiplied by for the analyses before."""
        return COST if self.looks else 1.0


def level_summaries(runs: pd.DataFrame, levels_in: str, names: Sequence[str], column: str) -> tuple[LevelSummary, ...]:
    """Summarise `column` for each level.

    Args:
        runs: Table of runs that have a number in `column`.
        levels_in: Column of level names.
        names: The levels, in the order wanted.
        column: A measure's column.
    """
    groups = {str(name): group for name, group in runs.groupby(levels_in, sort=False)}
    return tuple(_level_summary(name, groups.get(name, runs.iloc[:0]), column) for name in names)


def paired_table(runs: pd.DataFrame, levels_in: Sequence[str], column: str) -> pd.DataFrame:
    """Return one row per pairing unit (prompt, seed, levels of the axes not in `levels_in`), one column per level."""
    axes = [name for name in runs.columns if name.startswith(AXIS)]
    others = [] if CELL in levels_in else [axis for axis in axes if axis not in levels_in]
    return runs.pivot_table(index=[PROMPT, SEED, *others], columns=list(levels_in), values=column, sort=False)


def by_prompt_id(values: pd.Series) -> pd.Series:
    """Average within prompts; prompts in the order of their ids, so that no run order changes a number."""
    means: pd.Series = values.groupby(level=PROMPT, sort=True).mean()
    return means


def prompt_means(values: pd.Series) -> statistics.Floats:
    """Return one mean per prompt, as an array."""
    means: statistics.Floats = by_prompt_id(values).to_numpy(dtype=np.float64)
    return means


def estimate_of(by_prompt: statistics.Floats) -> Estimate | None:
    """Return mean and interval of one number per prompt; None without prompts, no interval below two."""
    if not len(by_prompt):
        return None
    mean = float(by_prompt.mean())
    if len(by_prompt) < 2:
        return Estimate(mean, None, None)
    low, high = statistics.interval_of_mean(by_prompt)
    return Estimate(mean, float(low), float(high))


def difference_of(by_prompt: statistics.Floats) -> Estimate | None:
    """Return mean and interval of one paired difference per prompt; None without prompts, no interval below six."""
    if not len(by_prompt):
        return None
    low, high = (float(end) for end in statistics.interval_of_difference(by_prompt))
    is_bounded = math.isfinite(low)  # so is the other end
    return Estimate(float(by_prompt.mean()), low if is_bounded else None, high if is_bounded else None)


def correction_for(differences: Mapping[str, pd.Series], looks: tuple[Look, ...]) -> tuple[Correction, float]:
    """Correct the comparisons of one family for their number and for the analyses before.

    Returns:
        The correction, Holm's where there were no analyses, and how often tests at 5 % each time claim anything at all.
    """
    by_prompt = {name: prompt_means(series) for name, series in differences.items()}
    tested = {name: values for name, values in by_prompt.items() if len(values) >= 2}
    contrasts = max(len(tested), 1)
    if looks:
        p_values, false_claims = corrected_over_looks(differences, looks)
        return Correction(p_values, contrasts, looks=looks), false_claims
    raw = np.array([float(statistics.sign_flip_p_value(values)) for values in tested.values()])
    holm = dict(zip(tested, statistics.holm(raw).tolist(), strict=True))
    return Correction(holm, contrasts, contrasts), statistics.ALPHA


def differences_from(paired: pd.DataFrame, names: Sequence[str], baseline: str) -> dict[str, pd.Series]:
    """Return each level's paired differences from `baseline`; empty where the baseline has no runs."""
    if baseline not in paired.columns:
        return {}
    return {
        name: (paired[name] - paired[baseline]).dropna() if name in paired.columns else paired[baseline].iloc[:0]
        for name in names
        if name != baseline
    }


def compare(differences: Mapping[str, pd.Series], baseline: str, correction: Correction) -> tuple[Comparison, ...]:
    """Test each series of paired differences.

    Args:
        differences: Level name to differences, indexed by prompt, seed (and more).
        baseline: Name of what was subtracted.
        correction: Corrected p-values of all of them.
    """
    return tuple(_comparison(name, baseline, series, correction) for name, series in differences.items())


def _comparison(name: str, baseline: str, series: pd.Series, correction: Correction) -> Comparison:
    by_prompt, pairs = prompt_means(series), series.to_numpy(dtype=np.float64)
    comparison = Comparison(
        name,
        baseline,
        len(pairs),
        len(by_prompt),
        difference_of(by_prompt),
        tests=correction.tests,
        cost=correction.cost,
    )
    if len(by_prompt) < 2:
        return comparison
    size = float(statistics.effect_size(by_prompt))
    detectable, for_half = _found_in_four_of_five(by_prompt, _level_of_test(series, correction))
    return replace(
        comparison,
        p_value=float(statistics.sign_flip_p_value(by_prompt)),
        p_holm=correction.p_values.get(name),
        win_rate=float(statistics.win_rate(pairs)),
        effect_size=None if math.isnan(size) else size,
        detectable=detectable,
        prompts_for_half=for_half,
        is_identical=not pairs.any(),
        differing=int(np.count_nonzero(by_prompt)),
    )


def _level_of_test(series: pd.Series, correction: Correction) -> float:
    """Return the level at which a comparison is tested before any other: Holm's first and strictest step."""
    if not correction.looks:
        return statistics.ALPHA / correction.contrasts
    prompts = pd.Index(sorted(set(series.index.get_level_values(PROMPT))))
    return level_of_last_test(at_looks(series, correction.looks, prompts), correction.contrasts)


def _found_in_four_of_five(by_prompt: statistics.Floats, alpha: float) -> tuple[float | None, int | None]:
    """Return the difference that 4 in 5 such experiments find, and the prompts that find half of it; None for none.

    The spread is that of the prompts that differ at all. How many do, and their spread, is known from these data only,
    which makes another experiment less sure to find it.
    """
    prompts, differing = len(by_prompt), by_prompt[by_prompt != 0]
    if len(differing) < 2:
        return None, None
    known = {"alpha": alpha, "estimated_from": len(differing), "differing": len(differing) / prompts}
    effect = power.detectable_effect(prompts, **known)
    if not math.isfinite(effect):
        return None, None
    return effect * float(differing.std(ddof=1)), power.prompts_for_effect(effect / 2, **known)


def _level_summary(name: str, runs: pd.DataFrame, column: str) -> LevelSummary:
    by_prompt = prompt_means(runs.set_index(PROMPT)[column])
    deviation = float(runs[column].std(ddof=1)) if len(runs) > 1 else None
    return LevelSummary(name, len(runs), len(by_prompt), estimate_of(by_prompt), deviation)
