"""Grids: what each axis does by itself, and whether the axes depend on each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from experiments.stats.levels import (
    AXIS,
    PROMPT,
    Comparison,
    Estimate,
    LevelSummary,
    compare,
    compare_with_baseline,
    estimate_of,
    level_summaries,
    paired_table,
    prompt_means,
)

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest


@dataclass(frozen=True)
class Interaction:
    """How far each combination of two axes is from the sum of the two main effects.

    Attributes:
        row_axis: First axis; its levels are the rows.
        column_axis: Second axis.
        rows: Level names.
        columns: Level names.
        means: Mean of each combination, [rows][columns]; None without runs.
        deviations: Difference to the additive expectation with interval and test, [rows][columns].
        prompts: Prompts that have every combination.
    """

    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    means: tuple[tuple[Estimate | None, ...], ...]
    deviations: tuple[tuple[Comparison, ...], ...]
    prompts: int


@dataclass(frozen=True)
class AxisEffect:
    """Main effect of one axis of a grid: its levels, averaged over the other axes, beside its baseline level."""

    axis: str
    baseline: str
    levels: tuple[LevelSummary, ...]
    comparisons: tuple[Comparison, ...]


def main_effects(manifest: Manifest, runs: pd.DataFrame, column: str) -> tuple[AxisEffect, ...]:
    """Return one main effect per axis that has several levels; none where there is one axis only.

    Runs are paired within the same setting of the other axes, so a missing combination is missing for both.
    """
    if len(manifest.axes) < 2:
        return ()
    return tuple(_main_effect(manifest, runs, index, column) for index in _varied(manifest))


def interactions(manifest: Manifest, runs: pd.DataFrame, column: str) -> tuple[Interaction, ...]:
    """Return one interaction per pair of axes, the remaining axes averaged over."""
    pairs = itertools.combinations(_varied(manifest), 2)
    return tuple(_interaction(manifest, runs, first, second, column) for first, second in pairs)


def _varied(manifest: Manifest) -> list[int]:
    return [index for index, axis in enumerate(manifest.axes) if len(axis.levels) > 1]


def _main_effect(manifest: Manifest, runs: pd.DataFrame, index: int, column: str) -> AxisEffect:
    axis, levels_in = manifest.axes[index], f"{AXIS}{index}"
    names = [level.name for level in axis.levels]
    baseline = manifest.baseline[axis.name]
    comparisons = compare_with_baseline(paired_table(runs, [levels_in], column), names, baseline)
    return AxisEffect(axis.name, baseline, level_summaries(runs, levels_in, names, column), comparisons)


def _interaction(manifest: Manifest, runs: pd.DataFrame, first: int, second: int, column: str) -> Interaction:
    rows = tuple(level.name for level in manifest.axes[first].levels)
    columns = tuple(level.name for level in manifest.axes[second].levels)
    levels_in = [f"{AXIS}{first}", f"{AXIS}{second}"]
    keys = list(itertools.product(rows, columns))
    means = {key: estimate_of(prompt_means(group.set_index(PROMPT)[column])) for key, group in runs.groupby(levels_in)}
    paired = paired_table(runs, levels_in, column).reindex(columns=pd.MultiIndex.from_tuples(keys)).dropna()
    deviations = compare(_deviations_from_additivity(paired, len(rows), len(columns)), "the sum of both axes")
    return Interaction(
        row_axis=manifest.axes[first].name,
        column_axis=manifest.axes[second].name,
        rows=rows,
        columns=columns,
        means=tuple(tuple(means.get((row, column)) for column in columns) for row in rows),
        deviations=tuple(deviations[start : start + len(columns)] for start in range(0, len(keys), len(columns))),
        prompts=paired.index.get_level_values(PROMPT).nunique(),
    )


def _deviations_from_additivity(paired: pd.DataFrame, rows: int, columns: int) -> dict[str, pd.Series]:
    """Return, per combination, what row mean + column mean - grand mean leaves over, one value per pairing unit."""
    table = paired.to_numpy(dtype=np.float64).reshape(-1, rows, columns)  # [units, rows, columns]
    row_means, column_means = table.mean(axis=2, keepdims=True), table.mean(axis=1, keepdims=True)
    rest = (table - row_means - column_means + table.mean(axis=(1, 2), keepdims=True)).reshape(-1, rows * columns)
    return {" x ".join(key): pd.Series(rest[:, index], index=paired.index) for index, key in enumerate(paired.columns)}
