"""Levels take turns: no place and no neighbour is a level's own, and levels that share work stay together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from small_plans import CAT, DOG

from experiments.planning.axes import Experiment
from experiments.planning.design import Axis, Plan, plan_experiment
from experiments.planning.experiment_file import checked_value, levels_of
from experiments.planning.turns import series_length, turns, turns_of_groups
from experiments.prompts import Prompt
from llm_dit.sampling.shared_work import beginning

CUP = Prompt("cup", "things", "", "A cup")


def axis_of(name: str, *values: object) -> Axis:
    return Axis(name, levels_of(name, [checked_value(name, value) for value in values]))


def plan_of(*axes: Axis, prompts: Sequence[Prompt], seeds: Sequence[int] = (42,)) -> Plan:
    return plan_experiment(Experiment("trial", "", axes), prompts, seeds)


@pytest.mark.parametrize("count", range(2, 13))
def test_each_has_each_place_and_follows_each_other_equally_often(count: int) -> None:
    orders = [turns(count, number) for number in range(series_length(count))]
    assert orders[0] == list(range(count)), "one prompt is drawn as the levels stand"
    often = series_length(count) // count
    places = Counter((place, thing) for order in orders for place, thing in enumerate(order))
    assert places == Counter({(place, thing): often for place in range(count) for thing in range(count)})
    followers = Counter(pair for order in orders for pair in pairwise(order))
    expected = {(a, b): often for a in range(count) for b in range(count) if a != b}
    assert followers == Counter(expected)
    assert turns(count, series_length(count)) == orders[0]


@pytest.mark.parametrize("count", range(2, 13))
def test_already_in_few_orders_each_is_the_first_once_and_before_each_other_one_in_half(count: int) -> None:
    orders = [turns(count, number) for number in range(series_length(count))]
    assert sorted(order[0] for order in orders[:count]) == list(range(count))
    for one, other in zip(orders[::2], orders[1::2], strict=True):
        assert other == one[::-1]


def test_one_thing_alone_has_the_only_order() -> None:
    assert [turns(1, number) for number in range(3)] == [[0], [0], [0]]


@pytest.mark.parametrize(("groups", "members"), [(7, 3), (3, 3), (3, 4), (2, 2), (4, 2), (6, 5), (1, 5), (5, 1)])
def test_things_of_equal_keys_stay_together_and_all_have_each_place_equally_often(groups: int, members: int) -> None:
    keys = [group for _ in range(members) for group in range(groups)]
    series = series_length(groups) * series_length(members)
    orders = [turns_of_groups(keys, number) for number in range(series)]
    for order in orders:
        met = [keys[thing] for thing in order]
        assert sum(before != after for before, after in pairwise(met)) == groups - 1
    places = Counter((place, thing) for order in orders for place, thing in enumerate(order))
    assert set(places.values()) == {series // len(keys)}
    assert len(places) == len(keys) ** 2


@pytest.mark.parametrize(("outer", "groups", "members"), [(2, 7, 1), (3, 2, 3), (2, 3, 2), (1, 4, 3), (4, 1, 1)])
def test_groups_within_groups_stay_together_and_all_have_each_place_equally_often(
    outer: int, groups: int, members: int
) -> None:
    coarse = [one for one in range(outer) for _ in range(members) for _ in range(groups)]
    fine = [(one, group) for one in range(outer) for _ in range(members) for group in range(groups)]
    series = series_length(outer) * series_length(groups) * series_length(members)
    orders = [turns_of_groups(coarse, number, fine) for number in range(series)]
    for order in orders:
        for keys, count in ((coarse, outer), (fine, outer * groups)):
            met = [keys[thing] for thing in order]
            assert sum(before != after for before, after in pairwise(met)) == count - 1
    places = Counter((place, thing) for order in orders for place, thing in enumerate(order))
    assert set(places.values()) == {series // len(coarse)}
    assert len(places) == len(coarse) ** 2


def test_levels_of_a_plan_take_turns_over_prompts_and_seeds() -> None:
    plan = plan_of(axis_of("hidden_layer", -1, -2, -3), prompts=(CAT, DOG, CUP), seeds=(1, 2))
    runs = list(plan.runs())
    blocks = [runs[start : start + 3] for start in range(0, len(runs), 3)]
    assert [{(run.prompt.id, run.seed) for run in block} for block in blocks] == [
        {(prompt.id, seed)} for prompt in (CAT, DOG, CUP) for seed in (1, 2)
    ]
    places = Counter((place, run.cell.name) for block in blocks for place, run in enumerate(block))
    assert places == Counter({(place, level): 2 for place in range(3) for level in ("-1", "-2", "-3")})


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_each_level_is_as_often_the_first_of_a_prompt_however_many_seeds_follow(seeds: int) -> None:
    prompts = [Prompt(f"p{number}", "c", "", f"A cat {number}") for number in range(8)]
    plan = plan_of(axis_of("hidden_layer", -1, -2, -3, -4), prompts=prompts, seeds=range(seeds))
    runs = list(plan.runs())
    assert set(Counter(run.cell.name for run in runs[:: 4 * seeds]).values()) == {2}
    assert set(Counter((place % 4, run.cell.name) for place, run in enumerate(runs)).values()) == {2 * seeds}


def test_levels_that_begin_alike_are_drawn_one_after_the_other_whichever_axis_is_outer() -> None:
    prompts = [Prompt(f"p{number}", "c", "", f"A cat {number}") for number in range(12)]
    plan = plan_of(axis_of("shift", 1, 2, 3), axis_of("hidden_layer", -1, -2), prompts=prompts)
    runs = list(plan.runs())
    for start in range(0, len(runs), 6):
        begun = [beginning(run.params) for run in runs[start : start + 6]]
        assert sum(before != after for before, after in pairwise(begun)) == 1
    first = Counter(run.cell.name for run in runs[::6])
    assert set(first.values()) == {2}
    assert len(first) == 6


def test_loras_are_changed_once_at_each_prompt_whichever_axis_is_outer() -> None:
    prompts = [Prompt(f"p{number}", "c", "", f"A cat {number}") for number in range(12)]
    plan = plan_of(axis_of("hidden_layer", -1, -2, -3), axis_of("loras", "", "a.safetensors"), prompts=prompts)
    used = [run.params.loras for run in plan.runs()]
    assert sum(before != after for before, after in pairwise(used)) <= 2 * len(prompts) - 1
    strong = [0.5, 1.0]
    plan = plan_experiment(
        Experiment("trial", "", (axis_of("hidden_layer", -1, -2, -3), axis_of("lora_strength", *strong))),
        prompts,
        [42],
        defaults={"loras": "a.safetensors"},
    )
    used = [run.params.lora_strength for run in plan.runs()]
    assert sum(before != after for before, after in pairwise(used)) <= 2 * len(prompts) - 1


def test_levels_that_all_begin_alike_take_turns_as_if_nothing_were_shared() -> None:
    prompts = [Prompt(f"p{number}", "c", "", f"A cat {number}") for number in range(5)]
    runs = list(plan_of(axis_of("shift", 1, 2, 3, 4, 5), prompts=prompts).runs())
    assert sorted(run.params.shift for run in runs[::5]) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_levels_take_turns_at_each_size_for_itself() -> None:
    plan = plan_of(axis_of("width", 64, 128), axis_of("shift", 1, 2), prompts=(CAT, DOG))
    assert [(run.params.width, run.params.shift) for run in plan.runs()] == [
        (64, 1.0),
        (64, 2.0),
        (64, 2.0),
        (64, 1.0),
        (128, 1.0),
        (128, 2.0),
        (128, 2.0),
        (128, 1.0),
    ]
