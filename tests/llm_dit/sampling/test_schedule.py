"""Noise levels, against closed forms and the reference scheduler."""

import numpy as np
import pytest
import torch

from llm_dit.errors import InvalidParameter
from llm_dit.sampling.schedule import linear_sigmas, schedule, shift_sigmas


def test_linear_sigmas_fall_from_one_to_exactly_zero():
    assert linear_sigmas(4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_shift_one_is_the_identity():
    assert torch.equal(shift_sigmas(linear_sigmas(9), 1.0), linear_sigmas(9))


def test_shift_three_follows_the_closed_form():
    # 3 * 0.5 / (1 + 2 * 0.5) = 0.75
    assert schedule(2, 3.0).tolist() == [1.0, 0.75, 0.0]


@pytest.mark.parametrize("shift", [0.3, 1.0, 3.0, 10.0])
def test_zero_and_one_are_fixed_points_and_the_levels_fall(shift):
    sigmas = schedule(20, shift)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 9, 50])
def test_every_schedule_of_a_usual_shift_starts_at_exactly_one(steps):
    assert {schedule(steps, quarters / 4)[0].item() for quarters in range(1, 401)} == {1.0}


def test_the_first_level_follows_from_the_shift_alone_and_is_one_but_for_rounding():
    for hundredths in range(1, 1001):
        (first,) = {schedule(steps, hundredths / 100)[0].item() for steps in (1, 9, 50)}
        assert abs(first - 1) <= 1e-6, hundredths


@pytest.mark.parametrize(("steps", "shift"), [(1, 3.0), (4, 1.0), (9, 3.0), (50, 6.0)])
def test_schedule_equals_the_reference_scheduler(steps, shift):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1.0, 1 / steps, steps).tolist())
    difference = np.abs(scheduler.sigmas.numpy() - schedule(steps, shift).numpy())
    assert difference.max() < 1e-6, f"max {difference.max()}, mean {difference.mean()}"


@pytest.mark.parametrize("shift", [0.0, -1.0, float("nan")])
def test_shift_that_is_not_positive_is_refused(shift):
    with pytest.raises(InvalidParameter, match="shift"):
        shift_sigmas(linear_sigmas(3), shift)


def test_zero_steps_are_refused():
    with pytest.raises(InvalidParameter, match="num_inference_steps 0"):
        linear_sigmas(0)
