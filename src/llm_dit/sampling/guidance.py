"""In which steps guidance acts, decided in one place for drawing, counting and planning.

Source: `ZImagePipeline.__call__` of diffusers 0.42, whose numbers are kept to the last bit: round settings such as
truncation at 0.25 of four steps meet a model time exactly.
"""

from __future__ import annotations

from llm_dit.parameters import GenerationParams


def guided_steps(params: GenerationParams) -> list[bool]:
    """Return for each of the N steps whether guidance acts in it, [N].

    It does where its scale is above 0 and the model time is not past `cfg_truncation`.

    Args:
        params: With `shift` filled in.
    """
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
        params: With `shift` filled in.
    """
    return params.num_inference_steps + sum(guided_steps(params))


def reference_model_times(num_inference_steps: int, shift: float) -> list[float]:
    """Return the model time of each step as diffusers rounds it on the CPU: float32 from levels to (1000 - t) / 1000.

    `1 - sigma` of `schedule` is the same number but for the last bit.
    """
    import torch

    sigmas = torch.linspace(1.0, 1 / num_inference_steps, num_inference_steps, dtype=torch.float32)
    timesteps = shift * sigmas / (1 + (shift - 1) * sigmas) * 1000
    times: list[float] = ((1000 - timesteps) / 1000).tolist()
    return times
