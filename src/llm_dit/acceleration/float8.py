"""The transformer's blocks in float8: weights quantized by rows, and activations quantized where they are made.

A `ScaledLinear` stands in for a linear layer; given plain activations, it quantizes them itself. In blocks with a time
a fifth of the time would go into passes over their activations, so a `Float8Block` has a forward whose norms and SwiGLU
write float8 at once, and which leaves its last change to the next block. The sums are those of
`TransformerBlock.forward`, but for rounding.

Legend: B images, L tokens, M = B L rows, D width, K inputs and N outputs of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from llm_dit.acceleration.flash3 import attend_in_float8, flash3_float8
from llm_dit.acceleration.float8_format import FLOAT8, RANGE, SMALLEST
from llm_dit.networks.transformer import QK_NORM_EPS, Attention, TransformerBlock
from llm_dit.placement.devices import on

ROWS_AT_ONCE = 1024
"""Of a weight that is quantized: its copies in float32 stay small."""
EVERYTHING = slice(None)


class ScaledLinear(nn.Module):
    """A linear layer without bias: float8 weights with one scale for each output.

    Attributes:
        weight: Float8, [N, K].
        scale: Float32, [1, N].
        one: Float32, a scalar.
        shrinking: What `float8_product` multiplies by, float32, a scalar.
    """

    weight: Tensor
    scale: Tensor
    one: Tensor
    shrinking: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("one", torch.ones((), device=weight.device))
        self.register_buffer("shrinking", self.one / self.longest)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> ScaledLinear:
        """Quantize a linear layer without bias."""
        values, scales = quantize_weight(linear.weight.detach())
        return cls(values, rearrange(scales, "N 1 -> 1 N").contiguous(), linear.weight.dtype)

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

    def unscaled_product(self, values: Tensor, outputs: slice = EVERYTHING) -> Tensor:
        """Float8 [M, K] to some of [M, N] that must still be multiplied with the scales of its rows and with `scale`.

        Bfloat16 rounds it as it would the scaled one, and products without scales of rows are faster.
        """
        return self._unscaled(values, outputs, self.one, self.dtype)

    def float8_product(self, values: Tensor, outputs: slice) -> Tensor:
        """Float8 [M, K], rows at most 448 long, to some of float8 [M, N].

        It must still be multiplied with the scales of its rows, with `scale` and with `longest`, which keeps all values
        within 448 without a pass that looks for the largest.
        """
        return self._unscaled(values, outputs, self.shrinking, FLOAT8)

    @property
    def longest(self) -> float:
        """Length that a row of the weight can have at most: 448 times the root of K."""
        return RANGE * math.sqrt(self.weight.shape[1])

    def _unscaled(self, values: Tensor, outputs: slice, factor: Tensor, dtype: torch.dtype) -> Tensor:
        product: Tensor = torch._scaled_mm(
            values, self.weight[outputs].t(), scale_a=factor, scale_b=self.one, out_dtype=dtype, use_fast_accum=True
        )
        return product


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize activations [B, L, K]: float8 [M, K], and each row's largest magnitude over 448, float32 [M, 1]."""
    rows = x.flatten(0, -2).float()
    scales = rows.abs().amax(-1, keepdim=True).clamp(min=SMALLEST) / RANGE
    return _in_float8(rows, scales), scales


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize a weight by rows, some at a time.

    Args:
        weight: [N, K].

    Returns:
        Float8 [N, K], and scales, float32 [N, 1]: each row's largest magnitude over 448, rounded to the weight's own
        format.

    Source: torchao 0.17 `_choose_scale_float8` and `_quantize_affine_float8`, whose bits these are; a row of zeros,
    which has no scale there, stays zeros.
    """
    values = torch.empty_like(weight, dtype=FLOAT8)
    scales = weight.new_empty(len(weight), 1, dtype=torch.float32)
    parts = zip(*(tensor.split(ROWS_AT_ONCE) for tensor in (weight, values, scales)), strict=True)
    for rows, own_values, own_scales in parts:
        own_scales.copy_((rows.abs().amax(-1, keepdim=True) / RANGE).float().clamp(min=SMALLEST))
        own_values.copy_(_in_float8(rows.float(), own_scales))
    return values, scales


def _in_float8(rows: Tensor, scales: Tensor) -> Tensor:
    return (rows / scales).clamp(-RANGE, RANGE).to(FLOAT8)


class Change(NamedTuple):
    """A change of the residual stream that waits: `tanh(gate) * rms_norm(values * rows * columns) * weight`.

    A block leaves its last one to the next block, whose first norm then reads the stream in the same pass.

    Attributes:
        values: A product before its scales, [B, L, D].
        rows: Scales of its rows, [B, L, 1], float32.
        columns: Scales of its columns, [1, D], float32.
        weight: Of the norm, [D].
        gate: [B, 1, D].
    """

    values: Tensor
    rows: Tensor
    columns: Tensor
    weight: Tensor
    gate: Tensor


class Float8Block(TransformerBlock):
    """A block with a time and norms of queries and keys, quantized; for `run_blocks`, needs Triton."""

    def forward(  # type: ignore[override] # takes and leaves a change of the stream
        self, x: Tensor, rope: Tensor, mask: Tensor | None, modulation: Tensor, change: Change
    ) -> tuple[Tensor, Change]:
        """Do what `TransformerBlock.forward` does, but for the change that comes before it and the one it leaves."""
        from llm_dit.acceleration.float8_kernels import advance_norm_to_float8, swiglu_to_float8

        attention, feed_forward = self.attention, self.feed_forward
        scale_attention, gate_attention, scale_ffn, gate_ffn = modulation.unbind(0)
        eps = float(self.attention_norm1.eps or 0.0)
        x, *normed = advance_norm_to_float8(
            x, *change, self.attention_norm1.weight, scale_attention, eps, is_bound=True
        )
        mixed = _mixed(attention, normed, x.shape, rope, mask)
        change = _change(attention.to_out[0], mixed, x.shape, self.attention_norm2.weight, gate_attention)
        x, *normed = advance_norm_to_float8(x, *change, self.ffn_norm1.weight, scale_ffn, eps, is_bound=False)
        gate_and_up: Any = feed_forward.w13
        activated = swiglu_to_float8(gate_and_up.product(*normed).unflatten(0, x.shape[:2]))
        return x, _change(feed_forward.w2, activated, x.shape, self.ffn_norm2.weight, gate_ffn)


def run_blocks(
    blocks: Iterable[nn.Module], x: Tensor, rope: Tensor, mask: Tensor | None, modulations: Iterable[Tensor]
) -> Tensor:
    """Do what `transformer.run_blocks` does with blocks that are each a `Float8Block`."""
    from llm_dit.acceleration.float8_kernels import advance

    with on(x.device):  # where Triton launches
        x, eps = x.contiguous(), None
        change = _no_change(x)
        for block, modulation in zip(blocks, modulations, strict=True):
            assert isinstance(block, TransformerBlock)
            x, change = block(x, rope, mask, modulation, change)
            eps = float(block.ffn_norm2.eps or 0.0)
        return x if eps is None else advance(x, *change, eps)


def _no_change(x: Tensor) -> Change:
    """Zeros for the first block, of the kinds that a block leaves, so that one compilation serves both."""
    images, tokens, width = x.shape
    values, rows = torch.zeros_like(x), x.new_zeros(images, tokens, 1, dtype=torch.float32)
    with torch.inference_mode(False):
        columns = torch.zeros(1, width, device=x.device)
        weight = nn.Parameter(torch.zeros(width, dtype=x.dtype, device=x.device), requires_grad=False)
    return Change(values, rows, columns, weight, x.new_zeros(images, 1, width))


def _mixed(
    attention: Attention, quantized: Sequence[Tensor], shape: torch.Size, rope: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Do what `Attention` does before its last projection, float8 [M, D] with scales to the same.

    The scales must be alike within an image. The product is left without them: queries and keys get them before their
    norms, the values after attention, which only adds them up.
    """
    from llm_dit.acceleration.float8_kernels import rows_to_float8

    values, rows = quantized
    project: Any = attention.to_qkv
    if mask is None and attention.attend is attend_in_float8:
        mixed, factor = _attended_in_float8(attention, values, rows, shape, rope), project.longest
    else:
        qkv = project.unscaled_product(values).unflatten(0, shape[:2])
        mixed, factor = _attended(attention, qkv, rows, rope, mask), 1.0
    mixed = rearrange(mixed, "B L H K -> B L (H K)").contiguous()
    scaled: tuple[Tensor, Tensor] = rows_to_float8(mixed, rows, project.scale.chunk(3, dim=-1)[2], factor)
    return scaled


def _attended(attention: Attention, qkv: Tensor, rows: Tensor, rope: Tensor, mask: Tensor | None) -> Tensor:
    """Values are mixed as they come of the product, before `rows` and `scale`."""
    from llm_dit.acceleration.rotation_kernels import rotate_normed

    project: Any = attention.to_qkv
    norms: tuple[Any, Any] = attention.norm_q.weight, attention.norm_k.weight
    query, key = rotate_normed(qkv, rows, project.scale, rope, *norms, QK_NORM_EPS)
    value = rearrange(qkv.chunk(3, dim=-1)[2], "B L (H K) -> B L H K", K=attention.head_dim)
    return attention.attend(query, key, value, mask)


def _attended_in_float8(
    attention: Attention, quantized: Tensor, rows: Tensor, shape: torch.Size, rope: Tensor
) -> Tensor:
    """Values are mixed as the product writes them, in float8, before `rows`, `scale` and `longest`."""
    from llm_dit.acceleration.rotation_kernels import rotate_to_float8

    project: Any = attention.to_qkv
    first = 2 * shape[-1]
    joined = project.unscaled_product(quantized, slice(first)).unflatten(0, shape[:2])
    value = project.float8_product(quantized, slice(first, None)).view(*shape[:2], -1, attention.head_dim)
    norms: tuple[Any, Any] = attention.norm_q.weight, attention.norm_k.weight
    query, key, scales = rotate_to_float8(joined, rows, project.scale, rope, *norms, QK_NORM_EPS)
    return flash3_float8(query, key, value, scales)


def _change(layer: Any, quantized: Sequence[Tensor], shape: torch.Size, weight: Tensor, gate: Tensor) -> Change:
    values, rows = quantized
    product: Tensor = layer.unscaled_product(values)
    return Change(product.unflatten(0, shape[:2]), rows.unflatten(0, shape[:2]), layer.scale, weight, gate)
