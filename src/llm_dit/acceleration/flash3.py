"""FlashAttention 3, of the package fa3-fwd: in bfloat16, and with queries, keys and values in float8.

Each kernel is an operator of our own, so that a compiled block stays one graph. In float8 a head of an image has one
scale for its queries, one for its keys and one for its values; scores, softmax and sums stay in float32, weights of the
softmax are rounded to float8 as well.

Legend: B images, L tokens, H heads, K head width.

Source: Shah et al. 2024 (FlashAttention-3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from llm_dit.acceleration.float8_format import FLOAT8, RANGE, SMALLEST
from llm_dit.networks.transformer import scaled_dot_product


@torch.library.custom_op("llm_dit::flash3", mutates_args=())
def flash3(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend exactly; all [B, L, H, K], bfloat16."""
    from fa3_fwd_interface import flash_attn_func

    attended: Tensor = flash_attn_func(query, key, value)
    return attended


@torch.library.custom_op("llm_dit::flash3_float8", mutates_args=())
def flash3_float8(query: Tensor, key: Tensor, value: Tensor, scales: Tensor) -> Tensor:
    """Attend in float8.

    Args:
        query: Float8, [B, L, H, K].
        key: Float8, [B, L, H, K].
        value: Float8, [B, L, H, K].
        scales: Float32, of queries, keys and values, [3, B, H]; [2, B, H] where values have none.

    Returns:
        [B, L, H, K], bfloat16.
    """
    from fa3_fwd_interface import flash_attn_func

    names = ("q_descale", "k_descale", "v_descale")
    attended: Tensor = flash_attn_func(query, key, value, **dict(zip(names, scales.unbind(0), strict=False)))
    return attended


@flash3.register_fake
def _(query: Tensor, *_: Tensor) -> Tensor:
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


@flash3_float8.register_fake
def _(query: Tensor, *_: Tensor) -> Tensor:
    return torch.empty(query.shape, dtype=torch.bfloat16, device=query.device)


def attend_in_float8(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Quantize by heads and attend in float8; with a mask, attend with PyTorch's own choice of kernel.

    A `Float8Block` without a mask quantizes in its own kernels instead.

    Args:
        query: [B, L, H, K].
        key: [B, L, H, K].
        value: [B, L, H, K].
        mask: True where a key may be attended to, [B, 1, 1, L]; None if that is everywhere.

    Returns:
        [B, L, H, K].
    """
    if mask is not None:
        return scaled_dot_product(query, key, value, mask)
    quantized = [quantize_heads(part) for part in (query, key, value)]
    scales = torch.stack([scale for _, scale in quantized])
    attended: Tensor = torch.ops.llm_dit.flash3_float8(*(values for values, _ in quantized), scales)
    return attended


def quantize_heads(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize [B, L, H, K] to float8, and return each head's largest magnitude over 448, float32 [B, H]."""
    scales = x.abs().amax((1, 3)).float().clamp(min=SMALLEST) / RANGE
    values = (x.float() / scales[:, None, :, None]).clamp(-RANGE, RANGE).to(FLOAT8)
    return values, scales
