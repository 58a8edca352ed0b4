"""Strengths from votes: against closed forms, and against the log-linear form of the same model by statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from experiments.voting.choice import level_pairs
from experiments.voting.strengths import PSEUDO_VOTES, Tally, preferences, strength_intervals, strengths


def tally_of(levels: int, baseline: int, answers: np.ndarray, votes: np.ndarray) -> Tally:
    """Votes of equal weight: `answers` are +1, 0 or -1 where there are votes, [..., prompts, pairs]."""
    pairs, _ = level_pairs(levels, baseline)
    return Tally(pairs, levels, baseline, answers * votes, (answers == 0) * votes, votes.astype(float))


def random_votes(levels: int, prompts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    shape = (prompts, levels * (levels - 1) // 2)
    return generator.integers(-1, 2, shape), generator.integers(0, 3, shape)


def test_two_levels_have_the_strength_that_their_wins_and_losses_give() -> None:
    pairs, _ = level_pairs(2, 0)
    wins, losses, ties = 9.0, 3.0, 4.0  # of the second level
    tally = Tally(pairs, 2, 0, np.array([[losses - wins]]), np.array([[ties]]), np.array([[wins + losses + ties]]))
    wins, losses, ties = (count + PSEUDO_VOTES for count in (wins, losses, ties))
    # Davidson 1970, section 3: wins / losses = e^strength, ties / sqrt(wins * losses) = e^tie
    expected = [0.0, np.log(wins / losses), np.log(ties / np.sqrt(wins * losses))]
    assert strengths(tally) == pytest.approx(expected, abs=1e-9)


def test_strengths_are_those_of_the_log_linear_form_by_statsmodels() -> None:
    # Fienberg & Larntz 1976: counts of the three answers are Poisson, with a parameter for each pair
    answers, votes = random_votes(4, 30)
    tally = tally_of(4, 1, answers, votes)
    rows, counts = [], []
    for index, (first, second) in enumerate(tally.pairs):
        for answer in (1, 0, -1):
            strength = np.zeros(4)
            strength[first] += answer / 2
            strength[second] -= answer / 2
            rows.append([*np.delete(strength, 1), float(answer == 0), *(np.arange(len(tally.pairs)) == index)])
            counts.append(votes[:, index][answers[:, index] == answer].sum() + PSEUDO_VOTES)
    found = sm.GLM(np.array(counts), np.array(rows), family=sm.families.Poisson()).fit(tol=1e-12).params[:4]
    assert strengths(tally) == pytest.approx(np.insert(found, 1, 0.0), abs=1e-6)


def test_beside_the_baseline_alone_a_prompt_says_its_own_votes() -> None:
    answers, votes = random_votes(4, 20, seed=3)
    pairs, _ = level_pairs(4, 2)
    votes = votes * (pairs == 2).any(axis=-1)
    shares, parts = preferences(tally_of(4, 2, answers, votes))
    for index, pair in enumerate(pairs):
        if 2 in pair:
            level, sign = (pair[0], 1) if pair[1] == 2 else (pair[1], -1)
            whole = votes[:, index].sum()
            assert parts[:, level] == pytest.approx(sign * (answers * votes)[:, index] / whole, abs=1e-12)
            assert shares[:, level] == pytest.approx(votes[:, index] / whole, abs=1e-12)


def test_the_parts_of_prompts_add_up_to_the_preference_of_the_model() -> None:
    tally = tally_of(4, 0, *random_votes(4, 25, seed=1))
    shares, parts = preferences(tally)
    found = strengths(tally)
    odds = np.exp([found[1:4] / 2, np.full(3, found[4]), -found[1:4] / 2])
    assert parts.sum(axis=0)[1:] == pytest.approx((odds[0] - odds[2]) / odds.sum(axis=0), abs=2e-3)
    assert shares.sum(axis=0) == pytest.approx([0.0, 1.0, 1.0, 1.0])


def test_a_level_that_votes_do_not_link_to_the_baseline_has_no_preference() -> None:
    answers, votes = random_votes(4, 20)
    pairs, _ = level_pairs(4, 0)
    votes = votes * ((pairs == 1).any(axis=-1) == (pairs == 0).any(axis=-1))  # 0 with 1, 2 with 3
    shares, parts = preferences(tally_of(4, 0, answers, votes))
    assert not shares[:, 2:].any() and not parts[:, 2:].any()
    assert shares[:, 1].sum() == pytest.approx(1.0)


def test_a_level_that_never_lost_has_a_strength_and_an_interval() -> None:
    tally = tally_of(2, 0, np.full((12, 1), -1), np.ones((12, 1), dtype=int))
    low, high = strength_intervals(tally)
    assert strengths(tally)[1] == pytest.approx(np.log((12 + PSEUDO_VOTES) / PSEUDO_VOTES), abs=1e-6)
    assert np.isfinite(low).all() and np.isfinite(high).all()
