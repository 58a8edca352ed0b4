"""The transformer's blocks in float8: torchao's row-wise weights, and activations quantized where they are made.

A `ScaledLinear` stands in for every linear layer that torchao has quantized; given plain activations, it quantizes them
itself, as torchao does. Blocks with a time are bound by the passes over their activations rather than by products, so
`fuse_block` gives them a forward whose norms and SwiGLU write float8 at once. The sums are those of
`TransformerBlock.forward`, but for rounding.

Legend: B images, L tokens, M = B L rows, D width, K inputs and N outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from llm_dit.transformer import TransformerBlock

FLOAT8 = torch.float8_e4m3fn
RANGE = torch.finfo(FLOAT8).max
SMALLEST = 1e-12
"""Keeps rows of zeros from dividing by zero."""


class ScaledLinear(nn.Module):
    """A linear layer without bias: float8 weights with one scale for each output.

    Attributes:
        weight: Float8, [N, K].
        scale: Float32, [1, N].
        one: Float32, a scalar.
    """

    weight: Tensor
    scale: Tensor
    one: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("one", torch.ones((), device=weight.device))

    @classmethod
    def from_quantized(cls, linear: nn.Linear) -> ScaledLinear:
        """Take over what torchao's `quantize_` made of a linear layer's weight."""
        quantized: Any = linear.weight
        return cls(quantized.qdata, rearrange(quantized.scale, "N 1 -> 1 N").contiguous(), quantized.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, K] to [B, L, N]."""
        result: Tensor = self.product(*quantize_rows(x)).unflatten(0, x.shape[:-1])
        return result

    def product(self, values: Tensor, scales: Tensor) -> Tensor:
        """Float8 [M, K] with a scale for each row, float32 [M, 1], to [M, N] in the dtype of the model."""
        product: Tensor = torch._scaled_mm(
            values, self.weight.t(), scale_a=scales, scale_b=self.scale, out_dtype=self.dtype, use_fast_accum=True
        )
        return product

    def unscaled_product(self, values: Tensor) -> Tensor:
        """Float8 [M, K] to [M, N] that must still be multiplied with the scales of its rows and with `scale`.

        Bfloat16 rounds it as it would the scaled one, and products without scales of rows are faster.
        """
        product: Tensor = torch._scaled_mm(
            values, self.weight.t(), scale_a=self.one, scale_b=self.one, out_dtype=self.dtype, use_fast_accum=True
        )
        return product


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize activations [B, L, K]: float8 [M, K], and each row's largest magnitude over 448, float32 [M, 1]."""
    rows = x.flatten(0, -2).float()
    scales = rows.abs().amax(-1, keepdim=True).clamp(min=SMALLEST) / RANGE
    return (rows / scales).clamp(-RANGE, RANGE).to(FLOAT8), scales


def replace_linears(block: nn.Module) -> None:
    """Put a `ScaledLinear` in the place of every linear layer of `block` whose weight torchao has quantized."""
    for parent in list(block.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and hasattr(child.weight, "qdata"):
                setattr(parent, name, ScaledLinear.from_quantized(child))
                del child.weight  # torchao lets a layer refer to itself, which would keep its weight on the device


def fuse_block(block: TransformerBlock) -> None:
    """Give a fused and quantized block with a time the forward below; needs Triton."""
    block.forward = MethodType(_forward, block)  # type: ignore[method-assign]


def _forward(block: TransformerBlock, x: Tensor, rope: Tensor, mask: Tensor | None, modulation: Tensor) -> Tensor:
    """Do what `TransformerBlock.forward` does; [B, L, D] to [B, L, D]."""
    from llm_dit.float8_kernels import norm_to_float8, residual_norm_to_float8, rows_to_float8, swiglu_to_float8

    attention, feed_forward = block.attention, block.feed_forward
    scale_attention, gate_attention, scale_ffn, gate_ffn = modulation.unbind(0)
    x = x.contiguous()
    before, after = block.attention_norm1, block.attention_norm2
    eps = float(before.eps or 0.0)
    normed = norm_to_float8(x, before.weight, scale_attention, eps)
    qkv = _product(attention.to_qkv, normed, x.shape)
    mixed = rows_to_float8(attention.mix(qkv.chunk(3, dim=-1), rope, mask).contiguous())
    attended = _product(attention.to_out[0], mixed, x.shape)
    x, *normed = residual_norm_to_float8(
        x, attended, after.weight, gate_attention, block.ffn_norm1.weight, scale_ffn, eps
    )
    values, scales = swiglu_to_float8(_product(feed_forward.w13, normed, x.shape))
    last: Any = feed_forward.w2
    transformed = (last.unscaled_product(values).float() * scales * last.scale).unflatten(0, x.shape[:2])
    change = F.rms_norm(transformed, transformed.shape[-1:], block.ffn_norm2.weight.float(), eps)
    return torch.addcmul(x, gate_ffn.tanh(), change.to(x.dtype))


def _product(layer: Any, quantized: Sequence[Tensor], shape: torch.Size) -> Tensor:
    product: Tensor = layer.product(*quantized).unflatten(0, shape[:2])
    return product
