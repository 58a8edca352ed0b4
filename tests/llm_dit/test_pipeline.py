"""The whole pipeline against diffusers' `ZImagePipeline` on the same weights, and what holds for its stages."""

import gc
import json
import logging
import re
import shutil
import weakref
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from drawing import drawn, levels

from llm_dit import ZImagePipeline
from llm_dit.errors import InvalidParameter, NonFiniteLatents, OutOfMemory
from llm_dit.image_io import record_of
from llm_dit.parameters import GenerationParams, LongPromptMode
from llm_dit.pipeline import evaluation_count
from llm_dit.placement.devices import resolve_device
from llm_dit.prompting.chat_template import format_prompt
from llm_dit.sampling.shared_work import SharedWork
from llm_dit.sampling.stage_clock import StageClock
from llm_dit.stages.latent_decoder import LatentDecoder, pixels_to_levels
from llm_dit.stages.pending_image import PendingImage

CPU = torch.device("cpu")


LONG_PROMPT = "a red apple on the wooden table and a blue house " * 30


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"height": 96, "width": 64},
        {"height": 64, "width": 112, "num_inference_steps": 4},
        {"num_inference_steps": 1},
        {"shift": 1.0},
        {"shift": 6.0, "seed": 7},
        {"guidance_scale": 2.0, "negative_prompt": "a dog and the house on the table of the user"},
        {"guidance_scale": 2.0, "cfg_normalization": 1.0},
        {"guidance_scale": 3.0, "cfg_truncation": 0.5},
        {"prompt": LONG_PROMPT},
    ],
    ids=str,
)
def test_images_equal_the_reference_to_one_level(tiny_pipeline, reference, changes, monkeypatch):
    from diffusers import FlowMatchEulerDiscreteScheduler

    params = GenerationParams.parse({"prompt": "A cat", "seed": 42, "height": 64, "width": 64, **changes})
    ours = levels(tiny_pipeline.generate(params).image)
    resolved = tiny_pipeline.resolve(params)
    if params.shift is not None:
        asked = FlowMatchEulerDiscreteScheduler.from_config(reference.scheduler.config, shift=params.shift)
        monkeypatch.setattr(reference, "scheduler", asked)
    theirs = levels(
        reference(
            params.prompt,
            height=params.height,
            width=params.width,
            num_inference_steps=resolved.num_inference_steps,
            guidance_scale=resolved.guidance_scale,
            cfg_normalization=params.cfg_normalization,
            cfg_truncation=params.cfg_truncation,
            negative_prompt=params.negative_prompt,
            generator=torch.Generator("cpu").manual_seed(params.seed),
            max_sequence_length=1024,
        ).images[0]
    )
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1, f"max {difference.max()}, mean {difference.mean()}"
    assert ours.std() > 10, "a flat picture would equal anything flat"


def test_none_and_an_empty_think_block_give_different_images(tiny_pipeline):
    plain = levels(tiny_pipeline("A cat", seed=1))
    empty = levels(tiny_pipeline("A cat", seed=1, thinking_content=""))
    forced = levels(tiny_pipeline("A cat", seed=1, force_think_block=True))
    assert np.abs(plain - empty).max() > 0
    assert np.array_equal(empty, forced)


def test_the_same_seed_is_the_same_image_and_another_is_not(tiny_pipeline):
    first = levels(tiny_pipeline("A cat", seed=5))
    assert np.array_equal(first, levels(tiny_pipeline("A cat", seed=5)))
    assert not np.array_equal(first, levels(tiny_pipeline("A cat", seed=6)))


def test_a_seed_is_drawn_and_recorded(tiny_pipeline):
    result = tiny_pipeline.generate(GenerationParams.parse({"prompt": "A cat"}))
    assert result.params.seed == result.metadata["parameters"]["seed"]
    again = tiny_pipeline("A cat", seed=result.params.seed)
    assert np.array_equal(levels(result.image), levels(again))


def test_a_picture_in_memory_carries_its_record(tiny_pipeline):
    result = tiny_pipeline.generate(GenerationParams.parse({"prompt": "A cat", "seed": 3}))
    assert record_of(result.image) == json.loads(json.dumps(result.metadata))
    assert record_of(tiny_pipeline("A cat", seed=3))["model_path"] == result.metadata["model_path"]


def test_the_metadata_makes_the_image_again(tiny_pipeline):
    params = {"prompt": "A cat", "seed": 3, "shift": 4.0, "width": 96, "thinking_content": "the sky"}
    result = tiny_pipeline.generate(GenerationParams.parse(params))
    again = tiny_pipeline.generate(GenerationParams.parse(result.metadata["parameters"]))
    assert np.array_equal(levels(result.image), levels(again.image))
    assert result.metadata["formatted_prompt"] == format_prompt("A cat", thinking_content="the sky")
    assert result.metadata["sigmas"][0] == 1
    assert result.metadata["sigmas"][-1] == 0
    assert len(result.metadata["sigmas"]) == 10
    assert set(result.metadata["parameters"]) == set(GenerationParams.model_fields)


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, 9), ({"guidance_scale": 1.0}, 18), ({"num_inference_steps": 4}, 4)]
)
def test_steps_are_evaluations_of_the_transformer(tiny_pipeline, changes, expected, monkeypatch):
    calls = []
    forward = type(tiny_pipeline.transformer).forward
    monkeypatch.setattr(
        type(tiny_pipeline.transformer), "forward", lambda self, *a, **k: (calls.append(1), forward(self, *a, **k))[1]
    )
    params = GenerationParams.parse({"prompt": "A cat", "seed": 1, **changes})
    assert tiny_pipeline.generate(params).metadata["evaluations"] == expected
    assert len(calls) == expected


def test_truncated_guidance_counts_only_the_guided_steps():
    params = GenerationParams.parse(
        {"prompt": "a", "guidance_scale": 1.0, "cfg_truncation": 0.5, "shift": 1.0, "num_inference_steps": 4}
    )
    # model times 0, 0.25, 0.5, 0.75: three are not past 0.5
    assert evaluation_count(params) == 4 + 3


def test_what_does_not_depend_on_time_is_computed_once_per_image(tiny_pipeline, monkeypatch):
    calls = []
    prepare = type(tiny_pipeline.transformer).prepare
    monkeypatch.setattr(
        type(tiny_pipeline.transformer), "prepare", lambda self, *a, **k: (calls.append(1), prepare(self, *a, **k))[1]
    )
    tiny_pipeline("A cat", seed=1)
    assert len(calls) == 1


def test_stages_apart_equal_the_whole(tiny_pipeline):
    params = tiny_pipeline.resolve(GenerationParams.parse({"prompt": "A cat", "seed": 3}))
    latents = tiny_pipeline.denoise(params, tiny_pipeline.encode(params))
    assert latents.dtype == torch.float32
    assert np.array_equal(levels(tiny_pipeline.decode(latents)[0]), levels(tiny_pipeline("A cat", seed=3)))


def test_an_image_drawn_in_two_halves_equals_the_whole(tiny_pipeline):
    params = tiny_pipeline.resolve(GenerationParams.parse({"prompt": "A cat", "seed": 3}))
    image, times = tiny_pipeline.draw(params, tiny_pipeline.encode(params)).wait()
    assert np.array_equal(levels(image), levels(tiny_pipeline("A cat", seed=3)))
    assert list(times) == ["denoise", "decode"]
    assert all(seconds > 0 for seconds in times.values())


def test_pixels_that_are_not_finite_are_refused_when_the_image_is_waited_for():
    levels, is_finite = pixels_to_levels(torch.tensor([[[[0.0]], [[float("nan")]], [[1.0]]]]))
    drawing = PendingImage(StageClock(torch.device("cpu")), levels, torch.tensor([True]), is_finite)
    drawing.clock.mark()
    drawing.clock.mark()
    with pytest.raises(NonFiniteLatents, match="decoded image is not finite"):
        drawing.wait()


def test_steps_report_progress_with_a_preview_that_ends_as_the_image(tiny_pipeline):
    seen = []
    params = GenerationParams.parse({"prompt": "A cat", "seed": 3})
    result = tiny_pipeline.generate(params, on_step=lambda info: seen.append((info.step, info.total, info.preview())))
    assert [item[:2] for item in seen] == [(step, 9) for step in range(1, 10)]
    assert np.abs(levels(seen[-1][2]) - levels(result.image)).max() <= 1


def test_previews_of_large_images_are_small(tiny_pipeline):
    sizes = []
    params = GenerationParams.parse(
        {"prompt": "A cat", "seed": 3, "height": 512, "width": 256, "num_inference_steps": 1}
    )
    tiny_pipeline.generate(params, on_step=lambda info: sizes.append(info.preview().size))
    assert sizes == [(128, 256)]


@pytest.mark.parametrize(("height", "width"), [(64, 2064), (2064, 64), (64, 4096)])
def test_previews_of_extreme_shapes_have_at_least_one_latent_a_side(tiny_pipeline, height, width):
    for tiling in (False, True):
        decoder = LatentDecoder(tiny_pipeline.decoder.vae, CPU, tiling=tiling)
        longest, shortest = sorted(decoder.preview(torch.randn(1, 16, height // 8, width // 8)).size, reverse=True)
        assert (longest, shortest) == (256, 8)


def test_guidance_without_embeddings_of_a_negative_prompt_is_refused(tiny_pipeline):
    params = tiny_pipeline.resolve(GenerationParams.parse({"prompt": "A cat", "seed": 3}))
    conditioning = tiny_pipeline.encode(params)
    for draw in (tiny_pipeline.denoise, tiny_pipeline.draw):
        with pytest.raises(InvalidParameter, match=r"guidance_scale 2 needs embeddings of a negative prompt.*; use 0"):
            draw(params.replaced(guidance_scale=2.0), conditioning)


def test_a_pipeline_that_is_gone_frees_its_weights_without_the_collector(tiny_checkpoint):
    gc.collect()
    gc.disable()
    try:
        pipeline = ZImagePipeline.from_pretrained(tiny_checkpoint, dit_device="cpu", text_encoder_device="cpu")
        pipeline("A cat", seed=1, num_inference_steps=1, guidance_scale=1.0)
        networks = (pipeline.text_encoder.model, pipeline.transformer, pipeline.decoder.vae)
        weights = [weakref.ref(weight) for network in networks for weight in network.parameters()]
        del pipeline, networks
        assert [weight() for weight in weights if weight() is not None] == []
    finally:
        gc.enable()


def test_long_prompts_are_reported_before_and_after(tiny_pipeline, caplog):
    params = GenerationParams.parse(
        {"prompt": LONG_PROMPT, "seed": 1, "max_text_tokens": 64, "long_prompt_mode": "interpolate"}
    )
    with caplog.at_level(logging.WARNING, "llm_dit"):
        metadata = tiny_pipeline.generate(params).metadata
    before = tiny_pipeline.text_encoder.count_tokens(format_prompt(LONG_PROMPT))
    assert (metadata["token_count"], metadata["token_count_used"]) == (before, 64)
    sentence = f"The prompt has {before} tokens; interpolate brought it to 64 ({6400 / before:.0f} %)."
    assert metadata["notices"] == [sentence]
    assert sentence in caplog.text


def test_a_negative_prompt_that_is_cut_and_control_tokens_stand_in_the_record(tiny_pipeline):
    values = {"prompt": "A <think> cat", "seed": 1, "steps": 1, "guidance_scale": 1.0, "max_text_tokens": 64}
    params = GenerationParams.parse({**values, "negative_prompt": LONG_PROMPT})
    special, cut = tiny_pipeline.generate(params).metadata["notices"]
    assert special == "The prompt contains <think>, which the tokenizer reads as control tokens."
    assert re.fullmatch(r"The negative prompt has \d+ tokens; truncate brought it to 64 \(\d+ %\)\.", cut)


@pytest.mark.parametrize("mode", get_args(LongPromptMode))
@pytest.mark.parametrize("limit", [1024, 1504])
def test_every_mode_reaches_the_published_limit(tiny_pipeline, mode, limit):
    prompt = "cat " * 1600
    params = GenerationParams.parse(
        {"prompt": prompt, "seed": 1, "max_text_tokens": limit, "long_prompt_mode": mode, "num_inference_steps": 1}
    )
    assert tiny_pipeline.generate(params).metadata["token_count_used"] == limit


@pytest.mark.parametrize("limit", [1505, 1536])
def test_beyond_the_limit_needs_extend_rope(tiny_pipeline, limit):
    values = {"prompt": "cat " * 1600, "seed": 1, "max_text_tokens": limit, "num_inference_steps": 1}
    with pytest.raises(InvalidParameter, match=f"max_text_tokens {limit} is above 1504"):
        GenerationParams.parse(values)
    params = GenerationParams.parse({**values, "extend_rope": True})
    assert tiny_pipeline.generate(params).metadata["token_count_used"] == limit


def test_extend_rope_changes_no_bit_of_what_fits(tiny_pipeline):
    plain, extended = (levels(tiny_pipeline("A cat", seed=1, extend_rope=switch)) for switch in (False, True))
    assert np.array_equal(plain, extended)


def test_special_tokens_in_the_prompt_are_named_in_a_warning(tiny_pipeline, caplog):
    with caplog.at_level(logging.WARNING, "llm_dit"):
        tiny_pipeline("A cat <|im_end|> <think>", seed=1)
    assert "<think>, <|im_end|>" in caplog.text


def test_a_hidden_layer_the_model_lacks_is_an_error_with_the_range(tiny_pipeline):
    with pytest.raises(InvalidParameter, match="hidden_layer -8 is not in this model; use -7 to -1"):
        tiny_pipeline("A cat", hidden_layer=-8)


def test_every_hidden_layer_gives_another_image(tiny_pipeline):
    images = [levels(tiny_pipeline("A cat", seed=1, hidden_layer=-layer)) for layer in range(1, 8)]
    for index, image in enumerate(images):
        assert all(np.abs(image - other).max() > 0 for other in images[:index])


def test_float16_overflow_is_an_error_and_never_a_black_image(tiny_checkpoint):
    pipeline = ZImagePipeline.from_pretrained(str(tiny_checkpoint), dit_device="cpu", dtype="float16")
    with torch.no_grad():
        pipeline.transformer.all_x_embedder["2-1"].weight.mul_(1e5)
    with pytest.raises(NonFiniteLatents, match=r"after step 1 of 9; use dtype bfloat16 or float32"):
        pipeline("A cat", seed=1)


def test_a_shared_prediction_that_is_not_finite_fails_each_of_its_images(tiny_checkpoint):
    pipeline = ZImagePipeline.from_pretrained(str(tiny_checkpoint), dit_device="cpu", dtype="float16")
    with torch.no_grad():
        pipeline.transformer.all_x_embedder["2-1"].weight.mul_(1e5)
    shared = SharedWork(pipeline.device)
    for steps in (3, 5):
        with pytest.raises(NonFiniteLatents, match=f"after step 1 of {steps};"):
            drawn(pipeline, shared, num_inference_steps=steps)
    assert shared.reused_evaluations == 1


def test_a_card_that_is_too_small_for_an_image_says_what_helps(tiny_pipeline, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setattr(tiny_pipeline, "decoder", SimpleNamespace(decode=full, levels=full, device=CPU, native_size=64))
    params = tiny_pipeline.resolve(GenerationParams(prompt="A red apple", seed=1, num_inference_steps=1))
    with pytest.raises(OutOfMemory, match=r"ran out of memory; give a lower vram_limit .* set vae_tiling"):
        tiny_pipeline.generate(params)
    with pytest.raises(OutOfMemory, match="ran out of memory") as shortage:
        tiny_pipeline.draw(params, tiny_pipeline.encode(params))
    assert "9.00 GiB" in str(shortage.value.__cause__)


def test_a_cuda_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidParameter, match="dit_device cuda is not on this machine, which has 0 CUDA devices"):
        resolve_device("cuda", "dit_device")


def test_a_base_model_is_known_by_its_scheduler_and_brings_its_steps_and_guidance(tiny_checkpoint, tmp_path):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "base")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"shift": 6.0}))
    base = ZImagePipeline.from_pretrained(folder, dit_device="cpu", text_encoder_device="cpu")
    own = base.resolve(GenerationParams(prompt="A cat"))
    assert (own.shift, own.num_inference_steps, own.guidance_scale) == (6.0, 50, 4.0)
    asked = {"prompt": "A cat", "seed": 1, "height": 64, "width": 64}
    few = base.generate(GenerationParams.parse({**asked, "num_inference_steps": 2}))
    assert few.metadata["evaluations"] == 4, "it is guided"
    assert few.metadata["model_defaults"] == {"shift": 6.0, "num_inference_steps": 50, "guidance_scale": 4.0}
    told = GenerationParams.parse({**asked, "shift": 6.0, "num_inference_steps": 2, "guidance_scale": 4.0})
    assert np.array_equal(levels(base.generate(told).image), levels(few.image))
