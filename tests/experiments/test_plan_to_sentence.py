"""A researcher's question from plan to sentence: which shift at 4 steps on landscapes, and does a think block help?

The lab does all of it, but for the pictures and the judge, which stand-ins make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from fake_pipeline import FakePipeline

from experiments import analyze
from experiments.metrics import METRICS
from experiments.planning.command_flags import request_from_arguments
from experiments.prompts import get_prompts_by_category
from experiments.running.experiment_run import run_experiment
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit.config import Config

pytestmark = pytest.mark.slow  # 288 pictures

SHIFTS = {"1.0": -0.5, "2.0": 0.25, "3.0": 0.0, "4.0": -0.25}


class Model:
    """Hands out fake pipelines."""

    def check(self, settings: Any) -> None:
        pass

    def get(self, settings_in_turn: Any, planned: int, on_load: Any) -> OneDevice:
        models = SimpleNamespace(known=lambda *_: FakePipeline(), get=lambda *_: FakePipeline())
        return OneDevice(models, planned)

    def release(self) -> None:
        pass


class Judge:
    """Likes shift 2 at any number of steps, and a think block on landscapes alone; nearly the same for all prompts."""

    metric = replace(next(metric for metric in METRICS if metric.name == "image_reward"), model="judge@1")

    def move_to(self, device: str) -> None:
        pass

    def score_rows(self, rows: Sequence[Any]) -> list[dict[str, float]]:
        return [{"image_reward": self.score(*row.group.split("|"))} for row in rows]

    def score(self, prompt_id: str, level: str) -> float:
        shift, _steps, think = level.split(" x ")
        helps = 0.3 * (think == "true" and prompt_id.startswith("landscape"))
        return noise(prompt_id) + SHIFTS[shift] + helps + 0.01 * noise(prompt_id, level)


def noise(*key: str) -> float:
    """A number from -1 to 1 that hangs on the key alone."""
    return int.from_bytes(hashlib.sha256("|".join(key).encode()).digest()[:4], "little") / 2**31 - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.metrics.load_configured_scorers", lambda *_arguments, **_values: [Judge()])
        categories = ("landscapes", "animals", "humans")
        prompts = [str(prompt["id"]) for name in categories for prompt in get_prompts_by_category(name)]
        arguments = [
            *("--sweep=shift=1,2,3,4", "--sweep=num_inference_steps=4,9", "--sweep=force_think_block=false,true"),
            f"--prompt-ids={','.join(prompts)}",
            *(f"--output-dir={tmp_path_factory.mktemp('asked')}", "--name=think"),
        ]
        request = request_from_arguments(arguments, Config())
        result = run_experiment(request, Model(), command="run_ablation.py", metrics=())
    assert (result.outcome.made, result.problems) == (288, ())
    assert result.scoring is not None
    assert result.scoring.scored == {"image_reward": 288}
    return request.folder


def told(folder: Path, *flags: str) -> list[str]:
    done = CliRunner(env={"COLUMNS": "2000"}).invoke(analyze.main, [str(folder), "--measure", "image_reward", *flags])
    assert done.exit_code == 0, done.output
    return [line.removeprefix("ImageReward: ") for line in done.output.splitlines()]


def test_which_shift_at_4_steps_on_landscapes_and_does_a_think_block_help(folder: Path) -> None:
    lines = told(folder, "--where", "num_inference_steps=4", "--where", "category=landscapes", "--all-pairs")
    assert "think: 48 pictures, baseline 3.0 x false" in lines
    (shift,) = (line for line in lines if line.startswith("shift 2.0 has the best mean; "))
    assert "it beats every other level: 1.0, 3.0, 4.0." in shift
    (think,) = (line for line in lines if line.startswith("Averaged over the other axes: force_think_block"))
    assert "“true” beats “false” by 0.30" in think


def test_the_block_helps_on_landscapes_alone(folder: Path) -> None:
    lines = told(folder, "--where", "shift=2.0", "--where", "num_inference_steps=4", "--by", "category")
    assert any(
        line.startswith("category “landscapes”: force_think_block “true” beats “false” by 0.3") for line in lines
    )
    assert any(line.startswith("category “animals”: force_think_block “true” can't be told apart") for line in lines)
    assert any(line.startswith("The answer differs by category: force_think_block “true” is +0.3") for line in lines)
    kept = [found.asked for found in ResultStore(folder).manifest().analyses]
    assert "by category" in kept[-1]
