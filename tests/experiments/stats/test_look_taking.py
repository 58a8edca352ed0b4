"""From records to the next look: whose scores count, what is decided by them, and how many pictures it saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from sample_results import axis, sample_manifest, sample_plan, sample_records

from experiments.planning.design import Plan
from experiments.planning.looks import LookPlan
from experiments.stats.look_taking import scores_by_prompt, take_look
from experiments.store.look_log import LevelAtLook, Look, LookLog
from experiments.store.records import RunRecord

TEN_TENTHS = np.linspace(0.1, 1.2, 12)
"""Differences of twelve prompts in the order of drawing; the first eight are found at 2 / 2^8."""
LEVELS = ("3.0", "4.0", "5.0")


def plan_of(*levels: float, prompts: int = 12, seeds: Sequence[int] = (1,)) -> Plan:
    return sample_plan(axes=[axis("shift", *(levels or (3.0, 4.0, 5.0)))], prompts=prompts, seeds=seeds)


def looks_of(plan: Plan, *counts: int, **values: object) -> LookLog:
    """Prompts come in the opposite order of the plan."""
    order = tuple(prompt.id for prompt in plan.prompts[::-1])
    looks = LookPlan("image_reward", False, None, True, order, counts or (8, 12))
    return LookLog(replace(looks, **values), pictures_a_prompt=len(plan.cells) * len(plan.seeds))  # type: ignore[arg-type]


def records_of(plan: Plan, differences: Mapping[str, Sequence[float]]) -> list[RunRecord]:
    """Scores that differ from the baseline by one number per prompt in the order of drawing; NaN for a failed run."""
    place = {prompt.id: index for index, prompt in enumerate(plan.prompts[::-1])}

    def scores(run):
        index = place[run.prompt.id]
        value = differences.get(run.cell.levels["shift"], np.zeros(12))[index]
        return "failed" if np.isnan(value) else {"image_reward": 10.0 * index + 1000 * run.params.seed + value}

    return sample_records(plan, scores)


def look(
    plan: Plan, log: LookLog, differences: Mapping[str, Sequence[float]], *, is_higher_better: bool = True
) -> Look:
    records = records_of(plan, differences)
    return take_look(sample_manifest(plan), log, records, is_higher_better=is_higher_better)


@pytest.mark.parametrize(("is_higher_better", "states"), [(True, ("better", "worse")), (False, ("worse", "better"))])
def test_a_look_sees_the_prompts_up_to_it_and_says_which_side_is_the_better_one(is_higher_better, states):
    plan = plan_of()
    taken = look(plan, looks_of(plan), {"4.0": TEN_TENTHS, "5.0": -TEN_TENTHS}, is_higher_better=is_higher_better)
    assert (taken.prompts, taken.pictures, taken.leader, taken.is_within_margin) == (8, 0, "", False)
    assert list(taken.levels) == ["4.0", "5.0"]
    up, down = taken.levels.values()
    assert (up.state, down.state) == states
    assert (up.prompts, up.ended_at, up.mean) == (8, 0, pytest.approx(0.45))  # of 0.1 to 0.8
    assert (down.mean, down.low, down.high) == (-up.mean, pytest.approx(-up.high), pytest.approx(-up.low))
    assert 0.1 <= up.low < 0.45 < up.high <= 0.8
    assert up.p_value == down.p_value == 0.02  # 2 / 2^8 <= 2 % x (8 / 12)^1.5, and more than what 1 % would give


@pytest.mark.parametrize(("sign", "state"), [(1, "better"), (-1, "worse")])
def test_the_next_look_saves_the_pictures_of_what_was_decided_and_looks_at_them_no_more(sign, state):
    plan = plan_of(seeds=(1, 2))
    some = {"4.0": sign * TEN_TENTHS, "5.0": np.array([0.1, -0.1] * 6)}
    first = look(plan, looks_of(plan), some)
    assert [item.state for item in first.levels.values()] == [state, "open"]
    assert first.levels["5.0"].prompts == 8
    assert first.levels["5.0"].ended_at is None
    log = looks_of(plan).with_look(first)
    second = look(
        plan, log, {**some, "4.0": -sign * TEN_TENTHS}
    )  # scores that were others meanwhile decide nothing again
    assert second.levels["4.0"] == first.levels["4.0"]
    assert (second.prompts, second.pictures) == (12, (36 - 32) * 2)
    assert second.levels["5.0"] == replace(
        second.levels["5.0"], state="open", prompts=12, ended_at=None, mean=pytest.approx(0.0), p_value=1.0
    )


def test_a_prompt_that_a_level_lacks_is_none_of_its_prompts():
    plan = plan_of(3.0, 4.0)
    gap = np.where(np.arange(12) == 2, np.nan, TEN_TENTHS)
    (item,) = look(plan, looks_of(plan), {"4.0": gap}).levels.values()
    assert (item.prompts, item.mean) == (7, pytest.approx(0.45 * 8 / 7 - 0.3 / 7))
    (nothing,) = look(plan, looks_of(plan), {"4.0": np.full(12, np.nan)}).levels.values()
    assert nothing == LevelAtLook("open", 0, None, None, None, None, 1.0)


def test_levels_within_the_margin_are_as_good_as_the_baseline():
    plan = plan_of(3.0, 4.0)
    near = np.array([0.01, -0.01] * 6)
    (item,) = look(plan, looks_of(plan, margin=0.5), {"4.0": near}).levels.values()
    assert (item.state, item.ended_at, item.p_value) == ("as good as", 0, 1.0)


def test_what_has_no_hope_is_stopped_at_the_second_look_only_where_the_plan_says_so():
    plan = plan_of(3.0, 4.0)
    even = {"4.0": np.array([0.5, -0.5] * 6)}
    for stops, state in ((True, "unpromising"), (False, "open")):
        log = looks_of(plan, 6, 8, 12, stops_unpromising=stops)
        first = look(plan, log, even)
        assert [item.state for item in first.levels.values()] == ["open"]
        (item,) = look(plan, log.with_look(first), even).levels.values()
        assert (item.state, item.ended_at) == (state, 1 if stops else None)


def test_a_level_that_was_stopped_may_still_be_claimed_by_what_was_drawn_of_it():
    plan = plan_of(3.0, 4.0)
    stopped = LevelAtLook("unpromising", 8, 0, 0.45, None, None, 0.5)
    log = looks_of(plan).with_look(Look(8, "t", 0, {"4.0": stopped}))
    (item,) = look(plan, log, {"4.0": TEN_TENTHS}).levels.values()
    assert (item.state, item.prompts, item.ended_at, item.mean) == ("better", 8, 0, pytest.approx(0.45))
    (item,) = look(plan, log, {"4.0": np.append([1, -1] * 4, [9.0] * 4)}).levels.values()
    assert (item.state, item.prompts, item.ended_at, item.mean) == ("unpromising", 8, 0, 0.0)


def test_scores_stand_by_level_prompt_and_seed():
    plan = plan_of(3.0, 4.0, prompts=3, seeds=(1, 2))
    records = records_of(plan, {"4.0": (0.5, np.nan, 0.25)})
    log = looks_of(plan, 3)
    foreign = [replace(records[0], level="7.0"), replace(records[0], seed=9), replace(records[0], prompt_id="x")]
    found = scores_by_prompt(sample_manifest(plan), log.plan, [*records, *foreign], ["3.0", "4.0"])
    none = np.nan
    expected = [
        [[1000, 2000], [1010, 2010], [1020, 2020]],
        [[1000.5, 2000.5], [none, none], [1020.25, 2020.25]],
    ]
    assert np.array_equal(found, expected, equal_nan=True)


def test_scores_of_levels_that_set_the_seed_have_one_place():
    plan = sample_plan(axes=[axis("seed", 7, 8)], prompts=2)
    records = sample_records(plan, lambda run: {"image_reward": run.params.seed + 0.5 * int(run.prompt.id[-3:])})
    order = tuple(prompt.id for prompt in plan.prompts)
    looks = LookPlan("image_reward", False, None, True, order, (2,))
    found = scores_by_prompt(sample_manifest(plan), looks, records, ["7", "8"])
    assert found.tolist() == [[[7.0], [7.5]], [[8.0], [8.5]]]
    grid = sample_plan(axes=[axis("seed", 7, 8), axis("shift", 3.0, 4.0)], prompts=2)
    records = sample_records(grid, lambda run: {"image_reward": run.params.seed + run.params.shift})
    found = scores_by_prompt(sample_manifest(grid), looks, records, ["7 x 4.0", "8 x 3.0"])
    assert found.tolist() == [[[11.0], [11.0]], [[11.0], [11.0]]]


# Races


@pytest.mark.parametrize(("is_higher_better", "best"), [(True, "5.0"), (False, "3.0")])
def test_a_race_drops_who_is_worse_than_the_leader_and_ends_with_one_left(is_higher_better, best):
    plan = plan_of()
    log = looks_of(plan, is_race=True)
    taken = look(plan, log, {"4.0": TEN_TENTHS, "5.0": 2 * TEN_TENTHS}, is_higher_better=is_higher_better)
    assert (taken.leader, taken.is_within_margin) == (best, False)
    assert {name: item.state for name, item in taken.levels.items()} == {
        name: "best" if name == best else "dropped" for name in LEVELS
    }
    assert {item.ended_at for item in taken.levels.values()} == {0}
    assert {item.prompts for item in taken.levels.values()} == {8}
    assert taken.levels[best] == LevelAtLook("best", 8, 0, 0.0)
    second = taken.levels["4.0"]
    assert second.mean == pytest.approx(-0.45 if is_higher_better else 0.45)
    assert second.low < second.mean < second.high
    assert second.p_value is None


def test_a_race_goes_on_with_those_that_are_left_and_keeps_who_dropped_out():
    plan = plan_of()
    log = looks_of(plan, is_race=True)
    close = {"4.0": -1 - TEN_TENTHS, "5.0": np.array([0.5, -0.4] * 6)}
    first = look(plan, log, close)
    assert {name: item.state for name, item in first.levels.items()} == {"3.0": "open", "4.0": "dropped", "5.0": "open"}
    assert (first.leader, first.levels["3.0"].ended_at, first.levels["4.0"].ended_at) == ("5.0", None, 0)
    second = look(plan, log.with_look(first), {**close, "4.0": 5 * TEN_TENTHS})
    assert second.levels["4.0"] == first.levels["4.0"]
    assert {name: item.state for name, item in second.levels.items()} == {
        "3.0": "left",
        "4.0": "dropped",
        "5.0": "left",
    }
    assert (second.leader, second.pictures) == ("5.0", 4)
    assert second.levels["3.0"].mean == pytest.approx(-0.05)
    assert second.levels["3.0"].ended_at == 1


def test_a_race_within_the_margin_ends_with_all_that_are_left():
    plan = plan_of()
    near = {"4.0": np.array([0.01, -0.01] * 6), "5.0": np.array([0.02, -0.01] * 6)}
    taken = look(plan, looks_of(plan, is_race=True, margin=0.5), near)
    assert (taken.leader, taken.is_within_margin) == ("5.0", True)
    assert {(item.state, item.ended_at) for item in taken.levels.values()} == {("left", 0)}


def test_a_prompt_with_a_seed_missing_is_none_of_a_race():
    plan = plan_of(3.0, 4.0, seeds=(1, 2))
    records = [
        replace(record, scores={}) if index == len(list(plan.runs())) - 1 else record
        for index, record in enumerate(records_of(plan, {"4.0": TEN_TENTHS}))
    ]
    log = looks_of(plan, is_race=True)
    taken = take_look(sample_manifest(plan), log, records, is_higher_better=True)
    assert sorted(item.prompts for item in taken.levels.values()) == [7, 8]
