"""Pictures equal diffusers' `ZImagePipeline` over the whole range of its arguments, from folders with any scheduler.

200 settings are drawn from a seed, not chosen. The reference keeps the scheduler that its folder brings, set to another
shift only where the setting asks for one.
"""

import random
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from llm_dit import ZImagePipeline
from llm_dit.parameters import GenerationParams

SETTINGS = 200
SCHEDULERS = {
    "turbo": {"shift": 3.0},
    "base": {"shift": 6.0},
    "linear": {"shift": 1.0},
    "dynamic": {"use_dynamic_shifting": True},
    "dynamic, linear": {"use_dynamic_shifting": True, "time_shift_type": "linear", "max_shift": 2.5},
}
PROMPTS = ("A cat", "a red apple on the wooden table", "the dog and the house " * 12)


def drawn_settings():
    """Draw the settings: scheduler's name and what differs from the defaults."""
    draw = random.Random(16)
    for _ in range(SETTINGS):
        values = {
            "prompt": draw.choice(PROMPTS),
            "seed": draw.randrange(2**32),
            "height": draw.choice((64, 64, 80, 112)),
            "width": draw.choice((64, 64, 80, 112)),
            "num_inference_steps": draw.choice((1, 1, 2, 2, 3, 4)),
            "hidden_layer": draw.choice((-2, -2, -2, -1, -3, -7)),
            "guidance_scale": 0.0,
        }
        if draw.random() < 0.5:
            values["shift"] = draw.choice((0.5, 1.0, 2.0, 3.0, 7.0, round(draw.uniform(0.1, 20), 2)))
        if draw.random() < 0.6:
            values["guidance_scale"] = draw.choice((0.5, 1.0, 4.0, 12.0, round(draw.uniform(0.1, 15), 2)))
            values["cfg_truncation"] = draw.choice((1.0, 0.0, draw.randrange(21) / 20, draw.random()))
            values["cfg_normalization"] = draw.choice((0.0, 0.0, 1.0, round(draw.uniform(0.2, 2), 2)))
            values["negative_prompt"] = draw.choice(("", "a dog and the sky", PROMPTS[2]))
        yield draw.choice(list(SCHEDULERS)), values


@pytest.fixture(scope="module")
def folders(tiny_checkpoint, tmp_path_factory):
    """The tiny checkpoint with each scheduler."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    made = {}
    for name, config in SCHEDULERS.items():
        folder = tmp_path_factory.mktemp("schedulers") / "tiny"
        shutil.copytree(tiny_checkpoint, folder)
        FlowMatchEulerDiscreteScheduler(**config).save_pretrained(folder / "scheduler")
        made[name] = folder
    return made


@pytest.fixture(scope="module")
def schedulers(folders):
    from diffusers import FlowMatchEulerDiscreteScheduler

    return {
        name: FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler") for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def pipelines(folders):
    return {name: ZImagePipeline.from_pretrained(str(folder), dit_device="cpu") for name, folder in folders.items()}


def test_the_settings_reach_every_corner():
    settings = list(drawn_settings())
    assert len(settings) == SETTINGS
    assert set(Counter(name for name, _ in settings)) == set(SCHEDULERS)
    assert sum(0 < values.get("cfg_truncation", 1) < 1 for _, values in settings) > 40
    assert sum("shift" not in values for _, values in settings) > 60


@pytest.mark.parametrize(
    "part", [range(20), pytest.param(range(20, SETTINGS), marks=pytest.mark.slow)], ids=["the first", "the others"]
)
def test_two_hundred_drawn_settings_equal_the_reference_to_one_level(
    part, pipelines, schedulers, reference, monkeypatch
):
    worst = {}
    settings = list(drawn_settings())
    for index in part:
        name, values = settings[index]
        params = GenerationParams.parse(values)
        ours = np.asarray(pipelines[name].generate(params).image).astype(int)
        theirs = reference_picture(reference, schedulers[name], params, monkeypatch)
        difference = np.abs(ours - theirs)
        worst[index] = difference.max(), difference.mean(), name, values
    far = [found for found in worst.values() if found[0] > 1]
    assert not far, f"{len(far)} of {len(part)}, such as {far[:3]}"


def reference_picture(reference, scheduler, params, monkeypatch):
    """Draw with diffusers; another hidden layer is handed over as the one it takes."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = dict(scheduler.config)
    if params.shift is not None:
        config |= {"shift": params.shift, "use_dynamic_shifting": False}
    monkeypatch.setattr(reference, "scheduler", FlowMatchEulerDiscreteScheduler.from_config(config))
    embeds, negative_embeds = (
        reference_embeddings(reference, text, params.hidden_layer) for text in (params.prompt, params.negative_prompt)
    )
    image = reference(
        prompt_embeds=[embeds],
        negative_prompt_embeds=[negative_embeds],
        height=params.height,
        width=params.width,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        cfg_normalization=params.cfg_normalization,
        cfg_truncation=params.cfg_truncation,
        generator=torch.Generator("cpu").manual_seed(params.seed),
    ).images[0]
    return np.asarray(image).astype(int)


@torch.inference_mode()
def reference_embeddings(reference, text, hidden_layer):
    """Do as `ZImagePipeline._encode_prompt` does, which takes layer -2 always, [L, D]."""
    formatted = reference.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=True
    )
    inputs = reference.tokenizer([formatted], return_tensors="pt")
    states = reference.text_encoder(**inputs, output_hidden_states=True).hidden_states
    return states[hidden_layer][0]
