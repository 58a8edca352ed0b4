"""Sizes told before loading are those of what is loaded; a streamed pipeline draws the same picture."""

import logging
from itertools import chain

import numpy as np
import pytest
import torch

from benchmarks.bench_placement import all_streamed
from llm_dit import ZImagePipeline
from llm_dit.acceleration.accelerate import Acceleration
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.errors import DeviceError, InvalidParameter
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.placement.budget import GIB
from llm_dit.placement.planned_work import PlannedWork
from llm_dit.stages.card_plans import WORKSPACE, card_lines, network_sizes, plan_cards, working_bytes
from llm_dit.stages.loading import Placement, memory_sentence

CPU = {"dit_device": "cpu", "text_encoder_device": "cpu", "compile": "off"}
CARD = torch.device("cuda", 0)
GUIDED = {"prompt": "A red apple", "seed": 3, "steps": 3, "guidance_scale": 1.5, "negative_prompt": "fog"}


def held(module):
    return sum(tensor.nbytes for tensor in chain(module.parameters(), module.buffers()))


def pixels(pipeline, **values):
    return np.asarray(pipeline.generate(GenerationParams.parse(GUIDED | values)).image)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_sizes_are_those_of_the_loaded_networks(tiny_checkpoint, quantization, dtype):
    settings = EngineSettings(
        model_path=str(tiny_checkpoint),
        quantization=quantization,
        text_encoder_quantization=quantization,
        dtype=dtype,
        text_encoder_dtype=dtype,
        **CPU,
    )
    pipeline = ZImagePipeline.from_pretrained(settings=settings)
    itemsize = getattr(torch, dtype).itemsize
    sizes = network_sizes(pipeline.parts, settings, dict.fromkeys(("vae", "transformer", "text_encoder"), itemsize))
    networks = {
        "vae": pipeline.decoder.vae,
        "transformer": pipeline.transformer,
        "text_encoder": pipeline.text_encoder.model,
    }
    for name, network in networks.items():
        scales = [tensor for key, tensor in network.named_buffers() if key.endswith(".scale")]
        assert sizes[name].total == held(network) - sum(scale.nbytes for scale in scales), name
    assert len(sizes["transformer"].blocks) == len(pipeline.transformer.stream_order)
    assert sizes["transformer"].guests == len(pipeline.transformer.context_refiner)
    assert sizes["text_encoder"].spare == pipeline.text_encoder.model.embed_tokens.weight.nbytes


@pytest.mark.parametrize("settings", [{}, {"quantization": "int8", "text_encoder_quantization": "int8"}], ids=str)
def test_a_streamed_pipeline_draws_the_same_picture(tiny_checkpoint, settings):
    resident = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU, **settings)
    with all_streamed():
        streamed = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU, **settings)
    assert streamed.denoiser.stream is not None
    assert streamed.text_encoder.stream is not None
    assert np.array_equal(pixels(streamed), pixels(resident))
    assert np.array_equal(pixels(streamed, height=96, seed=4), pixels(resident, height=96, seed=4))
    assert streamed.numerics == resident.numerics


def test_streamed_layers_encode_prompts_together_to_the_bits_that_they_have_alone(tiny_checkpoint, monkeypatch):
    resident = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU).text_encoder
    with all_streamed():
        streamed = ZImagePipeline.from_pretrained(str(tiny_checkpoint), **CPU).text_encoder
    texts = [f"A cat with {number} hats" * (number + 1) for number in range(7)]
    each = streamed.count_tokens(texts[-1]) * streamed.width * 4 * 3
    monkeypatch.setattr("llm_dit.stages.text_encoder.STATE_BYTES", 3 * each)
    assert max(len(group) for group in streamed._together(texts, 2)) > 1
    assert [len(group) for group in resident._together(texts, 2)] == [1] * 7
    for alone, together in zip(
        resident.encode_formatted(texts, [-1, -2]), streamed.encode_formatted(texts, [-1, -2]), strict=True
    ):
        assert alone.formatted_prompt == together.formatted_prompt
        for layer in (-1, -2):
            assert torch.equal(alone.embeddings[layer], together.embeddings[layer])


def places(dtype=torch.bfloat16):
    return dict.fromkeys(("vae", "transformer", "text_encoder"), (CARD, dtype))


def test_a_limit_decides_and_says_what_is_streamed(tiny_checkpoint, caplog):
    settings = EngineSettings(model_path=str(tiny_checkpoint), vram_limit=1)
    parts = find_parts(settings)
    assert plan_cards(parts, settings, places())[CARD].streamed["transformer"] == ()
    sizes = network_sizes(parts, settings, dict.fromkeys(places(), 2))
    work = max(working_bytes(parts, 64 * 64, dict.fromkeys(places(), 2)).values())
    weights = sum(size.total for size in sizes.values())
    short = settings.model_copy(update={"vram_limit": (work + weights - 1) / GIB})
    with caplog.at_level(logging.INFO):
        plan = plan_cards(parts, short, places())[CARD]
    assert plan.streamed["text_encoder"] != ()
    assert (
        f"{len(plan.streamed['text_encoder'])} layers of the text encoder wait in the computer's memory" in caplog.text
    )


def test_room_is_kept_for_the_largest_image_that_is_planned(tiny_checkpoint):
    settings = EngineSettings(model_path=str(tiny_checkpoint), vram_limit=1)
    parts = find_parts(settings)
    sizes = network_sizes(parts, settings, dict.fromkeys(places(), 2))
    weights = sum(size.total for size in sizes.values())

    def work(side):
        return max(working_bytes(parts, side * side, dict.fromkeys(places(), 2)).values())

    fits_native = settings.model_copy(update={"vram_limit": (work(64) + weights) / GIB})
    plans = {side: plan_cards(parts, fits_native, places(), pixels=side * side)[CARD] for side in (0, 32, 64, 2048)}
    assert [plan.working for plan in plans.values()] == [work(64), work(64), work(64), work(2048)]
    assert plans[0] == plans[32] == plans[64]
    assert plans[64].streamed == {"vae": (), "transformer": (), "text_encoder": ()}
    assert plans[2048].streamed["text_encoder"] != ()
    assert not plans[2048].fits
    fits_large = settings.model_copy(update={"vram_limit": (work(2048) + weights) / GIB})
    assert plan_cards(parts, fits_large, places(), pixels=2048 * 2048)[CARD].streamed == plans[64].streamed


def test_a_network_on_another_device_takes_nothing_of_the_card(tiny_checkpoint):
    settings = EngineSettings(model_path=str(tiny_checkpoint), vram_limit=1)
    parts = find_parts(settings)
    apart = places() | {"text_encoder": (torch.device("cpu"), torch.float32)}
    sizes = network_sizes(parts, settings, dict.fromkeys(places(), 2))
    assert plan_cards(parts, settings, apart)[CARD].resident == sizes["vae"].total + sizes["transformer"].total
    nowhere = dict.fromkeys(places(), (torch.device("cpu"), torch.float32))
    assert plan_cards(parts, settings, nowhere) == {}


def test_decoding_in_bands_needs_less(tiny_checkpoint):
    parts = find_parts(EngineSettings(model_path=str(tiny_checkpoint)))
    whole, bands = (
        working_bytes(parts, 1024 * 1024, dict.fromkeys(places(), 2), tiling=tiling)["vae"] - WORKSPACE
        for tiling in (False, True)
    )
    channels = 8  # of the checkpoint's widest map
    assert (whole, bands) == (12 * channels * 1024 * 1024 * 2, 4 * channels * 1024 * 1024 * 2)


def test_a_card_that_can_hold_nothing_and_graphs_without_room_are_refused(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("llm_dit.stages.loading.place_stages", lambda *_: ON_A_CARD)
    monkeypatch.setattr("llm_dit.stages.card_plans._limit", lambda *_: 10 << 20)
    settings = EngineSettings(model_path=str(tiny_checkpoint), vram_limit=1)
    with pytest.raises(InvalidParameter, match=r"vram_limit leaves 0\.0 GiB, and this model needs 0\.3 with"):
        ZImagePipeline.from_pretrained(settings=settings)
    with all_streamed(), pytest.raises(DeviceError, match="cuda_graphs = on needs all weights on the card"):
        ZImagePipeline.from_pretrained(str(tiny_checkpoint), cuda_graphs="on")


def test_a_forecast_says_what_will_be_streamed(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("llm_dit.stages.loading.place_stages", lambda *_: ON_A_CARD)
    settings = EngineSettings(model_path=str(tiny_checkpoint), vram_limit=1)
    assert memory_sentence(settings) == "cuda:0: all weights stay"
    with pytest.raises(InvalidParameter, match=r"vram_limit leaves 1\.0 GiB, and this model needs 3\.3 with"):
        memory_sentence(settings, PlannedWork(pixels=4096 * 4096))
    with all_streamed():
        blocks = "4 blocks of the transformer and 6 layers of the text encoder"
        assert memory_sentence(settings) == f"cpu: {blocks} wait in the computer's memory and are streamed"


ON_A_CARD = Placement(**places(), acceleration=Acceleration("sdpa", "off", "none"))
"""A placement on a card that this machine need not have."""


def test_a_model_says_what_a_card_of_each_size_does_with_it():
    lines = list(card_lines(find_parts(EngineSettings(model_path="mini"))))
    assert lines[0].startswith("on a card, at 128 x 128")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["6 GiB", "8 GiB", "12 GiB", "16 GiB", "24 GiB"]
    assert all("bfloat16 stays (0.0 GiB); float8 or int8 stays (0.0 GiB)" in line for line in lines[1:])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "settings", [{}, {"compile": "on"}, {"quantization": "float8"}, {"quantization": "int8"}], ids=str
)
def test_on_a_card_a_streamed_pipeline_draws_the_same_picture(settings):
    settings = {"compile": "off"} | settings
    resident = ZImagePipeline.from_pretrained("mini", dit_device="cuda", text_encoder_device="cuda", **settings)
    with all_streamed():
        streamed = ZImagePipeline.from_pretrained("mini", dit_device="cuda", text_encoder_device="cuda", **settings)
    for seed in range(3):
        assert np.array_equal(pixels(streamed, seed=seed), pixels(resident, seed=seed))
