"""Devices by name, the current device inside a stage, and moves that fail."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.placement.devices import give_back_memory, on, resident, resolve_device, resolve_dtype

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


@pytest.mark.parametrize("offload", [False, True])
def test_a_stage_runs_with_its_device_as_the_current_one(two_cards, monkeypatch, offload):
    monkeypatch.setattr(nn.Module, "to", lambda module, device: module)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    first = torch.device("cuda", 0)
    with resident(nn.Linear(2, 2), first, offload=offload):
        assert two_cards[-1] == first
    assert two_cards == [SECOND]


def test_the_cpu_leaves_the_current_device_alone(two_cards):
    with on(CPU), resident(nn.Linear(2, 2), CPU, offload=True):
        assert two_cards == [SECOND]


class Halfway(nn.Sequential):
    """Two layers of which the second finds no room on the device, here the one of empty tensors."""

    def __init__(self):
        super().__init__(nn.Linear(2, 2), nn.Linear(2, 2))
        self.moves = []

    def to(self, device):
        self.moves.append(str(device))
        if str(device) == "cpu":
            return super().to(device)
        self[0].to(torch.float64)
        raise torch.OutOfMemoryError("no room")


@pytest.mark.parametrize(("device", "kind"), [(SECOND, "cuda"), (torch.device("mps"), "mps")])
def test_a_move_that_fails_is_taken_back_and_frees_what_it_took(two_cards, monkeypatch, device, kind):
    freed = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "empty_cache", lambda name=name: freed.append(name))
    module = Halfway()
    with pytest.raises(torch.OutOfMemoryError), resident(module, device, offload=True):
        raise AssertionError("it never began")
    assert module.moves == [str(device), "cpu"]
    assert freed == [kind]


def test_memory_of_the_cpu_is_not_asked_for(monkeypatch):
    freed = []
    for name in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, name), "empty_cache", lambda name=name: freed.append(name))
    give_back_memory(CPU)
    assert freed == []


def test_every_stage_computes_inside_its_residence(tiny_pipeline, monkeypatch):
    inside, seen = [], []

    @contextmanager
    def recorded(module, device, *, offload):
        inside.append(module)
        yield
        inside.pop()

    for stage in ("text_encoder", "denoiser", "latent_decoder"):
        monkeypatch.setattr(f"llm_dit.stages.{stage}.resident", recorded)
    networks = (tiny_pipeline.text_encoder.model, tiny_pipeline.transformer, tiny_pipeline.decoder.vae.decoder)
    hooks = [network.register_forward_hook(lambda *_: seen.append(list(inside))) for network in networks]
    params = tiny_pipeline.resolve(GenerationParams.parse({"prompt": "A cat", "seed": 1, "num_inference_steps": 1}))
    tiny_pipeline.draw(params, tiny_pipeline.encode(params))
    for hook in hooks:
        hook.remove()
    assert seen == [[networks[0]], [networks[1]], [tiny_pipeline.decoder.vae]]
