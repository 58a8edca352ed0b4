"""The looks in a manifest: what they say of each level, and which commands may go on with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.planning.looks import LookPlan
from experiments.store.look_log import LevelAtLook, Look, LookLog, check_looks, look_log_from
from llm_dit.errors import OutputError

PLAN = LookPlan("image_reward", False, 0.1, True, tuple("abcdefghij"), (4, 7, 10))
RACE = replace(PLAN, is_race=True)
BETTER = LevelAtLook("better", 4, 0, 0.5, 0.2, 0.8, 0.01)
OPEN = LevelAtLook("open", 7, None, 0.1, None, None, 0.5)
FIRST = Look(4, "2026-01-01T00:00:00+00:00", 0, {"1.0": BETTER, "2.0": replace(OPEN, prompts=4)})
SECOND = Look(7, "2026-01-01T01:00:00+00:00", 3, {"1.0": BETTER, "2.0": OPEN})
LOG = LookLog(PLAN, (FIRST, SECOND), "images", 3)


def log_of(*levels: LevelAtLook, plan: LookPlan = PLAN) -> LookLog:
    return LookLog(plan, (Look(7, "t", 0, {str(index): level for index, level in enumerate(levels)}),))


def test_looks_are_read_back_as_they_were_written() -> None:
    leader = replace(SECOND, leader="2.0", is_within_margin=True)
    for log in (LOG, LookLog(PLAN), LookLog(RACE, (FIRST, leader), "decided", 2)):
        assert look_log_from(json.loads(json.dumps({"looks": log.values()}))) == log
    assert look_log_from({}) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"taken": None}, "'NoneType' object is not iterable"),
        ({"taken": [{"levels": []}]}, "'list' object has no attribute 'items'"),
        ({"taken": [{**SECOND.__dict__, "levels": {"1.0": {"prompts": 4}}}]}, "required positional argument: 'state'"),
        ({"plan": {}}, "'order'"),
        ({"end": ...}, "'end'"),
    ],
)
def test_looks_that_can_not_be_counted_are_damaged(changes: dict[str, Any], problem: str) -> None:
    block = {name: value for name, value in {**LOG.values(), **changes}.items() if value is not ...}
    with pytest.raises(OutputError) as refused:
        look_log_from({"looks": block})
    assert problem in str(refused.value)
    assert str(refused.value).startswith("The block looks of the manifest is damaged (")
    assert str(refused.value).endswith("); take another --name, since looks that were taken can't be counted any more.")


def test_a_look_is_added_behind_the_others() -> None:
    assert LookLog(PLAN, pictures_a_prompt=3).with_look(FIRST).with_look(SECOND) == replace(LOG, end="")
    assert (LOG.latest, LookLog(PLAN).latest) == (SECOND, None)


def test_pictures_drawn_are_those_of_the_full_design_but_the_saved() -> None:
    assert LOG.pictures_drawn == 3 * 7 - 3
    assert LookLog(PLAN, pictures_a_prompt=3).pictures_drawn == 0


def test_a_level_is_drawn_up_to_the_look_that_ended_it_and_the_baseline_as_long_as_any_goes_on() -> None:
    assert [LOG.prompts_of(name) for name in ("1.0", "2.0", "3.0")] == [4, 10, 10]
    early, late = replace(BETTER, ended_at=0), replace(BETTER, ended_at=1)
    both = log_of(early, late)
    assert [both.prompts_of(name) for name in ("0", "1", "the baseline")] == [4, 7, 7]
    assert LookLog(PLAN).prompts_of("0") == 10


# Which command may go on


def refusal(log: LookLog | None, plan: LookPlan | None, *, has_results: bool) -> str:
    with pytest.raises(OutputError) as refused:
        check_looks(log, plan, Path("r"), has_results=has_results)
    assert refused.value.field == "output_dir"
    return str(refused.value)


@pytest.mark.parametrize("has_results", [False, True])
def test_the_same_plan_and_a_fixed_design_go_on(has_results: bool) -> None:
    check_looks(None, None, Path("r"), has_results=has_results)
    check_looks(LOG, PLAN, Path("r"), has_results=has_results)


def test_a_plan_may_change_before_the_first_picture() -> None:
    check_looks(None, PLAN, Path("r"), has_results=False)
    check_looks(LookLog(PLAN), RACE, Path("r"), has_results=False)


def test_looks_are_not_planned_after_the_first_picture() -> None:
    assert refusal(None, PLAN, has_results=True) == (
        "r has pictures of a fixed design, and looks have to be planned before the first one; give the experiment "
        "another --name."
    )


@pytest.mark.parametrize(("plan", "flag"), [(PLAN, "--until-decided"), (RACE, "--find-best")])
def test_a_fixed_design_is_no_end_of_planned_looks(plan: LookPlan, flag: str) -> None:
    for has_results in (False, True):
        assert refusal(LookLog(plan), None, has_results=has_results) == (
            f"r is looked at after planned numbers of prompts, by image_reward; go on with {flag} image_reward, or "
            "give a fixed design another --name."
        )


def test_another_plan_is_refused_after_a_picture_and_after_a_look() -> None:
    told = (
        "r has looks that were planned otherwise (margin: 0.1 -> None; order: other prompts; prompts: [4, 7, 10] -> "
        "[4, 10]), and a plan that changes after looking guards against nothing; give the experiment another --name."
    )
    other = replace(PLAN, margin=None, order=tuple("jihgfedcba"), prompts=(4, 10))
    assert refusal(LookLog(PLAN), other, has_results=True) == told
    assert refusal(LOG, other, has_results=False) == told
