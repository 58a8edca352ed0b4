"""From a command's flags to a request, and back to the command that a page's request is in a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from experiments.planning.command_flags import Request, command_of, request_from_arguments
from experiments.prompts import load_standard_prompts
from llm_dit.config import Config, load_config
from llm_dit.errors import LlmDitError

COMMAND = ["uv", "run", "experiments/run_ablation.py"]
SWEEP = ["--sweep=shift=2,3", "--name=trial"]
FILE = """
[default.pipeline]
device = "cpu"

[default.scheduler]
shift = 6.0

[default.generation]
num_inference_steps = 4

[quick.generation]
num_inference_steps = 2
"""


def request(*arguments: str, config: Config | None = None, **values: Any) -> Request:
    return request_from_arguments(arguments, config or Config(values))


def refusal(*arguments: str, **values: Any) -> LlmDitError:
    with pytest.raises(LlmDitError) as refused:
        request(*arguments, **values)
    return refused.value


def words_of(asked: Request, *arguments: str, compute_metrics: bool = False) -> list[str]:
    words = shlex.split(command_of(asked, arguments, compute_metrics=compute_metrics))
    assert words[:3] == COMMAND
    return words[3:]


# The question


def test_a_sweep_is_an_experiment_in_a_folder_of_its_name() -> None:
    asked = request(*SWEEP)
    assert (asked.experiment.name, asked.folder) == ("trial", Path("experiments/results/trial"))
    assert [level.name for level in asked.experiment.axes[0].levels] == ["2.0", "3.0"]
    assert len(asked.prompts) == 60
    assert (asked.seeds, asked.overrides, asked.told) == ((42,), {}, "")
    assert request(*SWEEP, "--output-dir=out").folder == Path("out/trial")


def test_a_predefined_experiment_may_have_another_name() -> None:
    assert request("--experiment=shift_sweep").experiment.name == "shift_sweep"
    renamed = request("--experiment=shift_sweep", "--name=mine")
    assert (renamed.experiment.name, renamed.folder.name) == ("mine", "mine")
    assert renamed.experiment.axes == request("--experiment=shift_sweep").experiment.axes


@pytest.mark.parametrize("arguments", [[], ["--experiment=shift_sweep", "--sweep=shift=2,3"]])
def test_one_question_is_asked_and_no_more(arguments: list[str]) -> None:
    assert str(refusal(*arguments)) == (
        "Give --experiment or --sweep, one of them; --list-experiments shows the experiments."
    )


def test_a_name_that_is_no_folder_is_refused() -> None:
    refused = refusal("--experiment=shift_sweep", "--name=a/b")
    assert str(refused) == (
        "--name 'a/b': a name has 1 to 64 letters, digits, '_', '-' or '.', and starts with a letter or digit."
    )
    assert refused.field == "name"


def test_experiments_of_ones_own_stand_in_their_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nexperiments:\n  mine:\n    axes:\n      shift: [1, 5]\n", encoding="utf-8")
    asked = request(f"--experiments-file={path}", "--experiment=mine")
    assert [level.name for level in asked.experiment.axes[0].levels] == ["1.0", "5.0"]
    refused = refusal(f"--experiments-file={path}", "--experiment=mime")
    assert (str(refused), refused.field) == ("There is no experiment 'mime'; did you mean 'mine'?", "experiment")


def test_what_click_refuses_is_an_error_of_the_request() -> None:
    refused = refusal(*SWEEP, "--max-prompts=0")
    assert "--max-prompts" in str(refused)
    assert refused.field == "experiment"


# Prompts and seeds


def test_prompts_are_chosen_by_category_id_and_number() -> None:
    standard = load_standard_prompts()["prompts"]
    ids = [entry["id"] for entry in standard if entry["category"] in ("animals", "scenes")]
    assert [prompt.id for prompt in request(*SWEEP, "--prompt-category=animals,scenes").prompts] == ids
    assert [prompt.id for prompt in request(*SWEEP, "--prompt-ids=scene_001,animal_002").prompts] == [
        prompt.id for prompt in request(*SWEEP).prompts if prompt.id in ("animal_002", "scene_001")
    ]
    assert len(request(*SWEEP, "--max-prompts=3").prompts) == 3


@pytest.mark.parametrize("option", ["--prompt-category", "--prompt-ids"])
def test_a_list_with_nothing_after_its_comma_names_its_flag(option: str) -> None:
    assert str(refusal(*SWEEP, f"{option}=animals,")).startswith(f"{option}: there is nothing after the last comma; ")


def test_another_set_of_prompts_takes_the_place_of_the_experiments_own() -> None:
    asked = request(*SWEEP, "--prompt-set=first")
    assert len(asked.prompts) == 30
    assert {prompt.category for prompt in asked.prompts} == {"things", "animals", "people", "places", "styles", "light"}
    refused = refusal(*SWEEP, "--prompt-set=first", "--prompts-file=mine.txt")
    assert str(refused) == "Give --prompt-set first or --prompts-file mine.txt, not both."


def test_a_list_of_ones_own_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("A __animal__\nA cup\n", encoding="utf-8")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "animal.txt").write_text("cat\ndog\n", encoding="utf-8")
    asked = request(*SWEEP, f"--prompts-file={path}", f"--wildcards={tmp_path / 'words'}")
    assert [prompt.text for prompt in asked.prompts] == ["A cat", "A dog", "A cup"]
    assert "3" in asked.told


@pytest.mark.parametrize(
    ("arguments", "values", "seeds"),
    [
        ([], {}, (42,)),
        ([], {"seed": 7}, (7,)),
        ([], {"seed": 0}, (0,)),
        (["--seed=5"], {"seed": 7}, (5,)),
        (["--seeds=3,1"], {}, (3, 1)),
        (["--seeds=0..2"], {"seed": 7}, (0, 1, 2)),
    ],
)
def test_seeds_are_those_given_else_the_configured_one_else_42(
    arguments: list[str], values: dict[str, Any], seeds: tuple[int, ...]
) -> None:
    asked = request(*SWEEP, *arguments, **values)
    assert asked.seeds == seeds
    assert asked.overrides == {}


def test_seeds_that_are_none_are_refused() -> None:
    assert str(refusal(*SWEEP, "--seeds=1,2", "--seed=3")) == "Give --seeds or --seed, not both."
    assert refusal(*SWEEP, "--seeds=1,2", "--seed=3").field == "seed"
    assert str(refusal(*SWEEP, "--seeds=1,")).startswith("--seeds")
    assert str(refusal(*SWEEP, "--seeds=1.5,2")) == (
        "--seeds '1.5,2' is not a list of whole numbers; use for example 42,123 or 0..9."
    )


# The plan


def test_flags_win_over_the_configuration_which_fills_the_rest() -> None:
    asked = request(*SWEEP, "--max-prompts=1", "--num-inference-steps=3", num_inference_steps=5, width=128, height=128)
    assert asked.overrides == {"num_inference_steps": 3}
    plan = asked.plan()
    assert [(run.params.shift, run.params.num_inference_steps, run.params.width) for run in plan.runs()] == [
        (2.0, 3, 128),
        (3.0, 3, 128),
    ]


@pytest.mark.parametrize(
    ("sweep", "values", "reads"),
    [
        ("hidden_layer=-2,-3", {}, False),
        ("num_inference_steps=4,9", {}, True),
        ("guidance_scale=2,0", {}, True),
        ("shift=2,3", {}, True),
        ("num_inference_steps=2,4 shift=2,3", {}, True),
        ("shift=2,3", {"shift": 2.0}, True),
    ],
)
def test_the_model_is_looked_at_only_where_an_axis_needs_it(
    monkeypatch: pytest.MonkeyPatch, sweep: str, values: dict[str, Any], reads: bool
) -> None:
    from experiments.planning import model_facts

    read, found = model_facts.read_model_facts, []

    def noted(settings: Any) -> model_facts.ModelFacts:
        found.append(settings)
        return read(settings)

    monkeypatch.setattr(model_facts, "read_model_facts", noted)
    plan = request(*(f"--sweep={axis}" for axis in sweep.split()), "--max-prompts=1", **values).plan()
    assert bool(found) is reads
    if reads:  # the level that equals the value in use, mini's own are Turbo's
        own = {"shift": "2.0" if values else "3.0", "num_inference_steps": "9", "guidance_scale": "0.0"}
        asked = {axis.name: own[axis.name] for axis in plan.experiment.axes}
        assert plan.experiment.baseline == (asked if "=2,4" not in sweep else {**asked, "num_inference_steps": "2"})


def test_a_named_baseline_and_an_axis_of_every_layer(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nexperiments:\n  named:\n    axes:\n      shift: [1, 5]\n    baseline: 5\n"
        "  deep:\n    axes:\n      hidden_layer: every\n",
        encoding="utf-8",
    )
    missing = Config({"model_path": str(tmp_path / "no-model")})
    arguments = [f"--experiments-file={path}", "--max-prompts=1"]
    named = request(*arguments, "--experiment=named", config=missing)
    assert named.plan().experiment.baseline == {"shift": "5.0"}  # without any model
    with pytest.raises(LlmDitError, match="no-model"):
        request(*arguments, "--experiment=deep", config=missing).plan()
    deep = request(*arguments, "--experiment=deep").plan()
    depths = [str(-layer) for layer in range(2, 10)]
    assert [level.name for level in deep.experiment.axes[0].levels] == ["-1", "last_before_norm", *depths]


# The command


def test_a_request_under_no_configuration_is_its_own_command() -> None:
    assert words_of(request(*SWEEP), *SWEEP) == SWEEP
    assert words_of(request(*SWEEP), *SWEEP, compute_metrics=True) == [*SWEEP, "--compute-metrics"]
    elsewhere = request(*SWEEP, "--output-dir=my results")
    assert words_of(elsewhere, *SWEEP) == [*SWEEP, "--output-dir=my results"]


def test_values_of_the_configuration_become_flags_unless_the_experiment_sets_them() -> None:
    values = {"num_inference_steps": 3, "shift": 5.0, "dit_device": "cpu", "history_size": 7, "seed": 9}
    words = words_of(request(*SWEEP, **values), *SWEEP)
    assert words[:2] == SWEEP
    assert sorted(words[2:]) == ["--dit-device=cpu", "--num-inference-steps=3", "--seed=9"]
    seeded = [*SWEEP, "--seeds=1,2"]
    assert "--seed=9" not in words_of(request(*seeded, **values), *seeded)


def test_a_file_that_still_says_what_was_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(FILE, encoding="utf-8")
    assert words_of(request(*SWEEP, config=load_config(path)), *SWEEP) == [*SWEEP, f"--config={path}"]
    quick = request(*SWEEP, config=load_config(path, "quick"))
    assert words_of(quick, *SWEEP) == [*SWEEP, f"--config={path}", "--profile=quick"]


def test_a_file_that_changed_is_corrected_by_flags(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(FILE, encoding="utf-8")
    asked = request(*SWEEP, config=load_config(path))
    path.write_text(FILE.replace("num_inference_steps = 4", "num_inference_steps = 8"), encoding="utf-8")
    assert words_of(asked, *SWEEP) == [*SWEEP, f"--config={path}", "--num-inference-steps=4"]


@pytest.mark.parametrize(
    "content",
    [
        FILE + "\n[default.generation2]\nx = 1\n",
        FILE.replace("num_inference_steps = 4", "height = 64\nnum_inference_steps = 4"),
    ],
)
def test_a_file_that_is_broken_or_says_more_now_is_not_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(FILE, encoding="utf-8")
    asked = request(*SWEEP, config=load_config(path))
    path.write_text(content, encoding="utf-8")
    words = words_of(asked, *SWEEP)
    assert sorted(words[2:]) == ["--dit-device=cpu", "--num-inference-steps=4"]
