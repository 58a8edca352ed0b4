"""Devices by name, the current device inside a stage, and moves that fail."""

import os
import sys
import types
from contextlib import contextmanager
from functools import partial

import pytest
import torch

from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.placement import devices
from llm_dit.placement.devices import (
    Processor,
    capability_of,
    give_back_memory,
    is_cpu_meant,
    on,
    resolve_device,
    resolve_dtype,
    resolve_dtype_name,
)

CPU, SECOND = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def two_cards(monkeypatch):
    """Two CUDA devices of which the second is the current one; yields the stack of current devices."""
    current = [SECOND]

    @contextmanager
    def device(wanted):
        current.append(wanted)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1].index)
    monkeypatch.setattr(torch.cuda, "device", device)
    return current


@pytest.mark.parametrize("name", ["auto", "cuda", torch.device("cuda"), "cuda:1", SECOND])
def test_a_cuda_device_has_its_index_at_once(two_cards, name):
    assert resolve_device(name, "dit_device") == SECOND


def test_another_index_than_the_current_one_is_kept(two_cards):
    assert resolve_device("cuda:0", "dit_device") == torch.device("cuda", 0)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:10"])
def test_a_card_that_is_not_there_is_refused_with_their_number(two_cards, name):
    with pytest.raises(InvalidParameter, match=f"device {name} is not on this machine, which has 2 CUDA devices"):
        resolve_device(name, "device")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:99999999999999999999", "", "xpu", "meta"])
def test_what_is_no_device_is_refused_with_what_is(name):
    with pytest.raises(InvalidParameter, match=f"device '{name}' is not a device; use auto, cpu, cuda, cuda:N or mps"):
        resolve_device(name, "device")


@pytest.mark.parametrize(
    ("platform", "driver", "hip", "meant"),
    [
        ("linux", False, None, True),
        ("linux", True, None, False),  # whether there is a card behind the driver, torch says
        ("linux", False, "6.4", False),  # AMD's cards are CUDA to torch
        ("darwin", False, None, False),
        ("win32", False, None, False),
    ],
)
def test_auto_is_the_cpu_without_asking_torch_only_where_nothing_else_can_be(
    monkeypatch, tmp_path, platform, driver, hip, meant
):
    def load(_name):
        if not driver:
            raise OSError

    (tmp_path / "version.py").write_text(f"hip = {hip!r}\n")
    monkeypatch.setattr(devices, "CDLL", load)
    monkeypatch.setattr(devices, "find_spec", lambda _name: types.SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    monkeypatch.setattr(sys, "platform", platform)
    assert not is_cpu_meant("auto"), "torch is imported, so it is asked"
    monkeypatch.delitem(sys.modules, "torch")
    assert is_cpu_meant("auto") is meant
    assert is_cpu_meant("cpu")
    assert not is_cpu_meant("cuda") and not is_cpu_meant("mps")


def test_the_cpu_without_torch_says_what_torchs_says():
    assert (str(Processor()), Processor().type) == (str(CPU), CPU.type) == ("cpu", "cpu")
    assert capability_of(Processor()) == capability_of(CPU) == (0, 0)
    assert resolve_dtype_name("auto", Processor(), "dtype") == "float32"
    assert resolve_dtype_name("auto", SECOND, "dtype") == "bfloat16"


@pytest.mark.parametrize("name", ["fp16", "int8", torch.int8, "no_grad", ""])
def test_what_is_no_number_format_is_refused_with_those_there_are(name):
    with pytest.raises(
        InvalidParameter, match="is not allowed; use one of auto, bfloat16, float16, float32"
    ) as refused:
        resolve_dtype(name, CPU, "text_encoder_dtype")
    assert refused.value.field == "text_encoder_dtype"


def test_torchs_own_objects_are_taken_for_their_names():
    assert resolve_device(CPU, "device") == CPU
    assert resolve_dtype(torch.float16, CPU, "dtype") == resolve_dtype("float16", CPU, "dtype") == torch.float16
    assert resolve_dtype("auto", CPU, "dtype") == torch.float32
    assert resolve_dtype("auto", SECOND, "dtype") == torch.bfloat16


def test_a_device_is_the_current_one_inside_the_block_and_the_cpu_changes_nothing(two_cards):
    first = torch.device("cuda", 0)
    with on(first):
        assert two_cards[-1] == first
        with on(CPU):
            assert two_cards[-1] == first
    assert two_cards == [SECOND]


@pytest.mark.parametrize("given", [{}, {"PYTORCH_ALLOC_CONF": "backend:native"}, {"PYTORCH_CUDA_ALLOC_CONF": "x:1"}])
def test_segments_of_the_allocator_grow_unless_the_user_has_configured_it(two_cards, monkeypatch, given):
    monkeypatch.setattr("sys.platform", "linux")
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    resolve_device("cuda", "dit_device")
    found = {name: os.environ[name] for name in names if name in os.environ}
    assert found == (given or {"PYTORCH_ALLOC_CONF": "expandable_segments:True"})


@pytest.mark.parametrize(("given", "found"), [(None, "0"), ("4096", "4096")])
def test_products_in_float8_take_no_workspace_unless_the_user_has_given_one(two_cards, monkeypatch, given, found):
    monkeypatch.setenv("CUBLASLT_WORKSPACE_SIZE", given or "")
    if given is None:
        monkeypatch.delenv("CUBLASLT_WORKSPACE_SIZE")
    resolve_device("cuda", "dit_device")
    assert os.environ["CUBLASLT_WORKSPACE_SIZE"] == found


def test_on_cards_of_amd_the_workspace_stays_what_it_was(two_cards, monkeypatch):
    monkeypatch.setenv("CUBLASLT_WORKSPACE_SIZE", "")  # so that it is put back
    monkeypatch.delenv("CUBLASLT_WORKSPACE_SIZE")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    resolve_device("cuda", "dit_device")
    assert "CUBLASLT_WORKSPACE_SIZE" not in os.environ


def test_memory_of_the_cpu_is_not_asked_for(monkeypatch):
    freed = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "empty_cache", lambda name=name: freed.append(name))
    give_back_memory(CPU)
    assert freed == []


def test_every_stage_computes_with_its_device_as_the_current_one(tiny_pipeline, monkeypatch):
    inside, seen = [], []

    @contextmanager
    def recorded(stage, device):
        inside.append(stage)
        yield
        inside.pop()

    stages = ("text_encoder", "denoiser", "latent_decoder")
    for stage in stages:
        monkeypatch.setattr(f"llm_dit.stages.{stage}.on", partial(recorded, stage))
    networks = (tiny_pipeline.text_encoder.model, tiny_pipeline.transformer, tiny_pipeline.decoder.vae.decoder)
    hooks = [network.register_forward_hook(lambda *_: seen.append(list(inside))) for network in networks]
    params = tiny_pipeline.resolve(GenerationParams.parse({"prompt": "A cat", "seed": 1, "num_inference_steps": 1}))
    tiny_pipeline.draw(params, tiny_pipeline.encode(params))
    for hook in hooks:
        hook.remove()
    assert seen == [[stage] for stage in stages]
