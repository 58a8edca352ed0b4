"""What the runs of an experiment say about its levels: summaries, paired comparisons, grids, and what is missing.

Runs are paired by prompt and seed. What failed or was not scored is left out pair by pair, and the notes say so.
Nothing here reads or writes a file; the sentences are in `experiments.stats.verdict`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.metrics.declaration import Metric
from experiments.stats.comparable_scores import (
    counts_with,
    double_prompts_note,
    prompt_units,
    weights_that_count,
)
from experiments.stats.decided import decided_comparisons, other_measures_note
from experiments.stats.difference_shapes import shape_notes
from experiments.stats.extension import Extension, Look, able_to_claim, earlier_looks, this_analysis
from experiments.stats.fidelity import fidelity_notes, fidelity_summaries
from experiments.stats.grids import AxisEffect, Grid, Interaction, analyse_grid, axis_differences
from experiments.stats.levels import (
    AXIS,
    CELL,
    PROMPT,
    SEED,
    Comparison,
    LevelSummary,
    compare,
    correction_for,
    differences_from,
    level_summaries,
    paired_table,
)
from experiments.stats.margins import MarginAnswer, margin_answers
from experiments.stats.measures import Measure, measures_of, set_flags
from experiments.stats.notes import (
    margin_notes,
    missing_notes,
    pair_notes,
    question_notes,
    score_notes,
    turn_notes,
    world_notes,
)
from experiments.store.comparable import mixed_surroundings, with_comparable_times
from experiments.store.pair_scores import pairing_seed

if TYPE_CHECKING:
    from experiments.store.analyses import PastAnalysis
    from experiments.store.look_log import LookLog
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord


@dataclass(frozen=True)
class MeasureAnalysis:
    """Everything about one measure.

    Attributes:
        measure: What was measured.
        levels: One summary per level, in the manifest's order.
        comparisons: Every other level beside the baseline.
        main_effects: One per axis; empty for a single axis.
        interactions: One per pair of axes; empty for a single axis.
        prompts: Prompts that have the number at some level.
        notes: What a reader must know about missing or flagged numbers.
        extension: What happened to the results after they had been analysed; None if nothing did.
        looks: Planned looks that decided by this measure; None where there were none.
        margin: How the levels stand against the margin that does not matter, or which one could have been shown; None
            where nothing can be said, and where planned looks decided, which have a margin of their own.
    """

    measure: Measure
    levels: tuple[LevelSummary, ...]
    comparisons: tuple[Comparison, ...]
    main_effects: tuple[AxisEffect, ...]
    interactions: tuple[Interaction, ...]
    prompts: int
    notes: tuple[str, ...]
    extension: Extension | None = None
    looks: LookLog | None = None
    margin: MarginAnswer | None = None


@dataclass(frozen=True)
class Analysis:
    """An experiment's answer in numbers.

    Attributes:
        name: Of the experiment.
        axes: What is varied.
        baseline: Name of the combination that others are compared with.
        finished: Pictures.
        failed: Runs without one.
        measures: One analysis each.
        notes: What a reader must know about all of them.
        primary: The measure that counts; None where nobody named one.
    """

    name: str
    axes: tuple[str, ...]
    baseline: str
    finished: int
    failed: int
    measures: tuple[MeasureAnalysis, ...]
    notes: tuple[str, ...] = ()
    primary: str | None = None

    def standing(self, result: MeasureAnalysis) -> str:
        """Return `primary` or `exploratory`; empty where no measure counts more than others."""
        if self.primary is None:
            return ""
        return "primary" if result.measure.column == self.primary else "exploratory"


def analyse(manifest: Manifest, records: Sequence[RunRecord], metrics: Sequence[Metric]) -> Analysis:
    """Analyse every measure of an experiment.

    Args:
        manifest: The experiment.
        records: Its finished and failed runs.
        metrics: Declarations of the metrics whose columns are read.
    """
    timed, time_note = with_comparable_times([record for record in records if record.is_finished])
    finished, measures, frame = _measured(manifest, timed, metrics)
    doubles = double_prompts_note(prompt_units(finished))
    notes = [note for note in (doubles, time_note, mixed_surroundings(finished)) if note is not None]
    flags = set_flags(finished)
    results = tuple(_analyse_measure(manifest, frame, finished, flags, measure) for measure in measures)
    return Analysis(
        name=manifest.name,
        axes=tuple(axis.name for axis in manifest.axes),
        baseline=manifest.baseline_name,
        finished=len(finished),
        failed=len(records) - len(finished),
        measures=results,
        notes=(
            *(found.sentence() for found in manifest.left_out),
            *world_notes(manifest, len(finished), flags, results),
            *question_notes(manifest, results),
            *([] if manifest.looks is None else [other_measures_note(manifest.looks)]),
            *notes,
        ),
        primary=manifest.primary,
    )


def measured_runs(
    manifest: Manifest, records: Sequence[RunRecord], metrics: Sequence[Metric]
) -> tuple[list[RunRecord], list[Measure], pd.DataFrame]:
    """Return the finished runs with times that may be compared, their measures, and their table.

    The table has one row per run: prompt, pairing seed, cell, one column per axis (`axis 0`, ...), one per measure.
    """
    return _measured(manifest, with_comparable_times([record for record in records if record.is_finished])[0], metrics)


def _measured(
    manifest: Manifest, finished: list[RunRecord], metrics: Sequence[Metric]
) -> tuple[list[RunRecord], list[Measure], pd.DataFrame]:
    measures = sorted(measures_of(finished, metrics), key=lambda measure: measure.column != manifest.primary)
    return finished, measures, _frame(manifest, finished, measures)


def seen_now(
    manifest: Manifest, records: Sequence[RunRecord], analysis: Analysis, *, by: str, columns: Sequence[str] = ()
) -> PastAnalysis:
    """Return what is kept of an analysis that somebody sees.

    Args:
        manifest: The experiment.
        records: What was analysed.
        analysis: Its numbers.
        by: What shows it.
        columns: The measures shown; all of them if empty.
    """
    shown = [result.measure for result in analysis.measures if not columns or result.measure.column in columns]
    pairs = {
        (record.prompt, pairing_seed(manifest, record))
        for record in records
        if record.is_finished and any(not math.isnan(measure.value(record)) for measure in shown)
    }
    return this_analysis(by, [measure.column for measure in shown], analysis.finished, pairs)


def _frame(manifest: Manifest, records: Sequence[RunRecord], measures: Sequence[Measure]) -> pd.DataFrame:
    """Return one row per run: prompt, pairing seed, cell, one column per axis (its index as name), one per measure."""
    units = prompt_units(records)
    weights = {measure.metric: weights_that_count(records, measure.metric) for measure in measures}
    keys = [
        (units[record.prompt_id], pairing_seed(manifest, record), manifest.level_name(record.levels))
        for record in records
    ]
    order = sorted(range(len(records)), key=keys.__getitem__)  # so that the order of runs changes no number
    rows = [records[place] for place in order]
    prompts, seeds, names = zip(*(keys[place] for place in order), strict=True) if rows else ((), (), ())
    columns: dict[str, Sequence[Any]] = {
        PROMPT: prompts,
        SEED: seeds,
        CELL: names,
        **{f"{AXIS}{index}": [record.levels[axis.name] for record in rows] for index, axis in enumerate(manifest.axes)},
        **{measure.column: [] for measure in measures},
    }
    for measure in measures:
        counted = weights[measure.metric]
        numbers = measure.counted_of(rows)
        columns[measure.column] = (
            numbers
            if counted is None
            else [
                value if counts_with(record, measure.metric, counted) else math.nan
                for record, value in zip(rows, numbers, strict=True)
            ]
        )
    return pd.DataFrame(columns if rows else [])


def _analyse_measure(
    manifest: Manifest,
    frame: pd.DataFrame,
    records: Sequence[RunRecord],
    flags: Mapping[str, int],
    measure: Measure,
) -> MeasureAnalysis:
    names = tuple(dict.fromkeys(cell.name for cell in manifest.combinations))
    if measure.is_of_pairs:
        return _analyse_fidelity(manifest, frame, records, flags, measure, names)
    scored = frame.dropna(subset=[measure.column])
    paired = paired_table(scored, [CELL], measure.column)
    levels = level_summaries(scored, CELL, names, measure.column)
    differences = differences_from(paired, names, manifest.baseline_name)
    tests = len(differences) if len(manifest.axes) == 1 else 1
    # one-sided p-values are half the others, so fewer prompts could have ended in a claim against a margin
    looks_at_margin = looks_before(manifest, scored, records, measure, tests / 2)
    looks = able_to_claim(looks_at_margin, tests)
    if len(manifest.axes) > 1:
        grid = analyse_grid(manifest, scored, measure.column, names, looks)
    else:
        correction, false_claims = correction_for(differences, looks)
        grid = Grid(compare(differences, manifest.baseline_name, correction), (), (), false_claims)
    log = manifest.looks if manifest.looks is not None and manifest.looks.plan.measure == measure.column else None
    margin, *of_axes = [None] if log is not None else _margins(manifest, scored, measure, differences, looks_at_margin)
    of_axes = of_axes or [None] * len(grid.main_effects)
    return MeasureAnalysis(
        measure=measure,
        levels=levels,
        comparisons=grid.comparisons if log is None else decided_comparisons(grid.comparisons, log),
        main_effects=tuple(
            replace(effect, margin=found) for effect, found in zip(grid.main_effects, of_axes, strict=True)
        ),
        interactions=grid.interactions,
        prompts=scored[PROMPT].nunique(),
        notes=(
            *missing_notes(manifest, levels, measure),
            *pair_notes(frame, scored, grid.comparisons, measure),
            *shape_notes(paired, grid.comparisons),
            *score_notes(manifest, records, flags, measure),
            *turn_notes(manifest, measure),
            *margin_notes(manifest, measure),
        ),
        extension=Extension(looks, grid.false_claims) if looks and log is None else None,
        looks=log,
        margin=margin,
    )


def _margins(
    manifest: Manifest,
    scored: pd.DataFrame,
    measure: Measure,
    differences: Mapping[str, pd.Series],
    looks: tuple[Look, ...],
) -> list[MarginAnswer | None]:
    """Hold all levels, and in grids those of each axis averaged over the others, against the margin."""
    families = [differences, *axis_differences(manifest, scored, measure.column)]
    return margin_answers(families, manifest.margins.get(measure.column), measure.direction, looks)


def _analyse_fidelity(
    manifest: Manifest,
    frame: pd.DataFrame,
    records: Sequence[RunRecord],
    flags: Mapping[str, int],
    measure: Measure,
    names: Sequence[str],
) -> MeasureAnalysis:
    """Analyse a measure of pairs: estimates and no tests, since every picture is held against the baseline's."""
    levels = fidelity_summaries(frame, records, names, measure)
    return MeasureAnalysis(
        measure=measure,
        levels=levels,
        comparisons=(),
        main_effects=(),
        interactions=(),
        prompts=max((summary.prompts for summary in levels), default=0),
        notes=(
            *missing_notes(manifest, levels, measure),
            *fidelity_notes(levels, manifest.baseline_name, measure),
            *score_notes(manifest, records, flags, measure),
        ),
    )


def looks_before(
    manifest: Manifest, scored: pd.DataFrame, records: Sequence[RunRecord], measure: Measure, tests: float
) -> tuple[Look, ...]:
    """Return the analyses that somebody saw of this measure before the data that are there now.

    None for a measure whose looks were planned: they have spent their error already.
    """
    if manifest.looks is not None and manifest.looks.plan.measure == measure.column:
        return ()
    if not manifest.analyses:
        return ()
    texts = {record.prompt_id: record.prompt for record in records}
    units = scored[[PROMPT, SEED]].drop_duplicates(keep="last")
    pairs = [((prompt, seed), texts[prompt]) for prompt, seed in zip(units[PROMPT], units[SEED], strict=True)]
    return earlier_looks(manifest.analyses, measure.column, pairs, tests)
