"""Strengths from votes: against closed forms, and against the log-linear form of the same model by statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special

from experiments.stats.paired_statistics import resample_weights
from experiments.voting.choice import level_pairs
from experiments.voting.strengths import (
    PSEUDO_VOTES,
    RESAMPLES,
    Tally,
    linked,
    preferences,
    strength_intervals,
    strengths,
)


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


def test_a_preference_is_what_the_model_makes_a_level_win_more_than_it_loses() -> None:
    answers, votes = random_votes(4, 20, seed=3)
    pairs, _ = level_pairs(4, 2)
    tally = tally_of(4, 2, answers, 1000 * votes * (pairs == 2).any(axis=-1))  # pseudo-votes are nothing beside
    found = strengths(tally)
    odds = np.exp([found[:4] / 2, np.full(4, found[4]), -found[:4] / 2])
    expected = (odds[0] - odds[2]) / odds.sum(axis=0)
    values = preferences(tally)
    assert np.nanmean(np.delete(values, 2, axis=-1), axis=0) == pytest.approx(np.delete(expected, 2), abs=1e-5)
    assert np.isnan(values[:, 2]).all()


def test_a_prompt_with_twice_the_weight_counts_twice() -> None:
    pairs, _ = level_pairs(2, 0)
    net, votes = np.array([[-2.0], [1.0], [0.0]]), np.array([[2.0], [1.0], [0.0]])  # net is for the baseline
    values = preferences(Tally(pairs, 2, 0, net, np.zeros((3, 1)), votes))[:, 1]
    assert values[:2] == pytest.approx([2 / 1.5, -1 / 1.5])
    assert np.isnan(values[2])


def test_levels_that_votes_link_to_the_baseline_are_known() -> None:
    answers, votes = random_votes(4, 20)
    pairs, _ = level_pairs(4, 0)
    apart = votes * ((pairs == 1).any(axis=-1) == (pairs == 0).any(axis=-1))  # 0 with 1, 2 with 3
    assert linked(tally_of(4, 0, answers, apart)).tolist() == [True, True, False, False]
    assert linked(tally_of(4, 0, answers, votes)).all()


def test_a_level_that_never_lost_may_be_of_any_strength() -> None:
    tally = tally_of(2, 0, np.full((12, 1), -1), np.ones((12, 1), dtype=int))
    low, high = strength_intervals(tally)
    assert strengths(tally)[1] == pytest.approx(np.log((12 + PSEUDO_VOTES) / PSEUDO_VOTES), abs=1e-6)
    assert np.isfinite(low[1]) and high[1] == np.inf


def test_the_interval_of_two_levels_is_that_of_the_log_odds_of_resampled_prompts() -> None:
    wins, losses, ties = 40, 25, 15  # one vote a prompt
    answers = np.repeat([-1, 1, 0], [wins, losses, ties])[:, None]
    low, high = strength_intervals(tally_of(2, 0, answers, np.ones_like(answers)))
    prompts = wins + losses + ties
    counts = prompts * resample_weights(prompts)[:, :RESAMPLES]
    # Davidson 1970, section 3, for each of the very resamples; Efron 1981 and Hesterberg 2015 for the ends
    won, lost = (((answers == answer)[:, 0] @ counts) + PSEUDO_VOTES for answer in (-1, 1))
    found, whole = np.log(won / lost), np.log((wins + PSEUDO_VOTES) / (losses + PSEUDO_VOTES))
    is_equal = np.abs(found - whole) < 1e-9
    bias = special.ndtri(((found < whole) & ~is_equal).mean() + is_equal.mean() / 2)
    reach = special.stdtrit(prompts - 1, 0.975) * np.sqrt(prompts / (prompts - 1))
    assert special.ndtr(-reach) == pytest.approx(0.0226, abs=1e-4)  # plain percentiles take 0.025
    expected = np.quantile(found, special.ndtr([2 * bias - reach, 2 * bias + reach]))
    assert [low[1], high[1]] == pytest.approx(expected, abs=1e-6)
    # and about the normal interval by the variance of log(wins / losses)
    half = special.stdtrit(prompts - 1, 0.975) * np.sqrt((1 / wins + 1 / losses) * prompts / (prompts - 1))
    assert [low[1], high[1]] == pytest.approx([np.log(40 / 25) - half, np.log(40 / 25) + half], abs=0.1)


def test_the_same_votes_have_the_same_intervals_whatever_stands_beside_them() -> None:
    answers, votes = random_votes(3, 24)
    alone = tally_of(3, 1, answers, votes)
    many = tally_of(3, 1, np.stack([answers, -answers]), np.stack([votes, votes]))
    for end, ends in zip(strength_intervals(alone), strength_intervals(many), strict=True):
        assert np.allclose(end, ends[0], atol=1e-6)


def test_prompts_without_votes_are_no_resamples_of_nothing() -> None:
    answers, votes = random_votes(3, 24)
    more = [np.concatenate([part, np.zeros_like(part)]) for part in (answers, votes)]
    for end, other in zip(
        *(strength_intervals(tally_of(3, 0, *parts)) for parts in ((answers, votes), more)), strict=True
    ):
        assert np.allclose(end, other, atol=1e-6)


def test_votes_on_one_prompt_give_no_ends() -> None:
    low, high = strength_intervals(tally_of(2, 0, np.array([[-1]]), np.array([[9]])))
    assert (low[1], high[1]) == (-np.inf, np.inf)
