"""Summaries and paired comparisons from small tables of runs, by numbers worked out by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.stats import paired_statistics as statistics
from experiments.stats import power
from experiments.stats.extension import COST, Look, at_looks, level_of_last_test
from experiments.stats.levels import (
    Comparison,
    Correction,
    Estimate,
    LevelSummary,
    by_prompt_id,
    compare,
    correction_for,
    difference_of,
    differences_from,
    estimate_of,
    level_summaries,
    paired_table,
    prompt_means,
)

LOOK = Look(frozenset((f"p{index}", 1) for index in range(7)), 7, 1)


def table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["prompt_id", "seed", "cell", "axis 0", "axis 1", "reward"])


RUNS = table(
    ("p1", 1, "a x x", "a", "x", 1.0),
    ("p0", 1, "a x x", "a", "x", 4.0),
    ("p0", 2, "a x x", "a", "x", 6.0),
    ("p0", 1, "b x x", "b", "x", 7.0),
    ("p0", 2, "b x x", "b", "x", 8.0),
    ("p1", 1, "b x x", "b", "x", 3.0),
    ("p1", 1, "b x y", "b", "y", 9.0),
)


def series_of(*values: float, name: str = "p") -> pd.Series:
    """One difference per prompt, seed 1."""
    index = pd.MultiIndex.from_tuples([(f"{name}{i}", 1) for i in range(len(values))], names=["prompt_id", "seed"])
    return pd.Series(values, index=index, dtype=float)


def test_a_level_counts_pictures_and_prompts_and_a_level_without_runs_stays():
    a, nothing, one = level_summaries(RUNS, "cell", ["a x x", "c", "b x y"], "reward")
    mean, deviation = (5.0 + 1.0) / 2, np.std([1.0, 4.0, 6.0], ddof=1)  # of the prompts' means, over pictures
    low, high = stats.t.interval(0.95, 1, mean, stats.sem([5.0, 1.0]))
    estimate = Estimate(pytest.approx(mean), pytest.approx(low), pytest.approx(high))
    assert a == LevelSummary("a x x", 3, 2, estimate, pytest.approx(deviation))
    assert nothing == LevelSummary("c", 0, 0, None, None)
    assert one == LevelSummary("b x y", 1, 1, Estimate(9.0, None, None), None)
    (two,) = level_summaries(RUNS.iloc[:2], "cell", ["a x x"], "reward")
    assert two.deviation == pytest.approx(3 / np.sqrt(2))  # of 1 and 4


def test_pairs_share_prompt_seed_and_the_other_axes():
    cells = paired_table(RUNS, ["cell"], "reward")
    assert cells["a x x"].dropna().to_dict() == {("p1", 1): 1.0, ("p0", 1): 4.0, ("p0", 2): 6.0}
    assert cells.index.names == ["prompt_id", "seed"]
    one = paired_table(RUNS, ["axis 0"], "reward")
    assert one.index.names == ["prompt_id", "seed", "axis 1"]
    assert one.loc[("p1", 1, "x")].to_dict() == {"a": 1.0, "b": 3.0}
    assert math.isnan(one.loc[("p1", 1, "y")]["a"])
    both = paired_table(RUNS, ["axis 0", "axis 1"], "reward")
    assert both.index.names == ["prompt_id", "seed"]
    assert both.loc[("p1", 1)].to_dict() == {("a", "x"): 1.0, ("b", "x"): 3.0, ("b", "y"): 9.0}


def test_prompts_are_averaged_in_the_order_of_their_ids():
    values = paired_table(RUNS, ["cell"], "reward")["a x x"]
    assert by_prompt_id(values).to_dict() == {"p0": 5.0, "p1": 1.0}
    assert prompt_means(values).tolist() == [5.0, 1.0]


def test_a_level_that_lacks_all_runs_has_no_differences_and_a_baseline_that_does_has_none_to_offer():
    paired = paired_table(RUNS, ["cell"], "reward")
    found = differences_from(paired, ["b x x", "c", "a x x"], "a x x")
    assert list(found) == ["b x x", "c"]
    assert found["b x x"].to_dict() == {("p1", 1): 2.0, ("p0", 1): 3.0, ("p0", 2): 2.0}
    assert found["c"].empty
    assert differences_from(paired, ["b x y"], "a x x")["b x y"].to_dict() == {("p1", 1): 8.0}
    assert prompt_means(found["c"]).tolist() == []
    assert differences_from(paired, ["b x x"], "c") == {}


def test_a_mean_has_an_interval_from_two_prompts_on_and_a_difference_from_six():
    assert estimate_of(np.empty(0)) is None
    assert difference_of(np.empty(0)) is None
    assert estimate_of(np.array([3.0])) == Estimate(3.0, None, None)
    two = stats.t.interval(0.95, 1, 4.0, 1.0)
    assert estimate_of(np.array([3.0, 5.0])) == Estimate(4.0, pytest.approx(two[0]), pytest.approx(two[1]))
    assert difference_of(np.arange(1.0, 6.0)) == Estimate(3.0, None, None)
    assert difference_of(np.arange(1.0, 7.0)) == Estimate(3.5, pytest.approx(1.0), pytest.approx(6.0))


def test_comparisons_are_corrected_by_holm_for_those_that_are_tested():
    differences = {
        "a": series_of(*range(1, 8)),
        "b": series_of(1),
        "c": series_of(1, -1, 2, 3, 1, 2, 1),
        "d": series_of(1, 2),
    }
    correction, false_claims = correction_for(differences, ())
    # a: all of one sign, 2 / 2^7; c: flipping nothing, its -1, or a 1 besides keeps a sum of 9; d: 2 / 2^2
    holm = {"a": 3 * 2 / 2**7, "c": 2 * 10 / 2**7, "d": 0.5}
    assert correction == Correction(pytest.approx(holm), 3, 3)
    assert (false_claims, correction.cost) == (0.05, 1.0)
    assert correction_for({"b": series_of(1)}, ())[0] == Correction({}, 1, 1)


def test_looks_before_cost_their_share_and_no_comparison_is_counted_twice():
    differences = {"a": series_of(*range(1, 10)), "b": series_of(1)}
    correction, false_claims = correction_for(differences, (LOOK,))
    assert (correction.tests, correction.contrasts, correction.cost) == (1, 1, COST)
    assert list(correction.p_values) == ["a"]
    assert correction.p_values["a"] >= COST * 2 / 2**9
    assert false_claims > 0.01


@pytest.mark.parametrize(
    ("differing", "tests", "cost", "can_be_found"),
    [
        (0, 1, 1.0, False),
        (1, 1, 1.0, False),
        (5, 1, 1.0, False),  # 2 / 2^5
        (6, 1, 1.0, True),
        (6, 1, 1.6, True),  # 2 / 2^6 x 1.6 = 5 %
        (6, 1, 1.61, False),
        (6, 2, 1.0, False),
        (7, 3, 1.0, True),
    ],
)
def test_a_difference_can_be_found_where_the_smallest_p_value_passes(differing, tests, cost, can_be_found):
    comparison = Comparison("b", "a", 9, 9, differing=differing, tests=tests, cost=cost)
    assert comparison.can_be_found is can_be_found
    assert not comparison.is_found


def test_a_comparison_has_the_numbers_of_its_pairs():
    differences = [1.0, 2.0, -0.5, 3.0, 1.5, 0.0, 2.5, 1.0, 0.5, 2.0, -1.0, 1.0]
    correction = Correction({"b": 0.04}, 2, 3)
    (found,) = compare({"b": series_of(*differences)}, "a", correction)
    sums = [abs(np.dot(differences, signs)) for signs in itertools.product((1, -1), repeat=12)]
    differing = np.array([value for value in differences if value])
    known = {"alpha": 0.025, "estimated_from": 11, "differing": 11 / 12}
    effect = power.detectable_effect(12, **known)
    assert replace(found, difference=None) == Comparison(
        "b",
        "a",
        pairs=12,
        prompts=12,
        p_value=pytest.approx(np.mean(np.array(sums) >= sum(differences) - 1e-9)),
        p_holm=0.04,
        win_rate=pytest.approx(9.5 / 12),
        effect_size=pytest.approx(float(statistics.effect_size(np.array(differences)))),
        detectable=pytest.approx(effect * differing.std(ddof=1)),
        prompts_for_half=power.prompts_for_effect(effect / 2, **known),
        differing=11,
        tests=3,
    )
    assert found.difference == difference_of(np.array(differences))
    assert found.is_found


def test_a_comparison_of_one_prompt_has_no_test_and_equal_levels_no_effect():
    (one,) = compare({"b": series_of(1.0)}, "a", Correction({}, 1, 1, looks=(LOOK,)))
    assert one == Comparison("b", "a", 1, 1, Estimate(1.0, None, None), cost=COST)
    (equal,) = compare({"b": series_of(*[0.0] * 7)}, "a", Correction({"b": 1.0}, 1))
    assert (equal.is_identical, equal.differing, equal.effect_size, equal.detectable) == (True, 0, None, None)
    (one_differs,) = compare({"b": series_of(*[0.0] * 6, 1.0)}, "a", Correction({"b": 1.0}, 1))
    assert (one_differs.is_identical, one_differs.differing, one_differs.detectable) == (False, 1, None)
    assert one_differs.effect_size is not None


def test_two_prompts_have_a_test_that_shows_nothing():
    (found,) = compare({"b": series_of(1.0, 2.0)}, "a", Correction({"b": 1.0}, 1))
    assert (found.p_value, found.p_holm, found.differing, found.effect_size) == (0.5, 1.0, 2, None)
    assert (found.detectable, found.prompts_for_half) == (None, None)


def test_what_is_detected_after_looks_is_found_at_the_level_of_the_last_test():
    differences = series_of(*np.random.default_rng(2).normal(0.5, 1.0, 14))
    correction = Correction({"b": 1.0}, 2, looks=(LOOK,))
    (found,) = compare({"b": differences}, "a", correction)
    prompts = pd.Index(sorted(f"p{index}" for index in range(14)))
    alpha = level_of_last_test(at_looks(differences, (LOOK,), prompts), 2)
    effect = power.detectable_effect(14, alpha=alpha, estimated_from=14)
    assert found.detectable == pytest.approx(effect * differences.std(ddof=1))
    assert alpha < 0.01
