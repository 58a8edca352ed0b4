"""Noise levels: a linear schedule, moved by a static shift. Pure functions on float32 tensors.

Source: Esser et al. 2024 (Stable Diffusion 3), section 5.3.2, and `get_default_z_image_sigmas` of diffusers 0.42.
Legend: N number of Euler steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_dit.errors import InvalidParameter

if TYPE_CHECKING:
    from torch import Tensor


def linear_sigmas(num_inference_steps: int) -> Tensor:
    """Return N + 1 evenly spaced noise levels from 1 to exactly 0, [N + 1], float32.

    Raises:
        InvalidParameter: If `num_inference_steps` is below 1.
    """
    import torch

    if num_inference_steps < 1:
        raise InvalidParameter("num_inference_steps", f"{num_inference_steps} is not allowed; use 1 or more.")
    return torch.linspace(1, 0, num_inference_steps + 1, dtype=torch.float32)


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """Move a schedule towards high noise.

    Args:
        sigmas: Noise levels in [0, 1], descending, [N + 1], float32.
        shift: Static factor > 0; 1.0 changes nothing.

    Returns:
        Shifted levels shift * s / (1 + (shift - 1) * s), [N + 1]; 0 and 1 are fixed points.

    Raises:
        InvalidParameter: If `shift` is not positive.

    Source: Esser et al. 2024, equation 23.
    """
    if not shift > 0:
        raise InvalidParameter("shift", f"{shift} is not allowed; use a number above 0.")
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def schedule(num_inference_steps: int, shift: float) -> Tensor:
    """Return the noise levels of one image, [N + 1], float32, from 1 down to exactly 0."""
    return shift_sigmas(linear_sigmas(num_inference_steps), shift)
