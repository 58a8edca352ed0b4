"""Euler's method on the flow from noise to latents, with classifier-free guidance.

Knows no model: the velocity comes from a function. `latents` stay float32 between the steps, and nothing in the loop
waits for the device; whether all was finite is read once at the end.
Source: `ZImagePipeline.__call__` and `FlowMatchEulerDiscreteScheduler` of diffusers 0.42.
Legend: B images, h and w latent height and width, N steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_dit.errors import not_finite
from llm_dit.placement.devices import sent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EulerStep:
    """What is known after one step.

    Attributes:
        step: Number of steps done, 1 to N.
        total: N.
        sigma: Noise level that was left.
        latents: Latents after the step, [B, 16, h, w].
        estimate: Estimate of the clean latents at this step, [B, 16, h, w].
    """

    step: int
    total: int
    sigma: float
    latents: Tensor
    estimate: Tensor


def sample_euler(
    velocity: Callable[[Tensor, Tensor, int], Tensor],
    noise: Tensor,
    sigmas: Tensor,
    on_step: Callable[[EulerStep], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Integrate from `sigmas[0]` to `sigmas[-1]`, without waiting for the device.

    Args:
        velocity: (latents, model_time [B], step index) -> velocity, [B, 16, h, w], float32.
        noise: Start, [B, 16, h, w], float32, on the device of the model.
        sigmas: Noise levels, [N + 1], float32, on the CPU.
        on_step: Called after each step; what it raises stops the sampling.

    Returns:
        Latents, [B, 16, h, w], float32; whether those after each step are finite, bool, [N], for `check_finite`.
    """
    import torch

    levels = sigmas.tolist()
    total = len(levels) - 1
    model_times = sent(1 - sigmas[:-1], noise.device)  # [N]
    latents = noise
    is_finite = []
    for index in range(total):
        model_time = model_times[index].expand(latents.shape[0])
        prediction = velocity(latents, model_time, index)
        if on_step is not None:
            estimate = latents - levels[index] * prediction
        latents = latents + (levels[index + 1] - levels[index]) * prediction
        is_finite.append(torch.isfinite(latents).all())
        if on_step is not None:
            on_step(EulerStep(index + 1, total, levels[index], latents, estimate))
    return latents, torch.stack(is_finite)


def check_finite(is_finite: list[bool], dtype: str) -> None:
    """Raise `NonFiniteLatents` that names the first step whose entry is False, and what helps in this number format."""
    if all(is_finite):
        return
    step = is_finite.index(False) + 1
    raise not_finite(f"The latents are not finite after step {step} of {len(is_finite)}", dtype)
