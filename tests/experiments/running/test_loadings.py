"""The forecast of loading: what is loaded is what a run then loads, and its seconds are those of earlier loadings."""

from types import SimpleNamespace

import pytest
from safetensors import safe_open

from experiments.planning.command_flags import request_from_arguments
from experiments.running.console import loading_text, time_text
from experiments.running.dry_run import dry_run
from experiments.running.execution import run_plan
from experiments.running.loadings import LOADED_BYTES_PER_SECOND, loadings_of
from experiments.running.models import OwnModels
from experiments.running.one_device import OneDevice
from experiments.running.plan_models import plan_of
from experiments.store.result_store import ResultStore
from llm_dit.config import Config
from llm_dit.parameters import EngineSettings

ON_CPU = ("--dit-device=cpu", "--text-encoder-device=cpu", "--num-inference-steps=1")
SWEEPS = ("--sweep=quantization=none,int8", "--sweep=vae_tiling=false,true")
NETWORKS = ("transformer", "text_encoder", "vae")


def asked(model, folder, *arguments):
    return request_from_arguments([f"--model-path={model}", f"--output-dir={folder}", *ON_CPU, *arguments], Config())


def stored_bytes(checkpoint, network):
    total = 0
    for path in (checkpoint / network).glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118  it is no dictionary
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return total


def settings_of(checkpoint, **values):
    return EngineSettings(model_path=str(checkpoint), dit_device="cpu", text_encoder_device="cpu", **values)


def test_a_dry_run_counts_the_loadings_that_the_run_then_does(tmp_path, tiny_checkpoint):
    request = asked(tiny_checkpoint, tmp_path, *SWEEPS, "--name=s", "--prompt-ids=animal_001")
    before = dry_run(request).totals
    models, store = OwnModels(), ResultStore(request.folder)
    run_plan(plan_of(request, store), OneDevice(models), store)
    assert before.loadings.counts == models._model.loads == {"text_encoder": 1, "transformer": 2, "vae": 3}
    assert before.loadings.sentence() == "text encoder once, transformer twice, VAE 3 times"
    read = {network: stored_bytes(tiny_checkpoint, network) for network in NETWORKS}
    expected = (read["text_encoder"] + 2 * read["transformer"] + 3 * read["vae"]) / LOADED_BYTES_PER_SECOND
    assert before.loadings.seconds == pytest.approx(expected)
    assert before.all_seconds == before.seconds + before.loadings.seconds

    after = dry_run(request).totals
    assert (after.loadings.counts, after.loadings.seconds, loading_text(after)) == ({}, 0.0, "nothing")
    for record in store.runs():
        if record.levels["quantization"] == "int8":
            (store.metadata / f"{record.run_id}.json").unlink()
    rest = dry_run(request).totals.loadings
    assert rest.counts == {"text_encoder": 1, "transformer": 1, "vae": 2}
    assert rest.basis == "from 2 finished runs in this folder"


def test_seconds_are_the_mean_of_what_loading_each_network_took_before(tiny_checkpoint):
    sampled = [
        SimpleNamespace(load_seconds={"text_encoder": 4.0, "transformer": took, "vae": 0.5}) for took in (10.0, 30.0)
    ]
    turns = [settings_of(tiny_checkpoint, quantization=name) for name in ("none", "none", "int8", "none")]
    found = loadings_of(turns, sampled)
    assert found.counts == {"text_encoder": 1, "transformer": 3, "vae": 1}
    assert found.seconds == 4.0 + 3 * 20.0 + 0.5
    totals = SimpleNamespace(loadings=found, all_seconds=70.0, seconds_basis="a guess")
    assert loading_text(totals) == (
        "text encoder once, transformer 3 times, VAE once, about 64 s (from 2 finished runs in this folder)"
    )
    assert time_text(totals) == "about 70 s (with loading; drawing a guess)"


def test_another_kernel_is_no_loading_and_a_card_without_room_loads_all_anew(tiny_checkpoint, monkeypatch):
    turns = [settings_of(tiny_checkpoint, attention_backend=kernel) for kernel in ("sdpa", "auto")]
    assert loadings_of(turns, []).counts == {"text_encoder": 1, "transformer": 1, "vae": 1}
    tight = SimpleNamespace(fits=True, streamed={"transformer": [3]})
    monkeypatch.setattr("llm_dit.stages.loading.plan_cards", lambda *_, **__: {"cuda:0": tight})
    assert loadings_of(turns, []).counts == {"text_encoder": 2, "transformer": 2, "vae": 2}


def test_with_planned_looks_each_setting_has_its_turn_before_each(tmp_path, tiny_checkpoint):
    looks = ("--until-decided=image_reward", "--max-prompts=24", "--sweep=quantization=none,int8")
    found = dry_run(asked(tiny_checkpoint, tmp_path, *looks))
    assert found.totals.loadings.counts == {"text_encoder": 1, "transformer": 2 * len(found.looks.prompts), "vae": 1}
