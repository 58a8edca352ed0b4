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
from llm_dit.acceleration.operators import plain_outside
from llm_dit.networks.transformer import scaled_dot_product


def _attended(query: Tensor, key: Tensor, value: Tensor, **descales: Tensor) -> Tensor:
    """Call the package's own operator: the function around it is an operator of Python, see `operators`."""
    import fa3_fwd_interface  # noqa: F401 # registers it

    result: list[Tensor] = torch.ops.fa3_fwd.fwd(query, key, value, num_splits=1, **descales)
    return result[0]


def _attended_exactly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend exactly; all [B, L, H, K], bfloat16."""
    return _attended(query, key, value)


def _attended_in_float8(query: Tensor, key: Tensor, value: Tensor, scales: Tensor) -> Tensor:
    """Attend in float8.

    Args:
        query: Float8, [B, L, H, K].
        key: Float8, [B, L, H, K].
        value: Float8, [B, L, H, K].
        scales: Float32, of queries, keys and values, [3, B, H]; [2, B, H] where values have none.

    Returns:
        [B, L, H, K], bfloat16.
    """
    names = ("q_descale", "k_descale", "v_descale")
    return _attended(query, key, value, **dict(zip(names, scales.unbind(0), strict=False)))


_exact = torch.library.custom_op("llm_dit::flash3", _attended_exactly, mutates_args=())
_in_float8 = torch.library.custom_op("llm_dit::flash3_float8", _attended_in_float8, mutates_args=())
_exact.register_fake(lambda query, *_: torch.empty(query.shape, dtype=query.dtype, device=query.device))
_in_float8.register_fake(lambda query, *_: torch.empty(query.shape, dtype=torch.bfloat16, device=query.device))
flash3 = plain_outside("flash3", _attended_exactly)
flash3_float8 = plain_outside("flash3_float8", _attended_in_float8)


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
    queries, keys, values = (quantize_heads(part) for part in (query, key, value))
    return flash3_float8(queries[0], keys[0], values[0], torch.stack([queries[1], keys[1], values[1]]))


def quantize_heads(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize [B, L, H, K] to float8, and return each head's largest magnitude over 448, float32 [B, H]."""
    scales = x.abs().amax((1, 3)).float().clamp(min=SMALLEST) / RANGE
    values = (x.float() / scales[:, None, :, None]).clamp(-RANGE, RANGE).to(FLOAT8)
    return values, scales
