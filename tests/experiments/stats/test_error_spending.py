"""Boundaries from spent error, and what follows from them: p-values, intervals, equivalence."""

import itertools

import numpy as np
import pytest

from experiments.stats import paired_statistics as statistics
from experiments.stats.equivalence import equivalence_crossings
from experiments.stats.error_spending import (
    NEVER,
    Boundaries,
    Looks,
    Walks,
    boundaries,
    chunked_crossings,
    crossings,
    repeated_interval,
    walks,
)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_spent_error_follows_the_power_family_and_ends_at_alpha():
    looks = Looks((15, 30, 60), exponent=1.5)
    assert [looks.spent(look, 0.05) for look in range(3)] == pytest.approx([0.05 / 8, 0.05 / 2**1.5, 0.05])


def test_a_plan_is_of_the_exponent_1_5_with_8192_patterns_unless_told_otherwise():
    looks = Looks((1, 4))
    assert looks.spent(0, 0.08) == pytest.approx(0.01)  # a quarter of the prompts, an eighth of the error
    assert (looks.patterns, walks(np.ones((1, 4)), looks).sums.shape[-1]) == (8192, 8192)


def test_prompts_beyond_the_enumerated_ones_have_random_signs_of_their_own():
    looks = Looks((30,), enumerated=10)
    signs = walks(np.eye(30), looks).sums[:, 0]  # one data set per prompt, whose sum is that prompt's sign
    assert len({tuple(pattern) for pattern in signs[:10].T}) == looks.patterns == 512
    assert (np.abs(signs) == 1).all() and (signs[:, 0] == 1).all() and (signs[0] == 1).all()
    alike = signs[1:] @ signs[1:].T / 512 - np.eye(29)
    assert np.abs(alike).max() < 5 / 512**0.5


def test_all_patterns_of_few_prompts_are_counted_and_the_first_is_the_one_seen():
    differences = draw(1, 1, 6)
    found = walks(differences, Looks((6,), enumerated=6))
    by_hand = [np.dot(differences[0], (1, *signs)) for signs in itertools.product((1, -1), repeat=5)]
    assert np.sort(found.sums[0, 0]) == pytest.approx(np.sort(by_hand))
    assert found.sums[0, 0, 0] == pytest.approx(differences.sum())


def test_one_look_is_the_fixed_sign_flip_test():
    for seed in range(20):
        differences = draw(seed, 10) + 0.5
        p_value = float(statistics.sign_flip_p_value(differences))
        looks, alphas = Looks((10,), enumerated=10), [p_value, p_value - 1 / 2**9]
        found = chunked_crossings(differences[None], looks, alphas, [Walks.two_sided])
        assert found.tolist() == [[[0 if p_value < 1 else NEVER, NEVER]]]  # never are all patterns rejected


def test_patterns_rejected_at_all_looks_together_are_just_the_share_that_may_be_spent():
    """Every pattern is the one seen once: as many reject as alpha allows, and no more, at every look."""
    looks, alpha = Looks((6, 9, 12), enumerated=12), 0.05
    differences = np.abs(draw(2, 1, 12))
    found = walks(differences, looks)
    bounds = boundaries(found.two_sided(), found.slack, [[looks.spent(k, alpha) for k in range(3)]])[0, 0]
    crossed = np.maximum.accumulate(found.two_sided()[0] > bounds[:, None], axis=0).mean(axis=1)
    spent = [looks.spent(look, alpha) for look in range(3)]
    assert (crossed <= spent).all()
    assert crossed[-1] == pytest.approx(alpha, abs=2 / looks.patterns)
    assert crossed[0] == 0.0  # 2 / 2^6 is more than the first look may spend


def test_no_p_value_is_below_what_the_prompts_of_a_look_allow():
    looks = Looks((6, 12, 24), enumerated=12)
    steady = np.full(24, 1.0) + 1e-6 * draw(3, 24)
    # all of one sign, a share of 2 / 2^6 and 2 / 2^12: of the error 1 / 4 and 1 / 2, to the power of 1.5, may be spent
    for count, look, share in ((6, 0, 1 / 8), (12, 1, 0.5**1.5)):
        least = 2 / 2**count / share
        found = chunked_crossings(steady[None, :count], looks, [least * 1.001, least * 0.999], [Walks.two_sided])
        assert found.tolist() == [[[look, NEVER]]]


def test_a_boundary_is_higher_where_error_was_spent_before():
    values = np.abs(draw(4, 1, 60))
    once = walks(values, Looks((60,), enumerated=12))
    twice = walks(values, Looks((30, 60), enumerated=12))
    alone = boundaries(once.two_sided(), once.slack, [[0.05]])[0, 0, -1]
    spent = [twice.looks.spent(0, 0.05), 0.05]
    second = boundaries(twice.two_sided(), twice.slack, [spent])[0, 0, -1]
    nothing_before = boundaries(twice.two_sided(), twice.slack, [[0.0, 0.05]])[0, 0, -1]
    assert nothing_before == pytest.approx(alone)
    assert second > alone


def test_a_missing_difference_counts_for_nothing():
    looks = Looks((4, 8), enumerated=8)
    values = draw(5, 8) + 1
    with_gap = np.insert(values[:7], 2, np.nan)
    found = walks(with_gap[None], looks)
    assert found.sums[0, :, 0] == pytest.approx([np.nansum(with_gap[:4]), np.nansum(with_gap)])
    assert found.counts[0, :, 0] == pytest.approx([3, 7])


def test_the_repeated_interval_ends_where_the_test_of_that_look_begins_to_reject():
    looks = Looks((12, 18, 27), enumerated=12)
    values = draw(6, 27) + 0.3
    low, high = repeated_interval(values, looks, 0.05)
    for inside, outside in ((low + 1e-6, low - 1e-6), (high - 1e-6, high + 1e-6)):
        for value, is_inside in ((inside, True), (outside, False)):
            found = walks((values - value)[None], looks)
            spent = [looks.spent(look, 0.05) for look in range(3)]
            bound = boundaries(found.two_sided(), found.slack, [spent])[0, 0, -1]
            assert (found.two_sided()[0, -1, 0] <= bound) == is_inside
    fixed = statistics.interval_of_difference(values)
    assert low < fixed[0] < values.mean() < fixed[1] < high


def test_the_repeated_interval_has_no_ends_where_nothing_can_be_excluded():
    assert repeated_interval(draw(7, 5), Looks((5, 30), enumerated=12), 0.05) == (-np.inf, np.inf)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "discrete"])
def test_repeated_intervals_hold_the_truth_at_all_looks_together(kind):
    """An interval misses the truth exactly where the test of the differences less the truth rejects."""
    from experiments.stats.looks_simulation import KINDS

    looks = Looks((12, 14, 17, 20, 24, 29, 35, 40), enumerated=11)
    scores = KINDS[kind](np.random.default_rng(8), (2000, 2, 40))
    misses = chunked_crossings(scores[:, 1] - scores[:, 0], looks, [0.05], [Walks.two_sided])[0, :, 0] != NEVER
    assert misses.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert misses.mean() >= 0.03  # nothing is given away


def test_looking_every_time_at_the_fixed_test_is_what_looks_are_planned_against():
    """Five unplanned looks at 5 % each are wrong in about 13 % of the cases, planned ones in 5 %."""
    differences = draw(9, 2000, 60)
    naive = np.zeros(2000, dtype=bool)
    for count in (12, 24, 36, 48, 60):
        naive |= np.abs(differences[:, :count].mean(axis=1)) * np.sqrt(count) > 1.96  # the deviation is known to be 1
    planned = chunked_crossings(differences, Looks((12, 24, 36, 48, 60), enumerated=11), [0.05], [Walks.two_sided])
    assert 0.11 <= naive.mean() <= 0.17
    assert (planned != NEVER).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_equivalence_is_two_one_sided_tests():
    values = draw(10, 12) * 0.2
    margin = 0.3
    lower = float(np.mean([_flipped(values + margin, signs) for signs in itertools.product((1, -1), repeat=12)]))
    upper = float(np.mean([_flipped(margin - values, signs) for signs in itertools.product((1, -1), repeat=12)]))
    larger, look = max(lower, upper), Looks((12,), enumerated=12)
    found = equivalence_crossings(values[None], look, [larger, larger - 1 / 2**12], margin)
    assert found.tolist() == [[0, NEVER]]


def _flipped(values, signs):
    return np.dot(values, signs) >= values.sum() - 1e-12


def test_equivalence_at_the_margin_is_claimed_in_5_percent():
    differences = draw(11, 1000, 30) + 0.6
    found = equivalence_crossings(differences, Looks((12, 20, 30), enumerated=11), [0.05], 0.6)
    assert (found != NEVER).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)
    nearer = equivalence_crossings(differences - 0.6, Looks((12, 20, 30), enumerated=11), [0.05], 0.6)
    assert (nearer != NEVER).mean() > 0.8


def test_several_levels_of_a_test_are_the_single_ones():
    looks = Looks((10, 20), enumerated=10)
    found = walks(draw(12, 30, 20) + 0.6, looks)
    both = crossings(found.two_sided(), found.slack, looks, [0.05, 0.01])
    for column, alpha in enumerate((0.05, 0.01)):
        alone = crossings(found.two_sided(), found.slack, looks, [alpha])
        assert (both[:, column] == alone[:, 0]).all()


def test_each_data_set_is_tested_as_if_alone(monkeypatch):
    looks = Looks((10, 20), enumerated=10)
    differences = draw(13, 7, 20) + np.linspace(0, 1, 7)[:, None]
    alone = [chunked_crossings(own[None], looks, [0.05], [Walks.two_sided])[0, 0, 0] for own in differences]
    assert set(alone) == {0, 1, NEVER}
    scales = np.array([1.0, 1e12, 1e-12, 1.0, 1e9, 1.0, 1e-9])[:, None]
    for elements in (2**18, 2**11):  # all at once, and two at a time
        monkeypatch.setattr("experiments.stats.error_spending._CHUNK_ELEMENTS", elements)
        found = chunked_crossings(differences * scales, looks, [0.05], [Walks.two_sided])
        assert found[0, :, 0].tolist() == alone


def test_a_margin_of_one_is_a_margin_like_any_other():
    looks, values = Looks((12,), enumerated=12), draw(14, 5, 12) * 0.8
    for scale in (0.5, 1.0, 2.0):
        found = equivalence_crossings(values * scale, looks, [0.05, 0.01], scale)
        assert found.tolist() == equivalence_crossings(values * 3, looks, [0.05, 0.01], 3.0).tolist()
    assert 0 < (found == NEVER).sum() < found.size


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e12, -1e-12])
def test_differences_that_are_all_equal_exclude_every_other_mean_if_the_look_can_exclude_any(value):
    looks = Looks((5, 12), enumerated=12)
    assert repeated_interval(np.full(12, value), looks, 0.05) == (value, value)
    assert repeated_interval(np.full(5, value), looks, 0.05) == (-np.inf, np.inf)


@pytest.mark.parametrize("gap", [None, 3])
def test_lengths_are_the_norms_of_the_differences_up_to_each_look(gap):
    differences = draw(15, 3, 6) * np.array([[1.0], [1e6], [0.0]])
    if gap is not None:
        differences[:, gap] = np.nan
    there = np.nan_to_num(differences)
    expected = np.stack([np.linalg.norm(there[:, :end], axis=1) for end in (4, 6)], axis=1)
    assert walks(differences, Looks((4, 6), enumerated=6)).lengths == pytest.approx(expected)


def test_boundaries_of_numbers_below_zero_are_in_their_order():
    values = -np.arange(1.0, 21.0)[None, None, ::-1]  # -20 to -1, without mirrors
    assert boundaries(values, np.zeros(1), [[0.1]])[0, 0, 0] == -3.0  # of 20 two may be above


def test_never_are_all_patterns_above_a_boundary():
    values = np.arange(1.0, 21.0)[None, None]
    assert boundaries(values, np.zeros(1), [[1.0], [0.94], [0.95]])[:, 0, 0].tolist() == [1.0, 2.0, 1.0]


def test_boundaries_of_some_data_sets_are_those_that_each_has_alone():
    looks = Looks((8, 12, 16), enumerated=8)
    found = walks(draw(16, 4, 16), looks)
    shares = [0.05, 0.15, 0.3]
    for make, has_mirrors in ((Walks.two_sided, False), (Walks.above, True)):
        values = make(found)
        alone = [
            boundaries(values[[row]], found.slack[[row]], [shares], has_mirrors=has_mirrors)[0, 0] for row in range(4)
        ]
        together = Boundaries(1, 4, looks.patterns, has_mirrors=has_mirrors)
        for look, rows in enumerate(([0, 1, 2, 3], [3, 1], [1, 3])):
            chosen = np.array(rows)
            bounds = together.next(values[chosen, look], found.slack[chosen], [shares[look]], chosen)
            assert bounds[0].tolist() == [alone[row][look] for row in rows]


def test_the_repeated_interval_has_the_scale_of_the_differences_and_no_ends_before_the_first_look():
    looks, values = Looks((12, 18), enumerated=12), draw(17, 18)
    ends = np.array(repeated_interval(values, looks, 0.05))
    for scale in (1e-6, 1e6):
        assert repeated_interval(values * scale, looks, 0.05) == pytest.approx(tuple(ends * scale), rel=1e-6)
    assert repeated_interval(values[:11], looks, 0.05) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [((), "looks need prompts, got ()"), ((0, 5), "looks need prompts, got (0, 5)"), ((5, 5), "not rising: (5, 5)")],
)
def test_looks_have_prompts_and_rise(prompts, said):
    with pytest.raises(AssertionError) as caught:
        Looks(prompts)
    assert str(caught.value) == said


def test_nothing_at_all_excludes_nothing():
    assert repeated_interval(np.full(6, np.nan), Looks((6,), enumerated=6), 0.05) == (-np.inf, np.inf)
