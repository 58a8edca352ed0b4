"""Triton kernels of a float8 block: norms and SwiGLU whose rows are quantized while they are in registers.

The compiler's own kernels read the rows twice and divide twice for every value, which at this model's width takes two
to three times as long as moving the bytes. Each program goes through its share of the rows (tokens), or has one. All
arithmetic is float32; a row's scale is its largest magnitude, or a bound of it, over 448, the range of float8 e4m3, as
in `float8.quantize_rows`.

Legend: B images, L tokens of an image, M = B L rows, D width of the model, F width of the feed-forward.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from llm_dit.acceleration.float8_format import RANGE, SMALLEST
from llm_dit.acceleration.operators import triton_operator, wrap_triton

FLOAT8_RANGE = tl.constexpr(RANGE)
SMALLEST_MAGNITUDE = tl.constexpr(SMALLEST)
PROGRAMS_PER_PROCESSOR = 2
"""Each goes through its share of the rows: what all rows have in common is read and computed once."""
STAGES = 3
"""Rows that are on their way while one is computed, itself counted."""


@triton.jit
def _store_quantized(row, columns, is_inside, out, scales, values, largest, WIDTH: tl.constexpr):
    largest = tl.maximum(largest, SMALLEST_MAGNITUDE)
    tl.store(out + row * WIDTH + columns, (values * (FLOAT8_RANGE / largest)).to(tl.float8e4nv), mask=is_inside)
    tl.store(scales + row, largest / FLOAT8_RANGE)


@triton.jit
def _largest(values):
    return tl.max(tl.abs(values), 0)


@triton.jit
def _normed(values, EPS: tl.constexpr, WIDTH: tl.constexpr):
    return values * tl.rsqrt(tl.sum(values * values, 0) / WIDTH + EPS)


@triton.jit
def _loaded(values, columns, is_inside):
    return tl.load(values + columns, mask=is_inside, other=0.0).to(tl.float32)


@triton.jit
def _opened(change_weight, gate, image, columns, is_inside, WIDTH: tl.constexpr):
    # tanh from the gate's exponential, which Triton has
    opening = 2.0 * tl.sigmoid(2.0 * _loaded(gate + image * WIDTH, columns, is_inside)) - 1.0
    return opening * _loaded(change_weight, columns, is_inside)


@triton.jit
def _advanced(
    x, values, row_scales, column_scales, opened, advanced, row, columns, is_inside,
    EPS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    place = row * WIDTH + columns
    change = tl.load(values + place, mask=is_inside, other=0.0).to(tl.float32)
    stream = tl.load(x + place, mask=is_inside, other=0.0).to(tl.float32)
    change = _normed(change * (tl.load(row_scales + row) * column_scales), EPS, WIDTH)
    rounded = (stream + change * opened).to(advanced.dtype.element_ty)
    tl.store(advanced + place, rounded, mask=is_inside)
    return rounded.to(tl.float32)


@triton.jit
def _advance_kernel(
    x, values, row_scales, column_scales, change_weight, gate, advanced, tokens,
    EPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(1).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    column_scales = _loaded(column_scales, columns, is_inside)
    opened = _opened(change_weight, gate, image, columns, is_inside, WIDTH)
    for token in tl.range(tl.program_id(0), tokens, tl.num_programs(0), num_stages=STAGES):
        row = image * tokens + token
        _advanced(x, values, row_scales, column_scales, opened, advanced, row, columns, is_inside, EPS, WIDTH)


@triton.jit
def _advance_norm_kernel(
    x, values, row_scales, column_scales, change_weight, gate, weight, modulation, advanced, out, scales, tokens,
    EPS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, BOUND: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(1).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    column_scales = _loaded(column_scales, columns, is_inside)
    opened = _opened(change_weight, gate, image, columns, is_inside, WIDTH)
    gain = (1.0 + _loaded(modulation + image * WIDTH, columns, is_inside)) * _loaded(weight, columns, is_inside)
    bound = BOUND * _largest(gain)
    for token in tl.range(tl.program_id(0), tokens, tl.num_programs(0), num_stages=STAGES):
        row = image * tokens + token
        stream = _advanced(x, values, row_scales, column_scales, opened, advanced, row, columns, is_inside, EPS, WIDTH)
        normed = _normed(stream, EPS, WIDTH) * gain
        largest = bound if BOUND > 0 else _largest(normed)
        _store_quantized(row, columns, is_inside, out, scales, normed, largest, WIDTH)


@triton.jit
def _rows_kernel(
    x, row_scales, column_scales, out, scales, rows,
    FACTOR: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    column_scales = FACTOR * _loaded(column_scales, columns, is_inside)
    for row in tl.range(tl.program_id(0).to(tl.int64), rows, tl.num_programs(0), num_stages=STAGES):
        values = _loaded(x + row * WIDTH, columns, is_inside) * (tl.load(row_scales + row) * column_scales)
        _store_quantized(row, columns, is_inside, out, scales, values, _largest(values), WIDTH)


@triton.jit
def _swiglu_kernel(x, out, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_inside = columns < WIDTH
    gate = tl.load(x + row * 2 * WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    up = tl.load(x + row * 2 * WIDTH + WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
    values = gate * tl.sigmoid(gate) * up
    _store_quantized(row, columns, is_inside, out, scales, values, _largest(values), WIDTH)


def _empty(x: Tensor, width: int) -> tuple[Tensor, Tensor]:
    rows = x.numel() // x.shape[-1]
    values = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    return values, torch.empty(rows, 1, dtype=torch.float32, device=x.device)


@triton_operator
def advance(
    x: Tensor, values: Tensor, rows: Tensor, columns: Tensor, change_weight: Tensor, gate: Tensor, eps: float
) -> Tensor:
    """Advance the residual stream by `tanh(gate) * rms_norm(values * rows * columns) * change_weight`.

    Args:
        x: [B, L, D], contiguous.
        values: Of the change, before the scales of its product, [B, L, D], contiguous.
        rows: Scales, [B, L, 1], float32.
        columns: Scales, [1, D], float32.
        change_weight: Of the change's norm, [D].
        gate: [B, 1, D], contiguous.
        eps: Of the norm.

    Returns:
        The advanced stream, [B, L, D].
    """
    advanced, width = torch.empty_like(x), x.shape[-1]
    wrap_triton(_advance_kernel)[(programs(x), x.shape[0])](
        x, values, rows, columns, change_weight, gate, advanced, x.shape[1],
        EPS=eps, WIDTH=width, BLOCK=block_size(width), STAGES=STAGES, num_warps=4,
    )  # fmt: skip
    return advanced


@triton_operator
def advance_norm_to_float8(
    x: Tensor,
    values: Tensor,
    rows: Tensor,
    columns: Tensor,
    change_weight: Tensor,
    gate: Tensor,
    weight: Tensor,
    modulation: Tensor,
    eps: float,
    is_bound: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `advance` does, and quantize `rms_norm(advanced) * weight * (1 + modulation)`.

    Args:
        x: [B, L, D], contiguous.
        values: Of the change, before the scales of its product, [B, L, D], contiguous.
        rows: Scales, [B, L, 1], float32.
        columns: Scales, [1, D], float32.
        change_weight: Of the change's norm, [D].
        gate: [B, 1, D], contiguous.
        weight: Of the norm that is quantized, [D].
        modulation: [B, 1, D], contiguous.
        eps: Of both norms.
        is_bound: All rows of an image get one scale, from the largest value that such a norm can have: the root of D
            times its largest gain. Float8 keeps its relative precision over 15 powers of two, and a product by one
            scale is faster. Otherwise every row gets its own, from its largest value.

    Returns:
        The advanced stream, [B, L, D]; float8 values, [M, D]; their scales, [M, 1], float32.
    """
    advanced, width = torch.empty_like(x), x.shape[-1]
    quantized, scales = _empty(x, width)
    wrap_triton(_advance_norm_kernel)[(programs(x), x.shape[0])](
        x, values, rows, columns, change_weight, gate, weight, modulation, advanced, quantized, scales, x.shape[1],
        EPS=eps, WIDTH=width, BLOCK=block_size(width), BOUND=width**0.5 if is_bound else 0.0, STAGES=STAGES,
        num_warps=4,
    )  # fmt: skip
    return advanced, quantized, scales


@triton_operator
def rows_to_float8(x: Tensor, rows: Tensor, columns: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Quantize `x * rows * columns * factor` by rows.

    Args:
        x: [B, L, D], contiguous.
        rows: Scales, [M, 1], float32.
        columns: Scales, D of them, contiguous, float32.
        factor: Of everything.

    Returns:
        Float8 values, [M, D], and their scales, [M, 1], float32.
    """
    width = x.shape[-1]
    values, scales = _empty(x, width)
    wrap_triton(_rows_kernel)[(programs(x),)](
        x, rows, columns, values, scales, values.shape[0],
        FACTOR=factor, WIDTH=width, BLOCK=block_size(width), STAGES=STAGES, num_warps=4,
    )  # fmt: skip
    return values, scales


@triton_operator
def swiglu_to_float8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize `silu(gate) * up` by rows; `x` holds both side by side, [B, L, 2 F], contiguous.

    Returns:
        Float8 values, [M, F], and their scales, [M, 1], float32.
    """
    width = x.shape[-1] // 2
    values, scales = _empty(x, width)
    wrap_triton(_swiglu_kernel)[(values.shape[0],)](
        x, values, scales, WIDTH=width, BLOCK=block_size(width), num_warps=8
    )
    return values, scales


def programs(x: Tensor) -> int:
    """Return how many programs of a kernel that goes through rows fill the device that `x` is on."""
    is_card = x.device.type == "cuda"
    return PROGRAMS_PER_PROCESSOR * (torch.cuda.get_device_properties(x.device).multi_processor_count if is_card else 1)


def block_size(width: int) -> int:
    """Return the power of two that `width` fits in."""
    return 1 << (width - 1).bit_length()
