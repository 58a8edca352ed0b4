"""Statistics against closed forms, published examples, scipy and statsmodels, and by simulated experiments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from experiments.stats import paired_statistics as statistics

EXPERIMENTS = 2000
PROMPTS = 12
SEEDS = 2
LEVELS = 6


def simulated_scores(effect: float, *, experiments: int = EXPERIMENTS, seed: int = 7) -> np.ndarray:
    """Scores [experiments, levels, prompts], seed means; level 0 is the baseline, level 1 has the effect.

    `effect` is in standard deviations of the prompts' paired differences. Prompts differ far more than levels do.
    """
    generator = np.random.default_rng(seed)
    prompt = generator.normal(0, 2.0, (experiments, 1, PROMPTS, 1))
    response = generator.normal(0, 0.5, (experiments, LEVELS, PROMPTS, 1))
    noise = generator.normal(0, 0.5, (experiments, LEVELS, PROMPTS, SEEDS))
    deviation = np.sqrt(2 * (0.5**2 + 0.5**2 / SEEDS))
    shift = np.array([effect * deviation if level == 1 else 0.0 for level in range(LEVELS)])
    return (prompt + response + noise + shift[:, None, None]).mean(axis=-1)


def differences_to_baseline(scores: np.ndarray) -> np.ndarray:
    return scores[:, 1:] - scores[:, :1]


@pytest.mark.parametrize("prompts", [5, 12, 40])
def test_what_is_kept_of_one_set_of_differences_is_that_of_its_numbers(prompts: int) -> None:
    values = np.random.default_rng(prompts).normal(0.2, 1.0, prompts)
    signs, _seen = statistics.sign_patterns(prompts)
    seen = (statistics.sign_flip_p_value(values), *statistics.interval_of_difference(values))
    plain = statistics._all_means_of_halves(values[None], signs)
    for found, expected in zip(statistics._means_of_halves(values[None], signs), plain, strict=True):
        np.testing.assert_array_equal(found, expected)
    changed = values.copy()
    changed[0] += 1.0
    assert statistics.interval_of_difference(changed)[1] != seen[2] or prompts < 6
    assert (statistics.sign_flip_p_value(values), *statistics.interval_of_difference(values)) == seen
    whole = np.arange(-2, prompts - 2)
    assert statistics.sign_flip_p_value(whole) == statistics.sign_flip_p_value(whole.astype(float))


@pytest.fixture(scope="module")
def null_differences() -> np.ndarray:
    return differences_to_baseline(simulated_scores(0.0))


def test_false_alarms_stay_below_six_percent_over_all_levels_together(null_differences):
    adjusted = statistics.holm(statistics.sign_flip_p_value(null_differences))
    assert (adjusted.min(axis=-1) <= 0.05).mean() <= 0.06


def test_false_alarms_of_one_comparison_keep_the_stated_level(null_differences):
    p_values = statistics.sign_flip_p_value(null_differences[:, 0])
    assert 0.04 <= (p_values <= 0.05).mean() <= 0.06


def test_interval_of_the_difference_covers_the_truth_95_percent_of_the_time(null_differences):
    low, high = statistics.interval_of_mean(null_differences[:, 0])
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


def test_interval_of_the_mean_covers_the_truth_95_percent_of_the_time():
    low, high = statistics.interval_of_mean(simulated_scores(0.0, seed=8)[:, 0])
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


@pytest.mark.parametrize(("name", "truth"), [("standard_exponential", 1.0), ("uniform", 0.5), ("standard_normal", 0.0)])
def test_interval_holds_for_skewed_and_flat_scores(name, truth):
    values = getattr(np.random.default_rng(3), name)(size=(EXPERIMENTS, 20))
    low, high = statistics.interval_of_mean(values)
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97


@pytest.mark.parametrize("prompts", [2, 3, 5, 6, 8])
def test_interval_holds_with_few_prompts(prompts):
    low, high = statistics.interval_of_mean(np.random.default_rng(4).normal(size=(EXPERIMENTS, prompts)))
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.98


def test_effect_of_one_standard_deviation_is_found_with_12_prompts():
    p_values = statistics.sign_flip_p_value(differences_to_baseline(simulated_scores(1.0))[:, 0])
    assert (p_values <= 0.05).mean() >= 0.85


def test_paired_analysis_beats_the_unpaired_one():
    scores = simulated_scores(1.0)
    paired = statistics.sign_flip_p_value(scores[:, 1] - scores[:, 0])
    unpaired = stats.ttest_ind(scores[:, 1], scores[:, 0], axis=-1, equal_var=False).pvalue
    found_paired, found_unpaired = (paired <= 0.05).mean(), (unpaired <= 0.05).mean()
    assert found_paired >= 0.85
    assert found_unpaired <= 0.25
    width_paired = np.subtract(*statistics.interval_of_mean(scores[:, 1] - scores[:, 0])[::-1])
    width_level = np.subtract(*statistics.interval_of_mean(scores[:, 1])[::-1])
    assert np.median(width_paired) < 0.5 * np.median(width_level)


@pytest.mark.parametrize("prompts", [2, 5, 9])
def test_exact_p_value_equals_scipy(prompts):
    differences = np.random.default_rng(prompts).normal(0.4, 1.0, prompts)
    expected = stats.permutation_test(
        (differences,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert statistics.sign_flip_p_value(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_random_patterns_come_close_to_all_patterns(monkeypatch):
    differences = np.random.default_rng(1).normal(0.5, 1.0, 14)
    exact = statistics.sign_flip_p_value(differences)
    monkeypatch.setattr(statistics, "MOST_PROMPTS_FOR_EXACT_TEST", 10)
    assert statistics.sign_flip_p_value(differences) == pytest.approx(exact, abs=0.01)


def test_random_patterns_come_close_wherever_the_p_value_lies(monkeypatch):
    differences = np.random.default_rng(2).normal(0, 1.0, (20, 14)) + np.linspace(0, 1, 20)[:, None]
    exact = statistics.sign_flip_p_value(differences)
    monkeypatch.setattr(statistics, "MOST_PROMPTS_FOR_EXACT_TEST", 10)
    assert np.abs(statistics.sign_flip_p_value(differences) - exact).max() < 0.02
    assert exact.min() < 0.05 < 0.5 < exact.max()


def test_random_p_value_is_never_zero():
    assert statistics.sign_flip_p_value(np.full(40, 5.0)) == pytest.approx(1 / 10_000)


def test_all_prompts_better_gives_the_smallest_exact_p_value():
    assert statistics.sign_flip_p_value(np.array([0.1, 0.2, 0.3, 0.4])) == 2 / 2**4 == statistics.smallest_p_value(4)


def test_tied_sums_count_as_equally_far_despite_rounding():
    # 0.1 + 0.2 - 0.3 is not exactly 0 in binary; patterns that tie on paper must tie here.
    assert statistics.sign_flip_p_value(np.array([0.1, 0.2, -0.3])) == 1.0


def test_equal_arms_are_no_difference():
    same = np.zeros(12)
    assert statistics.sign_flip_p_value(same) == 1.0
    assert statistics.interval_of_mean(same) == (0.0, 0.0)
    assert np.isnan(statistics.effect_size(same))
    assert statistics.win_rate(same) == 0.5


def test_constant_difference_has_an_interval_without_width():
    low, high = statistics.interval_of_mean(np.full(12, 0.1))
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_interval_stays_finite_where_one_prompt_alone_differs():
    values = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    low, high = statistics.interval_of_mean(values)
    half = stats.t.ppf(0.975, 5) * values.std(ddof=1) / np.sqrt(6)
    assert (low, high) == (pytest.approx(1 / 6 - half), pytest.approx(1 / 6 + half))


def test_few_prompts_use_students_interval():
    values = np.array([1.0, 2.0, 4.0])
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert statistics.interval_of_mean(values) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


@pytest.mark.parametrize("values", [(1, 2, 4, 5, 7, 8), (0, 0, 0, 1, 1, 1), (0, 0.1, 0.2, 5, 5.1, 5.2)])
def test_the_interval_of_six_prompts_is_that_of_all_their_resamples(values):
    seen = np.array(values, dtype=float)
    resamples = seen[np.array(list(itertools.product(range(6), repeat=6)))]
    errors = resamples.std(axis=1, ddof=1) / np.sqrt(6)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(errors > 1e-12, np.abs(resamples.mean(axis=1) - seen.mean()) / errors, np.inf)
    half = np.quantile(t, 0.95, method="higher") * stats.sem(seen)
    low, high = statistics.interval_of_mean(seen)
    assert (low, high) == (pytest.approx(seen.mean() - half, abs=0.02), pytest.approx(seen.mean() + half, abs=0.02))


def test_an_interval_stays_within_the_least_and_the_largest_value_of_its_own_data():
    values = np.array([0.0, 1.0, 1.0, 2.0, 3.0, 9.0])  # whose resamples would reach from -5.3 to 10.6
    low, high = statistics.interval_of_mean(np.stack([values, 10 * values - 20]))
    assert low.tolist() == [0.0, -20.0]
    assert high.tolist() == [9.0, 70.0]


def test_five_prompts_use_students_interval():
    values = np.array([1.0, 2.0, 4.0, 5.0, 7.0])
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert statistics.interval_of_mean(values) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_many_prompts_approach_students_interval():
    values = np.random.default_rng(5).normal(size=400)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert statistics.interval_of_mean(values) == (
        pytest.approx(expected[0], abs=0.005),
        pytest.approx(expected[1], abs=0.005),
    )


def test_same_data_give_the_same_numbers():
    values = np.random.default_rng(6).normal(size=20)
    assert statistics.interval_of_mean(values) == statistics.interval_of_mean(values.copy())
    assert statistics.sign_flip_p_value(values) == statistics.sign_flip_p_value(values.copy())


def test_interval_moves_and_scales_with_the_data():
    values = np.random.default_rng(6).normal(size=12)
    low, high = statistics.interval_of_mean(values)
    moved = statistics.interval_of_mean(1000 * values - 3)
    assert moved == (pytest.approx(1000 * low - 3), pytest.approx(1000 * high - 3))


def test_holm_equals_statsmodels():
    p_values = np.array([0.04, 0.001, 0.03, 0.5, 0.012])
    assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_leaves_out_comparisons_that_were_not_made():
    adjusted = statistics.holm(np.array([np.nan, 0.02, 0.01]))
    assert np.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.02, 0.02])


def test_win_rate_counts_ties_half():
    assert statistics.win_rate(np.array([1.0, -1.0, 0.0, 2.0])) == 0.625


def test_each_data_set_of_several_has_its_own_numbers():
    several = np.random.default_rng(9).normal(0.3, 1.0, (2, 3, 8))
    one = several[1, 2]
    for of_data in (statistics.win_rate, statistics.effect_size, statistics.sign_flip_p_value):
        assert of_data(several).shape == (2, 3)
        assert of_data(several)[1, 2] == pytest.approx(float(of_data(one)))
    low, high = statistics.interval_of_mean(several)
    assert (low.shape, high.shape) == ((2, 3), (2, 3))
    assert (low[1, 2], high[1, 2]) == tuple(pytest.approx(float(end)) for end in statistics.interval_of_mean(one))


def test_skewness_and_sign_test_equal_scipy():
    values = np.random.default_rng(10).exponential(size=15) - 0.8
    assert statistics.skewness(values) == pytest.approx(stats.skew(values))
    assert statistics.skewness(np.full(9, 0.1)) == 0.0
    above = int((values > 0).sum())
    assert statistics.sign_test_p_value(values) == pytest.approx(stats.binomtest(above, 15).pvalue)
    assert statistics.sign_test_p_value(np.append(values, [0.0, 0.0])) == statistics.sign_test_p_value(values)
    assert statistics.sign_test_p_value(np.zeros(4)) == 1.0


def test_effect_size_has_hedges_correction():
    # J(9) = 0.9139 for 9 degrees of freedom, the approximation 1 - 3 / (4 df - 1) = 0.9143 of Hedges 1981.
    differences = np.array([0.0, 2.0] * 5)
    expected = 1.0 / differences.std(ddof=1)
    assert statistics.effect_size(differences) == pytest.approx(expected * (1 - 3 / 35), rel=1e-3)


def test_effect_size_begins_with_three_prompts():
    # J(2) = gamma(1) / (sqrt(1) gamma(1 / 2)) = 1 / sqrt(pi)
    three = np.array([1.0, 2.0, 6.0])
    assert statistics.effect_size(three) == pytest.approx(3.0 / np.sqrt(7) / np.sqrt(np.pi))
    two = statistics.effect_size(np.ones((4, 3, 2)))
    assert two.shape == (4, 3)
    assert np.isnan(two).all()


def test_sixteen_prompts_are_tested_by_all_patterns_and_more_by_random_ones():
    for prompts, least in ((16, 2 / 2**16), (20, 1 / 10_000)):
        assert statistics.sign_flip_p_value(np.arange(1.0, prompts + 1)) == pytest.approx(least)
        assert statistics.smallest_p_value(prompts) == pytest.approx(least)
    patterns, seen = statistics.sign_patterns(17)
    assert (seen, patterns.shape, sorted(set(patterns.ravel().tolist()))) == (1, (17, 9999), [-1.0, 1.0])
    assert abs(patterns.mean(axis=1)).max() < 0.05
    exact, none = statistics.sign_patterns(3)
    assert none == 0
    assert sorted(exact.T.tolist()) == [[1, -1, -1], [1, -1, 1], [1, 1, -1], [1, 1, 1]]


def test_numbers_depend_neither_on_their_unit_nor_on_the_data_sets_beside_them(monkeypatch):
    values = np.random.default_rng(12).normal(0.4, 1.0, (5, 9))
    scales = np.array([1.0, 1e-12, 1e12, 1.0, 1e-6])[:, None]
    whole = statistics.interval_of_mean(values), statistics.interval_of_difference(values)
    p_values, together = statistics.sign_flip_p_value(values), statistics.sign_flip_p_values_together(values)
    monkeypatch.setattr(statistics, "_CHUNK_ELEMENTS", 300)  # then each data set, or a pattern or so, is a chunk
    scaled = statistics.interval_of_mean(values * scales), statistics.interval_of_difference(values * scales)
    for ends, ends_of_scaled in zip(whole, scaled, strict=True):
        for end, end_of_scaled in zip(ends, ends_of_scaled, strict=True):
            assert (end_of_scaled / scales[:, 0]).tolist() == pytest.approx(end.tolist())
    assert statistics.sign_flip_p_value(values * scales).tolist() == p_values.tolist()
    assert statistics.sign_flip_p_values_together(values * scales) == pytest.approx(together)
    monkeypatch.undo()
    assert [end.tolist() for end in statistics.interval_of_mean(values * scales)] == [
        pytest.approx((end * scales[:, 0]).tolist(), rel=1e-6, abs=1e-30) for end in whole[0]
    ]


def test_tables_drawn_meanwhile_are_those_that_intervals_and_tests_use():
    prompts = 23
    with statistics.tables_meanwhile(prompts):
        pass
    drawn = statistics.resample_weights.cache_info().misses, statistics._random_sign_patterns.cache_info().misses
    weights, (signs, seen) = statistics.resample_weights(prompts), statistics.sign_patterns(prompts)
    assert drawn == (
        statistics.resample_weights.cache_info().misses,
        statistics._random_sign_patterns.cache_info().misses,
    )
    counts = np.random.default_rng(0).multinomial(prompts, [1 / prompts] * prompts, size=4999)
    assert np.array_equal(weights, counts.T / prompts)
    assert np.array_equal(signs, np.random.default_rng(0).choice([-1.0, 1.0], size=(prompts, 9999)))
    assert seen == 1
