"""Every level beside every other: which is best, and which of them it beats."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.stats.extension import Look
from experiments.stats.levels import Comparison
from experiments.stats.questions.contrasts import compared_together


@dataclass(frozen=True)
class PairedLevels:
    """All pairs of an axis's levels, or of a grid's combinations.

    Attributes:
        variable: What the levels are of.
        levels: In the manifest's order.
        comparisons: (level, other) to level minus other, the later level first.
    """

    variable: str
    levels: tuple[str, ...]
    comparisons: Mapping[tuple[str, str], Comparison]

    def of(self, level: str, other: str) -> tuple[Comparison, float] | None:
        """Return the comparison of two levels and the sign that makes it `level` minus `other`; None without pairs."""
        if (level, other) in self.comparisons:
            return self.comparisons[level, other], 1.0
        if (other, level) in self.comparisons:
            return self.comparisons[other, level], -1.0
        return None

    def lead(self, level: str) -> float:
        """Return how far a level lies above the others on average, by pairs; 0 where it has none."""
        found = [self.of(level, other) for other in self.levels if other != level]
        amounts = [sign * item.difference.mean for pair in found if pair for item, sign in [pair] if item.difference]
        return sum(amounts) / len(amounts) if amounts else 0.0


def compare_all_pairs(
    tables: Sequence[tuple[str, pd.DataFrame, tuple[str, ...]]], looks: tuple[Look, ...]
) -> tuple[PairedLevels, ...]:
    """Compare every level with every other, all of them corrected together.

    Args:
        tables: Variable, table with one row per pairing unit and one column per level, and the levels' names.
        looks: Analyses before.
    """
    differences = {
        ((index, other), level): (table[level] - table[other]).dropna()
        for index, (_variable, table, levels) in enumerate(tables)
        for other, level in itertools.combinations(levels, 2)
        if other in table.columns and level in table.columns
    }
    baselines = {member: member[1] for member, _level in differences}
    contrasts = max((sum(len(levels) - 1 for _variable, _table, levels in tables)), 1)
    found = compared_together(differences, baselines, contrasts, looks)
    return tuple(
        PairedLevels(
            variable,
            levels,
            {(level, other): item for ((at, other), level), item in found.items() if at == index},
        )
        for index, (variable, _table, levels) in enumerate(tables)
    )
