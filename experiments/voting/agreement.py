"""How often each scorer prefers the picture that people chose: against chance, against people themselves, and in pairs.

Only decided votes count, since a tie says nothing of which picture is better. Votes count by their weights, and whole
prompts are resampled. Nothing here makes sentences.

Source: Clopper & Pearson 1934, for scorers that agree in all votes or in none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from experiments.stats.comparable_scores import counts_with, weights_that_count
from experiments.stats.measures import TIME_COLUMN, VOTES, Measure
from experiments.stats.paired_statistics import (
    CONFIDENCE,
    holm,
    interval_of_difference,
    interval_of_mean,
    least_prompts,
    sign_flip_p_value,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.stats.findings import MeasureAnalysis
    from experiments.store.records import RunRecord
    from experiments.voting.vote_scores import CountedVotes

    Floats = NDArray[np.float64]

CHANCE: Final = 0.5
LEAST_LEVELS_TO_RANK: Final = 3


@dataclass(frozen=True)
class Agreement:
    """One scorer beside the votes.

    Attributes:
        measure: What it scores.
        share: Of decided votes, in which it scores the chosen picture higher; equal scores count half.
        low: Lower end of the 95 % interval; None below two prompts.
        high: Upper end.
        votes: Decided votes whose pictures both have the score.
        prompts: Prompts among them.
        p_value: Of agreeing as often as chance; None below two prompts.
        can_tell: True if so many prompts could show that it does not.
    """

    measure: Measure
    share: float
    low: float | None
    high: float | None
    votes: int
    prompts: int
    p_value: float | None
    can_tell: bool


@dataclass(frozen=True)
class Preference:
    """Two scorers beside the same votes.

    Attributes:
        better: The one that agrees more often.
        worse: The other one.
        difference: Of their shares.
        low: Lower end of the 95 % interval; None below six prompts.
        high: Upper end.
        votes: Decided votes that both have scores for.
        p_holm: Of agreeing equally often, corrected for all pairs of scorers.
    """

    better: Measure
    worse: Measure
    difference: float
    low: float | None
    high: float | None
    votes: int
    p_holm: float


@dataclass(frozen=True)
class Steadiness:
    """What voters said when they were asked again.

    Attributes:
        same: Pairs of which they chose the same picture both times.
        decided: Pairs of which they chose one both times.
        asked: All that were asked again.
    """

    same: int
    decided: int
    asked: int

    @property
    def share(self) -> float:
        """Of pairs decided twice, those decided alike."""
        return self.same / self.decided

    @property
    def ceiling(self) -> float:
        """Share of votes that a judge would agree with who always knew what the voters would mostly say.

        Two answers agree by q^2 + (1 - q)^2 where each is the usual one with probability q.
        """
        return (1 + math.sqrt(max(2 * self.share - 1, 0.0))) / 2


@dataclass(frozen=True)
class RankAgreement:
    """How alike two measures rank the levels: Kendall's tau, 1 for the same order, -1 for the opposite one."""

    first: Measure
    second: Measure
    tau: float
    levels: int


def agreements(
    counted: CountedVotes, records: Sequence[RunRecord], results: Sequence[MeasureAnalysis]
) -> tuple[list[Agreement], list[Preference]]:
    """Return each scorer's agreement with the votes, and all pairs of scorers beside each other.

    Args:
        counted: The votes.
        records: The runs with their scores.
        results: The analysis of each measure.
    """
    judges = [result.measure for result in results if _is_judge(result.measure)]
    agreed = {measure: _agreed(counted, records, measure) for measure in judges}
    agreed = {measure: found for measure, found in agreed.items() if found}
    prompts = {vote.id: counted.pairs.by_run[vote.left][1][0] for vote in counted.first}
    weights = {vote.id: vote.weight for vote in counted.first}
    alone = [_agreement(measure, found, prompts, weights) for measure, found in agreed.items()]
    beside = [
        (pair, found)
        for pair in itertools.combinations(agreed, 2)
        if (found := _difference(agreed[pair[0]], agreed[pair[1]], prompts, weights)) is not None
    ]
    raw = np.array([float(sign_flip_p_value(values)) for _, (values, _) in beside])
    return alone, [
        _preference(first, second, values, votes, float(p_value))
        for ((first, second), (values, votes)), p_value in zip(beside, holm(raw), strict=True)
    ]


def steadiness(counted: CountedVotes) -> Steadiness | None:
    """Return how steady the voters are; None where nothing was asked again."""
    first = {vote.id: vote for vote in counted.first}
    asked = [(first[vote.repeats], vote) for vote in counted.repeats if vote.repeats in first]
    if not asked:
        return None
    decided = [(before, after) for before, after in asked if before.chosen and after.chosen]
    return Steadiness(sum(before.chosen == after.chosen for before, after in decided), len(decided), len(asked))


def rank_agreements(results: Sequence[MeasureAnalysis]) -> list[RankAgreement]:
    """Return how alike scorers and votes rank the levels by their means, each pair over the levels that both have.

    Source: Kendall 1945, tau-b.
    """
    found = []
    judges = [result for result in results if _is_judge(result.measure) or result.measure.column == VOTES.name]
    for first, second in itertools.combinations(judges, 2):
        means = [_level_means(result) for result in (first, second)]
        levels = [level for level in means[0] if level in means[1]]
        if len(levels) < LEAST_LEVELS_TO_RANK:
            continue
        tau = rank_correlation([means[0][level] for level in levels], [means[1][level] for level in levels])
        if tau is not None:
            found.append(RankAgreement(first.measure, second.measure, tau, len(levels)))
    return found


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Kendall's tau-b of two lists of numbers, -1 to 1; None where all numbers of one are equal.

    Pair by pair, for as many numbers as there are levels: importing `scipy.stats` for it takes over a second.

    Source: Kendall 1945, tau-b.
    """
    pairs = list(itertools.combinations(range(len(first)), 2))
    orders = [(np.sign(first[j] - first[i]), np.sign(second[j] - second[i])) for i, j in pairs]
    untied = [sum(order[side] != 0 for order in orders) for side in (0, 1)]
    if 0 in untied:
        return None
    tau = float(sum(mine * other for mine, other in orders)) / math.sqrt(untied[0]) / math.sqrt(untied[1])
    return min(max(tau, -1.0), 1.0)


def _is_judge(measure: Measure) -> bool:
    """Return True for a scorer's main number that has a better direction."""
    return measure.is_main and measure.direction != "none" and measure.column not in (TIME_COLUMN, VOTES.name)


def _level_means(result: MeasureAnalysis) -> dict[str, float]:
    """Return each level's mean, higher the better."""
    sign = -1 if result.measure.direction == "lower" else 1
    return {summary.level: sign * summary.estimate.mean for summary in result.levels if summary.estimate is not None}


def _agreed(counted: CountedVotes, records: Sequence[RunRecord], measure: Measure) -> dict[str, float]:
    """Return each decided vote's id to 1 where the scorer prefers the chosen picture, 0 where the other, else 0.5."""
    weights = weights_that_count(records, measure.metric)
    sign = -1 if measure.direction == "lower" else 1
    values = {
        record.run_id: sign * measure.value(record)
        for record in records
        if counts_with(record, measure.metric, weights)
    }
    found = {}
    for vote in counted.first:
        if vote.chosen is None:
            continue
        other = vote.right if vote.chosen == vote.left else vote.left
        gain = values.get(vote.chosen, math.nan) - values.get(other, math.nan)
        if not math.isnan(gain):
            found[vote.id] = (1 + math.copysign(1, gain) * (gain != 0)) / 2
    return found


def _by_prompt(
    values: Mapping[str, float], prompts: Mapping[str, str], weights: Mapping[str, float]
) -> tuple[Floats, Floats]:
    """Return the weighted sum of votes' values, and of their weights, prompt by prompt."""
    names = sorted({prompts[vote] for vote in values})
    rows = {name: row for row, name in enumerate(names)}
    sums, counts = np.zeros((2, len(names)))
    for vote, value in values.items():
        sums[rows[prompts[vote]]] += weights[vote] * value
        counts[rows[prompts[vote]]] += weights[vote]
    return sums, counts


def _agreement(
    measure: Measure, agreed: Mapping[str, float], prompts: Mapping[str, str], weights: Mapping[str, float]
) -> Agreement:
    sums, counts = _by_prompt(agreed, prompts, weights)
    share = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Agreement(measure, share, None, None, len(agreed), len(sums), None, can_tell=False)
    if share in (0.0, 1.0):  # no spread to resample, so the exact interval of as many prompts
        missed = ((1 - CONFIDENCE) / 2) ** (1 / len(sums))
        low, high = (missed, 1.0) if share else (0.0, 1 - missed)
    else:
        low, high = interval_of_mean(share + (sums - share * counts) / counts.mean())  # a ratio, linearised
    p_value = float(sign_flip_p_value(sums - CHANCE * counts))
    ends = float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
    return Agreement(measure, share, *ends, len(agreed), len(sums), p_value, can_tell=len(sums) >= least_prompts(1))


def _difference(
    first: Mapping[str, float], second: Mapping[str, float], prompts: Mapping[str, str], weights: Mapping[str, float]
) -> tuple[Floats, int] | None:
    """Return what each prompt adds to the difference of two shares, and the votes that both have; None for few."""
    both = {vote: first[vote] - second[vote] for vote in first if vote in second}
    if not both:
        return None
    sums, counts = _by_prompt(both, prompts, weights)
    return (sums / counts.mean(), len(both)) if len(sums) >= 2 else None


def _preference(first: Measure, second: Measure, values: Floats, votes: int, p_holm: float) -> Preference:
    if values.mean() < 0:
        first, second, values = second, first, -values
    low, high = (float(end) for end in interval_of_difference(values))
    is_bounded = math.isfinite(low)
    return Preference(
        first, second, float(values.mean()), low if is_bounded else None, high if is_bounded else None, votes, p_holm
    )
