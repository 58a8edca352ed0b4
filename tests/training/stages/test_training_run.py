"""The run of all stages: its times, its commands, and the README's."""

import importlib
import re
from itertools import pairwise
from pathlib import Path

import pytest

from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from training import run


def test_the_run_leaves_each_stage_its_share_and_skips_what_is_there(tmp_path, monkeypatch):
    plan = run.Plan(tmp_path, tmp_path, tmp_path, 1000.0, 2, 10, None, start=0.0)
    assert plan.denoiser_end < plan.scorers_end < 1000.0
    assert plan.scorers_end - plan.denoiser_end == pytest.approx(plan.share("reward") + 10.0)
    started = []
    monkeypatch.setattr(run.Plan, "launch", lambda _self, stage, *_arguments, **_names: started.append(stage))
    (tmp_path / "vae.safetensors").touch()
    start = run._once(plan)
    start("vae", 1, [], "vae")
    start("judge", 0, [], "judge")
    assert started == ["judge"]


class Finished:
    """A process that has ended well; `made` it wrote."""

    def __init__(self, made: Path | None) -> None:
        if made is not None:
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()

    def wait(self) -> int:
        return 0


def _check_command(module: str, arguments: list[str]) -> None:
    """Every option that is given is known to the stage, and every one that it needs is given."""
    parameters = importlib.import_module(module).main.params
    given = {argument for argument in arguments if argument.startswith("--")}
    assert given <= {name for parameter in parameters for name in parameter.opts}, module
    assert {parameter.opts[0] for parameter in parameters if parameter.required} <= given, module


@pytest.mark.parametrize("devices", [1, 2])
def test_the_run_starts_every_stage_with_options_that_it_knows(devices, tmp_path, monkeypatch):
    started = []

    def launch(_plan, stage, _device, *arguments, name=None):
        _check_command(run.MODULES[stage], list(arguments))
        started.append(name or stage)
        named = dict(pairwise(arguments))
        if stage in ("dataset", "contrasts"):
            return Finished(Path(named["--output"]) / "captions.json")
        return Finished(tmp_path / f"{stage}.safetensors")

    monkeypatch.setattr(run.Plan, "launch", launch)
    run.run_stages(run.Plan(tmp_path, Path("world"), Path("words"), 1000.0, devices, 10, Path("prompts"), start=0.0))
    data = [f"dataset{rank}" for rank in range(devices)]
    trained = ["language_model", "vae", "denoiser", "judge", "siglip", "reward"]
    others = ["scorer_tokenizer", "contrasts", "judge_data", "evaluate", "check_scorers"]
    assert sorted(started) == sorted(data + trained + others)
    started.clear()
    (tmp_path / "transformer.safetensors").touch()
    (tmp_path / "scorer_tokenizer.json").touch()
    run.run_stages(run.Plan(tmp_path, Path("world"), Path("words"), 1000.0, devices, 10, None, start=0.0))
    assert started == ["evaluate", "check_scorers"]


def test_a_run_that_trains_on_keeps_the_vae_and_gives_every_stage_its_start(tmp_path, monkeypatch):
    started = {}

    def launch(_plan, stage, _device, *arguments, name=None):
        _check_command(run.MODULES[stage], list(arguments))
        named = dict(pairwise(arguments))
        started[name or stage] = named
        if stage in ("dataset", "contrasts"):
            return Finished(Path(named["--output"]) / "captions.json")
        return Finished(tmp_path / f"{stage}.safetensors")

    monkeypatch.setattr(run.Plan, "launch", launch)
    plan = run.Plan(tmp_path, Path("world"), Path("words"), 1000.0, 1, 10, None, EMBEDDED_MODELS, 40, start=0.0)
    run.bring_shipped(plan, EMBEDDED_MODELS)
    run.run_stages(plan)
    assert {"vae", "scorer_tokenizer"}.isdisjoint(started)
    assert (tmp_path / "vae.json").exists()
    assert "--last-layer-only" in started["language_model"]
    assert Path(started["denoiser"]["--start"]).stat().st_size > 28e6
    assert started["reward"]["--start"] == str(EMBEDDED_MODELS / "image-reward-mini")
    assert [started[name]["--seed"] for name in ("dataset0", "contrasts", "judge_data")] == ["41", "45", "141"]


def test_every_command_of_the_readme_is_one_that_its_stage_knows():
    text = Path(run.__file__).with_name("README.md").read_text()
    short = dict(re.findall(r'`(\w)="([^"]*)"`', text))
    text = re.sub(r"\$(\w)", lambda match: short[match[1]], text).replace("\\\n", " ")
    commands = re.findall(r"(?:-m training|`)\.([\w.]+) (--[^`\n]*)", text)
    for command, arguments in commands:
        _check_command(f"training.{command}", arguments.split())
    trained = {"dataset", "contrasts", "language_model", "vae", "denoiser", "siglip", "reward", "judge"}
    assert {run.MODULES[stage] for stage in trained} < {f"training.{command}" for command, _ in commands}
    assert "stages.restore" in dict(commands)
