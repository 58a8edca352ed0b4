"""Experiments as they are written, and how they become runs."""

from collections import defaultdict
from typing import get_args

import pytest
from small_plans import CAT, DOG, levels

from experiments.planning.design import (
    Axis,
    Experiment,
    Level,
    level_name,
    plan_experiment,
    run_id,
    safe_name,
    select_prompts,
)
from experiments.planning.equality import EqualLevels, effective_inputs, equal_levels
from experiments.planning.experiment_file import checked_value, levels_of, load_experiments
from experiments.planning.model_facts import ModelFacts
from experiments.planning.prompt_lengths import length_warnings
from experiments.prompts import STANDARD_PROMPTS, Prompt, read_prompts
from llm_dit.checkpoints.scheduler import ModelScheduler
from llm_dit.errors import InvalidParameter, LlmDitError
from llm_dit.parameters import FieldNote, GenerationParams, LongPromptMode
from llm_dit.parameters.declaration import parameter
from llm_dit.sampling.guidance import evaluation_count


def facts_of(count_tokens=None, shift=3.0):
    """What is known of a small model, 64 x 64 native."""
    return defaultdict(lambda: ModelFacts(9, 4096, 1504, 64, ModelScheduler(shift), 1e6, count_tokens))


def axis_of(name, *values):
    return Axis(name, levels_of(name, [checked_value(name, value) for value in values]))


def plan_of(*axes, prompts=(CAT,), seeds=(42,), **options):
    return plan_experiment(Experiment("trial", "", axes), prompts, seeds, **options)


def test_the_predefined_experiments_are_those_promised():
    found = load_experiments()
    assert levels(found["shift_sweep"]) == {"shift": ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]}
    assert found["shift_sweep"].baseline == {"shift": "3.0"}
    assert levels(found["shift_steps_grid"]) == {
        "shift": ["2.0", "3.0", "4.0"],
        "num_inference_steps": ["6", "9", "12", "15"],
    }
    assert levels(found["steps_only"]) == {"num_inference_steps": ["4", "6", "8", "9", "10", "12", "15", "20"]}
    assert levels(found["hidden_layer"]) == {"hidden_layer": ["-1", "last_before_norm", "-2", "-3", "-4", "-5", "-6"]}
    assert found["layer_blend"].baseline == {"hidden_layer_blend": "-2:1"}
    assert found["hidden_layer"].baseline == {"hidden_layer": "-2"}
    assert [level.parameters["guidance_scale"] for level in found["guidance"].axes[0].levels] == [0.0, 1.0, 1.5, 2.5]
    assert levels(found["max_text_tokens"]) == {"max_text_tokens": ["512", "1024", "1504"]}
    assert levels(found["long_prompt_mode"]) == {"long_prompt_mode": list(get_args(LongPromptMode))}
    assert found["long_prompt_mode"].prompt_set == found["max_text_tokens"].prompt_set == "long"
    assert [axis.name for axis in found["prompt_parts"].axes] == ["system_prompt", "think_block"]


def test_the_levels_of_think_block_and_system_prompt_have_the_texts_promised():
    found = load_experiments()
    thinking = [level.parameters["thinking_content"] for level in found["think_block"].axes[0].levels]
    assert thinking == [
        None,
        "",
        "High quality, detailed, photorealistic",
        "Soft lighting, warm colors, peaceful atmosphere",
        "Sharp focus, crisp details, professional composition",
    ]
    system = [level.parameters["system_prompt"] for level in found["system_prompt"].axes[0].levels]
    assert system == [
        None,
        "You are a professional photographer.",
        "You are an artistic painter.",
        "You are a technical illustrator.",
        "Generate high quality images.",
    ]


def test_none_and_an_empty_think_block_are_two_levels_with_two_formatted_prompts():
    plan = plan_experiment(load_experiments()["think_block"], [CAT], [42])
    none, empty = (effective_inputs(plan.params(index, CAT, 42), None)[0][0] for index in (0, 1))
    assert none == "<|im_start|>user\nA cat<|im_end|>\n<|im_start|>assistant\n"
    assert empty == none + "<think>\n\n</think>\n\n"
    assert equal_levels(plan, facts_of()) == []


def test_no_predefined_experiment_has_secretly_equal_levels():
    long = [Prompt("long", "long", "", "word " * 2000)]
    for experiment in load_experiments().values():
        lora = {"loras": "style.safetensors"} if experiment.name == "lora_strength" else {}
        plan = plan_experiment(experiment.for_model(9), long, [42], overrides=lora)
        assert equal_levels(plan, facts_of(lambda text: len(text.split()))) == [], experiment.name


def test_hidden_layer_deep_has_every_depth_of_the_model():
    deep = load_experiments()["hidden_layer_deep"].for_model(4)
    assert levels(deep) == {"hidden_layer": ["-1", "last_before_norm", "-2", "-3", "-4"]}


def test_a_plan_crosses_levels_prompts_and_seeds():
    plan = plan_of(axis_of("shift", 1, 2), axis_of("num_inference_steps", 6, 9), prompts=(CAT, DOG), seeds=(1, 2, 3))
    runs = list(plan.runs())
    assert len(runs) == plan.run_count == 2 * 2 * 2 * 3
    assert len({run.run_id for run in runs}) == len(runs)
    assert {(run.params.shift, run.params.num_inference_steps, run.params.prompt, run.params.seed) for run in runs} == {
        (shift, steps, text, seed)
        for shift in (1.0, 2.0)
        for steps in (6, 9)
        for text in ("A cat", "A dog")
        for seed in (1, 2, 3)
    }


def test_sizes_are_outermost_since_a_new_size_may_cost_a_compilation():
    runs = list(plan_of(axis_of("shift", 1, 2), axis_of("width", 64, 128), prompts=(CAT, DOG)).runs())
    assert [run.params.width for run in runs] == [64] * 4 + [128] * 4
    runs = list(plan_of(axis_of("shift", 1, 2), axis_of("height", 64, 128), prompts=(CAT, DOG)).runs())
    assert [run.params.height for run in runs] == [64] * 4 + [128] * 4


def test_a_run_depends_on_its_level_prompt_and_seed_alone():
    alone = next(plan_of(axis_of("shift", 2), prompts=(DOG,), seeds=(7,)).runs())
    among = list(plan_of(axis_of("shift", 1, 2, 3), prompts=(CAT, DOG), seeds=(3, 7)).runs())
    same = next(run for run in among if run.run_id == alone.run_id)
    assert same == alone


def test_overrides_win_over_fixed_which_win_over_defaults():
    experiment = Experiment("trial", "", (axis_of("shift", 1, 2),), fixed={"num_inference_steps": 5, "height": 64})
    plan = plan_experiment(
        experiment,
        [CAT],
        [42],
        defaults={"num_inference_steps": 3, "height": 128, "width": 256, "seed": 9},
        overrides={"height": 96},
    )
    params = next(plan.runs()).params
    assert (params.num_inference_steps, params.height, params.width, params.seed) == (5, 96, 256, 42)


def test_a_flag_that_is_an_axis_is_refused():
    with pytest.raises(InvalidParameter) as caught:
        plan_of(axis_of("shift", 1, 2), overrides={"shift": 4.0})
    assert str(caught.value) == "shift is an axis of trial; leave it out, or use --sweep."


def test_a_seed_out_of_range_is_named_as_typed():
    with pytest.raises(InvalidParameter, match=r"^--seeds -1 "):
        plan_of(axis_of("shift", 1, 2), seeds=(1, -1))


def test_a_combination_out_of_range_names_its_level():
    with pytest.raises(InvalidParameter, match=r"2048.*level 2048"):
        plan_of(axis_of("max_text_tokens", 1024, 2048))


def test_without_a_named_baseline_it_is_the_level_that_equals_the_settings_in_use():
    assert plan_of(axis_of("shift", 1, 3, 5)).experiment.baseline == {"shift": "3.0"}
    assert plan_of(axis_of("shift", 1, 3, 5), defaults={"shift": 5.0}).experiment.baseline == {"shift": "5.0"}
    assert plan_of(axis_of("shift", 1, 2)).experiment.baseline == {"shift": "1.0"}


def test_a_named_baseline_wins_over_the_settings_in_use():
    axes = (axis_of("shift", 1, 3, 5), axis_of("num_inference_steps", 6, 9))
    plan = plan_experiment(Experiment("trial", "", axes, {"shift": "5.0"}), [CAT], [42])
    assert plan.experiment.baseline == {"shift": "5.0", "num_inference_steps": "9"}
    assert plan.named_baseline == {"shift": "5.0"}


def test_a_prompt_axis_wraps_the_prompts_or_brings_its_own():
    wrapped = [run.params.prompt for run in plan_of(axis_of("prompt", "{prompt}", "{prompt}, at night")).runs()]
    assert wrapped == ["A cat", "A cat, at night"]
    own = list(plan_of(axis_of("prompt", "A red house", "A blue house"), prompts=(CAT, DOG)).runs())
    assert [(run.params.prompt, run.prompt.id, run.prompt.text) for run in own] == [
        ("A red house", "own", "A red house"),
        ("A blue house", "own", "A blue house"),
    ]


def test_a_seed_axis_sets_the_seed():
    runs = list(plan_of(axis_of("seed", 5, 6), seeds=(1, 2)).runs())
    assert [(run.seed, run.params.seed) for run in runs] == [(5, 5), (6, 6)]


def test_two_levels_of_a_grid_never_share_a_name():
    first = Axis("first", (Level("a", {"shift": 1.0}), Level("a x b", {"shift": 2.0})))
    second = Axis("second", (Level("c", {"guidance_scale": 1.0}), Level("b x c", {"guidance_scale": 2.0})))
    with pytest.raises(LlmDitError, match="both be called 'a x b x c'; rename one"):
        plan_of(first, second)


def test_few_prompts_are_taken_in_turn_from_each_category_and_more_keep_the_fewer():
    prompts = read_prompts(STANDARD_PROMPTS)
    five = select_prompts(prompts, max_prompts=5)
    assert len({prompt.category for prompt in five}) == 5
    assert set(five) < set(select_prompts(prompts, max_prompts=12))
    animals = select_prompts(prompts, categories=["animals"], max_prompts=3)
    assert [prompt.id for prompt in animals] == ["animal_001", "animal_002", "animal_003"]


def test_a_category_that_is_used_up_leaves_its_turn_to_the_others():
    cup, hat = Prompt("cup", "objects", "", "A cup"), Prompt("hat", "objects", "", "A hat")
    bowl = Prompt("bowl", "objects", "", "A bowl")
    assert select_prompts([CAT, cup, hat, bowl], max_prompts=3) == (CAT, cup, hat)
    assert select_prompts([cup, hat, CAT], max_prompts=2) == (cup, CAT)  # in the order of the file
    assert select_prompts([CAT, DOG], max_prompts=2) == (CAT, DOG)
    assert select_prompts([CAT, DOG], max_prompts=9) == (CAT, DOG)


def test_unknown_prompts_and_categories_name_the_nearest():
    with pytest.raises(LlmDitError, match=r"^--prompt-ids 'cta' does not exist; did you mean 'cat'"):
        select_prompts([CAT, DOG], ids=["cta"])
    with pytest.raises(LlmDitError, match=r"^--prompt-category 'animal' does not exist; did you mean 'animals'"):
        select_prompts([CAT, DOG], categories=["animal"])


def test_the_file_names_are_those_promised():
    assert run_id("shift_sweep", "animal_001", {"shift": "3.0"}, 42) == "shift_sweep_animal_001_shift_3.0_seed42"


@pytest.mark.parametrize(
    "text",
    ["a/b", "..", ".", "", " ", "x" * 10_000, "Größe", "猫", "a\nb", "CON", "A", "a.", "-", "\ud800", 'a"b', "a:b*?"],
)
def test_any_text_is_a_safe_and_short_part_of_a_file_name(text):
    name = safe_name(text)
    assert 0 < len(name) <= 40
    assert name == name.lower()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert not name.endswith(".")
    assert name.strip(".-") != ""


def test_texts_that_differ_only_in_case_or_punctuation_get_different_file_names():
    names = [safe_name(text) for text in ("warm light", "Warm light", "Warm Light", "warm-light", "warm light!")]
    assert len(set(names)) == len(names)


def test_a_run_id_is_never_longer_than_a_file_name_may_be():
    long = run_id("e" * 64, "p" * 500, {f"axis{n}": "x" * 10_000 for n in range(9)}, 2**53 - 1)
    assert len(long) <= 200
    other = run_id("e" * 64, "p" * 500, {f"axis{n}": "x" * 9_999 for n in range(9)}, 2**53 - 1)
    assert long != other


def test_levels_of_different_values_have_different_names():
    values = [None, "", "none", "empty", True, "true", 1, 1.5, "x" * 100, "x" * 101, "a\nb", "a b"]
    assert len({level_name(value) for value in values}) == len(values)
    assert all(len(level_name(value)) <= 60 and "\n" not in level_name(value) for value in values)


def sentences(plan, count_tokens=None, shift=3.0):
    return [found.sentence() for found in equal_levels(plan, facts_of(count_tokens, shift))]


def test_a_negative_prompt_without_guidance_makes_equal_levels():
    (sentence,) = sentences(plan_of(axis_of("negative_prompt", "", "blurry")))
    assert "empty, blurry are secretly equal" in sentence
    assert sentences(plan_of(axis_of("negative_prompt", "", "blurry"), overrides={"guidance_scale": 1.0})) == []


def test_a_forced_think_block_equals_an_empty_one():
    levels = (Level("forced", {"force_think_block": True}), Level("empty", {"thinking_content": ""}))
    (found,) = equal_levels(plan_of(Axis("think", levels)), facts_of())
    assert found.levels == ("forced", "empty")


def test_a_shift_with_a_single_step_changes_nothing():
    plan = plan_of(axis_of("shift", 1, 3), overrides={"num_inference_steps": 1})
    assert "1.0, 3.0 are secretly equal" in sentences(plan)[0]


def test_a_token_limit_that_no_prompt_reaches_is_found_and_one_that_some_reach_is_counted():
    long = Prompt("long", "x", "", "word " * 100)
    axis = axis_of("max_text_tokens", 50, 500, 1000)
    (found,) = equal_levels(plan_of(axis), facts_of(lambda text: len(text.split())))
    assert (found.levels, found.prompts, found.of_prompts) == (("50", "500", "1000"), 1, 1)
    both = equal_levels(plan_of(axis, prompts=(CAT, long)), facts_of(lambda text: len(text.split())))
    assert [(found.levels, found.prompts) for found in both] == [(("500", "1000"), 2), (("50", "500", "1000"), 1)]


def test_ways_to_handle_a_long_prompt_are_equal_where_every_prompt_fits():
    plan = plan_of(axis_of("long_prompt_mode", "truncate", "pool"), overrides={"max_text_tokens": 50})
    (found,) = equal_levels(plan, facts_of(lambda text: 50))
    assert (found.levels, found.prompts) == (("truncate", "pool"), 1)
    assert equal_levels(plan, facts_of(lambda text: 51)) == []
    assert equal_levels(plan, facts_of()) == []


def test_equal_levels_are_said_whole_and_six_are_named():
    assert EqualLevels(tuple("abcdef"), 3, 3).sentence() == (
        "The levels a, b, c, d, e, f are secretly equal: they reach the model as the same inputs for every prompt."
    )
    assert EqualLevels(tuple("abcdefgh"), 2, 3).sentence() == (
        "The levels a, b, c, d, e, f and 2 more are equal for 2 of 3 prompts, where they reach the model as the same "
        "inputs; these prompts only dilute the comparison."
    )


def test_levels_of_the_models_own_shift_and_size_equal_those_that_name_it():
    (sentence,) = sentences(plan_of(axis_of("shift", None, 2.0, 3.0)))
    assert "none, 3.0 are secretly equal" in sentence
    (sentence,) = sentences(plan_of(axis_of("shift", None, 3.0, 6.0)), shift=6.0)
    assert "none, 6.0 are secretly equal" in sentence
    (sentence,) = sentences(plan_of(axis_of("width", None, 64, 128)))
    assert "none, 64 are secretly equal" in sentence


def test_levels_between_which_guidance_stops_a_step_earlier_are_different():
    # float32 puts the second model time beside 0.1 and 0.15 as diffusers does: 5 and 6 evaluations
    plan = plan_of(
        axis_of("cfg_truncation", 0.1, 0.15), overrides={"num_inference_steps": 4, "guidance_scale": 4.0, "shift": 3.0}
    )
    assert [evaluation_count(template) for template in plan.templates] == [5, 6]
    assert sentences(plan) == []


@pytest.mark.parametrize(("shift", "baseline"), [(3.0, "3.0"), (6.0, "6.0"), (4.0, "2.0")])
def test_the_level_of_the_models_own_shift_is_the_baseline_where_none_is_named(shift, baseline):
    experiment = Experiment("own", "", (axis_of("shift", 2.0, 3.0, 6.0),))
    plan = plan_experiment(experiment, [CAT], [42], model_values={"shift": shift})
    assert plan.experiment.baseline == {"shift": baseline}


def test_a_parameter_that_nobody_named_as_without_effect_makes_levels_different():
    class MoreParams(GenerationParams):
        noise_scale: float = parameter(1.0, "Scale of the noise.", FieldNote(table="generation", changes_image=True))

    first, second = (MoreParams.parse({"prompt": "A cat", "noise_scale": scale}) for scale in (1.0, 2.0))
    assert effective_inputs(first, None) != effective_inputs(second, None)


def test_prompts_that_the_encoder_can_not_read_and_those_beyond_the_limit_are_named():
    prompts = [CAT, Prompt("long", "c", "", "word " * 1500), Prompt("endless", "c", "", "word " * 5000)]
    facts = facts_of(count_tokens=lambda text: len(text.split()))
    unreadable, shortened = length_warnings(plan_of(axis_of("shift", 2.0, 3.0), prompts=prompts), facts)
    assert "1 prompt is longer than the 4,096 tokens that the text encoder reads: endless (5,00" in unreadable
    assert "1 prompt is longer than max_text_tokens at some level: long (1,50" in shortened
    assert list(length_warnings(plan_of(axis_of("shift", 2.0, 3.0), prompts=[CAT]), facts)) == []
