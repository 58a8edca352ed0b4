"""Grids: what each combination does, what each axis does by itself, and whether the axes depend on each other.

All of it is one plan of tests: combinations, axes and interactions are corrected together, since a reader takes the
first difference that any of them shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from experiments.stats import paired_statistics as statistics
from experiments.stats.extension import Look, corrected_over_looks
from experiments.stats.levels import (
    AXIS,
    CELL,
    PROMPT,
    Comparison,
    Correction,
    Estimate,
    LevelSummary,
    by_prompt_id,
    compare,
    differences_from,
    estimate_of,
    level_summaries,
    paired_table,
    prompt_means,
)
from experiments.stats.margins import MarginAnswer

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
    """Main effect of one axis of a grid: its levels, averaged over the other axes, beside its baseline level.

    `margin` is how they stand against the margin that does not matter; None where nothing can be said, or the other
    axes have one level, so that the combinations say it.
    """

    axis: str
    baseline: str
    levels: tuple[LevelSummary, ...]
    comparisons: tuple[Comparison, ...]
    margin: MarginAnswer | None = None


@dataclass(frozen=True)
class Grid:
    """A measure over a grid: combinations beside the baseline, an effect per axis, an interaction per pair of axes.

    `false_claims` is how often tests at 5 %, at each analysis and now, claim anything where nothing differs.
    """

    comparisons: tuple[Comparison, ...]
    main_effects: tuple[AxisEffect, ...]
    interactions: tuple[Interaction, ...]
    false_claims: float


@dataclass(frozen=True)
class _Family:
    """Contrasts that are shown together: each one's differences, indexed by prompt (and more)."""

    baseline: str
    differences: Mapping[str, pd.Series]


def analyse_grid(
    manifest: Manifest, runs: pd.DataFrame, column: str, names: Sequence[str], looks: tuple[Look, ...]
) -> Grid:
    """Analyse a measure over two axes or more.

    Args:
        manifest: The experiment.
        runs: Table of runs that have a number in `column`.
        column: A measure's column.
        names: The combinations, in the order wanted.
        looks: Analyses before.
    """
    varied = _varied(manifest)
    pairs = list(itertools.combinations(varied, 2))
    tables = [_paired_cells(manifest, runs, first, second, column) for first, second in pairs]
    cells = _Family(
        manifest.baseline_name, differences_from(paired_table(runs, [CELL], column), names, manifest.baseline_name)
    )
    axes = [_axis_family(manifest, runs, index, column) for index in varied]
    rest = [_Family("the sum of both axes", _deviations_from_additivity(table)) for table in tables]
    corrections, false_claims = _corrected_together([cells, *axes, *rest], len(names) - 1, looks)
    compared = [
        compare(family.differences, family.baseline, correction)
        for family, correction in zip([cells, *axes, *rest], corrections, strict=True)
    ]
    return Grid(
        compared[0],
        tuple(
            _axis_effect(manifest, runs, index, column, found)
            for index, found in zip(varied, compared[1:], strict=False)
        ),
        tuple(
            _interaction(manifest, runs, pair, column, table, found)
            for pair, table, found in zip(pairs, tables, compared[1 + len(varied) :], strict=True)
        ),
        false_claims,
    )


def axis_differences(manifest: Manifest, runs: pd.DataFrame, column: str) -> list[Mapping[str, pd.Series]]:
    """Return the differences behind each main effect, in the order of `Grid.main_effects`; none for a lone axis."""
    varied = _varied(manifest)
    return [_axis_family(manifest, runs, index, column).differences for index in varied if len(varied) > 1]


def _corrected_together(
    families: Sequence[_Family], contrasts: int, looks: tuple[Look, ...]
) -> tuple[list[Correction], float]:
    """Correct the p-values of all families for one another and for the analyses before."""
    everything = {
        (index, name): series for index, family in enumerate(families) for name, series in family.differences.items()
    }
    false_claims = statistics.ALPHA
    if looks:
        p_values, false_claims = corrected_over_looks(everything, looks)
    else:
        tested = {key: means for key, series in everything.items() if len(means := by_prompt_id(series)) >= 2}
        table = pd.DataFrame(tested).sort_index().to_numpy(dtype=np.float64)  # [prompts, contrasts]
        found = statistics.sign_flip_p_values_together(table.T) if tested else np.empty(0)
        p_values = dict(zip(tested, found.tolist(), strict=True))
    corrections = [
        Correction({name: p for (family, name), p in p_values.items() if family == index}, contrasts, looks=looks)
        for index in range(len(families))
    ]
    return corrections, false_claims


def _varied(manifest: Manifest) -> list[int]:
    return [index for index, axis in enumerate(manifest.axes) if len(axis.levels) > 1]


def _axis_family(manifest: Manifest, runs: pd.DataFrame, index: int, column: str) -> _Family:
    """Return an axis's levels, paired within the same setting of the other axes."""
    axis = manifest.axes[index]
    baseline = manifest.baseline[axis.name]
    paired = paired_table(runs, [f"{AXIS}{index}"], column)
    return _Family(baseline, differences_from(paired, [level.name for level in axis.levels], baseline))


def _axis_effect(
    manifest: Manifest, runs: pd.DataFrame, index: int, column: str, comparisons: tuple[Comparison, ...]
) -> AxisEffect:
    axis = manifest.axes[index]
    names = [level.name for level in axis.levels]
    summaries = level_summaries(runs, f"{AXIS}{index}", names, column)
    return AxisEffect(axis.name, manifest.baseline[axis.name], summaries, comparisons)


def _paired_cells(manifest: Manifest, runs: pd.DataFrame, first: int, second: int, column: str) -> pd.DataFrame:
    """Return one row per pairing unit that has every combination of two axes, one column per combination."""
    keys = list(itertools.product(*([level.name for level in manifest.axes[axis].levels] for axis in (first, second))))
    paired = paired_table(runs, [f"{AXIS}{first}", f"{AXIS}{second}"], column)
    return paired.reindex(columns=pd.MultiIndex.from_tuples(keys)).dropna()


def _interaction(
    manifest: Manifest,
    runs: pd.DataFrame,
    pair: tuple[int, int],
    column: str,
    paired: pd.DataFrame,
    deviations: tuple[Comparison, ...],
) -> Interaction:
    first, second = (manifest.axes[index] for index in pair)
    rows, columns = (tuple(level.name for level in axis.levels) for axis in (first, second))
    groups = runs.groupby([f"{AXIS}{index}" for index in pair])
    means = {key: estimate_of(prompt_means(group.set_index(PROMPT)[column])) for key, group in groups}
    return Interaction(
        row_axis=first.name,
        column_axis=second.name,
        rows=rows,
        columns=columns,
        means=tuple(tuple(means.get((row, column)) for column in columns) for row in rows),
        deviations=tuple(deviations[start : start + len(columns)] for start in range(0, len(deviations), len(columns))),
        prompts=paired.index.get_level_values(PROMPT).nunique(),
    )


def _deviations_from_additivity(paired: pd.DataFrame) -> dict[str, pd.Series]:
    """Return, per combination, what row mean + column mean - grand mean leaves over, one value per pairing unit."""
    rows, columns = (len(level) for level in paired.columns.remove_unused_levels().levels)
    table = paired.to_numpy(dtype=np.float64).reshape(-1, rows, columns)  # [units, rows, columns]
    row_means, column_means = table.mean(axis=2, keepdims=True), table.mean(axis=1, keepdims=True)
    left = table - row_means - column_means + table.mean(axis=(1, 2), keepdims=True)
    sizes = np.abs(table).max(axis=(1, 2), keepdims=True, initial=0.0)
    rest = statistics.beyond_rounding(left, sizes).reshape(-1, rows * columns)
    return {" x ".join(key): pd.Series(rest[:, index], index=paired.index) for index, key in enumerate(paired.columns)}
