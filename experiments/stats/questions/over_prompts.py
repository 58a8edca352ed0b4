"""Each prompt's own numbers: its difference from the baseline at every level, and its line along an axis of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.metrics.declaration import Metric
from experiments.stats.findings import measured_runs
from experiments.stats.levels import AXIS, CELL, PROMPT, by_prompt_id, differences_from, paired_table
from experiments.stats.measures import Measure
from experiments.stats.questions.trends import numbers_of
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord


@dataclass(frozen=True)
class PromptLines:
    """Prompts' numbers along an axis of numbers.

    Attributes:
        axis: Its name.
        values: Its levels' numbers, in rising order.
        numbers: Prompt id to its numbers there, averaged over seeds and other axes; of prompts that have every level.
    """

    axis: str
    values: tuple[float, ...]
    numbers: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class PromptNumbers:
    """One measure, prompt by prompt.

    Attributes:
        measure: What was measured.
        differences: Level to prompt id to level minus baseline, averaged over seeds.
        lines: One per axis of numbers.
    """

    measure: Measure
    differences: Mapping[str, Mapping[str, float]]
    lines: tuple[PromptLines, ...]


def numbers_over_prompts(
    manifest: Manifest, records: Sequence[RunRecord], metrics: Sequence[Metric]
) -> list[PromptNumbers]:
    """Return the numbers of every measure that compares levels, in the order of the analysis.

    Args:
        manifest: The experiment.
        records: Its finished and failed runs.
        metrics: Declarations of the metrics whose columns are read.
    """
    _finished, measures, frame = measured_runs(manifest, records, metrics)
    return [_of_measure(manifest, frame, measure) for measure in measures if not measure.is_of_pairs]


def _of_measure(manifest: Manifest, frame: pd.DataFrame, measure: Measure) -> PromptNumbers:
    scored = frame.dropna(subset=[measure.column])
    names = [cell.name for cell in manifest.combinations]
    found = differences_from(paired_table(scored, [CELL], measure.column), names, manifest.baseline_name)
    differences = {
        level: {str(name): float(value) for name, value in by_prompt_id(series).items()}
        for level, series in found.items()
        if len(series)
    }
    lines = [
        _lines(paired_table(scored, [f"{AXIS}{index}"], measure.column), axis.name, names_of_levels, numbers)
        for index, axis in enumerate(manifest.axes)
        for names_of_levels in [[level.name for level in axis.levels]]
        if len(names_of_levels) > 1 and (numbers := numbers_of(names_of_levels)) is not None
    ]
    return PromptNumbers(measure, differences, tuple(line for line in lines if line.numbers))


def _lines(paired: pd.DataFrame, axis: str, levels: Sequence[str], numbers: Sequence[float]) -> PromptLines:
    order = sorted(range(len(levels)), key=lambda index: numbers[index])
    whole = paired.reindex(columns=[levels[index] for index in order]).dropna()
    means = whole.groupby(level=PROMPT, sort=True).mean()
    found = {str(name): tuple(map(float, row)) for name, row in zip(means.index, means.to_numpy(), strict=True)}
    return PromptLines(axis, tuple(numbers[index] for index in order), found)
