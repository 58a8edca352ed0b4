"""Contrasts of one question, corrected together, and whether groups of prompts answer alike."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.stats import paired_statistics as statistics
from experiments.stats.extension import COST, Look, corrected_over_looks
from experiments.stats.levels import Comparison, Correction, by_prompt_id, compare

Key = TypeVar("Key", bound=Hashable)
SHUFFLES: Final = 9999
DEALS_AT_ONCE: Final = 500
LEAST_GROUP: Final = 2
"""Prompts that a group needs to say how its own differ."""


def compared_together(
    differences: Mapping[tuple[Key, str], pd.Series],
    baselines: Mapping[Key, str],
    contrasts: int,
    looks: tuple[Look, ...],
) -> dict[tuple[Key, str], Comparison]:
    """Compare contrasts that are one family: a reader takes the first difference that any of them shows.

    Args:
        differences: By family member and level, indexed by prompt and seed (and more).
        baselines: What was subtracted in each member.
        contrasts: Independent contrasts among them, by which `detects` is reckoned.
        looks: Analyses before.
    """
    p_values, tests = corrected_together(differences, looks)
    found = {}
    for key, series in differences.items():
        member, level = key
        own = Correction({level: p_values[key]} if key in p_values else {}, contrasts, tests.get(key, 1), looks)
        found[key] = compare({level: series}, baselines[member], own)[0]
    return found


def corrected_together(
    differences: Mapping[Key, pd.Series], looks: tuple[Look, ...]
) -> tuple[dict[Key, float], dict[Key, int]]:
    """Return corrected p-values of contrasts with two prompts or more, and what their smallest one is multiplied by."""
    tested = {key: means for key, series in differences.items() if len(means := by_prompt_id(series)) >= 2}
    if not tested:
        return {}, {}
    table = pd.DataFrame(dict(enumerate(tested.values()))).sort_index().to_numpy(dtype=np.float64).T
    tests = dict(zip(tested, _smallest_multiplied(table), strict=True))
    if looks:
        return corrected_over_looks({key: differences[key] for key in tested}, looks)[0], tests
    return dict(zip(tested, statistics.sign_flip_p_values_together(table).tolist(), strict=True)), tests


def _smallest_multiplied(table: statistics.Floats) -> list[int]:
    """Return, per contrast, how often its smallest p-value alone goes into the smallest one beside the others.

    A contrast is as extreme as it can be where all its prompts differ by the same amount.
    """
    units = statistics.unit_vectors(table)
    signs, seen = statistics.sign_patterns(table.shape[-1])
    extremes = np.sort(np.abs(units @ signs).max(axis=0))
    counts = []
    for row in table:
        differing = int(np.count_nonzero(np.nan_to_num(row)))
        beyond = len(extremes) - np.searchsorted(extremes, math.sqrt(differing) - statistics.RELATIVE_TOLERANCE)
        smallest = (int(beyond) + seen) / (len(extremes) + seen)
        counts.append(max(1, math.ceil(smallest / statistics.smallest_p_value(max(differing, 1)) - 1e-9)))
    return counts


def groups_p_values(differences: statistics.Floats, groups: Sequence[int]) -> NDArray[np.float64]:
    """Test whether differences are alike in all groups of prompts, several levels together.

    Were they, the prompts' groups could as well have been dealt out anew. The statistic is the share of the spread
    that lies between groups; a level's p-value is the share of deals in which it, or a level less extreme in what was
    seen, is as extreme as it was seen to be. It asks whether the distributions are alike, of which a different mean is
    one way to differ.

    Args:
        differences: One row per level, [levels, prompts]; NaN where a prompt lacks it.
        groups: Number of each prompt's group, from 0.

    Returns:
        Corrected p-values in (0, 1], [levels].

    Source: Pitman 1937 (permutation of groups); Westfall & Young 1993, algorithm 2.8.
    """
    members = np.eye(max(groups) + 1)[np.asarray(groups)]  # [prompts, groups]
    seen = between_groups(differences, members)
    order = np.argsort(-seen, kind="stable")
    as_far = np.ones(len(order))
    deals = shuffles(differences.shape[1])
    for start in range(0, len(deals), DEALS_AT_ONCE):
        dealt = between_groups(differences, members[deals[start : start + DEALS_AT_ONCE]])[:, order]
        most_extreme = np.maximum.accumulate(dealt[:, ::-1], axis=1)[:, ::-1]
        as_far += (most_extreme >= seen[order] - statistics.RELATIVE_TOLERANCE).sum(axis=0)
    p_values = np.empty(len(order))
    p_values[order] = np.maximum.accumulate(as_far / (SHUFFLES + 1))
    return p_values


def between_groups(differences: statistics.Floats, members: statistics.Floats) -> NDArray[np.float64]:
    """Return the share of each level's spread over prompts that lies between groups, 0 where nothing varies.

    Args:
        differences: [levels, prompts]; NaN where a prompt lacks it.
        members: 1 where a prompt is of a group, [..., prompts, groups].

    Returns:
        [..., levels], 0 to 1.
    """
    there = np.isfinite(differences)
    filled = np.where(there, differences, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    centred = np.where(there, differences - mean, 0.0)
    counts = there.astype(np.float64) @ members  # [..., levels, groups]
    between = ((centred @ members) ** 2 / np.maximum(counts, 1)).sum(axis=-1)
    total = (centred**2).sum(axis=1)
    scale = np.abs(filled).max(axis=1)
    has_spread = total > (statistics.RELATIVE_TOLERANCE * scale) ** 2
    shares: NDArray[np.float64] = np.where(has_spread, between / np.where(has_spread, total, 1.0), 0.0)
    return shares


def shuffles(prompts: int) -> NDArray[np.intp]:
    """Return 9,999 orders of prompts, the same ones always and in the report's page, [orders, prompts].

    Each prompt gets a number by mixing the bits of its place (the finalizer of MurmurHash3), and they are sorted by it.
    """
    mixed = np.arange(SHUFFLES * prompts, dtype=np.uint32).reshape(SHUFFLES, prompts) + np.uint32(1)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return np.argsort(mixed, axis=1, kind="stable")


def over_looks(p_value: float, looks: Sequence[Look]) -> float:
    """Correct a p-value that no sign pattern gives for the analyses before: one share each, at their price."""
    return min(1.0, p_value * (len(looks) + 1) * COST) if looks else p_value
