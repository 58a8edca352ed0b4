"""Settings of the engine as axes: loaded once each, only what differs, and the same bytes as alone."""

import os
import signal
import time
import weakref

import numpy as np
import pytest
from fake_pipeline import FakePipeline
from PIL import Image

from experiments.planning.command_flags import request_from_arguments
from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.dry_run import dry_run
from experiments.running.execution import run_plan
from experiments.running.models import LoadedModel, OwnModels
from experiments.running.one_device import OneDevice
from experiments.running.plan_models import plan_of
from experiments.store.result_store import ResultStore
from llm_dit import ZImagePipeline
from llm_dit.config import Config
from llm_dit.errors import CheckpointError, LlmDitError
from llm_dit.parameters import EngineSettings
from llm_dit.stages.denoiser import Denoiser

PROMPTS = (Prompt("a", "plants", "easy", "A red apple"), Prompt("b", "plants", "easy", "A blue dog"))


def plan_of_sweeps(*sweeps, model="fake", **overrides):
    engine = EngineSettings(model_path=str(model), dit_device="cpu", text_encoder_device="cpu")
    experiment = experiment_from_sweeps(sweeps, "trial")
    return plan_experiment(experiment, PROMPTS, [1], overrides={"num_inference_steps": 1, **overrides}, engine=engine)


def images(store):
    return {path.name: path.read_bytes() for path in store.images.iterdir()}


def test_each_setting_is_loaded_once_with_what_differs_and_the_old_is_gone_before(
    tmp_path, tiny_checkpoint, monkeypatch
):
    models, encoded, denoisers = OwnModels(), [], []
    load, encode = Denoiser.from_stored.__func__, ZImagePipeline.encode_prompts

    def noted(cls, *arguments, **values):
        assert all(reference() is None for reference in denoisers), "the transformer before is still in memory"
        denoisers.append(weakref.ref(made := load(cls, *arguments, **values)))
        return made

    monkeypatch.setattr(Denoiser, "from_stored", classmethod(noted))
    monkeypatch.setattr(
        ZImagePipeline,
        "encode_prompts",
        lambda self, texts, layers: (encoded.extend(texts), encode(self, texts, layers))[1],
    )
    store = ResultStore(tmp_path / "both")
    plan = plan_of_sweeps("quantization=none,int8", "vae_tiling=false,true", model=tiny_checkpoint)
    assert run_plan(plan, OneDevice(models), store).made == 8
    # none in bands is left before int8, which begins in bands as well
    assert models._model.loads == {"text_encoder": 1, "transformer": 2, "vae": 3}
    assert len(encoded) == len(set(encoded)) == len(PROMPTS)
    models.release()

    alone = ResultStore(tmp_path / "alone")
    run_plan(
        plan_of_sweeps("quantization=int8", "vae_tiling=true", model=tiny_checkpoint), OneDevice(OwnModels()), alone
    )
    both, mine = images(store), images(alone)
    assert len(mine) == 2 and {name: both[name] for name in mine} == mine
    settings = plan.engine.replaced(quantization="int8", vae_tiling=True)
    pipeline = ZImagePipeline.from_pretrained(settings=settings)
    for run in plan.runs():
        if run.settings == settings:
            with Image.open(store.image_path(run.run_id)) as picture:
                drawn = pipeline.generate(run.params).image
                assert np.array_equal(np.asarray(picture), np.asarray(drawn)), run.run_id
    assert len({run.identity for run in store.runs()}) == 8
    assert run_plan(plan, OneDevice(OwnModels()), store).made == 0


class FakeModels:
    """A fake pipeline for each quantization, which dies at the given drawing."""

    def __init__(self, dies_at=0, dies_after=lambda: True):
        self.loads, self.drawn, self.dies_at, self.dies_after = [], 0, dies_at, dies_after

    def known(self, settings, _planned):
        pipeline = FakePipeline()
        pipeline.numerics = {"dtype": "float32", "quantization": settings.quantization}
        return pipeline

    def get(self, settings, planned):
        self.loads.append(settings.quantization)
        pipeline = self.known(settings, planned)
        draw = pipeline.draw

        def counted(*arguments):
            self.drawn += 1
            if self.drawn == self.dies_at:
                while not self.dies_after():
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)
            return draw(*arguments)

        pipeline.draw = counted
        return pipeline


def test_killed_in_the_middle_of_the_second_arm_it_goes_on_there(tmp_path):
    plan = plan_of_sweeps("quantization=none,int8", "shift=2,3")
    whole, parts = ResultStore(tmp_path / "whole"), ResultStore(tmp_path / "parts")
    run_plan(plan, OneDevice(FakeModels()), whole)
    child = os.fork()
    if not child:
        run_plan(plan, OneDevice(FakeModels(7, lambda: len(parts.results()[0]) > 4)), parts)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert 4 < len(parts.results()[0]) < 7, "the first arm is whole, the second is not"
    models = FakeModels()
    outcome = run_plan(plan, OneDevice(models), parts)
    assert models.loads == ["int8"], "the finished arm is not loaded"
    assert outcome.made + outcome.skipped == 8
    assert images(parts) == images(whole)


def test_a_wish_to_stop_at_the_end_of_an_arm_loads_no_other(tmp_path):
    models = FakeModels()
    plan = plan_of_sweeps("quantization=none,int8")
    outcome = run_plan(plan, OneDevice(models), ResultStore(tmp_path), should_stop=lambda: models.drawn == 2)
    assert (outcome.made, outcome.remaining, outcome.is_interrupted) == (2, 2, True)
    assert models.loads == ["none"]


def test_an_arm_whose_model_can_not_be_loaded_fails_alone(tmp_path):
    class Broken(FakeModels):
        def get(self, settings, planned):
            if settings.quantization == "int8":
                raise RuntimeError("out of memory")
            return super().get(settings, planned)

    store = ResultStore(tmp_path)
    outcome = run_plan(plan_of_sweeps("quantization=int8,none"), OneDevice(Broken()), store)
    assert (outcome.made, [error for _, error in outcome.failed]) == (2, ["out of memory"] * 2)
    assert run_plan(plan_of_sweeps("quantization=int8,none"), OneDevice(FakeModels()), store).made == 2


def test_levels_are_added_and_conditions_that_change_are_refused(tmp_path):
    store = ResultStore(tmp_path)
    run_plan(plan_of_sweeps("quantization=none"), OneDevice(FakeModels()), store)
    assert run_plan(plan_of_sweeps("quantization=none,int8"), OneDevice(FakeModels()), store).made == 2
    with pytest.raises(LlmDitError, match="made with other inputs"):
        run_plan(plan_of_sweeps("quantization=none,int8", num_inference_steps=2), OneDevice(FakeModels()), store)


def test_an_unsupported_level_is_refused_or_left_out_and_named(tmp_path):
    arguments = ["--sweep=quantization=none,int8,float8", "--dit-device=cpu", f"--output-dir={tmp_path}"]
    with pytest.raises(LlmDitError, match=r"level float8: .*needs a CUDA device.*--skip-unsupported"):
        dry_run(request_from_arguments(arguments, Config()))
    found = dry_run(request_from_arguments([*arguments, "--skip-unsupported", "--max-prompts=1"], Config()))
    assert [cell.name for cell in found.plan.cells] == ["none", "int8"]
    assert found.warnings[0].startswith("The level float8 of quantization is left out: ")
    assert list(tmp_path.iterdir()) == []
    kernels = [*arguments[1:], "--sweep=attention_backend=cudnn,sdpa,sage", "--sweep=shift=2,3", "--max-prompts=1"]
    with pytest.raises(LlmDitError, match=r"level cudnn: .*can't be used on cpu"):
        dry_run(request_from_arguments(kernels, Config()))
    found = dry_run(request_from_arguments([*kernels, "--skip-unsupported"], Config()))
    assert [cell.name for cell in found.plan.cells] == ["sdpa x 2.0", "sdpa x 3.0"]
    assert found.plan.experiment.baseline == {"attention_backend": "sdpa", "shift": "3.0"}, "nobody named cudnn"
    predefined = request_from_arguments(["--experiment=attention", "--dit-device=cpu"], Config())
    with pytest.raises(LlmDitError, match="only sdpa is left on this device, and nothing to compare it with"):
        plan_of(predefined, ResultStore(tmp_path))


def test_a_combination_that_no_level_alone_rules_out_is_refused_by_name(tmp_path, monkeypatch):
    def problem(settings):
        both = settings.quantization == "int8" and settings.dtype == "float16"
        return LlmDitError("int8 has no float16 here.") if both else None

    monkeypatch.setattr("experiments.running.unsupported._problem", problem)
    arguments = ["--sweep=quantization=none,int8", "--sweep=dtype=float32,float16", f"--output-dir={tmp_path}"]
    with pytest.raises(LlmDitError, match=r"level int8 x float16: int8 has no float16 here\."):
        dry_run(request_from_arguments([*arguments, "--skip-unsupported", "--max-prompts=1"], Config()))


def test_a_baseline_that_this_device_cannot_do_is_not_left_out(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "version: 1\nexperiments:\n  mine:\n    description: Which?\n    axes:\n"
        "      quantization: [none, int8, float8]\n    baseline: float8\n"
    )
    arguments = [f"--experiments-file={file}", "--experiment=mine", "--dit-device=cpu", "--skip-unsupported"]
    asked = request_from_arguments([*arguments, f"--output-dir={tmp_path}"], Config())
    with pytest.raises(LlmDitError, match=r"The baseline float8 of quantization can't be left out: .* Compare with"):
        dry_run(asked)


def test_a_model_that_is_another_than_the_one_planned_with_ends_the_run(tmp_path):
    class Replaced(LoadedModel):
        def get(self, settings, planned):
            return FakePipeline(fingerprint="e" * 64)

    store = ResultStore(tmp_path / "trial")
    with pytest.raises(CheckpointError, match="is another model, or runs otherwise, than when the runs were planned"):
        run_plan(plan_of_sweeps("shift=2,3"), OneDevice(Replaced(FakePipeline())), store)
    assert store.runs() == []


@pytest.mark.parametrize(("name", "cells"), [("quantization", 2), ("speed_and_fidelity", 6)])
def test_predefined_experiments_run_on_the_embedded_model_on_a_cpu(tmp_path, name, cells):
    arguments = [f"--experiment={name}", "--prompt-ids=animal_001", "--dit-device=cpu", "--text-encoder-device=cpu"]
    arguments += ["--width=64", "--height=64", f"--output-dir={tmp_path}"]
    plan = plan_of(request_from_arguments(arguments, Config()), store := ResultStore(tmp_path))
    assert run_plan(plan, OneDevice(OwnModels()), store).made == cells
    assert [(found.axis, found.level) for found in store.manifest().left_out] == [("quantization", "float8")]
    assert len({record.metadata["image"]["sha256"] for record in store.runs()}) == cells


def test_one_file_under_two_names_makes_equal_arms(tmp_path, tiny_checkpoint):
    twin = tmp_path / "twin"
    twin.symlink_to(tiny_checkpoint)
    sweep = f'--sweep=model_path=["{tiny_checkpoint}", "{twin}"]'
    found = dry_run(request_from_arguments([sweep, "--max-prompts=1", f"--output-dir={tmp_path / 'out'}"], Config()))
    names = f"{tiny_checkpoint.name}, twin"
    assert f"The levels {names} are secretly equal: they reach the model as the same inputs for every prompt." in (
        found.warnings
    )
