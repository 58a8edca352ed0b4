"""The same comparison in every group: of prompts, as their categories, or at every level of another axis."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.stats import paired_statistics as statistics
from experiments.stats.extension import Look
from experiments.stats.levels import PROMPT, SEED, Comparison, LevelSummary, by_prompt_id, level_summaries
from experiments.stats.questions.contrasts import (
    LEAST_GROUP,
    compared_together,
    corrected_together,
    groups_p_values,
    over_looks,
)

GROUP, REST = "group", "rest"


@dataclass(frozen=True)
class Group:
    """One group: its levels beside the baseline's level in it."""

    name: str
    prompts: int
    levels: tuple[LevelSummary, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Disagreement:
    """Whether one level's difference is the same in all groups.

    Attributes:
        level: The level.
        p_corrected: Of "it is the same in all of them", corrected over levels; None where it can't be tested.
        low: Group with the least difference, and the difference.
        high: Group with the largest.
    """

    level: str
    p_corrected: float | None
    low: tuple[str, float]
    high: tuple[str, float]

    @property
    def is_found(self) -> bool:
        """True if the groups differ at the 5 % level."""
        return self.p_corrected is not None and self.p_corrected <= statistics.ALPHA


@dataclass(frozen=True)
class Grouped:
    """A comparison by groups.

    Attributes:
        by: What divides the runs.
        variable: What is compared within each group.
        baseline: What the levels are compared with.
        groups: In the manifest's order.
        disagreements: One per level.
        is_possible: False where so few prompts could show no disagreement, however large.
        is_within: True if every prompt is in every group, as for an axis.
    """

    by: str
    variable: str
    baseline: str
    groups: tuple[Group, ...]
    disagreements: tuple[Disagreement, ...]
    is_possible: bool
    is_within: bool


def compare_by_groups(
    runs: pd.DataFrame,
    column: str,
    *,
    by: str,
    variable: str,
    names: Sequence[str],
    groups: Sequence[str],
    baseline: str,
    is_within: bool,
    looks: tuple[Look, ...],
) -> Grouped:
    """Compare levels with the baseline in each group, and the groups with each other.

    Args:
        runs: Table of runs that have a number in `column`, with the columns `group` and `rest` (the level compared).
        column: A measure's column.
        by: What divides the runs.
        variable: What the levels are of.
        names: Levels.
        groups: Groups.
        baseline: The level that others are compared with.
        is_within: True if the groups hold the same prompts.
        looks: Analyses before.
    """
    paired = {
        group: part.pivot_table(index=[PROMPT, SEED], columns=REST, values=column, sort=False)
        for group, part in ((group, runs[runs[GROUP] == group]) for group in groups)
        if len(part)
    }
    differences = {
        (group, level): (table[level] - table[baseline]).dropna()
        for group, table in paired.items()
        for level in names
        if level != baseline and level in table.columns and baseline in table.columns
    }
    found = compared_together(
        differences, dict.fromkeys(paired, baseline), max(len(paired) * (len(names) - 1), 1), looks
    )
    shown = tuple(
        Group(
            group,
            int(runs[runs[GROUP] == group][PROMPT].nunique()),
            level_summaries(runs[runs[GROUP] == group], REST, names, column),
            tuple(item for (of_group, _level), item in found.items() if of_group == group),
        )
        for group in groups
        if group in paired
    )
    means = {key: by_prompt_id(series) for key, series in differences.items() if len(series)}
    test = _within_p_values(differences, looks) if is_within else _between_p_values(means, looks)
    disagreements = tuple(
        _disagreement(level, means, test[0].get(level)) for level in names if sum(key[1] == level for key in means) > 1
    )
    return Grouped(by, variable, baseline, shown, disagreements, test[1], is_within)


def _disagreement(level: str, means: Mapping[tuple[str, str], pd.Series], p_value: float | None) -> Disagreement:
    amounts = sorted(((float(series.mean()), group) for (group, of), series in means.items() if of == level))
    (least, low), (most, high) = amounts[0], amounts[-1]
    return Disagreement(level, p_value, (low, least), (high, most))


def _between_p_values(
    means: Mapping[tuple[str, str], pd.Series], looks: tuple[Look, ...]
) -> tuple[dict[str, float], bool]:
    """Test groups of different prompts, those with two or more; and say whether so few could differ at all."""
    sizes = Counter[str]()
    for (group, _level), series in means.items():
        sizes[group] = max(sizes[group], len(series))
    counted = [group for group, size in sizes.items() if size >= LEAST_GROUP]
    if len(counted) < 2:
        return {}, False
    deals = math.factorial(sum(sizes[group] for group in counted)) // math.prod(
        math.factorial(sizes[group]) for group in counted
    )
    by_prompt = {
        (group, prompt): {level: series.get(prompt, math.nan) for (of, level), series in means.items() if of == group}
        for group in counted
        for prompt in sorted({name for (of, _level), series in means.items() if of == group for name in series.index})
    }
    ordered = sorted(by_prompt.items(), key=lambda item: item[0][1])
    levels = list(dict.fromkeys(level for _group, level in means))
    table = np.array([[values.get(level, math.nan) for _key, values in ordered] for level in levels])
    p_values = groups_p_values(table, [counted.index(group) for (group, _prompt), _values in ordered])
    is_possible = over_looks(max(1 / deals, 1e-4), looks) <= statistics.ALPHA
    return {level: over_looks(float(p), looks) for level, p in zip(levels, p_values, strict=True)}, is_possible


def _within_p_values(
    differences: Mapping[tuple[str, str], pd.Series], looks: tuple[Look, ...]
) -> tuple[dict[str, float], bool]:
    """Test groups of the same prompts: a prompt's difference in one minus that in another, all pairs together."""
    groups = list(dict.fromkeys(group for group, _level in differences))
    levels = list(dict.fromkeys(level for _group, level in differences))
    contrasts = {
        (level, one, other): _between(differences[one, level], differences[other, level])
        for level in levels
        for one, other in itertools.combinations(groups, 2)
        if (one, level) in differences and (other, level) in differences
    }
    p_values, tests = corrected_together(contrasts, looks)
    least: dict[str, float] = {}
    for (level, _one, _other), p_value in p_values.items():
        least[level] = min(p_value, least.get(level, 1.0))
    is_possible = any(
        over_looks(statistics.smallest_p_value(len(by_prompt_id(contrasts[key]))) * tests[key], looks)
        <= statistics.ALPHA
        for key in p_values
    )
    return least, is_possible


def _between(one: pd.Series, other: pd.Series) -> pd.Series:
    """Return one group's differences taken from another's, 0 where nothing but rounding is left."""
    both = (other - one).dropna()
    sizes = (other.abs() + one.abs()).reindex(both.index).to_numpy(dtype=np.float64)
    return pd.Series(statistics.beyond_rounding(both.to_numpy(dtype=np.float64), sizes), index=both.index)
