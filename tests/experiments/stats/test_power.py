"""The power of the sign-flip test against statsmodels, closed forms, and simulated pairs of experiments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from experiments.stats import paired_statistics as statistics
from experiments.stats import power

EXPERIMENTS = 2000
PROMPTS = 12


@pytest.mark.parametrize(("effect", "prompts", "alpha"), [(0.5, 20, 0.05), (1.0, 12, 0.01), (0.2, 100, 0.05)])
def test_power_equals_statsmodels(effect, prompts, alpha):
    expected = TTestPower().power(effect, prompts, alpha)
    assert power.expected_power(effect, prompts, alpha=alpha) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("prompts", "alpha"), [(10, 0.05), (12, 0.05), (12, 0.01), (60, 0.05), (60, 0.05 / 3)])
def test_detectable_effect_equals_statsmodels(prompts, alpha):
    expected = TTestPower().solve_power(nobs=prompts, alpha=alpha, power=0.8)
    assert power.detectable_effect(prompts, alpha=alpha) == pytest.approx(expected, rel=2e-4)


def test_detectable_effect_is_found_in_80_percent_of_simulated_experiments():
    effect = power.detectable_effect(PROMPTS)
    differences = np.random.default_rng(7).normal(effect, 1.0, (EXPERIMENTS, PROMPTS))
    p_values = statistics.sign_flip_p_value(differences)
    assert 0.77 <= (p_values <= 0.05).mean() <= 0.83


@pytest.mark.parametrize(("prompts", "comparisons"), [(6, 1), (8, 1), (8, 5), (10, 3), (12, 5), (20, 5)])
def test_detectable_effect_holds_where_p_values_are_coarse(prompts, comparisons):
    effect = power.detectable_effect(prompts, alpha=0.05 / comparisons)
    differences = np.random.default_rng(99).normal(effect, 1.0, (EXPERIMENTS, prompts))
    found = statistics.sign_flip_p_value(differences) <= 0.05 / comparisons
    assert 0.76 <= found.mean() <= 0.84


def test_detectable_effect_of_six_prompts_is_the_closed_form():
    # six prompts reach p = 0.03 only if all differences have one sign, whose probability is Phi(effect)^6
    expected = stats.norm.ppf(0.8 ** (1 / 6))
    assert power.detectable_effect(6) == pytest.approx(expected, rel=0.02)


def test_power_at_the_smallest_p_value_is_the_closed_form():
    # at 1 / 32 six prompts are found where all differences have one sign, and at less never
    expected = stats.norm.cdf(1.0) ** 6
    assert power.expected_power(1.0, 6, alpha=2.0**-5) == pytest.approx(expected, abs=0.02)
    assert power.expected_power(1.0, 6, alpha=2.0**-5 - 1e-6) == 0.0
    assert [power.expected_power(np.inf, prompts) for prompts in (0, 1, 2)] == [0.0, 0.0, 0.0]


def test_power_is_a_number_for_large_effects():
    for effect in (1.0, 4.0, 20.0):
        for prompts in (20, 60, 200, 5000):
            assert 0.9 < power.expected_power(effect, prompts, alpha=0.05 / 3) <= 1.0


def test_five_prompts_can_never_show_a_difference_at_five_percent():
    assert power.detectable_effect(5) == np.inf
    assert power.expected_power(100.0, 5) == 0.0
    assert power.expected_power(100.0, 6) == 1.0
    assert np.isfinite(power.detectable_effect(6))


@pytest.mark.parametrize("effect", [0.25, 0.5, 1.0])
def test_number_of_prompts_is_the_smallest_that_suffices(effect):
    prompts = power.prompts_for_effect(effect)
    assert power.expected_power(effect, prompts) >= 0.8
    assert power.expected_power(effect, prompts - 1) < 0.8


def test_no_number_of_prompts_finds_nothing():
    assert power.prompts_for_effect(0.0) is None


def test_numbers_are_planned_up_to_a_hundred_thousand():
    def effect_for(prompts):  # n = (z(0.975) + z(0.8))^2 / d^2 of the z-test; the t-test takes z(0.975)^2 / 2 more
        return (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / np.sqrt(prompts - stats.norm.ppf(0.975) ** 2 / 2)

    for prompts in (70_000, 99_990):
        assert power.prompts_for_effect(effect_for(prompts)) == pytest.approx(prompts, abs=2)
    assert power.prompts_for_effect(effect_for(100_010)) is None
    assert power.prompts_for_effect(100.0) == 6  # the least that can show anything


@pytest.mark.parametrize(("effect", "prompts"), [(1.2, 8), (0.4, 60)])  # coarse p-values, and those of the t-test
def test_an_effect_below_zero_is_found_as_often_as_one_above(effect, prompts):
    differences = np.random.default_rng(11).normal(-effect, 1.0, (EXPERIMENTS, prompts))
    found = (statistics.sign_flip_p_value(differences) <= 0.05).mean()
    assert power.expected_power(-effect, prompts) == pytest.approx(found, abs=0.025)
    assert power.expected_power(-effect, prompts) == pytest.approx(power.expected_power(effect, prompts), abs=0.02)


@pytest.mark.parametrize(
    ("prompts", "comparisons"), [(6, 1), (8, 1), (8, 5), (12, 1), (12, 5), (20, 1), (20, 5), (60, 1)]
)
def test_what_an_experiment_says_it_detects_is_found_by_four_in_five_others(prompts, comparisons):
    alpha = 0.05 / comparisons
    generator = np.random.default_rng(5)
    deviations = generator.normal(size=(EXPERIMENTS, prompts)).std(axis=-1, ddof=1)  # as the first experiment saw it
    effects = power.detectable_effect(prompts, alpha=alpha, estimated_from=prompts) * deviations
    others = generator.normal(size=(EXPERIMENTS, prompts)) + effects[:, None]
    found = statistics.sign_flip_p_value(others) <= alpha * (1 + 1e-9)
    assert found.mean() == pytest.approx(0.80, abs=0.02)


def test_a_spread_taken_for_known_promises_too_much():
    for prompts in (6, 12, 60):
        known, estimated = (power.detectable_effect(prompts, estimated_from=source) for source in (None, prompts))
        assert 0.70 <= power.expected_power(known, prompts, estimated_from=prompts) < 0.80
        assert estimated > known
        assert power.expected_power(estimated, prompts, estimated_from=prompts) == pytest.approx(0.80, abs=1e-3)


def test_an_estimated_spread_is_averaged_over_what_the_estimate_could_have_been():
    # the variance of 8 normal numbers is chi2 of 7 degrees of freedom, over 7
    spreads = np.sqrt(stats.chi2.ppf((np.arange(100) + 0.5) / 100, 7) / 7)
    expected = np.mean([TTestPower().power(0.5 * spread, 20, 0.05) for spread in spreads])
    assert power.expected_power(0.5, 20, estimated_from=8) == pytest.approx(expected, abs=1e-9)


def test_a_spread_from_many_prompts_is_as_good_as_known():
    assert power.detectable_effect(20, estimated_from=100_000) == pytest.approx(power.detectable_effect(20), rel=1e-3)


def test_with_many_ties_another_experiment_may_have_too_few_prompts_that_differ():
    # 6 differing prompts are the least; of 20 that differ by chance 0.3, 6 or more do in 58 %, by chance 0.5 in 98 %
    assert stats.binom.sf(5, 20, 0.3) < 0.80
    assert power.detectable_effect(20, estimated_from=6, differing=0.3) == np.inf
    assert power.expected_power(np.inf, 20, differing=0.3) == pytest.approx(stats.binom.sf(5, 20, 0.3), abs=0.002)
    assert np.isfinite(power.detectable_effect(20, estimated_from=10, differing=0.5))


def test_effects_with_ties_are_found_as_often_as_said():
    effect = power.detectable_effect(30, differing=0.5)
    generator = np.random.default_rng(6)
    shape = (EXPERIMENTS, 30)
    differences = np.where(generator.uniform(size=shape) < 0.5, generator.normal(size=shape) + effect / 0.5, 0.0)
    assert (statistics.sign_flip_p_value(differences) <= 0.05).mean() == pytest.approx(0.80, abs=0.025)
