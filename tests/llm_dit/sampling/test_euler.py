"""Euler's method and guidance, against closed forms."""

import pytest
import torch

from llm_dit.errors import NonFiniteLatents
from llm_dit.sampling.euler import check_finite, sample_euler
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
