"""In which steps guidance acts, against the reference's own arithmetic."""

import random

import pytest
import torch

from llm_dit.parameters import GenerationParams
from llm_dit.sampling.guidance import evaluation_count, guided, guided_steps, reference_model_times
from llm_dit.sampling.schedule import schedule

SHAPE = (1, 16, 4, 4)


def params(**values):
    return GenerationParams.parse({"prompt": "A cat", "num_inference_steps": 4, "shift": 1.0, **values})


def reference_times(steps, shift):
    """Model times as `ZImagePipeline.__call__` computes them from its scheduler's timesteps."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.z_image.pipeline_z_image import get_default_z_image_sigmas

    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=get_default_z_image_sigmas(steps), mu=0.5)
    return ((1000 - scheduler.timesteps.float()) / 1000).tolist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"guidance_scale": 0.0}, [False] * 4),
        ({"guidance_scale": 1.0}, [True] * 4),
        # model times 0, 0.25, 0.5, 0.75
        ({"guidance_scale": 1.0, "cfg_truncation": 0.5}, [True, True, True, False]),
        ({"guidance_scale": 1.0, "cfg_truncation": 0.0}, [True, False, False, False]),
    ],
    ids=str,
)
def test_guidance_acts_up_to_the_truncation(changes, expected):
    assert guided_steps(params(**changes)) == expected
    assert evaluation_count(params(**changes)) == 4 + sum(expected)


def test_model_times_are_the_references_to_the_last_bit():
    draw = random.Random(7)
    shifts = [0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 10.0, *(draw.uniform(0.01, 100) for _ in range(3))]
    for steps in range(1, 1001):
        shift = shifts[steps % len(shifts)]
        assert reference_model_times(steps, shift) == reference_times(steps, shift), (steps, shift)


def test_every_round_truncation_stops_guidance_where_the_reference_does():
    differs_from_one_minus_sigma = 0
    for steps in range(1, 51):
        for shift in (1.0, 2.0, 3.0, 4.0, 6.0):
            times = reference_times(steps, shift)
            ours = (1 - schedule(steps, shift)[:-1]).tolist()
            for hundredths in range(0, 100, 5):
                truncation = hundredths / 100
                made = guided_steps(
                    params(num_inference_steps=steps, shift=shift, guidance_scale=4.0, cfg_truncation=truncation)
                )
                assert made == [time <= truncation for time in times], (steps, shift, truncation)
                differs_from_one_minus_sigma += made != [time <= truncation for time in ours]
    assert differs_from_one_minus_sigma > 50, "otherwise 1 - sigma would do"


def test_planning_without_truncated_guidance_needs_no_torch(monkeypatch):
    monkeypatch.setattr(torch, "linspace", None)
    assert evaluation_count(params(guidance_scale=4.0)) == 8


def test_guidance_is_pos_plus_s_times_the_difference():
    positive, negative = torch.full(SHAPE, 2.0), torch.full(SHAPE, 0.5)
    assert torch.equal(guided(positive, negative, 2.0, 0.0), torch.full(SHAPE, 5.0))


def test_normalization_limits_the_norm_to_that_of_the_positive_prediction():
    positive, negative = torch.full(SHAPE, 2.0), torch.full(SHAPE, 0.5)
    assert torch.allclose(guided(positive, negative, 2.0, 1.0), positive)
    assert torch.allclose(guided(positive, negative, 2.0, 1.5), torch.full(SHAPE, 3.0))


def test_normalization_leaves_a_smaller_norm_alone():
    positive, negative = torch.full(SHAPE, 2.0), torch.full(SHAPE, 2.5)
    assert torch.equal(guided(positive, negative, 1.0, 1.0), torch.full(SHAPE, 1.5))


def test_normalization_acts_on_each_image_alone():
    positive = torch.cat([torch.full(SHAPE, 1.0), torch.full(SHAPE, 4.0)])
    negative = torch.zeros_like(positive)
    both = guided(positive, negative, 1.0, 1.0)
    assert torch.allclose(both, positive)
