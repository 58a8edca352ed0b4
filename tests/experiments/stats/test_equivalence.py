"""Tests against a margin from their definition: every sign pattern written out, one data set and look at a time."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from experiments.stats import paired_statistics as statistics
from experiments.stats import power
from experiments.stats.equivalence import equivalence_crossings, margin_p_values
from experiments.stats.error_spending import NEVER, Looks
from experiments.stats.extension import Look, level_of_last_test
from experiments.stats.margins import MarginAnswer, margin_answers

PROMPTS = 7
MARGIN = 0.4


def by_definition(shifted: np.ndarray) -> float:
    """Share of the patterns that speak at any look as clearly as the data at the last one, [looks, prompts]."""
    there = np.nan_to_num(shifted)
    lengths = np.sqrt((there**2).sum(axis=1))
    patterns = np.array(list(itertools.product((1.0, -1.0), repeat=shifted.shape[1])))
    furthest = (patterns @ there.T / lengths).max(axis=1)
    return float((furthest >= there[-1].sum() / lengths[-1] - 1e-12).mean())


def looked_at(data_sets: int) -> np.ndarray:
    """Differences around -0.3 to 0.3 as they were with 4, 6 and 7 prompts, [data sets, looks, prompts]."""
    whole = np.random.default_rng(3).normal(size=(data_sets, PROMPTS)) * 0.4
    whole += np.linspace(-0.3, 0.3, data_sets)[:, None]
    return np.stack([np.where(np.arange(PROMPTS) < count, whole, np.nan) for count in (4, 6, PROMPTS)], axis=1)


@pytest.mark.parametrize("elements", [1, 2 * 64 * 3, 2**20])  # one data set at a time, two, all
def test_p_values_against_a_margin_are_shares_of_all_patterns_at_any_look(monkeypatch, elements: int) -> None:
    monkeypatch.setattr("experiments.stats.equivalence._CHUNK_ELEMENTS", elements)
    differences = looked_at(9)
    expected = [[by_definition(side) for side in sides] for sides in (differences + MARGIN, MARGIN - differences)]
    assert margin_p_values(differences, MARGIN) == pytest.approx(np.array(expected))
    (above, below), alone = np.array(expected), margin_p_values(differences[:, -1:], MARGIN)
    assert (above < below).any() and (above > below).any()
    assert (alone < np.array(expected)).any()  # the looks before make a difference


def test_a_level_is_equivalent_where_the_side_that_is_harder_to_show_is_shown() -> None:
    whole = looked_at(9)[:, -1]
    sides = np.array([[by_definition(row[None]) for row in side] for side in (whole + MARGIN, MARGIN - whole)])
    assert set(sides.argmax(axis=0)) == {0, 1}
    for row, p_value in zip(whole, sides.max(axis=0), strict=True):
        levels = [p_value * (1 + 1e-6), p_value - 1 / 2**PROMPTS]
        found = equivalence_crossings(row[None], Looks((PROMPTS,), enumerated=PROMPTS), levels, MARGIN)
        assert found.tolist() == [[0 if p_value < 0.5 else NEVER, NEVER]]  # no more than half of all are ever rejected


@pytest.mark.parametrize("margin", [0.0, -0.1])
def test_a_margin_is_above_zero(margin: float) -> None:
    said = re.escape(f"a margin is above 0, got {margin}")
    with pytest.raises(AssertionError, match=f"^{said}"):
        margin_p_values(looked_at(1), margin)
    with pytest.raises(AssertionError, match=f"^{said}"):
        equivalence_crossings(looked_at(1)[:, -1], Looks((PROMPTS,)), [0.05], margin)


# What follows for levels


def series_of(values: np.ndarray) -> pd.Series:
    """One difference per prompt and seed, [prompts, seeds]."""
    units = list(itertools.product([f"p{i:02}" for i in range(len(values))], range(values.shape[1])))
    return pd.Series(values.ravel(), index=pd.MultiIndex.from_tuples(units, names=["prompt_id", "seed"]))


def levels_of(*means: float, spread: float = 0.1, prompts: int = PROMPTS) -> dict[str, pd.Series]:
    """Two seeds a prompt, so that a prompt's mean is a level's mean plus a part of the spread."""
    parts = np.random.default_rng(5).normal(size=(len(means), prompts, 1)) * spread + np.array([-0.01, 0.01])
    return {f"l{i}": series_of(mean + part) for i, (mean, part) in enumerate(zip(means, parts, strict=True))}


def answer(differences, margin=MARGIN, direction="higher", looks=()) -> MarginAnswer:
    (found,) = margin_answers([differences], margin, direction, looks)
    assert found is not None
    return found


def holm(p_values: list[float]) -> list[float]:
    """Corrected by hand: the smallest times the number of tests, and so on, never below one before."""
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate([p_values[i] * (len(order) - rank) for rank, i in enumerate(order)])
    return [float(min(steps[list(order).index(i)], 1.0)) for i in range(len(order))]


@pytest.mark.parametrize(("direction", "side"), [("higher", 0), ("lower", 1), ("none", None)])
@pytest.mark.parametrize("is_extended", [False, True])
def test_standings_are_the_sides_corrected_over_levels_and_for_looks(direction, side, is_extended: bool) -> None:
    differences = levels_of(0.0, 0.3, -0.33, spread=0.2)
    looks = (Look(frozenset((f"p{i:02}", seed) for i in range(5) for seed in (0, 1)), 5, 2),) * is_extended
    sides = []
    for series in differences.values():
        now = series.groupby(level=0).mean().to_numpy()
        rows = np.stack([np.where(np.arange(PROMPTS) < 5, now, np.nan), now]) if looks else now[None]
        sides.append([by_definition(rows + MARGIN), by_definition(MARGIN - rows)])
    alone, cost = [max(pair) for pair in sides], 5 if looks else 1
    found = answer(differences, direction=direction, looks=looks).standings
    assert [item.level for item in found] == ["l0", "l1", "l2"]
    assert [item.prompts for item in found] == [PROMPTS] * 3
    assert [item.p_alone for item in found] == pytest.approx(alone)
    assert [item.p_as_good for item in found] == pytest.approx(holm([min(p * cost, 1.0) for p in alone]))
    if side is None:
        assert [item.p_not_worse for item in found] == [None] * 3
    else:
        worse = holm([min(pair[side] * cost, 1.0) for pair in sides])
        assert [item.p_not_worse for item in found] == pytest.approx(worse)


def test_prompts_are_in_the_order_of_their_ids_so_that_random_patterns_are_the_same_each_time() -> None:
    (series,) = levels_of(0.1, spread=0.4, prompts=25).values()
    by_prompt = series.groupby(level=0).mean().to_numpy()
    (item,) = answer({"a": series.sample(frac=1, random_state=1)}).standings
    assert item.p_alone == margin_p_values(by_prompt[None, None], MARGIN).max()
    assert item.p_alone != margin_p_values(by_prompt[None, None, ::-1], MARGIN).max()


def test_a_claim_takes_five_percent_at_most_and_a_p_value() -> None:
    (item,) = answer(levels_of(0.0)).standings
    for name, claim in (("p_as_good", "is_as_good"), ("p_not_worse", "is_not_worse")):
        for p_value, is_claimed in ((0.05, True), (0.0501, False), (None, False)):
            assert getattr(type(item)(**{**vars(item), name: p_value}), claim) is is_claimed


def test_the_interval_is_that_of_90_percent_and_has_no_ends_with_four_prompts() -> None:
    differences = levels_of(0.1, prompts=8)
    (item,) = answer(differences).standings
    means = differences["l0"].groupby(level=0).mean().to_numpy()
    low, high = (float(end) for end in statistics.interval_of_difference(means, alpha=0.1))
    assert (item.difference.mean, item.difference.low, item.difference.high) == (pytest.approx(means.mean()), low, high)
    (few,) = answer(levels_of(0.1, prompts=4)).standings
    assert (few.difference.low, few.difference.high) == (None, None)
    assert few.p_alone == pytest.approx(1 / 2**4)


def test_levels_of_one_prompt_are_left_out_and_nothing_is_answered_without_others() -> None:
    one, two = levels_of(0.1, prompts=1)["l0"], levels_of(0.1, prompts=2)["l0"]
    assert margin_answers([{"one": one}], MARGIN, "higher", ()) == [None]
    assert [item.level for item in answer({"one": one, "two": two}).standings] == ["two"]
    assert answer({"two": two}, margin=None).standings == ()


@pytest.mark.parametrize(
    ("levels", "is_extended", "prompts"), [(1, False, 5), (3, False, 6), (1, True, 7), (3, True, 9)]
)
def test_least_prompts_are_those_whose_smallest_one_sided_p_value_passes(levels, is_extended, prompts) -> None:
    share = 0.05 / levels / (5 if is_extended else 1)
    assert 2.0**-prompts <= share < 2.0 ** (1 - prompts)
    looks = (Look(frozenset({("p00", 0)}), 1, 1),) * is_extended
    assert answer(levels_of(*[0.0] * levels), looks=looks).least_prompts == prompts


def test_the_margin_that_could_be_shown_is_that_of_the_level_that_spreads_most() -> None:
    narrow, wide = levels_of(0.3, spread=0.1, prompts=60)["l0"], levels_of(0.0, spread=0.5, prompts=60)["l0"]
    deviation = wide.groupby(level=0).mean().std(ddof=1)
    expected = deviation * power.detectable_effect(60, alpha=0.1 / 2, estimated_from=60, power=0.9)
    for order in ((narrow, wide), (wide, narrow)):
        found = answer(dict(zip("ab", order, strict=True)), margin=None).could_show
        assert found == pytest.approx(expected)
    # 9 in 10 for each side; a spread known from 59 degrees of freedom takes a little more than one that is known
    known = deviation * TTestPower().solve_power(nobs=60, alpha=0.05, power=0.9)
    assert known < expected < 1.05 * known
    assert known == pytest.approx(deviation * (stats.norm.ppf(0.975) + stats.norm.ppf(0.9)) / 60**0.5, rel=0.05)


def test_no_margin_could_be_shown_where_nothing_varies_or_prompts_are_too_few() -> None:
    flat = series_of(np.full((PROMPTS, 1), 0.1))
    assert [answer({"a": flat * factor}, margin=None).could_show for factor in (0.0, 1.0, -1.0)] == [None] * 3
    assert answer({"a": flat, **levels_of(0.0)}, margin=None).could_show is None
    assert answer(levels_of(0.0, prompts=4), margin=None).could_show is None


def test_looks_before_widen_the_margin_that_could_be_shown() -> None:
    differences = levels_of(0.0, 0.0, prompts=20)
    look = Look(frozenset((f"p{i:02}", seed) for i in range(10) for seed in (0, 1)), 10, 2)
    margins = []
    for series in differences.values():
        now = series.groupby(level=0).mean().to_numpy()
        level = level_of_last_test(np.stack([np.where(np.arange(20) < 10, now, np.nan), now]), 2)
        effect = power.detectable_effect(20, alpha=2 * level, estimated_from=20, power=0.9)
        margins.append(effect * now.std(ddof=1))
    assert answer(differences, looks=(look,)).could_show == pytest.approx(max(margins))
    assert max(margins) > answer(differences).could_show
