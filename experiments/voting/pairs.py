"""Pairs of pictures of an experiment: what can be shown, what a voter has seen, and how one is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from experiments.stats.comparable_scores import prompt_units
from experiments.store.pair_scores import pairing_seed, picture_hash
from experiments.voting.choice import level_pairs, pair_probabilities

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord
    from experiments.voting.votes_file import Vote

LEAST_DIGITS: Final = 12
"""Of a picture's sha256, that a vote has to name; reports carry no more."""
Place = tuple[str, int]
"""A prompt, by the first id of its text, and the seed by which runs are paired."""


@dataclass(frozen=True)
class Drawn:
    """A pair that was drawn.

    Attributes:
        first: One picture.
        second: The other one, of the same prompt and seed at another level.
        probability: Of the pair of levels.
        evenly: What it would have been, had votes played no part.
        of_pictures: Probability of prompt and seed, given the levels.
    """

    first: RunRecord
    second: RunRecord
    probability: float
    evenly: float
    of_pictures: float


class Pairs:
    """The finished pictures of an experiment, by level, prompt and seed.

    Args:
        manifest: The experiment.
        records: Its runs.

    Attributes:
        levels: Names of the combinations of levels.
        pairs: Pairs of their positions, [pairs, 2].
        by_run: Run id to level position, place and record.
    """

    def __init__(self, manifest: Manifest, records: Sequence[RunRecord]) -> None:
        finished = [record for record in records if record.is_finished]
        units = prompt_units(finished)
        self.levels = tuple(dict.fromkeys(cell.name for cell in manifest.combinations))
        self.baseline = self.levels.index(manifest.baseline_name)
        self.pairs, self._shares = level_pairs(len(self.levels), self.baseline)
        position = {name: place for place, name in enumerate(self.levels)}
        self.by_run: dict[str, tuple[int, Place, RunRecord]] = {
            record.run_id: (
                position[manifest.level_name(record.levels)],
                (units[record.prompt_id], pairing_seed(manifest, record)),
                record,
            )
            for record in finished
        }
        self._hashes: dict[str, str] = {}
        self._table: dict[Place, dict[int, RunRecord]] = {}
        for level, place, record in self.by_run.values():
            self._table.setdefault(place, {}).setdefault(level, record)

    @cached_property
    def _index(self) -> dict[tuple[int, int], int]:
        return {(int(first), int(second)): index for index, (first, second) in enumerate(self.pairs)}

    @cached_property
    def showable(self) -> tuple[tuple[Place, ...], ...]:
        """For each pair of levels the places where both have a picture, and not the same one."""
        return tuple(
            tuple(
                place
                for place, of_place in self._table.items()
                if first in of_place
                and second in of_place
                and self.hash_of(of_place[first]) != self.hash_of(of_place[second])
            )
            for first, second in self.pairs
        )

    @property
    def count(self) -> int:
        """Number of picture pairs."""
        return sum(map(len, self.showable))

    def holds(self, vote: Vote) -> bool:
        """Return True if a vote is on two pictures that are still the ones that were shown, at comparable places."""
        left, right = self.by_run.get(vote.left), self.by_run.get(vote.right)
        if left is None or right is None or left[0] == right[0] or left[1] != right[1]:
            return False
        return all(
            len(seen) >= LEAST_DIGITS and self.hash_of(record).startswith(seen)
            for (_level, _place, record), seen in zip((left, right), vote.pictures, strict=True)
        )

    def hash_of(self, record: RunRecord) -> str:
        """Return the sha256 of a picture, read once where its record is too old to say it."""
        if record.run_id not in self._hashes:
            self._hashes[record.run_id] = picture_hash(record)
        return self._hashes[record.run_id]

    def pair_of(self, vote: Vote) -> tuple[int, Place, int]:
        """Return a vote's pair of levels, its place, and its sign: +1 for the first level, -1 for the second, or 0."""
        left, right = self.by_run[vote.left], self.by_run[vote.right]
        sign = {"left": 1, "right": -1}.get(vote.choice, 0)
        first, second = left[0], right[0]
        if first > second:
            first, second, sign = second, first, -sign
        return self._index[first, second], left[1], sign

    def draw(self, votes: Sequence[Vote], voter: str, generator: np.random.Generator) -> Drawn | None:
        """Draw the next pair for a voter: levels by use, then one of the prompts and seeds that were shown least.

        Args:
            votes: All that hold and are no repeats, of all voters.
            voter: Who is asked.
            generator: Randomness.

        Returns:
            The pair; None if the voter has seen them all.
        """
        seen, shown, (net, decided, asked) = self._told_by(votes, voter)
        open_places = [
            [place for place in places if (index, place) not in seen] for index, places in enumerate(self.showable)
        ]
        is_open = np.array([bool(places) for places in open_places])
        if not is_open.any():
            return None
        probabilities, evenly = pair_probabilities(self._shares, net, decided, asked, is_open)
        index = int(generator.choice(len(self.pairs), p=probabilities))
        places = _least_shown(open_places[index], {place: shown[index, place] for place in self.showable[index]})
        place = places[int(generator.integers(len(places)))]
        first, second = (self._table[place][int(level)] for level in self.pairs[index])
        return Drawn(first, second, float(probabilities[index]), float(evenly[index]), 1 / len(places))

    def _told_by(
        self, votes: Sequence[Vote], voter: str
    ) -> tuple[set[tuple[int, Place]], Counter[tuple[int, Place]], np.ndarray]:
        """Return what the voter has seen, how often each picture pair was shown, and net, decided and all votes."""
        seen: set[tuple[int, Place]] = set()
        shown: Counter[tuple[int, Place]] = Counter()
        answers = np.zeros((3, len(self.pairs)))
        for vote in votes:
            index, place, sign = self.pair_of(vote)
            answers[:, index] += (sign, abs(sign), 1)
            shown[index, place] += 1
            if vote.voter == voter:
                seen.add((index, place))
        return seen, shown, answers


def _least_shown(places: Sequence[Place], shown: Mapping[Place, int]) -> list[Place]:
    """Return the places of the prompts that were shown least, and of those the seeds that were."""
    of_prompt: Counter[str] = Counter()
    for (prompt, _seed), count in shown.items():
        of_prompt[prompt] += count
    least = min(of_prompt[prompt] for prompt, _seed in places)
    near = [place for place in places if of_prompt[place[0]] == least]
    fewest = min(shown[place] for place in near)
    return [place for place in near if shown[place] == fewest]
