"""Planned looks by simulation: 2,000 experiments each, decided by the code that decides in the lab."""

from functools import cache

import numpy as np
import pytest

from experiments.planning.looks import LATE_EXPONENT, look_counts
from experiments.stats.error_spending import NEVER, Looks, Walks, chunked_crossings
from experiments.stats.look_evidence import HOPELESS_BELOW, Evidence, Rules
from experiments.stats.looks_simulation import KINDS, made_up_scores, simulate_decisions, simulate_races
from experiments.stats.planned_looks import Standing, State, decide, step
from experiments.stats.racing import RaceRules, race, race_evidence_of

pytestmark = pytest.mark.slow  # thousands of simulated experiments

EXPERIMENTS = 2000
ERROR = 3 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)
"""Three standard errors of a share of 5 % in so many simulations."""
TRIAL = (1.2, 1.2, 0.5, 0.0, 0.0)
PROMPTS = 60
FINE_LOOKS = Looks(look_counts(PROMPTS, 1), enumerated=12)
LATE_LOOKS = Looks(look_counts(PROMPTS, 1, exponent=LATE_EXPONENT), LATE_EXPONENT, enumerated=12)
FEW_LOOKS = Looks((12, 18, 27, 40, 60), enumerated=11)


@cache
def trial(seed=1):
    return made_up_scores(np.random.default_rng(seed), EXPERIMENTS, TRIAL, PROMPTS, KINDS["normal"])


@cache
def power_of_full_design(seed=1):
    """Power at 0.5 of Holm's method over sign-flip tests after all 60 prompts."""
    levels = range(5, 0, -1)
    scores = trial(seed)
    flat = (scores[:, 1:] - scores[:, :1]).reshape(-1, PROMPTS)
    single = Looks((PROMPTS,), enumerated=11)
    passes = chunked_crossings(flat, single, [0.05 / sharing for sharing in levels], [Walks.two_sided])[0] != NEVER
    passes = passes.reshape(EXPERIMENTS, 5, 5)  # [experiments, levels, shares of the error]
    claimed = np.zeros((EXPERIMENTS, 5), dtype=bool)
    for _ in levels:
        share = np.minimum(claimed.sum(axis=1), 4)
        claimed |= passes[np.arange(EXPERIMENTS), :, share]
    return claimed[:, 2].mean()


def found(outcomes):
    """Share of the experiments in which each level was shown to differ."""
    return (outcomes.states == State.DIFFERS).mean(axis=0)


@pytest.mark.parametrize("seed", [1, 2, 22])
def test_the_trial_takes_68_percent_of_the_pictures_for_4_points_of_power(seed):
    (outcomes,) = simulate_decisions(trial(seed), Rules(LATE_LOOKS, stops_below=HOPELESS_BELOW))
    full = power_of_full_design(seed)
    assert full == pytest.approx(0.92, abs=0.015)
    assert outcomes.pictures.mean() <= 0.68
    assert found(outcomes)[2] >= full - 0.04
    assert found(outcomes)[:2].min() >= 0.999


def test_the_trial_with_unpromising_levels_stopped_takes_45_percent_for_10_points():
    (outcomes,) = simulate_decisions(trial(), Rules(FINE_LOOKS))
    assert outcomes.pictures.mean() <= 0.45
    assert found(outcomes)[2] >= power_of_full_design() - 0.10


def test_the_trial_with_a_margin_takes_55_percent_and_shows_the_equal_levels_as_equal():
    """With as many sign patterns as the lab has: fewer are coarser, and cost a point more."""
    looks = Looks(look_counts(PROMPTS, 1))
    pictures, equal = [], []
    for seed, experiments in ((1, EXPERIMENTS), (2, 700), (22, 600)):
        scores = made_up_scores(np.random.default_rng(seed), experiments, TRIAL, PROMPTS, KINDS["normal"])
        (outcomes,) = simulate_decisions(scores, Rules(looks, margin=0.6))
        pictures.append(outcomes.pictures)
        equal.append(outcomes.states[:, 3:] == State.EQUIVALENT)
        assert pictures[-1].mean() <= 0.55 + 3 * pictures[-1].std() / np.sqrt(experiments)
    assert pictures[0].mean() <= 0.55
    assert equal[0].mean() >= 0.95
    assert np.concatenate(pictures).mean() <= 0.55
    assert np.concatenate(equal).mean() >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_false_alarm_among_five_levels_that_change_nothing_has_5_percent(kind):
    scores = made_up_scores(np.random.default_rng(4), EXPERIMENTS, (0.0,) * 5, 30, KINDS[kind])
    looks = Looks(look_counts(30, 1), enumerated=11)
    for outcomes in simulate_decisions(scores, Rules(looks, stops_below=0.0), Rules(looks)):
        assert (outcomes.states == State.DIFFERS).any(axis=1).mean() <= 0.05 + ERROR


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "discrete"])
def test_a_margin_makes_no_false_alarm_likelier(kind):
    scores = made_up_scores(np.random.default_rng(5), EXPERIMENTS, (0.0,) * 3 + (0.6,) * 2, 40, KINDS[kind])
    (outcomes,) = simulate_decisions(scores, Rules(Looks(look_counts(40, 1), enumerated=10), margin=0.6))
    alarms = (outcomes.states[:, :3] == State.DIFFERS).any(axis=1)
    called_equal = (outcomes.states[:, 3:] == State.EQUIVALENT).any(axis=1)
    assert alarms.mean() <= 0.05 + ERROR
    assert called_equal.mean() <= 0.05 + ERROR


def test_levels_at_the_margin_are_called_equal_in_5_percent_though_others_leave_early():
    scores = made_up_scores(np.random.default_rng(6), EXPERIMENTS, (1.2, 0.6, 0.6, -0.6), 40, KINDS["normal"])
    (outcomes,) = simulate_decisions(scores, Rules(Looks(look_counts(40, 1), enumerated=10), margin=0.6))
    assert (outcomes.states == State.EQUIVALENT).any(axis=1).mean() <= 0.05 + ERROR


@pytest.mark.parametrize(
    ("kind", "effects"),
    [("normal", (0.9, 0.9, 0.9, 0.6, -0.6)), ("heavy tails", (1.2, 1.2, 1.2, 0.6, -0.6))],
    ids=["near", "far"],
)
def test_levels_at_the_margin_are_called_equal_in_5_percent_though_those_outside_leave_their_share(kind, effects):
    scores = made_up_scores(np.random.default_rng(6), EXPERIMENTS, effects, 40, KINDS[kind])
    (outcomes,) = simulate_decisions(scores, Rules(Looks(look_counts(40, 1), enumerated=10), margin=0.6))
    assert (outcomes.states == State.EQUIVALENT).any(axis=1).mean() <= 0.05 + ERROR


def test_a_level_just_at_the_margin_is_found_outside_of_it_in_as_many_cases_as_were_paid_for():
    looks = Looks(look_counts(40, 1), enumerated=10)
    scores = made_up_scores(np.random.default_rng(11), EXPERIMENTS, (0.6, -0.6), 40, KINDS["normal"])
    rules, last = Rules(looks, margin=0.6), len(looks.prompts) - 1
    evidence = [Evidence(own[1:] - own[0], rules) for own in scores]
    is_outside = np.array([[each.is_outside(level, last) for level in range(2)] for each in evidence])
    assert is_outside.mean() == pytest.approx(rules.outside_share, abs=3 * np.sqrt(0.09 / is_outside.size))


@pytest.mark.parametrize(
    ("kind", "effects"),
    [("normal", (0.0,) * 3), ("heavy tails", (0.3, 0.3, 0.2)), ("discrete", (0.2, 0.3, 0.4))],
    ids=["all equal", "close", "in steps"],
)
def test_a_race_drops_the_best_in_5_percent_at_most(kind, effects):
    looks = Looks(look_counts(30, 3, is_one_sided=True), enumerated=11)
    scores = made_up_scores(np.random.default_rng(7), EXPERIMENTS, effects, 30, KINDS[kind])
    outcomes = simulate_races(scores, RaceRules(looks))
    best = [level for level, effect in enumerate((0.0, *effects)) if effect == max(0.0, *effects)]
    # where several are the best, it is one of them that no race may drop
    dropped = outcomes.states[:, best].astype(bool)
    assert dropped[:, 0].mean() <= 0.05 + ERROR


def test_a_race_with_a_changing_leader_keeps_the_best_and_ends_within_the_margin():
    looks = Looks(look_counts(40, 2, is_one_sided=True), enumerated=10)
    scores = made_up_scores(np.random.default_rng(8), EXPERIMENTS, (0.1, 0.15), 40, KINDS["normal"])
    standings = [race(own, RaceRules(looks, margin=0.8)) for own in scores]
    evidence = [race_evidence_of(own, RaceRules(looks)) for own in scores]
    leaders = np.array([item.means.argmax(axis=0) for item in evidence])
    assert (leaders[:, 0] != leaders[:, -1]).mean() > 0.4
    assert np.mean([standing.dropped_at[2] != NEVER for standing in standings]) <= 0.05 + ERROR
    assert np.mean([standing.is_within_margin for standing in standings]) > 0.9


def test_the_bias_after_stopping_is_below_a_tenth_of_a_deviation_for_large_effects_and_a_fifth_for_small_ones():
    scores = trial()
    (outcomes,) = simulate_decisions(scores, Rules(FEW_LOOKS))
    differences = scores[:, 1:] - scores[:, :1]
    seen = np.arange(PROMPTS) < outcomes.drawn[..., None]
    means = (differences * seen).sum(axis=-1) / outcomes.drawn
    assert abs((means - np.array(TRIAL)).mean(axis=0))[[0, 1]].max() <= 0.10
    found_small = outcomes.states[:, 2] == State.DIFFERS
    assert 0.0 < (means[found_small, 2] - 0.5).mean() <= 0.20


def test_what_is_decided_at_a_look_knows_nothing_of_later_prompts():
    generator = np.random.default_rng(9)
    rules = Rules(FEW_LOOKS, margin=0.6)
    for own in made_up_scores(generator, 20, TRIAL, PROMPTS, KINDS["normal"]):
        differences, whole = own[1:] - own[0], Standing.at_start(5)
        evidence = Evidence(differences, rules)
        for look, count in enumerate(FEW_LOOKS.prompts):
            so_far = np.array(
                [
                    np.where(np.arange(count) < FEW_LOOKS.prompts[min(end, look)], differences[level, :count], np.nan)
                    for level, end in enumerate(whole.ended_at)
                ]
            )
            live = step(Evidence(so_far, rules), whole, look)
            whole = step(evidence, whole, look)
            assert live == whole
        assert whole == decide(Evidence(differences, rules))
