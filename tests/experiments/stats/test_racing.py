"""One step of a race from evidence written by hand: who leads, who drops out, and when it is over."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.stats.error_spending import NEVER, Looks
from experiments.stats.racing import (
    RaceEvidence,
    RaceRules,
    RaceStanding,
    race,
    race_evidence_of,
    race_prompts,
    race_step,
)

LOOKS = Looks((8, 10, 12), enumerated=8)
START = RaceStanding.at_start(3)


def evidence_of(means, beaten=(), equivalent=()) -> RaceEvidence:
    """Pairs are told as (first, second, look)."""
    beaten_at, equivalent_at = np.full((2, 3, 3), NEVER)
    for first, second, look in beaten:
        beaten_at[first, second] = look
    for first, second, look in equivalent:
        equivalent_at[first, second] = equivalent_at[second, first] = look
    return RaceEvidence(RaceRules(LOOKS), np.array(means, dtype=float), beaten_at, equivalent_at)


def test_the_highest_mean_of_a_look_leads_and_drops_whom_it_has_beaten_by_then():
    evidence = evidence_of([[1, 3, 3], [3, 1, 2], [2, 2, 1]], beaten=[(1, 0, 0), (1, 2, 1), (0, 1, 1), (2, 1, 0)])
    first = race_step(evidence, START, 0)
    assert first == RaceStanding((0, NEVER, NEVER), 1, NEVER, False)
    assert first.left == (1, 2)
    second = race_step(evidence, first, 1)
    assert second == RaceStanding((0, 1, NEVER), 2, 1, False)  # the first is out, though its mean is the highest now
    assert race_step(evidence, START, 1) == RaceStanding((NEVER, 1, NEVER), 0, NEVER, False)


def test_a_race_is_over_within_the_margin_only_where_all_that_are_left_are():
    means = [[1] * 3, [3] * 3, [2] * 3]
    some, every = [(1, 2, 0)], [(1, 2, 0), (1, 0, 1)]
    assert race_step(evidence_of(means, equivalent=some), START, 1).ended_at == NEVER
    assert race_step(evidence_of(means, equivalent=every), START, 0).ended_at == NEVER
    assert race_step(evidence_of(means, equivalent=every), START, 1) == RaceStanding((NEVER,) * 3, 1, 1, True)
    out = race_step(evidence_of(means, beaten=[(1, 0, 0)], equivalent=some), START, 0)
    assert out == RaceStanding((0, NEVER, NEVER), 1, 0, True)


def test_the_last_look_ends_a_race_and_a_single_level_that_is_left_is_within_no_margin():
    means = [[1] * 3, [3] * 3, [2] * 3]
    assert race_step(evidence_of(means), START, 1).ended_at == NEVER
    assert race_step(evidence_of(means), START, 2) == RaceStanding((NEVER,) * 3, 1, 2, False)
    alone = race_step(evidence_of(means, beaten=[(1, 0, 0), (1, 2, 0)]), START, 0)
    assert alone == RaceStanding((0, NEVER, 0), 1, 0, False)


@pytest.mark.parametrize("is_higher_better", [True, False])
def test_evidence_of_a_pair_is_that_of_its_differences(is_higher_better):
    sign = 1 if is_higher_better else -1
    scores = sign * np.stack([np.zeros(12), np.linspace(0.5, 1.6, 12), np.array([0.01, -0.01] * 6)])
    scores[2, 11] = np.nan
    found = race_evidence_of(scores, RaceRules(LOOKS, 0.4, is_higher_better))
    assert found.means[1] == pytest.approx([0.85, 0.95, 1.05])
    assert found.means[2] == pytest.approx([0.0, 0.0, 0.01 / 11])
    # each of two pairs spends 2.5 % x (8 / 12)^1.5 = 1.4 % at the first look, and one side of 8 prompts has 1 / 2^8
    assert found.beaten_at.tolist() == [[NEVER] * 3, [0, NEVER, 0], [NEVER] * 3]
    assert found.equivalent_at.tolist() == [[NEVER, NEVER, 0], [NEVER] * 3, [0, NEVER, NEVER]]
    without = race_evidence_of(scores[:, :8], RaceRules(LOOKS, None, is_higher_better))
    assert without.means.shape == (3, 1)
    assert (without.equivalent_at == NEVER).all()


def test_a_level_without_scores_never_leads():
    scores = np.stack([np.full(8, np.nan), np.full(8, -5.0), np.full(8, -6.0)])
    assert race_evidence_of(scores, RaceRules(LOOKS)).means[0].tolist() == [-np.inf]
    assert race_step(race_evidence_of(scores, RaceRules(LOOKS)), START, 0).leader == 1


def test_a_race_draws_each_level_up_to_the_look_that_dropped_it():
    scores = np.stack([np.zeros(12), np.linspace(0.5, 1.6, 12), np.linspace(0.45, 1.55, 12) + [0.3, -0.3] * 6])
    standing = race(scores, RaceRules(LOOKS))
    assert (standing.dropped_at, standing.ended_at) == ((0, NEVER, NEVER), 2)
    assert race_prompts(standing, LOOKS) == [8, 12, 12]
    assert race_prompts(RaceStanding((0, NEVER, 1), 1, 1), LOOKS) == [8, 10, 10]
    assert race_prompts(RaceStanding((0, NEVER, NEVER), 1), LOOKS) == [8, 12, 12]


@pytest.mark.parametrize(("levels", "beaten_at"), [(3, 0), (4, 1)])
def test_a_pair_is_tested_on_one_side_with_its_share_of_the_error(levels, beaten_at):
    # one side of 6 prompts has 1 / 2^6 = 1.56 %; at 6 of 7 prompts 5 % / 2 have 1.98 % and 5 % / 3 have 1.32 %
    scores = np.zeros((levels, 7))
    scores[0] = np.linspace(1, 2, 7)
    found = race_evidence_of(scores, RaceRules(Looks((6, 7), enumerated=7)))
    assert found.beaten_at[0].tolist() == [NEVER] + [beaten_at] * (levels - 1)
    assert (found.beaten_at[1:] == NEVER).all()
