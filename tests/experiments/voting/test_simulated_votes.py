"""Voters whose preferences are known: intervals hold what is true; where nothing is preferred nothing is claimed."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_votes import World, simulate, truth

from experiments.stats.paired_statistics import holm, interval_of_difference, sign_flip_p_value
from experiments.voting.choice import EVEN_SHARE, level_pairs, pair_probabilities
from experiments.voting.strengths import Tally, preferences, strength_intervals

WORLDS = [
    (World((0.0, 0.5, -0.5)), 44),
    (World((0.0, 1.0, 0.0, -1.0)), 60),
    (World((0.0, 1.0, 0.0), spread=1.5, side_bias=1.0, prompts=30), 55),
]


def false_claims(tally: Tally) -> float:
    """Share of experiments in which some level is said to differ from the baseline, after Holm's correction."""
    values = np.nan_to_num(preferences(tally)[..., 1:])  # a prompt without votes changes no sum of signs
    p_values = np.stack([sign_flip_p_value(values[..., level]) for level in range(values.shape[-1])], axis=-1)
    return float((holm(p_values) <= 0.05).any(axis=-1).mean())


@pytest.mark.parametrize(
    ("world", "votes"),
    [
        (World((0.0, 0.0)), 20),
        (World((0.0, 0.0, 0.0), prompts=12), 24),
        (World((0.0,) * 4), 70),
        (World((0.0,) * 6), 90),
        (World((0.0,) * 3, spread=2.0), 44),
    ],
)
def test_without_a_preference_at_most_6_percent_claim_one_though_pairs_are_chosen_by_votes(
    world: World, votes: int
) -> None:
    assert false_claims(simulate(world, votes, 2000)) <= 0.06


def test_a_voter_who_likes_the_left_side_prefers_no_level() -> None:
    world = World((0.0, 0.0, 0.0), side_bias=2.0)  # left wins 7 of 8 decided votes
    tally = simulate(world, 44, 2000)
    assert false_claims(tally) <= 0.06
    assert np.abs(np.nanmean(preferences(tally)[..., 1:], axis=(0, 1))).max() < 0.02


@pytest.mark.parametrize(("world", "votes"), WORLDS)
def test_intervals_of_preferences_hold_the_truth_in_93_to_97_percent(world: World, votes: int) -> None:
    values = preferences(simulate(world, votes, 1200))[..., 1:]
    expected = truth(world)[0][1:]
    held = []
    for experiment in values:
        for level, true in enumerate(expected):
            of_prompts = experiment[:, level]
            low, high = interval_of_difference(of_prompts[np.isfinite(of_prompts)])
            held.append(low <= true <= high)
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("experiments", [600, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("world", "votes"), WORLDS)
def test_intervals_of_strengths_hold_the_truth_in_93_to_97_percent(world: World, votes: int, experiments: int) -> None:
    low, high = strength_intervals(simulate(world, votes, experiments))
    expected = truth(world)[1]
    assert 0.93 <= np.mean((low <= expected) & (expected <= high), axis=0)[1:].mean() <= 0.97


def test_weights_keep_the_mean_where_pairs_are_chosen_by_votes() -> None:
    world = World((0.0, 1.0, 0.3))
    values = preferences(simulate(world, 50, 4000))[..., 1:]
    assert np.nanmean(values, axis=1).mean(axis=0) == pytest.approx(truth(world)[0][1:], abs=0.015)


def test_every_pair_keeps_half_of_its_share_and_borderline_pairs_come_more_often() -> None:
    _pairs, shares = level_pairs(4, 0)
    net, votes = np.array([0.0, 6.0, 15.0, 0, 0, 0]), np.array([16.0, 16.0, 16.0, 0, 0, 0])
    probabilities, evenly = pair_probabilities(shares, net, votes, votes, np.ones(6, dtype=bool))
    assert probabilities.sum() == pytest.approx(1.0)
    assert (probabilities >= EVEN_SHARE * evenly).all()
    # 6 of 16 is 1.6 standard errors from 0, and as many votes again may well decide it; 15 of 16 stays decided
    assert probabilities[1] > probabilities[0] > probabilities[2]
