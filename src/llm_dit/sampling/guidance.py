"""Classifier-free guidance: its formula, and in which steps it acts, in one place for drawing, counting and planning.

Source: `ZImagePipeline.__call__` of diffusers 0.42, whose numbers are kept to the last bit: round settings such as
truncation at 0.25 of four steps meet a model time exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_dit.parameters import GenerationParams

if TYPE_CHECKING:
    from torch import Tensor


def guided(positive: Tensor, negative: Tensor, guidance_scale: float, cfg_normalization: float) -> Tensor:
    """Lead the positive prediction away from the negative one.

    Args:
        positive: Prediction with the prompt, [B, 16, h, w], float32.
        negative: Prediction with the negative prompt, [B, 16, h, w], float32.
        guidance_scale: s > 0 in pos + s * (pos - neg).
        cfg_normalization: Largest norm of an image's result relative to its positive prediction; 0 switches it off.

    Returns:
        [B, 16, h, w], float32.
    """
    import torch

    result = positive + guidance_scale * (positive - negative)
    if cfg_normalization <= 0:
        return result
    dims = (1, 2, 3)
    allowed = torch.linalg.vector_norm(positive, dim=dims, keepdim=True) * cfg_normalization
    norm = torch.linalg.vector_norm(result, dim=dims, keepdim=True)
    return torch.where(norm > allowed, result * (allowed / norm), result)


def guided_steps(params: GenerationParams) -> list[bool]:
    """Return for each of the N steps whether guidance acts in it, [N].

    It does where its scale is above 0 and the model time is not past `cfg_truncation`.

    Args:
        params: With shift, steps and guidance filled in.
    """
    assert params.num_inference_steps is not None and params.guidance_scale is not None
    count = params.num_inference_steps
    if params.guidance_scale <= 0:
        return [False] * count
    if params.cfg_truncation >= 1:  # no model time is past it, and torch need not be imported
        return [True] * count
    assert params.shift is not None
    return [time <= params.cfg_truncation for time in reference_model_times(count, params.shift)]


def evaluation_count(params: GenerationParams) -> int:
    """Return how often the transformer is evaluated for one image, both branches of guidance counted.

    Args:
        params: With shift, steps and guidance filled in.
    """
    is_guided = guided_steps(params)
    return len(is_guided) + sum(is_guided)


def reference_model_times(num_inference_steps: int, shift: float) -> list[float]:
    """Return the model time of each step as diffusers rounds it on the CPU: float32 from levels to (1000 - t) / 1000.

    `1 - sigma` of `schedule` is the same number but for the last bit.
    """
    import torch

    sigmas = torch.linspace(1.0, 1 / num_inference_steps, num_inference_steps, dtype=torch.float32)
    timesteps = shift * sigmas / (1 + (shift - 1) * sigmas) * 1000
    times: list[float] = ((1000 - timesteps) / 1000).tolist()
    return times
