"""What planned looks would do with made-up scores: pictures drawn, levels decided, rightly or not.

The same code decides here that decides in an experiment; only the pictures are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from experiments.stats.error_spending import NEVER, Floats, Ints, Looks, walks
from experiments.stats.look_evidence import Evidence, Rules
from experiments.stats.planned_looks import Standing, decide, prompts_drawn
from experiments.stats.racing import RaceRules, race, race_prompts

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

KINDS: Final[dict[str, Draw]] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "heavy tails": lambda generator, shape: generator.standard_t(3, size=shape) / np.sqrt(3),
    "discrete": lambda generator, shape: (generator.integers(0, 4, size=shape) - 1.5) / np.sqrt(1.25),
    "skewed": lambda generator, shape: generator.exponential(size=shape) - 1,
}
"""Scores of mean 0 and standard deviation 1: heavy tails are Student's t with 3 degrees, discrete ones four grades."""


@dataclass(frozen=True)
class Outcomes:
    """What became of simulated experiments.

    Attributes:
        states: Of `State` for levels beside a baseline; 1 for a level that was dropped from a race,
            [experiments, levels].
        drawn: Prompts drawn of each level, [experiments, levels].
        pictures: Share of the full design's pictures, the baseline's among them, [experiments].
    """

    states: Ints
    drawn: Ints
    pictures: Floats


def made_up_scores(
    generator: np.random.Generator, experiments: int, effects: Sequence[float], prompts: int, draw: Draw
) -> Floats:
    """Return scores of a baseline and of levels that differ from it, in standard deviations of paired differences.

    Returns:
        [experiments, levels, prompts]; the first level is the baseline.
    """
    scores: Floats = draw(generator, (experiments, len(effects) + 1, prompts)) / np.sqrt(2)
    scores[:, 1:] += np.asarray(effects)[None, :, None]
    return scores


def simulate_decisions(scores: Floats, *rules: Rules) -> list[Outcomes]:
    """Decide each experiment's levels beside its first one, by each of several rules with the same looks."""
    assert len({each.looks for each in rules}) == 1, "one walk serves all rules"
    standings: list[list[Standing]] = [[] for _ in rules]
    for own in scores:
        differences = own[1:] - own[0]
        found = walks(differences, rules[0].looks)
        for each, decided in zip(rules, standings, strict=True):
            decided.append(decide(Evidence(differences, each, found)))
    return [_outcomes(decided, rules[0].looks, scores.shape) for decided in standings]


def _outcomes(standings: Sequence[Standing], looks: Looks, shape: tuple[int, ...]) -> Outcomes:
    counts = [prompts_drawn(standing, looks) for standing in standings]
    drawn = np.array([levels for levels, _ in counts])
    baseline = np.array([most for _, most in counts])
    states = np.array([standing.states for standing in standings])
    return Outcomes(states, drawn, (drawn.sum(axis=1) + baseline) / (shape[1] * shape[2]))


def simulate_races(scores: Floats, rules: RaceRules) -> Outcomes:
    """Run a race of each experiment's levels."""
    standings = [race(own, rules) for own in scores]
    drawn = np.array([race_prompts(standing, rules.looks) for standing in standings])
    states = np.array([[int(end != NEVER) for end in standing.dropped_at] for standing in standings])
    return Outcomes(states, drawn, drawn.sum(axis=1) / (scores.shape[1] * scores.shape[2]))
