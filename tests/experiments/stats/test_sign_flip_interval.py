"""The interval of a difference beside the test of the same difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.stats import paired_statistics as statistics

NUMBERS = st.one_of(
    st.floats(-10, 10, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-6),
    st.integers(-3, 3).map(lambda tenths: tenths / 10),  # ties, and sums that tie on paper only
)


def differences(least: int, most: int) -> st.SearchStrategy[np.ndarray]:
    return st.integers(least, most).flatmap(lambda prompts: arrays(np.float64, prompts, elements=NUMBERS))


@settings(max_examples=300, deadline=None)
@given(differences(1, 12))
def test_an_interval_holds_zero_exactly_where_its_test_finds_nothing(values: np.ndarray) -> None:
    low, high = statistics.interval_of_difference(values)
    assert (low <= 0 <= high) == (statistics.sign_flip_p_value(values) > 0.05)


@settings(max_examples=40, deadline=None)
@given(differences(17, 40))
def test_an_interval_from_random_patterns_holds_zero_exactly_where_its_test_finds_nothing(values: np.ndarray) -> None:
    low, high = statistics.interval_of_difference(values)
    assert (low <= 0 <= high) == (statistics.sign_flip_p_value(values) > 0.05)


@settings(max_examples=100, deadline=None)
@given(differences(6, 14))
def test_an_interval_lies_within_the_differences_and_around_their_mean(values: np.ndarray) -> None:
    low, high = statistics.interval_of_difference(values)
    slack = 1e-9 * np.abs(values).max()
    assert values.min() - slack <= low <= values.mean() + slack
    assert values.mean() - slack <= high <= values.max() + slack


@pytest.mark.parametrize(("prompts", "seed"), [(7, 1), (11, 2), (16, 3), (17, 4), (40, 5)])
def test_the_ends_are_where_the_p_value_crosses_five_percent(prompts: int, seed: int) -> None:
    values = np.random.default_rng(seed).gamma(1.0, 1.0, prompts) - 0.5
    for end, outwards in zip(statistics.interval_of_difference(values), (-1e-6, 1e-6), strict=True):
        assert statistics.sign_flip_p_value(values - end) > 0.05
        assert statistics.sign_flip_p_value(values - end - outwards) <= 0.05


@pytest.mark.parametrize("prompts", [1, 2, 5])
def test_below_six_prompts_nothing_can_be_excluded(prompts: int) -> None:
    assert statistics.interval_of_difference(np.full(prompts, 3.0)) == (-np.inf, np.inf)


def test_six_prompts_exclude_what_lies_beyond_all_of_them() -> None:
    assert statistics.interval_of_difference(np.array([0.3, 0.1, 0.6, 0.2, 0.5, 0.4])) == (
        pytest.approx(0.1),
        pytest.approx(0.6),
    )


def test_an_interval_does_not_explode_where_one_prompt_is_odd() -> None:
    # the studentised bootstrap gave -0.51 to 0.44 for such differences
    values = np.array([0.019, -0.021, -0.014, -0.275, 0.004, -0.010, -0.017])
    low, high = statistics.interval_of_difference(values)
    # 64 patterns, of which 4 are more than 5 %: nothing flips, and the three most extreme halves
    assert (low, high) == (pytest.approx((-0.275 - 0.017) / 2), pytest.approx((0.019 - 0.010) / 2))
    assert statistics.interval_of_mean(values)[0] >= -0.275


def test_many_data_sets_are_one_call() -> None:
    values = np.random.default_rng(6).normal(size=(3, 4, 9))
    low, high = statistics.interval_of_difference(values)
    alone = statistics.interval_of_difference(values[1, 2])
    assert (low.shape, high.shape) == ((3, 4), (3, 4))
    assert (low[1, 2], high[1, 2]) == (pytest.approx(alone[0]), pytest.approx(alone[1]))


def test_the_interval_moves_and_scales_with_the_differences() -> None:
    values = np.random.default_rng(6).normal(size=12)
    low, high = statistics.interval_of_difference(values)
    moved = statistics.interval_of_difference(-1000 * values - 3)
    assert moved == (pytest.approx(-1000 * high - 3), pytest.approx(-1000 * low - 3))
