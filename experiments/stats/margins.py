"""Levels against the margin that a user gave for a measure: as good as the baseline, not worse, or not shown to be.

"Can't be told apart" says that no difference was found; "as good as" that every difference of the margin or more was
ruled out. Here is what follows from paired differences of a fixed design: by the tests of
`experiments.stats.equivalence`, corrected over levels by Holm's method and for analyses before as every other claim.
The sentences are in `experiments.stats.margin_sentences`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from experiments.metrics.declaration import Metric
from experiments.planning.margins import margins_of
from experiments.stats import paired_statistics as statistics
from experiments.stats import power
from experiments.stats.equivalence import margin_p_values
from experiments.stats.extension import COST, Look, at_looks, level_of_last_test
from experiments.stats.levels import PROMPT, Estimate, prompt_means
from experiments.stats.measures import check_measure
from llm_dit.errors import LlmDitError

MARGIN_ALPHA: Final = 2 * statistics.ALPHA
"""Two one-sided tests at 5 % belong to the 90 % interval."""
POWER_OF_A_SIDE: Final = (1 + power.POWER) / 2
"""Both sides are rejected in 4 of 5 experiments where each misses 1 in 10."""


@dataclass(frozen=True)
class MarginStanding:
    """One level against the margin.

    Attributes:
        level: Its name.
        prompts: Prompts that it shares with the baseline.
        difference: Level minus baseline with its 90 % interval.
        p_alone: Of "as good as", the larger of both sides, before correction; None without a test.
        p_as_good: The same, corrected over levels and for analyses before.
        p_not_worse: Of "not worse by more than the margin", corrected alike; None also where no direction is worse.
    """

    level: str
    prompts: int
    difference: Estimate
    p_alone: float | None = None
    p_as_good: float | None = None
    p_not_worse: float | None = None

    @property
    def is_as_good(self) -> bool:
        """True if every difference of the margin or more is ruled out."""
        return self.p_as_good is not None and self.p_as_good <= statistics.ALPHA

    @property
    def is_not_worse(self) -> bool:
        """True if a level worse by the margin or more is ruled out."""
        return self.p_not_worse is not None and self.p_not_worse <= statistics.ALPHA


@dataclass(frozen=True)
class MarginAnswer:
    """What a measure's differences say about "as good as".

    Attributes:
        margin: Largest difference that does not matter; None where nobody gave one.
        standings: Levels that share prompts with the baseline; empty without a margin.
        could_show: Smallest margin that 4 in 5 such experiments show for every level where nothing differs; None where
            so few prompts show none, or nothing varies.
        least_prompts: Prompts from which a level can be shown to be within any margin at all; infinite if none are
            enough.
    """

    margin: float | None
    standings: tuple[MarginStanding, ...]
    could_show: float | None
    least_prompts: float


def margins_from_flags(texts: Sequence[str], metrics: Sequence[Metric]) -> dict[str, float]:
    """Read `MEASURE=X[,MEASURE=X]`, of one flag or several.

    Raises:
        LlmDitError: For what is no measure or one of pairs, no number above 0, or there twice.
    """
    margins = margins_of(texts)
    for column in margins:
        check_margin_measure(column, metrics)
    return margins


def check_margin_measure(column: str, metrics: Sequence[Metric]) -> None:
    """Refuse a margin of what is no measure, or of one of pairs.

    Raises:
        LlmDitError: If it is so.
    """
    check_measure(column, "--margin", metrics)
    if any(metric.fidelity is not None and metric.name == column for metric in metrics):
        raise LlmDitError(
            f"--margin {column}: {column} is a distance from the baseline itself, so no level is as good as it by "
            "that; give a margin of a measure that has a better direction.",
            field="margin",
        )


def margin_answers(
    families: Sequence[Mapping[str, pd.Series]], margin: float | None, direction: str, looks: tuple[Look, ...]
) -> list[MarginAnswer | None]:
    """Weigh the levels of several families against the margin: the combinations of a grid, and the levels of each axis.

    They are corrected together, since a reader takes the first of them that is as good.

    Args:
        families: Level name to paired differences from the family's baseline, indexed by prompt and seed (and more).
        margin: Largest difference that does not matter, in the measure's unit; None asks which margin could be shown.
        direction: `higher`, `lower` or `none`: which direction of the measure is the better one.
        looks: Analyses before.

    Returns:
        One answer a family; None where no level shares two prompts with the baseline.
    """
    tested = {
        (place, name): series
        for place, family in enumerate(families)
        for name, series in family.items()
        if series.index.get_level_values(PROMPT).nunique() > 1
    }
    cost = COST if looks else 1.0
    standings = {} if margin is None or not tested else _standings(tested, margin, direction, looks, cost)

    def answer(place: int) -> MarginAnswer | None:
        own = [key for key in tested if key[0] == place]
        if not own:
            return None
        return MarginAnswer(
            margin,
            tuple(standings[key] for key in own if key in standings),
            _could_show([tested[key] for key in own], looks, len(tested)),
            statistics.least_prompts(len(tested) * cost / 2),  # one-sided p-values are half the two-sided ones
        )

    return [answer(place) for place in range(len(families))]


def _standings(
    tested: Mapping[tuple[int, str], pd.Series], margin: float, direction: str, looks: tuple[Look, ...], cost: float
) -> dict[tuple[int, str], MarginStanding]:
    sides = np.stack([margin_p_values(_by_look(series, looks)[None], margin)[:, 0] for series in tested.values()])
    alone = sides.max(axis=1)
    as_good = statistics.holm(alone * cost)
    worse = {"higher": sides[:, 0], "lower": sides[:, 1]}.get(direction)
    not_worse = None if worse is None else statistics.holm(worse * cost)
    return {
        key: MarginStanding(
            key[1],
            len(by_prompt := prompt_means(series)),
            _ninety_percent(by_prompt),
            float(alone[index]),
            float(as_good[index]),
            None if not_worse is None else float(not_worse[index]),
        )
        for index, (key, series) in enumerate(tested.items())
    }


def _ninety_percent(by_prompt: statistics.Floats) -> Estimate:
    low, high = (float(end) for end in statistics.interval_of_difference(by_prompt, alpha=MARGIN_ALPHA))
    is_bounded = math.isfinite(high - low)
    return Estimate(float(by_prompt.mean()), low if is_bounded else None, high if is_bounded else None)


def _could_show(levels: Sequence[pd.Series], looks: tuple[Look, ...], contrasts: int) -> float | None:
    """Return the margin that 4 in 5 such experiments show of the level whose differences spread most.

    Args:
        levels: Differences of a family.
        looks: Analyses before.
        contrasts: How many are corrected together, in all families.
    """
    margins = [_could_show_one(series, looks, contrasts) for series in levels]
    found = [margin for margin in margins if margin is not None]
    return max(found) if len(found) == len(margins) else None


def _could_show_one(series: pd.Series, looks: tuple[Look, ...], contrasts: int) -> float | None:
    by_prompt = prompt_means(series)
    deviation = float(by_prompt.std(ddof=1))
    if deviation <= statistics.RELATIVE_TOLERANCE * float(np.abs(by_prompt).max()):
        return None
    alpha = MARGIN_ALPHA / contrasts
    if looks:
        alpha = 2 * level_of_last_test(_by_look(series, looks), contrasts)
    effect = power.detectable_effect(len(by_prompt), alpha=alpha, estimated_from=len(by_prompt), power=POWER_OF_A_SIDE)
    return effect * deviation if math.isfinite(effect) else None


def _by_look(series: pd.Series, looks: tuple[Look, ...]) -> statistics.Floats:
    """Return differences by prompt as they were at each look and are now, [looks + 1, prompts]."""
    return at_looks(series, looks, pd.Index(sorted(set(series.index.get_level_values(PROMPT)))))
