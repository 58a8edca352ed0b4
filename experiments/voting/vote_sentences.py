"""What the votes say beside the verdict: who voted and how steadily, strengths, and which scorer agrees with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from experiments.stats.level_names import quoted
from experiments.stats.measures import VOTES
from experiments.stats.numbers_as_text import format_number
from experiments.stats.paired_statistics import ALPHA
from experiments.voting.agreement import (
    CHANCE,
    Agreement,
    Preference,
    RankAgreement,
    agreements,
    rank_agreements,
    steadiness,
)
from experiments.voting.strengths import linked, strength_intervals, strengths
from experiments.voting.vote_looks import looks_cost
from experiments.voting.votes_file import VOTES_FILE
from llm_dit.errors import listed

if TYPE_CHECKING:
    from experiments.stats.findings import Analysis
    from experiments.store.records import RunRecord
    from experiments.voting.vote_scores import CountedVotes

MOST_NAMED: Final = 6
MOST_LEVELS: Final = 12
STRENGTH_DECIMALS: Final = 2
LEAST_FOR_CEILING: Final = 10
"""Pairs decided twice, from which it is said how often a judge could agree at most."""


@dataclass(frozen=True)
class LevelStrength:
    """A level's strength in logits, with its 95 % interval; an end that is None lies anywhere."""

    level: str
    strength: float
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """The strength as it is shown."""
        return format_number(self.strength, STRENGTH_DECIMALS)

    @property
    def interval(self) -> str:
        """The interval as it is shown; empty for the baseline, whose strength is 0 by definition."""
        low, high = (None if end is None else format_number(end, STRENGTH_DECIMALS) for end in (self.low, self.high))
        if low == high:
            return "too few votes for an interval" if low is None else ""
        if high is None:
            return f"above {low}"
        return f"below {high}" if low is None else f"{low} to {high}"


@dataclass(frozen=True)
class VoteReport:
    """What stands beside the verdict.

    Attributes:
        notes: About the votes, a sentence each.
        strengths: Of the levels that votes link to the baseline, the strongest first; empty without votes.
        baseline: The level whose strength is 0.
        agreement: About scorers and votes, a sentence each; the first is the one to read.
        scorers: Each scorer's agreement, the one that agrees most often first.
    """

    notes: tuple[str, ...] = ()
    strengths: tuple[LevelStrength, ...] = ()
    baseline: str = ""
    agreement: tuple[str, ...] = ()
    scorers: tuple[Agreement, ...] = ()

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, and the strengths in a sentence."""
        return (*self.notes, *([strength_sentence(self.strengths, self.baseline)] if self.strengths else []))


def vote_report(counted: CountedVotes, records: Sequence[RunRecord], analysis: Analysis) -> VoteReport:
    """Return what the votes of a folder say; only how scorers rank the levels where there are none."""
    ranks = rank_agreements(analysis.measures)
    told = _rank_sentences(ranks)
    if not counted.first:
        return VoteReport(notes=tuple(_lost(counted)), agreement=tuple(told))
    alone, beside = agreements(counted, records, analysis.measures)
    alone = sorted(alone, key=lambda item: -item.share)
    whose = "your votes" if len({vote.voter for vote in counted.first}) == 1 else "the votes"
    told = [*agreement_sentences(alone, beside, whose), *_steady(counted, alone), *told]
    return VoteReport(tuple(_notes(counted)), tuple(_strengths(counted)), analysis.baseline, tuple(told), tuple(alone))


def agreement_sentences(alone: Sequence[Agreement], beside: Sequence[Preference], whose: str) -> list[str]:
    """Say how often scorers agree with the votes, and which to trust more, as far as that is shown.

    Args:
        alone: The scorers, the one that agrees most often first.
        beside: All pairs of them.
        whose: `your votes` or `the votes`.
    """
    if not alone:
        return []
    clauses = [
        f"{item.measure.title} {'' if index else f'agrees with {whose} '}in {_share(item)}"
        for index, item in enumerate(alone)
    ]
    sentences = [f"{', '.join(clauses)}{_trust(alone, beside)}."]
    unclear = [item for item in alone if item.p_value is None or item.p_value > ALPHA]
    if unclear:
        few = "" if all(item.can_tell for item in unclear) else ", nor could they be with so few prompts"
        sentences.append(f"Not told apart from chance, which agrees in 50 %: {_titles(unclear)}{few}.")
    opposed = [item for item in alone if item not in unclear and item.share < CHANCE]
    if opposed:
        sentences.append(f"Worse than chance: what {_titles(opposed)} prefers was mostly not chosen.")
    return sentences


def _trust(alone: Sequence[Agreement], beside: Sequence[Preference]) -> str:
    """Return which scorer to trust more, if one is shown to agree more often than others, corrected for all pairs."""
    if len(alone) < 2:
        return ""
    best, rest = alone[0].measure, {item.measure for item in alone[1:]}
    beaten = {item.worse for item in beside if item.better == best and item.p_holm <= ALPHA}
    is_better_than_chance = alone[0].p_value is not None and alone[0].p_value <= ALPHA
    if beaten and is_better_than_chance:
        than = "" if beaten == rest else f" than {listed(sorted(item.title for item in beaten), MOST_NAMED)}"
        return f": for this question trust {best.title} more{than}"
    return f": which of them to trust more can't be told from {max(item.votes for item in alone)} decided votes"


def _share(item: Agreement) -> str:
    share = f"{100 * item.share:.0f} %"
    return (
        share if item.low is None or item.high is None else f"{share} ({100 * item.low:.0f} to {100 * item.high:.0f})"
    )


def _titles(items: Sequence[Agreement]) -> str:
    return listed([item.measure.title for item in items], MOST_NAMED)


def _steady(counted: CountedVotes, alone: Sequence[Agreement]) -> list[str]:
    """Hold scorers against the voters themselves, who don't always say the same either."""
    found = steadiness(counted)
    if found is None or not found.decided:
        return []
    again = (
        f"Asked again, the voters chose the same picture in {100 * found.share:.0f} % "
        f"({found.same} of {found.decided} pairs decided both times)"
    )
    if not alone or found.decided < LEAST_FOR_CEILING:
        return [f"{again}."]
    return [f"{again}: a judge who always knew what they mostly say would agree in about {100 * found.ceiling:.0f} %."]


def _notes(counted: CountedVotes) -> list[str]:
    """Say who voted, on what, with what answers, and what does not count."""
    votes = counted.first
    voters = Counter(vote.voter for vote in votes)
    prompts = len({counted.pairs.by_run[vote.left][1][0] for vote in votes})
    answers = Counter(vote.choice for vote in votes)
    decided = answers["left"] + answers["right"]
    of_voters = listed([f"{name} {count}" for name, count in voters.most_common()], MOST_NAMED)
    with_baseline = sum(
        counted.pairs.baseline in (counted.pairs.by_run[vote.left][0], counted.pairs.by_run[vote.right][0])
        for vote in votes
    )
    notes = [
        f"{_counted(len(votes), 'vote')} on {_counted(prompts, 'prompt')}, by {of_voters}: {decided} decided, "
        f"{_counted(answers['tie'], 'tie')}, {answers['both_bad']} both bad (as ties); {with_baseline} beside the "
        "baseline, which are those that are compared here."
    ]
    return [*notes, *_look_notes(counted), *_side_notes(counted), *_lost(counted)]


def _look_notes(counted: CountedVotes) -> list[str]:
    """Say how often the answer was seen while votes came in."""
    looks = counted.looks_before
    if not looks:
        return []
    seen = listed([str(look) for look in looks], MOST_NAMED)
    return [
        f"Looked at after {seen} votes before: who votes on until p is small claims too often, so the corrected p is "
        f"multiplied by {looks_cost(len(looks)):.0f}. Decide beforehand how many votes to give."
    ]


def _side_notes(counted: CountedVotes) -> list[str]:
    """Name voters who choose one side more often than chance does."""
    from scipy.stats import binomtest

    notes = []
    for voter in sorted({vote.voter for vote in counted.first}):
        own = [vote for vote in (*counted.first, *counted.repeats) if vote.voter == voter and vote.chosen]
        left = sum(vote.choice == "left" for vote in own)
        if own and binomtest(left, len(own)).pvalue <= ALPHA:
            notes.append(
                f"{voter} chose the left picture in {left} of {len(own)} decided votes; sides are drawn at random, so "
                "that blurs what the votes say and favours no level."
            )
    return notes


def _lost(counted: CountedVotes) -> list[str]:
    notes = []
    if counted.stale:
        notes.append(
            f"{_counted(counted.stale, 'vote')} on pictures that are no longer there {_do(counted.stale)} count."
        )
    if counted.torn:
        notes.append(f"{_counted(counted.torn, 'line')} of {VOTES_FILE} can't be read and {_do(counted.torn)} count.")
    return notes


def _do(count: int) -> str:
    return "does not" if count == 1 else "do not"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _strengths(counted: CountedVotes) -> list[LevelStrength]:
    tally, _prompts = counted.tally()
    found, (low, high), is_linked = strengths(tally), strength_intervals(tally), linked(tally)
    levels = [
        LevelStrength(
            name,
            float(found[index]),
            float(low[index]) if np.isfinite(low[index]) else None,
            float(high[index]) if np.isfinite(high[index]) else None,
        )
        for index, name in enumerate(counted.pairs.levels)
        if is_linked[index]
    ]
    return sorted(levels, key=lambda level: -level.strength)


def strength_sentence(strengths: Sequence[LevelStrength], baseline: str) -> str:
    """Return the strengths in a sentence, the strongest first."""
    parts = [f"{quoted(level.level)} {level.text} ({level.interval})" for level in strengths if level.level != baseline]
    return (
        f"Strengths by all votes (Bradley-Terry with ties, logits; {quoted(baseline)} is 0, and 1 more wins 73 of 100 "
        f"decided votes): {listed(parts, MOST_LEVELS)}."
    )


def _rank_sentences(ranks: Sequence[RankAgreement]) -> list[str]:
    """Say how alike measures rank the levels, those with the votes first."""
    if not ranks:
        return []
    ordered = sorted(ranks, key=lambda item: VOTES.name not in (item.first.column, item.second.column))
    pairs = [f"{item.first.title} and {item.second.title} {format_number(item.tau, 2)}" for item in ordered]
    return [
        f"How alike they rank the {ranks[0].levels} levels by their means (Kendall's tau, 1 the same order, -1 the "
        f"opposite): {listed(pairs, MOST_NAMED)}."
    ]
