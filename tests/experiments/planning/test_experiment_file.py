"""Experiments in YAML: what is read, and the whole sentence for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.planning.axes import Level
from experiments.planning.experiment_file import (
    checked_value,
    find_experiment,
    is_name,
    levels_of,
    load_experiments,
    own_name,
)
from llm_dit.errors import ConfigError, InvalidParameter, LlmDitError


def written(folder: Path, body: str) -> Path:
    """Write an experiment `mine`, whose keys stand from line 4 on."""
    path = folder / "mine.yaml"
    path.write_text(f"version: 1\nexperiments:\n  mine:\n{body}", encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        load_experiments(path)
    text = str(refused.value)
    assert text.startswith(f"{path}:")
    return text.removeprefix(f"{path}:")


# What is read


def test_every_key_of_an_experiment_is_read(tmp_path: Path) -> None:
    body = (
        "    description: |\n      What does it change?\n    axes:\n      shift: [1, 2.5]\n      steps: [4]\n"
        "    baseline: {shift: 2.5, steps: 4}\n    fixed: {height: 64, seed: 3}\n    prompts: long_2\n"
    )
    experiment = load_experiments(written(tmp_path, body))["mine"]
    assert (experiment.name, experiment.description) == ("mine", "What does it change?")
    assert [(axis.name, axis.levels, axis.is_every_layer) for axis in experiment.axes] == [
        ("shift", (Level("1.0", {"shift": 1.0}), Level("2.5", {"shift": 2.5})), False),
        ("num_inference_steps", (Level("4", {"num_inference_steps": 4}),), False),
    ]
    assert experiment.baseline == {"shift": "2.5", "num_inference_steps": "4"}
    assert experiment.fixed == {"height": 64, "seed": 3}
    assert experiment.prompt_set == "long_2"


def test_what_is_left_out_is_nothing_and_the_standard_prompts(tmp_path: Path) -> None:
    experiment = load_experiments(written(tmp_path, "    axes:\n      shift: [1]\n"))["mine"]
    assert (experiment.description, experiment.baseline, experiment.fixed) == ("", {}, {})
    assert experiment.prompt_set == "standard"


def test_every_layer_is_asked_of_the_model_for_its_own_axis_only(tmp_path: Path) -> None:
    body = "    axes:\n      hidden_layer: every\n    baseline: -2\n"
    experiment = load_experiments(written(tmp_path, body))["mine"]
    assert [(axis.name, axis.levels, axis.is_every_layer) for axis in experiment.axes] == [("hidden_layer", (), True)]
    assert experiment.baseline == {"hidden_layer": "-2"}
    assert refusal(written(tmp_path, "    axes:\n      shift: every\n")) == "5: axis 'shift' must be a list."
    assert refusal(written(tmp_path, "    axes:\n      hidden_layer: all\n")) == (
        "5: axis 'hidden_layer' must be a list."
    )


def test_named_levels_may_have_short_names_of_parameters_and_any_axis_name(tmp_path: Path) -> None:
    body = "    axes:\n      speed:\n        quick: {steps: 4}\n        usual: {}\n    baseline: usual\n"
    (axis,) = load_experiments(written(tmp_path, body))["mine"].axes
    assert axis.levels == (Level("quick", {"num_inference_steps": 4}), Level("usual", {}))


@pytest.mark.parametrize(
    ("written_baseline", "name"), [("3", "3.0"), ("3.0", "3.0"), ("none", "none"), ("null", "none")]
)
def test_a_baseline_is_named_as_its_level_or_by_its_value(tmp_path: Path, written_baseline: str, name: str) -> None:
    body = f"    axes:\n      shift: [null, 3]\n    baseline: {written_baseline}\n"
    assert load_experiments(written(tmp_path, body))["mine"].baseline == {"shift": name}


def test_a_limit_beyond_the_usual_is_read_since_positions_may_be_extended() -> None:
    assert checked_value("max_text_tokens", 3000) == 3000
    assert levels_of("extend_rope", [False]) == (Level("false", {"extend_rope": False}),)
    with pytest.raises(InvalidParameter):
        checked_value("shift", 0)


@pytest.mark.parametrize(("name", "own"), [("steps", "num_inference_steps"), ("shift", "shift"), ("new", "new")])
def test_short_names_are_own_names(name: str, own: str) -> None:
    assert own_name(name) == own


@pytest.mark.parametrize("name", ["a", "7", "a" * 64, "A.b_c-d"])
def test_a_name_may_be_a_folder(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "a" * 65, "-a", ".a", "_a", "a.", "a b", "a/b", "ä", "a\n"])
def test_a_name_that_may_be_no_folder_is_none(name: str) -> None:
    assert not is_name(name)


def test_an_experiment_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    experiments = load_experiments(written(tmp_path, "    axes:\n      shift: [1]\n"))
    assert find_experiment("mine", experiments) is experiments["mine"]
    with pytest.raises(LlmDitError) as refused:
        find_experiment("mime", experiments)
    assert (str(refused.value), refused.value.field) == (
        "There is no experiment 'mime'; did you mean 'mine'?",
        "experiment",
    )


# What is refused


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: 2\nexperiments: {}\n", "1: version must be 1."),
        ("experiments: {}\n", "1: an experiments file needs the key 'version'."),
        ("version: 1\n", "1: an experiments file needs the key 'experiments'."),
        ("version: 1\nexperiment: {}\n", "2: an experiments file has no key 'experiment'; did you mean 'experiments'?"),
        ("version: []\nexperiments: {}\n", "1: version must be one value, not a list or a mapping."),
        ("version: 1\nexperiments: []\n", "2: experiments must be a mapping of keys to values."),
        (
            "version: 1\nexperiments:\n  a/b:\n    axes: {}\n",
            "3: experiment 'a/b': a name has 1 to 64 letters, digits, '_', '-' or '.', and starts with a letter or "
            "digit.",
        ),
    ],
)
def test_a_file_that_is_no_experiments_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert refusal(path) == sentence


def test_a_file_that_is_missing_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(LlmDitError, match=r"^--experiments-file "):
        load_experiments(tmp_path / "gone.yaml")


ONE = "    axes:\n      shift: [1, 2]\n"
TWO = "    axes:\n      shift: [1, 2]\n      steps: [4, 9]\n"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("    fixed: {}\n", "4: experiment 'mine' needs the key 'axes'."),
        ("    axes: {}\n", "4: experiment 'mine' has no axis."),
        ("    axes:\n      shift: []\n", "5: experiment 'mine': axis 'shift' has no level."),
        ("    axes:\n      speed: {}\n", "5: axis 'speed' has no level."),
        (
            "    axes:\n      spe ed:\n        a: {}\n",
            "5: axis 'spe ed': a name has 1 to 64 letters, digits, '_', '-' or '.', and starts with a letter or digit.",
        ),
        (
            "    axes:\n      shfit: [1]\n",
            "5: experiment 'mine': there is no parameter 'shfit'; did you mean 'shift'? Named levels may have any axis "
            "name.",
        ),
        ("    axes:\n      shift: [3,\n        3.0]\n", "6: experiment 'mine': axis 'shift' has the level 3.0 twice."),
        (
            "    axes:\n      a:\n        x: {shift: 2}\n        y: {shift: 2.0}\n",
            "7: levels 'x' and 'y' of a are the same.",
        ),
        (
            f"    axes:\n      a:\n        {'x' * 61}: {{shift: 2}}\n",
            f"6: level '{'x' * 61}' of a: a name has 1 to 60 printable characters.",
        ),
        (
            '    axes:\n      a:\n        " ": {shift: 2}\n',
            "6: level ' ' of a: a name has 1 to 60 printable characters.",
        ),
        (
            '    axes:\n      a:\n        "x\\ty": {shift: 2}\n',
            "6: level 'x\\ty' of a: a name has 1 to 60 printable characters.",
        ),
        (
            "    axes:\n      a:\n        x: {shfit: 2}\n",
            "6: level 'x' of a: there is no parameter 'shfit'; did you mean 'shift'?",
        ),
        (
            "    axes:\n      a:\n        x: {steps: 2, num_inference_steps: 3}\n",
            "6: level 'x' of a sets num_inference_steps twice.",
        ),
        (
            "    axes:\n      shift: [1]\n      a: {x: {shift: 2}}\n",
            "6: experiment 'mine': the axes 'shift' and 'a' both set shift.",
        ),
        (f"{ONE}    fixed:\n      {{shift: 2}}\n", "7: experiment 'mine' both varies and fixes shift."),
        (
            f"{ONE}    fixed: {{sed: 2}}\n",
            "6: fixed of experiment 'mine': there is no parameter 'sed'; did you mean 'seed'?",
        ),
        (f"{ONE}    prompts: standrad\n", "6: there are no prompts 'standrad'; did you mean 'standard'?"),
        (f"{ONE}    baseline: 5\n", "6: baseline of experiment 'mine': 'shift' has no level '5'; valid: 1.0, 2.0."),
        (
            f"{TWO}    baseline: 1\n",
            "7: experiment 'mine' has several axes; write its baseline as axis: level for each.",
        ),
        (f"{TWO}    baseline: {{shift: 1}}\n", "7: baseline of experiment 'mine' needs the key 'num_inference_steps'."),
        (
            f"{TWO}    baseline: {{shift: 1, stpes: 4}}\n",
            "7: baseline of experiment 'mine' has no key 'stpes'; did you mean 'steps'?",
        ),
        (
            "    axes:\n      a:\n        quick: {shift: 2}\n    baseline: quikc\n",
            "7: baseline of experiment 'mine': 'a' has no level 'quikc'; did you mean 'quick'?",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_the_mend(tmp_path: Path, body: str, sentence: str) -> None:
    assert refusal(written(tmp_path, body)) == sentence


@pytest.mark.parametrize(
    ("body", "beginning"),
    [
        ("    axes:\n      shift: [1,\n        0]\n", "6: experiment 'mine': shift 0"),
        ("    axes:\n      a:\n        x: {shift: 0}\n", "6: level 'x' of a: shift 0"),
        (f"{ONE}    baseline: 0\n", "6: baseline of experiment 'mine': shift 0"),
        (f"{ONE}    fixed: {{height: 3}}\n", "6: fixed of experiment 'mine': height 3"),
        ("    axes:\n      shift: [[1]]\n", "5: a level of shift must be one value"),
        (f"{ONE}    prompts: []\n", "6: prompts must be"),
        (f"{ONE}    description: []\n", "6: description must be"),
        (f"{ONE}    baseline: []\n", "6: baseline of experiment 'mine' must be one value"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_line(tmp_path: Path, body: str, beginning: str) -> None:
    assert refusal(written(tmp_path, body)).startswith(beginning)


def test_named_levels_of_60_characters_are_read(tmp_path: Path) -> None:
    body = f"    axes:\n      a:\n        {'x' * 60}: {{shift: 2}}\n"
    assert load_experiments(written(tmp_path, body))["mine"].axes[0].levels[0].name == "x" * 60
