"""A model that moves from settings to settings: a kernel is no part of the weights, and changes without a loading."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llm_dit.acceleration import accelerate
from llm_dit.acceleration.accelerate import change_attention
from llm_dit.acceleration.evaluation_graphs import EvaluationGraphs
from llm_dit.model_in_use import ModelInUse
from llm_dit.networks.transformer import scaled_dot_product
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.pipeline import ZImagePipeline
from llm_dit.placement.planned_work import PlannedWork
from llm_dit.stages import loading

PARAMS = GenerationParams(prompt="A red apple", seed=1, height=64, width=64, num_inference_steps=2)


def doubled(query, key, value, mask):
    """Attend with scores of twice the height: another kernel whose pictures can't be mistaken."""
    return scaled_dot_product(query * 2, key, value, mask)


@pytest.fixture
def two_kernels(monkeypatch):
    """Let a CPU have `sage` beside `sdpa`."""
    functions = {"sdpa": scaled_dot_product, "sage": doubled}
    monkeypatch.setattr(accelerate, "choose_attention", lambda wanted, *_: "sdpa" if wanted == "auto" else wanted)
    monkeypatch.setattr(accelerate, "attention_function", functions.__getitem__)


def settings_for(checkpoint, **values):
    return EngineSettings(model_path=str(checkpoint), dit_device="cpu", text_encoder_device="cpu", **values)


def drawn(pipeline):
    return np.asarray(pipeline.generate(PARAMS).image)


def test_another_kernel_loads_nothing_and_draws_as_a_fresh_load_does(two_kernels, tiny_checkpoint):
    model = ModelInUse()
    pictures = {}
    for quantization in ("none", "int8"):
        for kernel in ("sdpa", "sage", "auto"):
            settings = settings_for(tiny_checkpoint, attention_backend=kernel, quantization=quantization)
            pipeline = model.pipeline(settings)
            pictures[quantization, kernel] = drawn(pipeline)
            assert pipeline.numerics["attention_backend"] == {"auto": "sdpa"}.get(kernel, kernel)
            assert np.array_equal(
                pictures[quantization, kernel], drawn(ZImagePipeline.from_pretrained(settings=settings))
            )
            del pipeline
        assert not np.array_equal(pictures[quantization, "sdpa"], pictures[quantization, "sage"])
        assert np.array_equal(pictures[quantization, "sdpa"], pictures[quantization, "auto"])
    assert model.loads == {"text_encoder": 1, "transformer": 2, "vae": 1}


def test_a_larger_image_is_placed_anew_and_a_smaller_one_is_not(tiny_checkpoint, monkeypatch):
    rooms = []
    placed = loading.plan_cards
    monkeypatch.setattr(
        loading, "plan_cards", lambda *args, **named: rooms.append(named["pixels"]) or placed(*args, **named)
    )
    model, settings = ModelInUse(), settings_for(tiny_checkpoint, compile="off")
    for pixels in (4096, 1024, 0, 8192, 4096):
        model.pipeline(settings, PlannedWork(pixels=pixels))
    assert rooms == [4096, 8192]


def test_a_kernel_that_is_compiled_in_is_loaded_with_its_transformer(two_kernels, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(accelerate, "compile_blocks", lambda *_, **__: None)
    monkeypatch.setattr(accelerate, "check_compiler", lambda _: None)
    monkeypatch.setattr("llm_dit.stages.loading.compile_decoder", lambda _: None)
    model = ModelInUse()
    for kernel in ("sdpa", "sage"):
        model.pipeline(settings_for(tiny_checkpoint, attention_backend=kernel, compile="on"))
    assert model.loads == {"text_encoder": 1, "transformer": 2, "vae": 1}


def test_evaluations_captured_with_the_kernel_before_are_let_go(two_kernels):
    graphs = EvaluationGraphs(torch.device("cpu"), 1.0)
    graphs.graphs[((1,),)], graphs.plain_evaluations[((1,),)], graphs.has_room = object(), 2, False
    block = SimpleNamespace(attention=SimpleNamespace(attend=scaled_dot_product))
    change_attention(SimpleNamespace(blocks=[block], graphs=graphs), "sage")
    assert block.attention.attend is doubled
    assert (len(graphs.graphs), graphs.plain_evaluations, graphs.has_room) == (0, {}, True)
