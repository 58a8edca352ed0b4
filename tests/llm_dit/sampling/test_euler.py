"""Euler's method and guidance, against closed forms."""

import pytest
import torch

from llm_dit.errors import NonFiniteLatents
from llm_dit.sampling.euler import check_finite, guided, sample_euler
from llm_dit.sampling.schedule import schedule

SHAPE = (1, 16, 4, 4)


@pytest.mark.parametrize("steps", [1, 2, 9, 50])
def test_n_steps_are_n_evaluations(steps):
    calls = []

    def velocity(latents, model_time, step):
        calls.append((step, model_time.item()))
        return torch.zeros_like(latents)

    sigmas = schedule(steps, 3.0)
    sample_euler(velocity, torch.randn(SHAPE), sigmas)
    assert [step for step, _ in calls] == list(range(steps))
    assert [when for _, when in calls] == pytest.approx((1 - sigmas[:-1]).tolist())


def test_a_straight_flow_ends_exactly_at_its_image_in_any_number_of_steps():
    noise, image = torch.randn(SHAPE), torch.randn(SHAPE)
    for steps in (1, 3, 9):
        latents, is_finite = sample_euler(lambda *_: noise - image, noise, schedule(steps, 3.0))
        assert torch.allclose(latents, image, atol=1e-5), (latents - image).abs().max()
        assert is_finite.tolist() == [True] * steps


def test_the_estimate_of_a_straight_flow_is_its_image_at_every_step():
    noise, image = torch.randn(SHAPE), torch.randn(SHAPE)
    seen = []
    sample_euler(lambda *_: noise - image, noise, schedule(5, 3.0), seen.append)
    assert [(item.step, item.total) for item in seen] == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    for item in seen:
        assert torch.allclose(item.estimate, image, atol=1e-5)
    assert torch.allclose(seen[-1].latents, image, atol=1e-5)


def test_exponential_decay_follows_euler_by_hand():
    # d x / d sigma = x over sigmas 1, 0.5, 0: x -> x * (1 - 0.5) twice
    noise = torch.ones(SHAPE)
    latents, _ = sample_euler(lambda x, *_: x, noise, schedule(2, 1.0))
    assert torch.allclose(latents, noise * 0.25)


def test_what_on_step_raises_stops_the_sampling():
    calls = []

    def velocity(latents, model_time, step):
        calls.append(step)
        return latents

    def stop(info):
        if info.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_euler(velocity, torch.randn(SHAPE), schedule(9, 3.0), stop)
    assert calls == [0, 1, 2]


def test_a_non_finite_latent_names_its_first_step_and_the_way_out():
    def velocity(latents, model_time, step):
        return latents * (float("inf") if step == 4 else 1.0)

    _, is_finite = sample_euler(velocity, torch.randn(SHAPE), schedule(9, 3.0))
    with pytest.raises(NonFiniteLatents, match=r"after step 5 of 9; use dtype bfloat16 or float32"):
        check_finite(is_finite.tolist(), "float16")


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
