"""Looks at what votes say before all of them were given, and what they cost.

Who votes on until p is below 5 % claims too often. The number of votes at each look stands in the votes' file; p-values
of the first look stay as they are, those of the k-th are multiplied by 2k. By simulation at most 6 % of experiments
without a preference then end in a claim at any of 20 looks (tests/experiments/voting/test_vote_looks.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from experiments.stats.measures import VOTES
from experiments.voting.votes_file import append_look
from llm_dit.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from experiments.metrics.declaration import Metric
    from experiments.stats.findings import Analysis, MeasureAnalysis
    from experiments.stats.levels import Comparison
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord
    from experiments.voting.vote_scores import CountedVotes

COST_OF_A_LOOK: Final = 2.0
Result = TypeVar("Result", bound="MeasureAnalysis")


def looks_cost(looks_before: int) -> float:
    """Return what p-values are multiplied by after so many looks."""
    return COST_OF_A_LOOK * (looks_before + 1) if looks_before else 1.0


def corrected_for_looks(analysis: Analysis, counted: CountedVotes) -> Analysis:
    """Return the analysis with the votes' corrected p-values corrected for earlier looks as well."""
    cost = looks_cost(len(counted.looks_before))
    if cost == 1.0:
        return analysis
    measures = (_dearer(item, cost) if item.measure.column == VOTES.name else item for item in analysis.measures)
    return replace(analysis, measures=tuple(measures))


def analysed_with_votes(
    folder: Path, manifest: Manifest, runs: Sequence[RunRecord], metrics: Sequence[Metric]
) -> tuple[list[RunRecord], Analysis]:
    """Return a folder's runs with its votes among their scores, and their analysis with looks at votes paid for."""
    from experiments.stats.findings import analyse
    from experiments.voting.vote_scores import CountedVotes

    counted = CountedVotes(folder, manifest, runs)
    records = counted.scored(runs)
    return records, corrected_for_looks(analyse(manifest, records, metrics), counted)


def note_look(folder: Path, counted: CountedVotes, by: str) -> str | None:
    """Keep that the votes were looked at; the same votes count once. Return what keeps it from being written."""
    if not counted.first or counted.last_look == len(counted.first):
        return None
    try:
        append_look(folder, len(counted.first), by)
    except OutputError as error:
        return f"That the votes were looked at can't be kept: {error}"
    return None


def _dearer(result: Result, cost: float) -> Result:
    effects = (replace(item, comparisons=_all_dearer(item.comparisons, cost)) for item in result.main_effects)
    return replace(result, comparisons=_all_dearer(result.comparisons, cost), main_effects=tuple(effects))


def _all_dearer(comparisons: Iterable[Comparison], cost: float) -> tuple[Comparison, ...]:
    return tuple(
        item if item.p_holm is None else replace(item, p_holm=min(item.p_holm * cost, 1.0), cost=item.cost * cost)
        for item in comparisons
    )
