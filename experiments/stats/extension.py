"""Results that were extended after somebody had analysed them: what that does to the error, and corrected p-values.

Who looks, and adds prompts or seeds until p is below 5 %, claims something in far more than 5 % of the experiments
without any difference. The first analysis had its 5 %; all later ones together may add `LEFT_AFTER_ANALYSIS` to it. So
a corrected p-value is the share of sign patterns in which any analysis so far gets as extreme as the present one, times
`COST`. Looks that are planned beforehand need none of this; the sentences are in `experiments.stats.verdict`.

Sources: Armitage, McPherson & Rowe 1969 (what repeated tests do); Westfall & Young 1993 (max-T); docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import pandas as pd

from experiments.stats import paired_statistics as statistics
from experiments.store.analyses import PastAnalysis, text_hash

if TYPE_CHECKING:
    from experiments.stats.paired_statistics import Floats

LEFT_AFTER_ANALYSIS: Final = 0.01
"""Probability of a false claim that all analyses after the first may add to its 5 %."""
COST: Final = statistics.ALPHA / LEFT_AFTER_ANALYSIS
"""What a p-value over all analyses is multiplied by, so that 5 % of the product is what is left."""
Pair = tuple[str, int]
"""Id of a prompt, and the seed by which its runs are paired."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Look:
    """An earlier analysis of one measure.

    Attributes:
        pairs: The prompts and seeds that it rested on and that are still there.
        prompts: Prompts among them.
        seeds: Seeds among them.
    """

    pairs: frozenset[Pair]
    prompts: int
    seeds: int


@dataclass(frozen=True)
class Extension:
    """What happened to a measure's results after they had been analysed.

    Attributes:
        looks: Analyses on fewer prompts or seeds that could have ended in a claim, in the order of their size.
        false_claims: Probability that tests at 5 %, one at each look and now, claim something where nothing differs.
    """

    looks: tuple[Look, ...]
    false_claims: float


def earlier_looks(
    analyses: Iterable[PastAnalysis], column: str, pairs: Iterable[tuple[Pair, str]], comparisons: float
) -> tuple[Look, ...]:
    """Return the analyses of a measure that count as looks.

    One on the data that are there now, or on the very data of another, is none; neither is one with so few prompts that
    no difference could have been shown, however large.

    Args:
        analyses: Those that somebody has seen.
        column: The measure.
        pairs: What has the number now, each with the prompt's text.
        comparisons: Number that the smallest possible two-sided p-value is multiplied by.
    """
    hash_of = lru_cache(maxsize=None)(text_hash)
    keys = {(hash_of(text), seed): (prompt, seed) for (prompt, seed), text in pairs}
    seen = {
        frozenset(keys[unit] for unit in analysis.seen & keys.keys())
        for analysis in analyses
        if column in analysis.measures
    }
    looks = [
        Look(of_look, len({prompt for prompt, _seed in of_look}), len({seed for _prompt, seed in of_look}))
        for of_look in seen
        if len(of_look) < len(keys)
    ]
    counted = able_to_claim(looks, comparisons)
    return tuple(sorted(counted, key=lambda look: (len(look.pairs), sorted(look.pairs))))


def able_to_claim(looks: Iterable[Look], comparisons: float) -> tuple[Look, ...]:
    """Return the looks with so many prompts that a difference could have been shown in one of so many comparisons."""
    return tuple(look for look in looks if statistics.smallest_p_value(look.prompts) * comparisons <= statistics.ALPHA)


def corrected_over_looks(differences: Mapping[Key, pd.Series], looks: Sequence[Look]) -> tuple[dict[Key, float], float]:
    """Correct contrasts for each other and for the analyses before.

    Args:
        differences: Paired differences of each contrast, indexed by prompt and seed (and more).
        looks: At least one.

    Returns:
        The corrected p-values of contrasts with two prompts or more, and the probability that tests at 5 % at each look
        and now claim anything where nothing differs.
    """
    tested = {key: series for key, series in differences.items() if series.index.get_level_values(0).nunique() >= 2}
    if not tested:
        return {}, statistics.ALPHA
    prompts = pd.Index(sorted({prompt for series in tested.values() for prompt in series.index.get_level_values(0)}))
    table = np.stack([at_looks(series, looks, prompts) for series in tested.values()])
    p_values = np.minimum(statistics.sign_flip_p_values_together(table) * COST, 1.0)
    return dict(zip(tested, p_values.tolist(), strict=True)), false_claims_of(table)


def false_claims_of(table: Floats) -> float:
    """Return how often a test at 5 % at each look, by all contrasts together, claims anything where nothing differs.

    Args:
        table: Differences by prompt, [contrasts, looks, prompts]; NaN where a prompt is not there yet.
    """
    signs, seen = statistics.sign_patterns(table.shape[-1])
    extremes = np.zeros((table.shape[1], signs.shape[1]))
    for contrast in statistics.unit_vectors(table):
        np.maximum(extremes, np.abs(contrast @ signs), out=extremes)
    claimed = np.zeros(signs.shape[1], dtype=bool)
    most = int(statistics.ALPHA * (signs.shape[1] + seen) * (1 + statistics.RELATIVE_TOLERANCE)) - seen
    for of_look in extremes:
        # patterns that tie with the first one that is not rejected are not rejected either
        border = np.sort(of_look)[::-1][max(most, 0)]
        claimed |= of_look > border + statistics.RELATIVE_TOLERANCE
    return float(claimed.mean())


def level_of_last_test(differences: Floats, contrasts: int) -> float:
    """Return the level at which one contrast is tested now, its looks and all contrasts corrected for.

    Args:
        differences: By prompt, [looks, prompts], the present at the end.
        contrasts: Number that share the error.
    """
    signs, _seen = statistics.sign_patterns(differences.shape[-1])
    extremes = np.abs(statistics.unit_vectors(differences) @ signs)  # [looks, patterns]
    border = np.quantile(extremes.max(axis=0), 1 - LEFT_AFTER_ANALYSIS)
    share = float((extremes[-1] >= border - statistics.RELATIVE_TOLERANCE).mean())
    return min(share, LEFT_AFTER_ANALYSIS) / contrasts


def at_looks(series: pd.Series, looks: Sequence[Look], prompts: pd.Index) -> Floats:
    """Return one contrast's differences by prompt as they were at each look and are now, [looks + 1, prompts]."""
    units = list(zip(series.index.get_level_values(0), series.index.get_level_values(1), strict=True))
    parts = [series[[unit in look.pairs for unit in units]] for look in looks]
    means = [part.groupby(level=0, sort=True).mean().reindex(prompts) for part in (*parts, series)]
    return np.stack([mean.to_numpy(dtype=np.float64) for mean in means])


def this_analysis(by: str, measures: Iterable[str], pictures: int, pairs: Iterable[tuple[str, int]]) -> PastAnalysis:
    """Return what is kept of an analysis that somebody sees now.

    Args:
        by: What shows it.
        measures: Columns shown.
        pictures: Finished ones.
        pairs: Text of the prompt and pairing seed of all that is shown.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return PastAnalysis(
        now, by, frozenset(measures), pictures, frozenset((text_hash(text), seed) for text, seed in pairs)
    )
