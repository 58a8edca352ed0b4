"""LoRAs as an axis: a run is known by what its files hold, and strength 0 is no LoRA."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.comparable import run_identity, told_parameters
from experiments.store.result_store import ResultStore
from llm_dit import ZImagePipeline
from llm_dit.parameters import GenerationParams

HASH = "0123456789abcdef"


def lora(path, value=0.5):
    save_file({"diffusion_model.layers.0.attention.to_q.diff": torch.full((48, 48), value)}, path)
    return path


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint):
    return ZImagePipeline.from_pretrained(str(tiny_checkpoint), dit_device="cpu", text_encoder_device="cpu")


def made(folder, pipeline, sweep, **overrides):
    experiment = experiment_from_sweeps([sweep], "trial")
    settings = {"num_inference_steps": 1, **overrides}
    plan = plan_experiment(experiment, [Prompt("a", "plants", "easy", "A red apple")], [1], overrides=settings)
    store = ResultStore(folder)
    store.create()
    outcome = run_plan(plan, OneDevice.of(pipeline), store)
    records = [json.loads(path.read_text()) for path in store.metadata.glob("*.json")]
    pictures = {record["parameters"]["loras"]: record["image"]["sha256"] for record in records}
    return outcome, pictures


def identity(**values):
    params = GenerationParams.parse({"prompt": "x", "seed": 1, "height": 64, "width": 64, "shift": 3, **values})
    return run_identity(params, "x", None, "f", {})


def test_place_and_spelling_of_a_lora_are_no_part_of_a_run():
    plain = identity()
    one = identity(loras=f"a.safetensors:0.5#{HASH}")
    assert one == identity(loras=f"other/b.safetensors:0.5#{HASH}") == identity(loras=f"a:1#{HASH}", lora_strength=0.5)
    assert identity(loras=f"a.safetensors:0#{HASH}") == identity(loras=f"a#{HASH}", lora_strength=0) == plain
    others = {plain, one, identity(loras=f"a:0.5#{HASH[::-1]}"), identity(loras=f"a:0.6#{HASH}")}
    assert len(others) == 4


def test_results_without_loras_keep_their_hash():
    assert told_parameters({"loras": "", "lora_strength": 1.0, "lora_ignore_unknown": False}) == {}


def test_a_sweep_over_loras_resumes_and_knows_a_changed_file(tmp_path, pipeline):
    path = lora(tmp_path / "style.safetensors")
    sweep = f'loras=[[], ["{path}:0.5"], ["{path}:1.0"]]'
    outcome, pictures = made(tmp_path / "a", pipeline, sweep)
    assert outcome.made == 3 and len(set(pictures.values())) == 3
    assert made(tmp_path / "a", pipeline, sweep)[0].made == 0
    lora(path, value=0.7)
    again = made(tmp_path / "b", pipeline, sweep)[1]
    assert again[""] == pictures[""] and len({*again, *pictures}) == 5


def test_the_short_form_sweeps_the_strength(tmp_path, pipeline):
    path = lora(tmp_path / "style.safetensors")
    outcome, _ = made(tmp_path / "a", pipeline, "lora_strength=0,0.5,1", loras=str(path))
    assert outcome.made == 3
    moved = shutil.move(path, tmp_path / "moved.safetensors")
    assert made(tmp_path / "a", pipeline, "lora_strength=0,0.5,1", loras=str(moved))[0].made == 0
