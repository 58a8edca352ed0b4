"""What has to be known beside an experiment's numbers, in sentences: what is missing, what counts, what judges lack."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from experiments.metrics.embedded_world import beyond_the_model
from experiments.planning.design import DRAWN_APART
from experiments.stats import paired_statistics as statistics
from experiments.stats.comparable_scores import judge_notes
from experiments.stats.levels import Comparison, LevelSummary
from experiments.stats.margin_sentences import margin_note
from experiments.stats.measures import TIME_COLUMN, Measure, flags_of
from experiments.stats.numbers_as_text import format_share
from llm_dit.errors import listed

if TYPE_CHECKING:
    import pandas as pd

    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord

MOST_NAMED = 5
OUT_OF_TURN = (
    "Levels of another size or another setting of the engine were drawn before or after, not in turns: what the "
    "machine did meanwhile is part of their difference in time. measure_speed.py measures each level alone."
)


class Measured(Protocol):
    """What notes need of a measure's analysis."""

    @property
    def measure(self) -> Measure:
        """The measure."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Of every other level with the baseline."""


def world_notes(manifest: Manifest, finished: int, flags: Mapping[str, int], results: Sequence[Measured]) -> list[str]:
    """Say where the embedded model was asked for what it does not know, and read by judges that read a part.

    Args:
        manifest: The experiment.
        finished: Number of its pictures.
        flags: For how many of them each flag is set.
        results: Analyses of all measures.
    """
    scored = [item.measure.metric for item in results if item.measure.is_main and item.measure.direction != "none"]
    if all(metric.name == TIME_COLUMN for metric in scored):
        return []
    flagged = [count for metric in scored for count in flags_of(flags, metric).values()]
    is_cut = max(flagged, default=0) * 2 > finished
    cut = ", and most of them are longer than its judges read" if is_cut else ""
    texts = (prompt.text for prompt in manifest.prompts)
    sentence = beyond_the_model(texts, str(manifest.raw.get("model_path") or ""), cut)
    return [] if sentence is None else [sentence]


def question_notes(manifest: Manifest, results: Sequence[Measured]) -> list[str]:
    """Say how many questions were asked, which of them counts, and how often one of so many is a false alarm.

    Further columns of a metric are folded wherever numbers are shown, so they are none.
    """
    asked = [
        item
        for item in results
        if (item.measure.is_main or item.measure.column == manifest.primary)
        and any(found.p_value is not None for found in item.comparisons)
    ]
    comparisons = sum(found.p_value is not None for item in asked for found in item.comparisons)
    others = [item for item in asked if item.measure.column != manifest.primary]
    chance = 1 - (1 - statistics.ALPHA) ** len(others)
    notes = []
    if len(asked) > 1:
        counted = f"{len(asked)} questions were asked, one a measure, with {comparisons} comparisons"
        rest = "one of them" if manifest.primary is None else "one of the others, which are exploratory"
        notes.append(
            f"{counted}: where nothing differs, about {format_share(chance)} of experiments claim something for {rest}."
        )
    if manifest.primary is None:
        if len(asked) > 1:
            notes[0] += " --primary MEASURE marks the one that counts, best before the first picture."
        return notes
    return [primary_note(manifest, results), *notes]


def primary_note(manifest: Manifest, results: Sequence[Measured]) -> str:
    """Say which measure counts, and whether it was named before anybody saw its numbers."""
    title = next((item.measure.title for item in results if item.measure.column == manifest.primary), None)
    if title is None:
        return f"The measure that counts is {manifest.primary}, which no picture has yet."
    late = manifest.analyses_before_primary
    when = (
        f"named only after {late} {'analysis' if late == 1 else 'analyses'} of it"
        if late
        else "named before any analysis of it"
    )
    return f"The measure that counts is {title}, {when}."


def missing_notes(manifest: Manifest, levels: Sequence[LevelSummary], measure: Measure) -> list[str]:
    """Name every level that has fewer numbers than runs were planned; what failed need not fail by chance.

    Votes are on a part by intention. Of times all levels lack as many where those are left out that don't compare.
    """
    lacking = {summary.level: manifest.planned_runs[summary.level] - summary.runs for summary in levels}
    if measure.metric.counted or (measure.column == TIME_COLUMN and len(set(lacking.values())) == 1):
        return []
    short = [
        f"{summary.level} has {summary.runs} of {manifest.planned_runs[summary.level]}"
        for summary in levels
        if lacking[summary.level] > 0
    ]
    if not short:
        return []
    return [f"Not every planned run has this number: {', '.join(short)}. What is missing need not be like the rest."]


def pair_notes(
    frame: pd.DataFrame, scored: pd.DataFrame, comparisons: Sequence[Comparison], measure: Measure
) -> list[str]:
    """Say how many pictures and pairs have no number, and which levels have the baseline's in every pair."""
    notes = []
    if len(scored) < len(frame) and not measure.metric.counted:
        notes.append(f"{len(frame) - len(scored)} of {len(frame)} pictures have no {measure.title} and are left out.")
    most = max((comparison.pairs for comparison in comparisons), default=0)
    short = [comparison for comparison in comparisons if comparison.pairs < most]
    if short:
        with_pairs = [f"{comparison.level} ({comparison.pairs} of {most})" for comparison in short]
        notes.append(f"Compared on fewer pairs, those that both levels have: {listed(with_pairs, MOST_NAMED)}.")
    same = [comparison.level for comparison in comparisons if comparison.is_identical]
    if same and len(same) < len(comparisons):
        notes.append(f"Exactly the same number as {comparisons[0].baseline} in every pair: {listed(same, MOST_NAMED)}.")
    return notes


def margin_notes(manifest: Manifest, measure: Measure) -> list[str]:
    """Say whether the margin was fixed before the numbers were seen."""
    margin = manifest.margins.get(measure.column)
    if margin is None:
        return []
    return [margin_note(margin, measure, manifest.analyses_before_margin(measure.column))]


def turn_notes(manifest: Manifest, measure: Measure) -> list[str]:
    """Say of times that not all levels took turns, where they did not."""
    return [OUT_OF_TURN] if measure.column == TIME_COLUMN and len(set(blocks_of(manifest))) > 1 else []


def blocks_of(manifest: Manifest) -> list[int]:
    """Return for each combination of levels the number of those that it takes turns with."""
    engine: dict[str, Any] = manifest.raw.get("config", {}).get("engine", {})
    known: dict[Hashable, int] = {}
    settings = ({**engine, **cell.parameters} for cell in manifest.combinations)
    keys = [tuple(values.get(name) for name in DRAWN_APART) for values in settings]
    return [known.setdefault(key, len(known)) for key in keys]


def score_notes(
    manifest: Manifest, records: Sequence[RunRecord], flags: Mapping[str, int], measure: Measure
) -> list[str]:
    """Say what is known of a judge and its weights, and which pictures it flags; `flags` has how often each is set."""
    notes = judge_notes(manifest, records, measure.metric)
    if measure.is_main:
        counts = flags_of(flags, measure.metric)
        notes += [f"{count} of {len(records)} pictures: {column.meaning}." for column, count in counts.items()]
    return notes
