"""Triton kernels that end in float8: norms, SwiGLU and attention whose rows are quantized while they are in registers.

The compiler's own kernels read the rows twice and divide twice for every value, which at this model's width takes two
to three times as long as moving the bytes. Each program has one row (one token). All arithmetic is float32; a row's
scale is its largest magnitude over 448, the range of float8 e4m3, as in `float8.quantize_rows`.

Legend: M rows, D width of the model, F width of the feed-forward, L tokens of an image.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from llm_dit.float8 import RANGE, SMALLEST

FLOAT8_RANGE = tl.constexpr(RANGE)
SMALLEST_MAGNITUDE = tl.constexpr(SMALLEST)


@triton.jit
def _store_quantized(row, columns, is_inside, out, scales, values, WIDTH: tl.constexpr):
    largest = tl.maximum(tl.max(tl.abs(values), 0), SMALLEST_MAGNITUDE)
    tl.store(out + row * WIDTH + columns, (values * (FLOAT8_RANGE / largest)).to(tl.float8e4nv), mask=is_inside)
    tl.store(scales + row, largest / FLOAT8_RANGE)


@triton.jit
def _normed(values, weight, columns, is_inside, EPS: tl.constexpr, WIDTH: tl.constexpr):
    gain = tl.load(weight + columns, mask=is_inside, other=0.0).to(tl.float32)
    return values * tl.rsqrt(tl.sum(values * values, 0) / WIDTH + EPS) * gain


@triton.jit
def _norm_kernel(
    x, weight, modulation, out, scales, tokens, EPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    values = tl.load(x + row * WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    image = row // tokens
    scale = tl.load(modulation + image * WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    values = _normed(values, weight, columns, is_inside, EPS, WIDTH) * (1.0 + scale)
    _store_quantized(row, columns, is_inside, out, scales, values, WIDTH)


@triton.jit
def _residual_norm_kernel(
    x, update, update_weight, gate, weight, modulation, advanced, out, scales, tokens,
    EPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    place = row * WIDTH + columns
    of_image = row // tokens * WIDTH + columns
    change = tl.load(update + place, mask=is_inside, other=0.0).to(tl.float32)
    change = _normed(change, update_weight, columns, is_inside, EPS, WIDTH)
    # tanh from the gate's exponential, which Triton has
    opening = 2.0 * tl.sigmoid(2.0 * tl.load(gate + of_image, mask=is_inside, other=0.0).to(tl.float32)) - 1.0
    values = tl.load(x + place, mask=is_inside, other=0.0).to(tl.float32) + opening * change
    rounded = values.to(advanced.dtype.element_ty)
    tl.store(advanced + place, rounded, mask=is_inside)
    scale = tl.load(modulation + of_image, mask=is_inside, other=0.0).to(tl.float32)
    values = _normed(rounded.to(tl.float32), weight, columns, is_inside, EPS, WIDTH) * (1.0 + scale)
    _store_quantized(row, columns, is_inside, out, scales, values, WIDTH)


@triton.jit
def _rows_kernel(x, out, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    values = tl.load(x + row * WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    _store_quantized(row, columns, is_inside, out, scales, values, WIDTH)


@triton.jit
def _swiglu_kernel(x, out, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    gate = tl.load(x + row * 2 * WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    up = tl.load(x + row * 2 * WIDTH + WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    _store_quantized(row, columns, is_inside, out, scales, gate * tl.sigmoid(gate) * up, WIDTH)


def _empty(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    rows = x.numel() // x.shape[-1]
    values = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    return values, torch.empty(rows, 1, dtype=torch.float32, device=x.device)


@triton_op("llm_dit::norm_to_float8", mutates_args={})
def norm_to_float8(x: Tensor, weight: Tensor, modulation: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Quantize `rms_norm(x) * weight * (1 + modulation)` by rows.

    Args:
        x: [B, L, D], contiguous.
        weight: [D].
        modulation: [B, 1, D], contiguous.
        eps: Of the norm.

    Returns:
        Float8 values, [M, D], and their scales, [M, 1], float32; M = B L.
    """
    width = x.shape[-1]
    values, scales = _empty(x, width)
    wrap_triton(_norm_kernel)[(values.shape[0],)](
        x, weight, modulation, values, scales, x.shape[1], EPS=eps, WIDTH=width, BLOCK=_block(width), num_warps=8
    )
    return values, scales


@triton_op("llm_dit::residual_norm_to_float8", mutates_args={})
def residual_norm_to_float8(
    x: Tensor, update: Tensor, update_weight: Tensor, gate: Tensor, weight: Tensor, modulation: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Advance the residual stream by `tanh(gate) * rms_norm(update)`, and quantize its modulated norm by rows.

    Args:
        x: [B, L, D], contiguous.
        update: [B, L, D], contiguous.
        update_weight: Of the update's norm, [D].
        gate: [B, 1, D], contiguous.
        weight: Of the norm that is quantized, [D].
        modulation: [B, 1, D], contiguous.
        eps: Of both norms.

    Returns:
        The advanced stream, [B, L, D]; float8 values, [M, D]; their scales, [M, 1], float32.
    """
    width = x.shape[-1]
    advanced = torch.empty_like(x)
    values, scales = _empty(x, width)
    wrap_triton(_residual_norm_kernel)[(values.shape[0],)](
        x, update, update_weight, gate, weight, modulation, advanced, values, scales, x.shape[1],
        EPS=eps, WIDTH=width, BLOCK=_block(width), num_warps=8,
    )  # fmt: skip
    return advanced, values, scales


@triton_op("llm_dit::rows_to_float8", mutates_args={})
def rows_to_float8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize `x`, [B, L, D], contiguous, by rows.

    Returns:
        Float8 values, [M, D], and their scales, [M, 1], float32.
    """
    width = x.shape[-1]
    values, scales = _empty(x, width)
    wrap_triton(_rows_kernel)[(values.shape[0],)](x, values, scales, WIDTH=width, BLOCK=_block(width), num_warps=8)
    return values, scales


@triton_op("llm_dit::swiglu_to_float8", mutates_args={})
def swiglu_to_float8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize `silu(gate) * up` by rows; `x` holds both side by side, [B, L, 2 F], contiguous.

    Returns:
        Float8 values, [M, F], and their scales, [M, 1], float32.
    """
    width = x.shape[-1] // 2
    values, scales = _empty(x, width)
    wrap_triton(_swiglu_kernel)[(values.shape[0],)](x, values, scales, WIDTH=width, BLOCK=_block(width), num_warps=8)
    return values, scales


def _block(width: int) -> int:
    return 1 << (width - 1).bit_length()
