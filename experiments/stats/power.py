"""What a paired experiment can find, and how many prompts it takes: the power of the sign-flip test.

Differences are normal here, but for prompts that don't differ at all. Effects are in standard deviations of the
differences, known or, as after an experiment, estimated from so many prompts. Nothing here knows runs or files.

Sources: Cohen 1988, chapter 2 (the noncentral t distribution); Fisher 1935 (the test itself, by simulation where its
p-values are coarse).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from scipy import special

from experiments.stats.paired_statistics import (
    ALPHA,
    MOST_PROMPTS_FOR_EXACT_TEST,
    RELATIVE_TOLERANCE,
    Floats,
    interval_of_difference,
    smallest_p_value,
)

POWER: Final = 0.80
FINE_ENOUGH_P_VALUES: Final = 20
"""Possible p-values up to alpha from which the exact test has nearly the t-test's power."""
SIMULATED_EXPERIMENTS: Final = 4000
SIMULATED_ELEMENTS: Final = 2**24
"""Experiments x sign patterns; where there are many patterns, fewer experiments are simulated."""
SPREAD_NODES: Final = 100
LEAST_SHARE: Final = 1e-4
"""Numbers of differing prompts that are less likely are left out."""
EFFECT_TOLERANCE: Final = 1e-4
MOST_PROMPTS_PLANNED: Final = 100_000


def _powers(effects: Floats, prompts: int, alpha: float) -> Floats:
    """Return the power of the sign-flip test for each of several effects, in standard deviations; 0 where it has none.

    With many sign patterns it is the power of the paired t-test. With few, the test's p-values are coarse and it finds
    less; then 4,000 experiments are simulated, with a fixed seed.
    """
    if smallest_p_value(prompts) > alpha:
        return np.zeros(len(effects))
    patterns = 2 ** (prompts - 1)
    if prompts <= MOST_PROMPTS_FOR_EXACT_TEST and alpha * patterns < FINE_ENOUGH_P_VALUES:
        above, below = _least_effects_found(prompts, math.floor(alpha * patterns * (1 + RELATIVE_TOLERANCE)))
        found = np.searchsorted(above, effects, side="left") + np.searchsorted(below, -effects, side="left")
        return found / len(above)
    freedom = prompts - 1
    critical = float(special.stdtrit(freedom, 1 - alpha / 2))
    tails = special.nctdtr(freedom, effects * np.sqrt(prompts), np.array([[critical], [-critical]]))
    below_upper, below_lower = np.nan_to_num(tails)  # scipy gives NaN where the probability is next to nothing
    power: Floats = 1 - below_upper + below_lower
    return power


@cache
def _least_effects_found(prompts: int, rejected: int) -> tuple[Floats, Floats]:
    """Return, for simulated experiments, the effect from which each is found: as above zero, and as below zero.

    An effect moves an interval as a whole, so an experiment is found as soon as its interval has left zero.

    Args:
        prompts: Number of prompts.
        rejected: Number of sign patterns, mirrors left out, that may be as extreme as the one seen.

    Returns:
        Both sorted, [experiments].
    """
    patterns = 2 ** (prompts - 1)
    experiments = min(SIMULATED_EXPERIMENTS, SIMULATED_ELEMENTS // patterns)
    differences = np.random.default_rng(0).normal(size=(experiments, prompts))
    low, high = interval_of_difference(differences, alpha=rejected / patterns)
    return np.sort(-low), np.sort(high)


@cache
def expected_power(
    effect: float, prompts: int, *, alpha: float = ALPHA, estimated_from: int | None = None, differing: float = 1.0
) -> float:
    """Return the probability that another experiment finds an effect that is given in an estimated spread.

    Args:
        effect: True mean difference over all prompts, in standard deviations of the differences that are not 0.
        prompts: Prompts of the other experiment.
        alpha: Two-sided level of its test; divide by the number of comparisons for Holm's first step.
        estimated_from: Number of prompts that the standard deviation was estimated from, at least 2; None where it is
            known.
        differing: Probability in (0, 1] that a prompt differs at all.
    """
    spreads = np.ones(1) if estimated_from is None else _estimated_spreads(estimated_from)
    effects = effect / differing * spreads
    if differing == 1.0:
        return float(_powers(effects, prompts, alpha).mean())
    counts = np.arange(prompts + 1)
    shares = np.diff(special.bdtr(counts, prompts, differing), prepend=0.0)
    return float(
        sum(
            share * _powers(effects, int(count), alpha).mean()
            for count, share in zip(counts, shares, strict=True)
            if share > LEAST_SHARE
        )
    )


def _estimated_spreads(prompts: int) -> Floats:
    """Return what the standard deviation of so many normal numbers is estimated to be where it is 1, evenly likely."""
    freedom = prompts - 1
    middles = (np.arange(SPREAD_NODES) + 0.5) / SPREAD_NODES
    spreads: Floats = np.sqrt(2 * special.gammaincinv(freedom / 2, middles) / freedom)
    return spreads


@cache
def detectable_effect(
    prompts: int,
    *,
    alpha: float = ALPHA,
    estimated_from: int | None = None,
    differing: float = 1.0,
    power: float = POWER,
) -> float:
    """Return the smallest effect that is found in 4 of 5 experiments; see `expected_power` for its unit.

    Infinite where it is found less often however large it is: with few prompts, or few that differ. `power` is the
    share of experiments that find it, where it is another one.
    """

    def found(effect: float) -> float:
        return expected_power(effect, prompts, alpha=alpha, estimated_from=estimated_from, differing=differing)

    if found(np.inf) < power:
        return math.inf
    too_small, enough = 0.0, 1.0
    while found(enough) < power:
        too_small, enough = enough, enough * 2
    while enough - too_small > EFFECT_TOLERANCE * enough:
        middle = (too_small + enough) / 2
        too_small, enough = (too_small, middle) if found(middle) >= power else (middle, enough)
    return enough


@cache
def prompts_for_effect(
    effect: float,
    *,
    alpha: float = ALPHA,
    estimated_from: int | None = None,
    differing: float = 1.0,
) -> int | None:
    """Return the smallest number of prompts that finds `effect` in 4 of 5 experiments.

    None where more than 100,000 would be needed, as for an effect of zero.
    """

    def suffices(prompts: int) -> bool:
        found = expected_power(effect, prompts, alpha=alpha, estimated_from=estimated_from, differing=differing)
        return found >= POWER

    return _least_number(suffices)


def _least_number(suffices: Callable[[int], bool]) -> int | None:
    too_few, enough = 1, 2
    while not suffices(enough):
        if enough == MOST_PROMPTS_PLANNED:
            return None
        too_few, enough = enough, min(enough * 2, MOST_PROMPTS_PLANNED)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if suffices(middle) else (middle, enough)
    return enough
