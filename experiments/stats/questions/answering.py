"""Questions after the first, asked together: which runs, beside what, and what is to be said of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments.metrics.declaration import Metric
from experiments.planning.axes import Axis
from experiments.stats.comparable_scores import prompt_units
from experiments.stats.extension import Look
from experiments.stats.findings import Analysis, analyse, looks_before, measured_runs
from experiments.stats.levels import AXIS, CELL, PROMPT, differences_from, paired_table, prompt_means
from experiments.stats.measures import Measure
from experiments.stats.numbers_as_text import format_share
from experiments.stats.paired_statistics import ALPHA
from experiments.stats.questions.all_pairs import PairedLevels, compare_all_pairs
from experiments.stats.questions.correlations import Correlation, correlations_of
from experiments.stats.questions.groups import GROUP, REST, Grouped, compare_by_groups
from experiments.stats.questions.narrowing import OF_PROMPTS, Condition, narrowed, prompt_property
from experiments.stats.questions.trends import Trend, numbers_of, trend_of
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError, nearest

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Asked:
    """What somebody asks.

    Attributes:
        where: Conditions that runs meet.
        baseline: The level that others are compared with; the experiment's own where None.
        all_pairs: True to compare every level with every other.
        by: What to divide the runs by: something of prompts, or an axis; None for no division.
        trend: An axis of numbers to fit a line along; None for no line.
        per_prompt: True to tell how differences are spread over prompts.
        correlate: True to tell how measures go together.
    """

    where: tuple[Condition, ...] = ()
    baseline: str | None = None
    all_pairs: bool = False
    by: str | None = None
    trend: str | None = None
    per_prompt: bool = False
    correlate: bool = False

    def __str__(self) -> str:
        """Return the question as the manifest keeps it; empty for the first question."""
        parts = [
            *(f"where {condition}" for condition in sorted(self.where, key=str)),
            *([f"baseline {self.baseline}"] if self.baseline is not None else []),
            *(["all pairs"] if self.all_pairs else []),
            *([f"by {self.by}"] if self.by is not None else []),
            *([f"trend over {self.trend}"] if self.trend is not None else []),
            *(["correlations"] if self.correlate else []),
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class Spread:
    """How one level's differences from the baseline are spread over prompts.

    Attributes:
        level: The level.
        prompts: Prompts that both have.
        above: Those whose difference is above 0.
        quarters: Least, first quarter, median, third quarter and largest difference; None without prompts.
        lowest: Id of the prompt with the least difference.
        highest: Id of the one with the largest.
    """

    level: str
    prompts: int
    above: int
    quarters: tuple[float, ...] | None
    lowest: str = ""
    highest: str = ""


@dataclass(frozen=True)
class Answer:
    """What was asked beside the comparison with the baseline, of one measure; empty or None what was not asked."""

    measure: Measure
    pairs: tuple[PairedLevels, ...] = ()
    grouped: Grouped | None = None
    trend: Trend | None = None
    spreads: tuple[Spread, ...] = ()


@dataclass(frozen=True)
class Answers:
    """The part that was asked about with its analysis, and an answer per measure.

    Attributes:
        manifest: Of the part.
        records: Its runs.
        analysis: Every level of it beside the baseline.
        answers: One per measure that can be better or worse, in the analysis' order.
        correlations: One per pair of measures.
    """

    manifest: Manifest
    records: list[RunRecord]
    analysis: Analysis
    answers: tuple[Answer, ...]
    correlations: tuple[Correlation, ...]

    def of(self, measure: Measure) -> Answer | None:
        """Return the answer by a measure; None for a measure of pairs."""
        return next((answer for answer in self.answers if answer.measure == measure), None)


def answer(
    manifest: Manifest,
    records: Sequence[RunRecord],
    metrics: Sequence[Metric],
    asked: Asked,
    columns: Sequence[str] = (),
) -> Answers:
    """Answer a question.

    Args:
        manifest: The experiment.
        records: Its finished and failed runs.
        metrics: Declarations of the metrics whose columns are read.
        asked: The question.
        columns: Measures that are correlated, where it asks for that; the main ones if empty.

    Raises:
        LlmDitError: Where it names what is not there, or leaves nothing to compare.
    """
    part = narrowed(manifest, records, asked.where, asked.baseline)
    _check_trend(part.manifest, asked.trend)
    groups = None if asked.by is None else _groups_by(part.manifest, part.records, asked.by)
    analysis = analyse(part.manifest, part.records, metrics)
    if asked == Asked(asked.where, asked.baseline):
        notes = (*part.notes, *analysis.notes, *_asked_before(manifest, asked))
        return Answers(part.manifest, part.records, replace(analysis, notes=notes), (), ())
    finished, measures, frame = measured_runs(part.manifest, part.records, metrics)
    judged = [measure for measure in measures if not measure.is_of_pairs]
    answers = []
    for measure in judged:
        scored = frame.dropna(subset=[measure.column])
        looks = looks_before(part.manifest, scored, finished, measure, 1)
        answers.append(_answer(part.manifest, scored, measure, asked, groups, looks))
    correlated = [item for item in judged if (item.column in columns if columns else item.is_main)]
    notes = (*part.notes, *analysis.notes, *_asked_before(manifest, asked))
    return Answers(
        part.manifest,
        part.records,
        replace(analysis, notes=notes),
        tuple(answers),
        correlations_of(frame, correlated) if asked.correlate else (),
    )


def _answer(
    manifest: Manifest,
    scored: pd.DataFrame,
    measure: Measure,
    asked: Asked,
    groups: Mapping[str, str] | None,
    looks: tuple[Look, ...],
) -> Answer:
    column = measure.column
    trend = None
    if asked.trend is not None:
        index, axis = _axis_named(manifest, asked.trend)
        names = [level.name for level in axis.levels]
        trend = trend_of(paired_table(scored, [f"{AXIS}{index}"], column), axis.name, names, looks)
    return Answer(
        measure,
        pairs=compare_all_pairs(_tables_of_levels(manifest, scored, column), looks) if asked.all_pairs else (),
        grouped=None if asked.by is None else _grouped(manifest, scored, column, asked.by, groups, looks),
        trend=trend,
        spreads=_spreads(manifest, scored, column) if asked.per_prompt else (),
    )


def _tables_of_levels(
    manifest: Manifest, scored: pd.DataFrame, column: str
) -> list[tuple[str, pd.DataFrame, tuple[str, ...]]]:
    """Return combinations and, in a grid, each axis's levels within the same setting of the others."""
    cells = tuple(cell.name for cell in manifest.combinations)
    tables = [(manifest.variable_name, paired_table(scored, [CELL], column), cells)]
    if len(manifest.axes) > 1:
        for index, axis in enumerate(manifest.axes):
            names = tuple(level.name for level in axis.levels)
            tables.append((axis.name, paired_table(scored, [f"{AXIS}{index}"], column), names))
    return tables


def _grouped(
    manifest: Manifest,
    scored: pd.DataFrame,
    column: str,
    by: str,
    groups: Mapping[str, str] | None,
    looks: tuple[Look, ...],
) -> Grouped:
    """Compare by a property of prompts, or by an axis: then the others are compared at each of its levels."""
    if groups is not None and not _is_axis(manifest, by):
        names = list(dict.fromkeys(groups.values()))
        runs = scored.assign(**{GROUP: scored[PROMPT].map(groups), REST: scored[CELL]})
        rest, baseline = manifest.axes, manifest.baseline_name
    else:
        index, axis = _axis_named(manifest, by)
        names = [level.name for level in axis.levels]
        rest = tuple(other for other in manifest.axes if other != axis)
        others = [f"{AXIS}{at}" for at, other in enumerate(manifest.axes) if other in rest]
        joined = scored[others].agg(" x ".join, axis=1) if len(scored) else scored[CELL]
        runs = scored.assign(**{GROUP: scored[f"{AXIS}{index}"], REST: joined})
        baseline = " x ".join(manifest.baseline[other.name] for other in rest)
    levels = [" x ".join(level.name for level in cell) for cell in itertools.product(*(axis.levels for axis in rest))]
    return compare_by_groups(
        runs,
        column,
        by=by,
        variable=" x ".join(axis.name for axis in rest),
        names=levels,
        groups=names,
        baseline=baseline,
        is_within=_is_axis(manifest, by),
        looks=looks,
    )


def _groups_by(manifest: Manifest, records: Sequence[RunRecord], by: str) -> Mapping[str, str] | None:
    """Return each prompt's group; None where an axis divides.

    Raises:
        LlmDitError: For what divides nothing.
    """
    axes = [axis.name for axis in manifest.axes]
    if by in axes:
        if len(axes) == 1:
            raise LlmDitError(f"--by {by} divides by what is compared; give something of prompts, such as category.")
        return None
    known = {prompt.id: prompt for prompt in manifest.prompts}
    details = {name for prompt in manifest.prompts for name in prompt.details}
    if by not in (*OF_PROMPTS[:2], *details):
        names = (*OF_PROMPTS[:2], *sorted(details), *(axes if len(axes) > 1 else ()))
        raise LlmDitError(f"--by {by} divides nothing{nearest(by, names)}")
    own = {"category": lambda record: record.category, "difficulty": lambda record: record.difficulty}
    units = prompt_units(record for record in records if record.is_finished)
    found: dict[str, str] = {}
    for record in sorted(records, key=lambda record: record.prompt_id):
        if record.is_finished:
            listed = known.get(record.prompt_id)
            value = own[by](record) if by in own else listed and prompt_property(listed, by)
            found.setdefault(units[record.prompt_id], value or "none")
    if len(set(found.values())) < 2:
        only = next(iter(found.values()), "none")
        raise LlmDitError(f"--by {by} divides nothing: every run that is left has {only}.")
    order = {prompt.id: place for place, prompt in enumerate(manifest.prompts)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def _is_axis(manifest: Manifest, name: str) -> bool:
    return any(axis.name == name for axis in manifest.axes)


def _axis_named(manifest: Manifest, name: str) -> tuple[int, Axis]:
    return next((index, axis) for index, axis in enumerate(manifest.axes) if axis.name == name)


def _check_trend(manifest: Manifest, trend: str | None) -> None:
    if trend is None:
        return
    if not _is_axis(manifest, trend):
        raise LlmDitError(
            f"--trend {trend} is no axis that is left{nearest(trend, [axis.name for axis in manifest.axes])}"
        )
    levels = [level.name for level in _axis_named(manifest, trend)[1].levels]
    if numbers_of(levels) is None:
        raise LlmDitError(
            f"--trend {trend}: its levels are no numbers ({', '.join(levels[:4])}); --all-pairs asks of such."
        )


def _spreads(manifest: Manifest, scored: pd.DataFrame, column: str) -> tuple[Spread, ...]:
    names = [cell.name for cell in manifest.combinations]
    differences = differences_from(paired_table(scored, [CELL], column), names, manifest.baseline_name)
    return tuple(_spread(level, series) for level, series in differences.items())


def _spread(level: str, series: pd.Series) -> Spread:
    values = prompt_means(series)
    if not len(values):
        return Spread(level, 0, 0, None)
    ids = sorted(set(series.index.get_level_values(PROMPT)))
    quarters = tuple(float(value) for value in np.quantile(values, QUARTERS))
    return Spread(
        level,
        len(values),
        int((values > 0).sum()),
        quarters,
        str(ids[int(values.argmin())]),
        str(ids[int(values.argmax())]),
    )


def _asked_before(manifest: Manifest, asked: Asked) -> Iterable[str]:
    """Say how many other questions somebody asked of these results, and what so many are worth."""
    this = str(asked)
    if not this:
        return
    others = {found.asked for found in manifest.analyses} - {this}
    if others:
        chance = 1 - (1 - ALPHA) ** (len(others) + 1)
        yield (
            f"With this one, {len(others) + 1} questions have been asked of these results; each has its own 5 %, so "
            f"where nothing differs, about {format_share(chance)} of those who ask so many find something."
        )
