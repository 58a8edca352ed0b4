"""Votes as numbers of pictures, so that the statistics of any measure are those of votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.stats.measures import VOTES
from experiments.voting.pairs import Pairs
from experiments.voting.strengths import Tally, preferences
from experiments.voting.votes_file import read_votes

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord


class CountedVotes:
    """The votes of a folder that hold for its pictures.

    Args:
        folder: The results folder.
        manifest: Its experiment.
        records: Its runs.

    Attributes:
        first: Votes on pairs that their voters had not seen before, which count.
        repeats: Those that asked again.
        stale: Number of votes on pictures that are no longer there.
        torn: Number of lines that can't be read.
        looks_before: Other numbers of votes that somebody saw the answer of, in their order.
        last_look: The number of votes that was seen last; None if none was.
    """

    def __init__(self, folder: Path, manifest: Manifest, records: Sequence[RunRecord]) -> None:
        votes = read_votes(folder)
        self._experiment = manifest, records
        held = [vote for vote in votes.standing if self.pairs.holds(vote)]
        self.first = tuple(vote for vote in held if vote.repeats is None)
        self.repeats = tuple(vote for vote in held if vote.repeats is not None)
        self.stale, self.torn = len(votes.standing) - len(held), votes.torn
        self.looks_before = tuple(look for look in dict.fromkeys(votes.looks) if look != len(self.first))
        self.last_look = votes.looks[-1] if votes.looks else None

    @cached_property
    def pairs(self) -> Pairs:
        """The pictures; nothing is looked at where there are no votes."""
        return Pairs(*self._experiment)

    def tally(self) -> tuple[Tally, list[str]]:
        """Return the weighted votes by prompt and pair of levels, and the prompts."""
        prompts = sorted({self.pairs.by_run[vote.left][1][0] for vote in self.first})
        rows = {prompt: row for row, prompt in enumerate(prompts)}
        net, ties, votes = np.zeros((3, len(prompts), len(self.pairs.pairs)))
        for vote in self.first:
            index, (prompt, _seed), sign = self.pairs.pair_of(vote)
            at = rows[prompt], index
            net[at] += sign * vote.weight
            ties[at] += (sign == 0) * vote.weight
            votes[at] += vote.weight
        return Tally(self.pairs.pairs, len(self.pairs.levels), self.pairs.baseline, net, ties, votes), prompts

    def scored(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Return the runs with their votes among the scores: as shown beside a picture, and as they count in means."""
        if not self.first:
            return list(records)
        shown, counted = self._shown(), self._counted()
        found = []
        for record in records:
            own = {
                **({VOTES.name: shown[record.run_id]} if record.run_id in shown else {}),
                **({VOTES.counted: counted[record.run_id]} if record.run_id in counted else {}),
            }
            found.append(replace(record, scores={**record.scores, **own}) if own else record)
        return found

    def _shown(self) -> dict[str, float]:
        """Return the votes for each picture minus those for the baseline's, over all of them; 0 for the baseline's."""
        net: Counter[str] = Counter()
        votes: Counter[str] = Counter()
        for vote in self.first:
            sides = (vote.left, vote.right)
            if not any(self._is_baseline(run) for run in sides):
                continue
            for run in sides:
                votes[run] += 1
                net[run] += 0 if self._is_baseline(run) else {run: 1, None: 0}.get(vote.chosen, -1)
        return {run: net[run] / votes[run] for run in votes}

    def _counted(self) -> dict[str, float]:
        """Return what each picture that was voted on beside the baseline's adds to its level; 0 for the baseline's."""
        tally, prompts = self.tally()
        values = preferences(tally)
        rows = {prompt: row for row, prompt in enumerate(prompts)}
        counted = {}
        for vote in self.first:
            sides = (vote.left, vote.right)
            if not any(self._is_baseline(run) for run in sides):
                continue
            for run in sides:
                level, (prompt, _seed), _record = self.pairs.by_run[run]
                counted[run] = 0.0 if self._is_baseline(run) else float(values[rows[prompt], level])
        return counted

    def _is_baseline(self, run: str) -> bool:
        return self.pairs.by_run[run][0] == self.pairs.baseline


def with_votes(folder: Path, manifest: Manifest, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return an experiment's runs with the votes of its folder among their scores."""
    return CountedVotes(folder, manifest, records).scored(records)
