"""What a plan refuses, and what it takes from prompts, seeds and sweeps at their borders."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest

from experiments.planning.design import (
    DEFAULT_SEED,
    OWN_PROMPT,
    PICTURE_PARAMETERS,
    Axis,
    Experiment,
    Level,
    Plan,
    plan_experiment,
)
from experiments.planning.equality import effective_inputs, equal_levels
from experiments.planning.experiment_file import EVERY, checked_value, levels_of
from experiments.planning.model_facts import ModelFacts
from experiments.planning.prompt_choice import select_prompts
from experiments.planning.sweeps import MAX_RANGE_LENGTH, experiment_from_sweeps, parse_numbers
from experiments.prompts import Prompt
from llm_dit.checkpoints.scheduler import ModelScheduler
from llm_dit.errors import LlmDitError
from llm_dit.parameters import GenerationParams
from llm_dit.sampling.guidance import evaluation_count

CAT, DOG = Prompt("cat", "animals", "", "A cat"), Prompt("dog", "animals", "", "A dog")
CUP = Prompt("cup", "objects", "", "A cup")
OF_MODEL = ModelFacts(9, 4096, 1504, 64, ModelScheduler(3.0), 1e6, None)
FACTS = defaultdict(lambda: OF_MODEL)


def plan_of(name: str, *values: object, prompts: tuple[Prompt, ...] = (CAT,), **options: object) -> Plan:
    axis = Axis(name, levels_of(name, [checked_value(name, value) for value in values]))
    return plan_experiment(Experiment("trial", "", (axis,)), prompts, [42], **options)  # type: ignore[arg-type]


def refusal(sweeps: list[str], name: str | None = None) -> LlmDitError:
    with pytest.raises(LlmDitError) as refused:
        experiment_from_sweeps(sweeps, name)
    return refused.value


def test_every_generation_parameter_and_no_other_can_be_an_axis() -> None:
    assert tuple(GenerationParams.model_fields) == PICTURE_PARAMETERS


def test_a_parameter_swept_twice_is_refused() -> None:
    assert str(refusal(["steps=4", "shift=1", "shift=2"])) == "--sweep names shift twice; join its values."
    assert refusal(["shift=1"], "a/b").field == "name"


def test_a_range_may_have_a_million_numbers() -> None:
    assert len(parse_numbers(f"1..{MAX_RANGE_LENGTH}", "--seeds")) == 1_000_000


def test_a_sweep_may_be_written_as_a_flag_is() -> None:
    (axis,) = experiment_from_sweeps([" --num-inference-steps = 4, 9"], None).axes
    assert (axis.name, [level.name for level in axis.levels]) == ("num_inference_steps", ["4", "9"])


def test_every_layer_is_asked_for_by_a_word_and_of_hidden_layer_only() -> None:
    assert experiment_from_sweeps([f"hidden_layer= {EVERY} "], None).axes == (Axis("hidden_layer", (), True),)
    assert [level.name for level in experiment_from_sweeps(["hidden_layer=-1,-2"], None).axes[0].levels] == ["-1", "-2"]
    (axis,) = experiment_from_sweeps([f"prompt={EVERY}"], None).axes
    assert [level.parameters for level in axis.levels] == [{"prompt": EVERY}]


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ("system_prompt=[a", "the list in brackets is not valid; quote its texts."),
        ("system_prompt=[]", "the list in brackets is empty."),
        ("shift= ", "write parameter=values, for example shift=1..6 or steps=6,9,12."),
    ],
)
def test_a_list_without_values_is_said_whole(sweep: str, told: str) -> None:
    assert str(refusal([sweep])) == f"--sweep {sweep}: {told}"


def test_none_is_a_text_where_a_parameter_must_have_one() -> None:
    (axis,) = experiment_from_sweeps(["prompt=none,x"], None).axes
    assert [level.parameters["prompt"] for level in axis.levels] == ["none", "x"]


def test_prompts_are_chosen_by_id_and_by_category_together() -> None:
    everything = [CAT, CUP, DOG]
    assert select_prompts(everything) == (CAT, CUP, DOG)
    assert select_prompts(everything, ids=["dog", "cup"]) == (CUP, DOG)
    assert select_prompts(everything, ids=["dog", "cup"], categories=["animals"]) == (DOG,)
    with pytest.raises(LlmDitError) as refused:
        select_prompts(everything, ids=["cup"], categories=["animals"])
    assert str(refused.value) == (
        "No prompt has one of these ids and one of these categories; --list-prompts shows them."
    )


def test_a_plan_without_prompts_or_seeds_is_refused() -> None:
    experiment = experiment_from_sweeps(["shift=1,2"], None)
    with pytest.raises(LlmDitError) as refused:
        plan_experiment(experiment, [], [42])
    assert str(refused.value) == "No prompt is left to run; --list-prompts shows them all."
    with pytest.raises(LlmDitError) as refused:
        plan_experiment(experiment, [CAT], [])
    assert str(refused.value) == "--seeds names no seed; use for example --seeds 42,123."
    assert refused.value.field == "seeds"


def test_two_prompts_of_one_id_are_refused() -> None:
    with pytest.raises(LlmDitError) as refused:
        plan_of("shift", 1, 2, prompts=(CAT, Prompt("cat", "animals", "", "Another cat")))
    assert str(refused.value) == "Two prompts of trial would both be called 'cat'; rename one."


def test_a_prompt_of_the_configuration_is_none_of_the_plan() -> None:
    assert next(plan_of("shift", 1, 2, defaults={"prompt": "x", "seed": 1}).runs()).params.prompt == "A cat"


def test_a_wrapped_prompt_stays_what_it_was_and_ones_of_the_axis_are_called_own() -> None:
    assert [run.prompt for run in plan_of("prompt", "{prompt}", "{prompt}, at night").runs()] == [CAT, CAT]
    (run,) = plan_of("prompt", "A red house").runs()
    assert (run.prompt.id, run.prompt.category, run.prompt.difficulty) == ("own", "own", "")
    assert plan_of("prompt", "A red house").prompts == (OWN_PROMPT,)


@pytest.mark.parametrize("other", [{}, {"prompt": "{prompt}"}])
def test_beside_a_level_with_a_prompt_of_its_own_others_draw_the_prompts(other: dict[str, object]) -> None:
    levels = (Level("own", {"prompt": "A red house"}), Level("all", {**other, "shift": 2.0}))
    plan = plan_experiment(Experiment("trial", "", (Axis("speed", levels),)), [CAT, DOG], [42])
    assert [(run.prompt.id, run.cell.name, run.params.prompt) for run in plan.runs()] == [
        ("cat", "own", "A red house"),
        ("cat", "all", "A cat"),
        ("dog", "all", "A dog"),
        ("dog", "own", "A red house"),
    ]


def test_turbos_steps_and_guidance_are_the_baseline_where_nothing_says_otherwise() -> None:
    assert plan_of("num_inference_steps", 4, 9).experiment.baseline == {"num_inference_steps": "9"}
    assert plan_of("guidance_scale", 2.0, 0.0).experiment.baseline == {"guidance_scale": "0.0"}
    assert plan_of("shift", 1, 3).experiment.baseline == {"shift": "3.0"}


def test_levels_between_which_guidance_stops_at_the_same_step_are_equal() -> None:
    plan = plan_of(
        "cfg_truncation",
        0.15,
        0.16,
        overrides={"num_inference_steps": 4, "guidance_scale": 4.0, "shift": 3.0},
    )
    assert [evaluation_count(template) for template in plan.templates] == [6, 6]
    assert [found.levels for found in equal_levels(plan, FACTS)] == [("0.15", "0.16")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"assistant_content": "Yes"}, {"assistant_content": "\n\nYes"}),
        ({"thinking_content": ""}, {"force_think_block": True}),
        (  # who writes the tokens between two messages by hand
            {"system_prompt": "S", "prompt": "A<|im_end|>\n<|im_start|>user\nB"},
            {"system_prompt": "S<|im_end|>\n<|im_start|>user\nA", "prompt": "B"},
        ),
        ({"cfg_normalization": 1.0}, {"cfg_truncation": 0.5}),  # without guidance
    ],
)
def test_levels_that_are_one_formatted_text_are_equal(first: dict[str, object], second: dict[str, object]) -> None:
    one, other = (
        OF_MODEL.resolved(GenerationParams.parse({"prompt": "A", "seed": 1, **side})) for side in (first, second)
    )
    assert effective_inputs(one, None) == effective_inputs(other, None)


def test_levels_equal_for_every_prompt_come_first_and_others_with_the_prompts_they_share() -> None:
    prompts = tuple(Prompt(f"p{count}", "c", "", "w" * count) for count in (50, 150, 50))
    words = replace(OF_MODEL, count_tokens=lambda text: text.count("w"))
    facts = defaultdict(lambda: words)
    plan = plan_of("max_text_tokens", 100, 200, 300, prompts=(*prompts[:2], replace(prompts[2], id="x", text="w w")))
    assert [(found.levels, found.prompts, found.of_prompts) for found in equal_levels(plan, facts)] == [
        (("200", "300"), 3, 3),
        (("100", "200", "300"), 2, 3),
    ]


def test_groups_of_equal_levels_are_in_the_order_of_the_levels() -> None:
    plan = plan_experiment(experiment_from_sweeps(["shift=1..6", "cfg_normalization=0,1"], None), [CAT], [42])
    assert [found.levels for found in equal_levels(plan, FACTS)] == [
        (f"{shift}.0 x 0.0", f"{shift}.0 x 1.0") for shift in range(1, 7)
    ]


def test_half_a_pair_of_a_file_is_a_prompt_like_any_other() -> None:
    assert equal_levels(plan_of("shift", 1, 2, prompts=(Prompt("x", "a", "", "caf\udce9"),)), FACTS) == []


def test_a_range_that_is_none_is_said_whole_and_a_step_may_have_either_sign() -> None:
    assert str(refusal(["shift=1..x"])) == (
        "--sweep shift=1..x '1..x' is not a range; write first..last or first..last..step."
    )
    assert parse_numbers("1..2..-0.5", "--sweep") == ["1.0", "1.5", "2.0"]


def test_a_value_out_of_range_names_its_parameter_and_its_level() -> None:
    assert refusal(["shift=0"]).field == "shift"
    with pytest.raises(LlmDitError) as refused:
        plan_of("max_text_tokens", 1024, 2048)
    assert str(refused.value).endswith(" (experiment trial, level 2048)")
    assert refused.value.field == "max_text_tokens"


def test_seeds_count_once_in_their_order_and_an_axis_brings_its_own() -> None:
    experiment = experiment_from_sweeps(["shift=1,2"], None)
    assert plan_experiment(experiment, [CAT], [42, 7, 42]).seeds == (42, 7)
    assert plan_experiment(experiment_from_sweeps(["seed=1,2"], None), [CAT], [42, 7]).seeds == (0,)


def test_a_list_in_brackets_may_stand_behind_a_blank() -> None:
    (axis,) = experiment_from_sweeps(["system_prompt= [soft, 'a, b'] "], None).axes
    assert [level.parameters["system_prompt"] for level in axis.levels] == ["soft", "a, b"]


def test_levels_whose_pictures_would_have_one_file_name_are_refused() -> None:
    axes = (
        Axis("a", (Level("x", {"shift": 1.0}), Level("x_b_y", {"shift": 2.0}))),
        Axis("b", (Level("y_b_z", {"hidden_layer": -2}), Level("z", {"hidden_layer": -3}))),
    )
    with pytest.raises(LlmDitError) as refused:
        plan_experiment(Experiment("trial", "", axes), [CAT], [42])
    assert str(refused.value) == (
        "Pictures of the levels 'x x y_b_z' and 'x_b_y x z' of trial would have one file name; rename one."
    )


def test_the_seed_of_a_plan_is_42_where_nobody_gives_one() -> None:
    assert DEFAULT_SEED == 42
