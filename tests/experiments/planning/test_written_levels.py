"""Levels as they are written, in an experiment file and in a sweep."""

import json

import pytest
from parameter_values import other_value
from small_plans import CAT, levels

from experiments.planning.design import (
    plan_experiment,
)
from experiments.planning.experiment_file import NAME_RULE, load_experiments
from experiments.planning.sweeps import experiment_from_sweeps, parse_numbers
from llm_dit.errors import ConfigError, LlmDitError
from llm_dit.parameters import PARAMETERS, GenerationParams


def write(folder, axes, rest=""):
    path = folder / "mine.yaml"
    path.write_text(f"version: 1\nexperiments:\n  mine:\n    axes:\n{axes}{rest}", encoding="utf-8")
    return path


def test_a_level_may_set_several_parameters_together(tmp_path):
    path = write(
        tmp_path,
        "      speed:\n        quick: {num_inference_steps: 4, shift: 2}\n        slow: {num_inference_steps: 20}\n",
        "    baseline: slow\n    fixed: {guidance_scale: 1}\n",
    )
    plan = plan_experiment(load_experiments(path)["mine"], [CAT], [42])
    quick, slow = plan.templates
    assert (quick.num_inference_steps, quick.shift, quick.guidance_scale) == (4, 2.0, 1.0)
    assert (slow.num_inference_steps, slow.shift, slow.guidance_scale) == (20, None, 1.0)


@pytest.mark.parametrize(
    ("axes", "rest", "message"),
    [
        ("      shfit: [1, 2]\n", "", r":5: experiment 'mine': there is no parameter 'shfit'; did you mean 'shift'"),
        ("      shift: [1,\n        0]\n", "", r":6: experiment 'mine': shift 0"),
        ("      shift: [3,\n        3.0]\n", "", r":6: experiment 'mine': axis 'shift' has the level 3.0 twice"),
        ("      shift: []\n", "", r":5: experiment 'mine': axis 'shift' has no level"),
        ("      {}\n", "", r":5: experiment 'mine' has no axis"),
        ("      shift: 3\n", "", r":5: axis 'shift' must be a list"),
        ("      num_inference_steps: [2.5]\n", "", r":5: experiment 'mine': num_inference_steps"),
        ("      shift: [1, 2]\n      shift: [3]\n", "", r":6: axes of experiment 'mine' has 'shift' twice; .* line 5"),
        ("      shift: [1, 2]\n", "    baseline: 5\n", r":6: baseline of experiment 'mine': 'shift' has no level '5'"),
        ("      shift: [1, 2]\n", "    fixd: {}\n", r":6: experiment 'mine' has no key 'fixd'; did you mean 'fixed'"),
        ("      shift: [1, 2]\n", "    fixed: {shift: 2}\n", r":6: experiment 'mine' both varies and fixes shift"),
        ("      shift: [1, 2]\n", "    fixed: {sed: 2}\n", r":6: .* no parameter 'sed'; did you mean 'seed'"),
        ("      shift: [1]\n      a: {x: {shift: 2}}\n", "", r":6: .* axes 'shift' and 'a' both set shift"),
        ("      a:\n        x: {shift: 2}\n        y: {shift: 2.0}\n", "", r":7: levels 'x' and 'y' of a are the same"),
        ("      shift: [1]\n      guidance_scale: [1]\n", "    baseline: 1\n", r":7: .* several axes"),
        ("      shift: [1, [2]]\n", "", r":5: a level of shift must be one value"),
        ("      force_think_block: [maybe]\n", "", r":5: experiment 'mine': force_think_block"),
        ("      long_prompt_mode: [squeeze]\n", "", r":5: experiment 'mine': long_prompt_mode"),
    ],
)
def test_a_broken_experiments_file_is_refused_with_file_and_line(tmp_path, axes, rest, message):
    path = write(tmp_path, axes, rest)
    with pytest.raises(ConfigError, match=message) as caught:
        load_experiments(path)
    assert str(caught.value).startswith(f"{path}:")


@pytest.mark.parametrize("name", GenerationParams.model_fields)
def test_every_generation_parameter_can_be_an_axis(tmp_path, name):
    parameter = PARAMETERS[name]
    first = {"prompt": "A hat", "seed": 2}.get(name, parameter.default)
    listed = json.dumps([first, other_value(parameter)])
    experiment = load_experiments(write(tmp_path, f"      {name}: {listed}\n"))["mine"]
    templates = plan_experiment(experiment, [CAT], [1]).templates
    assert [getattr(template, name) for template in templates] == [first, other_value(parameter)]


def test_sweeps_are_ranges_or_lists_and_are_crossed():
    found = experiment_from_sweeps(["shift=1..6", "num_inference_steps=6,9,12"], "my_grid")
    assert found.name == "my_grid"
    assert levels(found) == {
        "shift": ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"],
        "num_inference_steps": ["6", "9", "12"],
    }


def test_a_list_in_brackets_may_hold_commas_none_and_empty_text():
    (axis,) = experiment_from_sweeps(['thinking_content=[null, "", "warm, soft"]'], None).axes
    assert [level.parameters["thinking_content"] for level in axis.levels] == [None, "", "warm, soft"]
    assert [level.name for level in axis.levels] == ["none", "empty", "warm, soft"]


def test_ranges_go_both_ways_and_take_steps_without_rounding_errors():
    assert parse_numbers("-1..-3", "--sweep") == ["-1", "-2", "-3"]
    assert parse_numbers("0.1..0.5..0.1", "--sweep") == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    assert parse_numbers("5,1..2", "--seeds") == ["5", "1", "2"]
    assert parse_numbers("3..3", "--sweep") == ["3"]


def test_a_name_that_is_no_file_name_is_refused():
    with pytest.raises(LlmDitError) as caught:
        experiment_from_sweeps(["shift=1..6"], "a/b")
    assert str(caught.value) == f"--name 'a/b': {NAME_RULE}"


def test_a_sweep_is_described_as_it_was_written():
    found = experiment_from_sweeps(["shift=1..6", "steps=6,9"], None)
    assert found.name == "sweep_shift_num_inference_steps"
    assert found.description == "A sweep from the command line: shift=1..6; steps=6,9"


def test_a_list_of_texts_is_read_as_csv_with_quotes():
    (axis,) = experiment_from_sweeps(['prompt="a cat, sitting","a ""big"" dog, running", a bird'], None).axes
    assert [level.parameters["prompt"] for level in axis.levels] == ["a cat, sitting", 'a "big" dog, running', "a bird"]
    (axis,) = experiment_from_sweeps(['system_prompt=none,"none","",plain'], None).axes
    assert [level.parameters["system_prompt"] for level in axis.levels] == [None, "none", "", "plain"]
    (axis,) = experiment_from_sweeps(["prompt='90s car, a cat's toy"], None).axes
    assert [level.parameters["prompt"] for level in axis.levels] == ["'90s car", "a cat's toy"]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("shift=1,2,3,", "there is nothing after the last comma; leave the comma out"),
        ("shift=1,,3", "there is nothing as entry 2"),
        ("prompt=,a cat", 'nothing as entry 1; leave the comma out, or write "" for an empty text'),
        ('prompt="a cat, sitting', 'the quotes of "a cat, sitting are not around a whole entry'),
        ('prompt="a" cat, sitting', "double a quote within"),
        ("prompt='a cat, sitting','a dog'", "single quotes don't hold an entry together; use double ones"),
    ],
)
def test_a_list_that_can_be_misread_is_refused_with_the_mend(sweep, message):
    with pytest.raises(LlmDitError) as caught:
        experiment_from_sweeps([sweep], None)
    assert f"--sweep {sweep}: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("shift", "write parameter=values"),
        ("shift=", "write parameter=values"),
        ("shfit=1", "did you mean 'shift'"),
        ("shift=0..2", "shift"),
        ("shift=1..x", "is not a range"),
        ("shift=1,1.0", "the level 1.0 is there twice"),
        ("shift=1..2..0", "has step 0"),
        ("seed=0..9999999", "at most 1,000,000"),
        ("system_prompt=[a", "not valid"),
    ],
)
def test_a_sweep_that_cant_be_read_is_repeated_in_the_message(sweep, message):
    with pytest.raises(LlmDitError, match=message) as caught:
        experiment_from_sweeps([sweep], None)
    assert sweep in str(caught.value)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("shift=1..2..0", "--sweep shift=1..2..0 '1..2..0' has step 0; use a step above 0."),
        (
            "seed=0..1000000",
            "--sweep seed=0..1000000 '0..1000000' has 1,000,001 values; at most 1,000,000 are planned.",
        ),
    ],
)
def test_a_range_without_end_or_too_long_is_said_whole(sweep, message):
    with pytest.raises(LlmDitError) as caught:
        experiment_from_sweeps([sweep], None)
    assert str(caught.value) == message


def test_a_long_sweep_is_shortened_in_its_message():
    for spare, shown in ((54, "shfit=" + "1" * 54), (55, "shfit=" + "1" * 54 + "…")):
        with pytest.raises(LlmDitError) as caught:
            experiment_from_sweeps(["shfit=" + "1" * spare], None)
        assert str(caught.value).startswith(f"--sweep {shown}: there is no parameter 'shfit'")


def test_the_axis_of_every_layer_sets_the_layer_before_the_model_is_known():
    assert load_experiments()["hidden_layer_deep"].axis_parameters == {"hidden_layer"}
