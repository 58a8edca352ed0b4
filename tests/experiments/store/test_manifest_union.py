"""What several commands leave in one manifest: united, renamed, or refused with the mend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sample_results import CONDITIONS, axis, sample_manifest, sample_plan

from experiments.planning.axes import Axis, Level
from experiments.planning.design import Plan
from experiments.prompts import Prompt
from experiments.store.comparable import Conditions
from experiments.store.manifest_json import manifest_values
from experiments.store.manifest_union import check_same_question, united_values
from llm_dit.errors import OutputError

CAT, DOG, OWL = (Prompt(name, "animals", "", f"A {name}") for name in ("cat", "dog", "owl"))


def plan_of(*shifts: float, prompts: Sequence[Prompt] = (CAT,), seeds: Sequence[int] = (1,), **options: Any) -> Plan:
    return sample_plan(axes=[axis("shift", *shifts)], prompts=prompts, seeds=seeds, **options)


def named(**levels: float) -> Plan:
    """A plan of one axis whose levels have names of their own."""
    one = Axis("speed", tuple(Level(name, {"shift": shift}) for name, shift in levels.items()))
    return sample_plan(axes=[one], prompts=[CAT], seeds=[1])


def values_of(plan: Plan, conditions: Conditions = CONDITIONS) -> dict[str, Any]:
    resolved = {index: plan.params(index, plan.prompts[0], 1) for index in range(len(plan.cells))}
    return manifest_values(plan, conditions, resolved)


def levels_in(values: dict[str, Any]) -> list[str]:
    (one,) = values["experiment"]["axes"]
    return [level["name"] for level in one["levels"]]


def shifts_of_cells(values: dict[str, Any]) -> dict[str, float]:
    return {next(iter(cell["levels"].values())): cell["parameters"]["shift"] for cell in values["cells"]}


def prompt_ids(values: dict[str, Any]) -> list[str]:
    return [prompt["id"] for prompt in values["prompts"]]


def with_description(plan: Plan, text: str) -> dict[str, Any]:
    values = values_of(plan)
    values["experiment"]["description"] = text
    return values


# The same question


def test_other_axes_are_another_question() -> None:
    with pytest.raises(OutputError) as refused:
        check_same_question(
            sample_manifest(sample_plan(axes=[axis("shift", 2.0), axis("seed", 1)])), plan_of(2.0), Path("out")
        )
    assert str(refused.value) == (
        "out holds an experiment over shift x seed, not over shift; choose another --name or --output-dir."
    )
    assert refused.value.field == "output_dir"
    grid = sample_plan(axes=[axis("seed", 1), axis("shift", 2.0)])
    with pytest.raises(OutputError, match=" over shift, not over seed x shift; "):
        check_same_question(sample_manifest(plan_of(2.0)), grid, Path("out"))


def test_another_baseline_is_another_question_only_where_it_is_named() -> None:
    old = sample_manifest(plan_of(2.0, 3.0, baseline={"shift": "2.0"}))
    check_same_question(old, plan_of(3.0, 4.0), Path("out"))
    check_same_question(old, plan_of(2.0, 4.0, baseline={"shift": "2.0"}), Path("out"))
    with pytest.raises(OutputError) as refused:
        check_same_question(old, plan_of(2.0, 3.0, baseline={"shift": "3.0"}), Path("out"))
    assert str(refused.value) == (
        "out compares the levels of shift with 2.0, this experiment with 3.0; choose another --name, or add "
        "--overwrite to take the new baseline."
    )
    assert refused.value.field == "output_dir"


# United


def test_the_same_command_again_changes_nothing() -> None:
    values = values_of(plan_of(2.0, 3.0, prompts=(CAT, DOG), seeds=(1, 2)))
    assert united_values(values, values) == values


def test_levels_prompts_and_seeds_of_both_are_there_the_old_ones_first() -> None:
    old = values_of(plan_of(3.0, 2.0, prompts=(DOG, CAT), seeds=(2, 1)))
    new = values_of(plan_of(1.0, 3.0, prompts=(OWL, DOG), seeds=(3, 2)))
    united = united_values(old, new)
    assert levels_in(united) == ["3.0", "2.0", "1.0"]
    assert shifts_of_cells(united) == {"3.0": 3.0, "2.0": 2.0, "1.0": 1.0}
    assert prompt_ids(united) == ["dog", "cat", "owl"]
    assert united["seeds"] == [2, 1, 3]
    assert united["asked"] == [*old["asked"], *new["asked"]]


def test_a_command_that_holds_all_of_the_old_sets_the_order() -> None:
    old = values_of(plan_of(3.0, 2.0, prompts=(DOG, CAT)))
    new = values_of(plan_of(1.0, 2.0, 3.0, prompts=(CAT, OWL, DOG)))
    united = united_values(old, new)
    assert levels_in(united) == list(shifts_of_cells(united)) == ["1.0", "2.0", "3.0"]
    assert prompt_ids(united) == ["cat", "owl", "dog"]
    assert united["asked"] == new["asked"]  # which holds the old request
    turned = united_values(old, values_of(plan_of(2.0, 3.0, prompts=(CAT, DOG))))  # the same, in another order
    assert levels_in(turned) == list(shifts_of_cells(turned)) == ["2.0", "3.0"]


def test_what_only_one_side_says_stays() -> None:
    old = {**values_of(plan_of(2.0)), "created": "then", "updated": "then"}
    united = united_values(old, {**values_of(plan_of(2.0)), "updated": "now", "command": "run"})
    assert (united["created"], united["updated"], united["command"]) == ("then", "now", "run")


def test_conditions_are_the_new_ones_and_parameters_of_both() -> None:
    old = values_of(plan_of(2.0), Conditions({"width": 64, "shift": 2.0}, "a" * 64, {"dtype": "float32"}))
    newer = Conditions({"width": 128, "height": 64}, "b" * 64, {"dtype": "bfloat16"})
    whole = Conditions({"width": 128, "shift": 2.0, "height": 64}, "b" * 64, {"dtype": "bfloat16"})
    assert united_values(old, values_of(plan_of(2.0), newer))["conditions"] == {
        "hash": whole.hash,
        "parameters": dict(whole.parameters),
        "fingerprint": "b" * 64,
        "numerics": {"dtype": "bfloat16"},
    }


@pytest.mark.parametrize(("takes", "baseline"), [(False, "2.0"), (True, "4.0")])
def test_the_baseline_stays_unless_the_new_one_is_wanted(takes: bool, baseline: str) -> None:
    old = values_of(plan_of(2.0, 3.0, baseline={"shift": "2.0"}))
    new = values_of(plan_of(3.0, 4.0, baseline={"shift": "4.0"}))
    experiment = united_values(old, new, takes_baseline=takes)["experiment"]
    assert (experiment["baseline"], experiment["named_baseline"]) == ({"shift": baseline}, {"shift": baseline})


def test_a_manifest_that_does_not_say_whether_its_baseline_was_named_was_not() -> None:
    old = values_of(plan_of(2.0, 3.0))
    del old["experiment"]["named_baseline"], old["cells"], old["asked"]
    new = values_of(plan_of(4.0))
    united = united_values(old, new)
    assert united["experiment"]["named_baseline"] == {}
    assert list(shifts_of_cells(united)) == ["4.0"]
    assert united["asked"] == [
        {"prompts": ["cat"], "seeds": [1], "levels": {"shift": ["2.0", "3.0"]}},
        *new["asked"],
    ]


@pytest.mark.parametrize(
    ("before", "after", "united"),
    [
        ("one", "one", "one"),
        ("one", "", "one"),
        ("", "two", "two"),
        ("one", "two", "one / two"),
        ("one and two", "two", "one and two"),
    ],
)
def test_descriptions_of_levels_that_differ_are_joined(before: str, after: str, united: str) -> None:
    old, new = with_description(plan_of(2.0), before), with_description(plan_of(3.0), after)
    assert united_values(old, new)["experiment"]["description"] == united


@pytest.mark.parametrize(
    ("before", "after", "united"), [((2.0, 3.0), (3.0,), "old"), ((3.0,), (2.0, 3.0), "new"), ((2.0,), (2.0,), "old")]
)
def test_the_description_is_that_of_the_experiment_with_all_levels(
    before: tuple[float, ...], after: tuple[float, ...], united: str
) -> None:
    old, new = with_description(plan_of(*before), "old"), with_description(plan_of(*after), "new")
    assert united_values(old, new)["experiment"]["description"] == united


# Requests


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        (plan_of(2.0, prompts=(CAT,), seeds=(1,)), [0]),
        (plan_of(2.0, 3.0, 4.0, prompts=(CAT, DOG), seeds=(1, 2)), [1]),
        (plan_of(2.0, prompts=(OWL,), seeds=(1,)), [0, 1]),
        (plan_of(2.0, prompts=(CAT,), seeds=(3,)), [0, 1]),
        (plan_of(4.0, prompts=(CAT,), seeds=(1,)), [0, 1]),
        (plan_of(2.0, 3.0, 4.0, prompts=(CAT,), seeds=(1, 2)), [0, 1]),
        (plan_of(2.0, 3.0, 4.0, prompts=(CAT, DOG), seeds=(1,)), [0, 1]),
    ],
)
def test_a_request_that_another_holds_is_told_once(second: Plan, kept: list[int]) -> None:
    old, new = values_of(plan_of(2.0, 3.0, prompts=(CAT, DOG), seeds=(1, 2))), values_of(second)
    both = [*old["asked"], *new["asked"]]
    assert united_values(old, new)["asked"] == [both[index] for index in kept]


def test_requests_of_three_commands_stay_apart() -> None:
    first, second = values_of(plan_of(2.0, prompts=(CAT,))), values_of(plan_of(3.0, prompts=(DOG,)))
    third = values_of(plan_of(4.0, prompts=(OWL,)))
    united = united_values(united_values(first, second), third)
    assert united["asked"] == [*first["asked"], *second["asked"], *third["asked"]]
    unknown = {**first, "asked": [{**first["asked"][0], "prompts": ["cat", "long-gone"]}]}
    assert united_values(unknown, third)["asked"][0]["prompts"] == ["cat", "long-gone"]


# Names


def test_a_level_with_a_new_name_is_renamed_wherever_it_stands() -> None:
    old, new = values_of(named(slow=2.0, fast=3.0)), values_of(named(calm=2.0))
    united = united_values(old, new)
    assert levels_in(united) == ["calm", "fast"]
    assert shifts_of_cells(united) == {"calm": 2.0, "fast": 3.0}
    assert united["experiment"]["baseline"] == {"speed": "fast"}  # whose shift is the one in use
    assert united["asked"] == [{"prompts": ["cat"], "seeds": [1], "levels": {"speed": ["calm", "fast"]}}]
    back = united_values(new, old)
    assert levels_in(back) == ["slow", "fast"]
    assert back["experiment"]["baseline"] == {"speed": "slow"}


def test_a_name_that_either_side_uses_otherwise_is_not_given_away() -> None:
    old, new = values_of(named(slow=2.0, fast=3.0)), values_of(named(fast=2.0))
    united = united_values(old, new)
    assert levels_in(united) == ["slow", "fast"]
    assert shifts_of_cells(united) == {"slow": 2.0, "fast": 2.0}  # the new meaning of the name
    kept = united_values(values_of(named(slow=2.0)), values_of(named(slow=5.0, calm=2.0)))
    assert shifts_of_cells(kept) == {"slow": 5.0, "calm": 2.0}


def test_a_prompt_with_another_id_or_another_text_is_the_new_one() -> None:
    old = values_of(plan_of(2.0, prompts=(CAT, DOG, OWL)))
    renamed = Prompt("kitten", "animals", "", "A cat")
    rewritten = Prompt("dog", "animals", "", "A black dog")
    united = united_values(old, values_of(plan_of(2.0, prompts=(renamed, rewritten))))
    assert [(prompt["id"], prompt["text"]) for prompt in united["prompts"]] == [
        ("kitten", "A cat"),
        ("dog", "A black dog"),
        ("owl", "A owl"),
    ]
    # the old request is told by the present ids
    assert united["asked"] == [{"prompts": ["kitten", "dog", "owl"], "seeds": [1], "levels": {"shift": ["2.0"]}}]


def test_prompts_that_the_new_list_has_all_of_stand_in_its_order() -> None:
    old = values_of(plan_of(2.0, prompts=(CAT, DOG)))
    renamed, rewritten = Prompt("kitten", "animals", "", "A cat"), Prompt("dog", "animals", "", "A black dog")
    assert prompt_ids(united_values(old, values_of(plan_of(2.0, prompts=(OWL, rewritten, renamed))))) == [
        "owl",
        "dog",
        "kitten",
    ]


def test_two_old_prompts_that_are_one_now_stand_once() -> None:
    old = values_of(plan_of(2.0, prompts=(CAT, DOG, OWL)))
    one = Prompt("dog", "animals", "", "A cat")  # the text of one, the id of the other
    united = united_values(old, values_of(plan_of(2.0, prompts=(one,))))
    assert [(prompt["id"], prompt["text"]) for prompt in united["prompts"]] == [("dog", "A cat"), ("owl", "A owl")]
    assert united["asked"][0]["prompts"] == ["dog", "owl"]
