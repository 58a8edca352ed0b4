"""Voters whose preferences are known, thousands at once: pairs drawn as the page draws them, answers by the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.voting.choice import level_pairs, pair_probabilities
from experiments.voting.strengths import Tally, preferences, strengths

TIE = -0.4
"""Tie parameter: a quarter of votes between equals are ties."""


@dataclass(frozen=True)
class World:
    """What voters would say.

    Attributes:
        strengths: Of levels in logits; the first one is the baseline.
        spread: Deviation of each level's strength over prompts: on some prompts a worse level is better.
        side_bias: Logits that the left picture gains by being left.
        prompts: Number of prompts.
    """

    strengths: tuple[float, ...]
    spread: float = 0.7
    side_bias: float = 0.0
    prompts: int = 24

    @property
    def levels(self) -> int:
        return len(self.strengths)


def answers(difference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return +1, 0 or -1 for each difference in strength."""
    win, tie = np.exp(difference / 2), np.exp(TIE)
    drawn = generator.random(difference.shape) * (win + tie + 1 / win)
    return np.where(drawn < win, 1, np.where(drawn < win + tie, 0, -1))


def simulate(world: World, votes: int, experiments: int, seed: int = 0, *, rounds: int = 1) -> Tally:
    """Return the weighted votes of many experiments.

    Args:
        world: What is true.
        votes: Of each experiment.
        experiments: How many.
        seed: Of everything.
        rounds: How many voters may see a picture pair.
    """
    generator = np.random.default_rng(seed)
    pairs, shares = level_pairs(world.levels, 0)
    each = np.arange(experiments)
    effects = np.array(world.strengths) + world.spread * generator.normal(
        size=(experiments, world.prompts, world.levels)
    )
    told = np.zeros((3, experiments, len(pairs)))
    shown = np.zeros((experiments, len(pairs), world.prompts), dtype=np.int64)
    weighted = np.zeros((3, experiments, world.prompts, len(pairs)))
    for _ in range(votes):
        is_open = (shown < rounds).any(axis=-1)
        probabilities, evenly = pair_probabilities(shares, *told, is_open)
        drawn = (probabilities.cumsum(axis=-1) < generator.random((experiments, 1))).sum(axis=-1)
        index = np.minimum(drawn, len(pairs) - 1)
        prompt = (shown[each, index] + generator.random((experiments, world.prompts))).argmin(axis=-1)
        first, second = pairs[index].T
        side = generator.choice((-1.0, 1.0), size=experiments) * world.side_bias
        answer = answers(effects[each, prompt, first] - effects[each, prompt, second] + side, generator)
        weight = evenly[each, index] / probabilities[each, index]
        shown[each, index, prompt] += 1
        for part, value in enumerate((answer, np.abs(answer), np.ones(experiments))):
            told[part, each, index] += value
        for part, value in enumerate((answer, answer == 0, np.ones(experiments))):
            weighted[part, each, prompt, index] += weight * value
    return Tally(pairs, world.levels, 0, *weighted)


def truth(world: World, prompts: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
    """Return preferences and strengths where every prompt there is has been voted on by everybody, [levels] each."""
    generator = np.random.default_rng(1)
    pairs, shares = level_pairs(world.levels, 0)
    effects = np.array(world.strengths) + world.spread * generator.normal(size=(prompts, world.levels))
    sides = np.array([-world.side_bias, world.side_bias])
    win = np.exp((effects[:, pairs[:, 0]] - effects[:, pairs[:, 1]])[..., None] / 2 + sides / 2)
    whole = win + np.exp(TIE) + 1 / win
    net, ties = ((win - 1 / win) / whole).mean(axis=(0, 2)), (np.exp(TIE) / whole).mean(axis=(0, 2))
    many = 1e6 * shares
    tally = Tally(pairs, world.levels, 0, (net * many)[None], (ties * many)[None], many[None])
    return preferences(tally)[0], strengths(tally)[: world.levels]
