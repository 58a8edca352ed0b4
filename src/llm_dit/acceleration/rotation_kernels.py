"""Triton kernels between a float8 block's first product and its attention: scales, norms and rotation in one pass.

Each program has one row (one token) of the queries, the keys or the values. All arithmetic is float32. For attention in
float8 the scales come from bounds, so that nothing is read twice: a query or key that was normed is at most the root of
K times the largest gain long, whatever rotates it; a value is at most 448 times the length of its weight's row
(`ScaledLinear.reach`), since the bound of the norm before keeps its row within 448. Float8 keeps its relative precision
over 15 powers of two.

Legend: B images, L tokens of an image, M = B L rows, H heads, K head width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from llm_dit.acceleration.float8_format import FLOAT8, RANGE, SMALLEST
from llm_dit.acceleration.float8_kernels import block_size

FLOAT8_RANGE = tl.constexpr(RANGE)
SMALLEST_MAGNITUDE = tl.constexpr(SMALLEST)


@triton.jit
def _rotated(
    qkv, row_scales, column_scales, table, table_step, sines, weight, row, part, tokens, place, is_inside,
    EPS: tl.constexpr, HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, HALF_BLOCK: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, 2 * HALF_BLOCK)
    features = tl.load(qkv + (3 * row + part) * HEADS * WIDTH + place, mask=is_inside, other=0.0).to(tl.float32)
    scales = tl.load(column_scales + part * HEADS * WIDTH + place, mask=is_inside, other=0.0)
    features *= tl.load(row_scales + row) * scales
    gain = tl.load(weight + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    pairs = tl.arange(0, HALF_BLOCK)
    angle, is_pair = table + row // tokens * table_step + row % tokens * WIDTH + 2 * pairs, 2 * pairs < WIDTH
    cosine = tl.load(angle, mask=is_pair, other=0.0)[None, :]
    sine = tl.load(angle + sines + 1, mask=is_pair, other=0.0)[None, :]
    features *= tl.rsqrt(tl.sum(features * features, 1) / WIDTH + EPS)[:, None] * gain[None, :]
    first, second = tl.split(tl.reshape(features, (HEADS_BLOCK, HALF_BLOCK, 2)))
    turned = tl.join(first * cosine - second * sine, second * cosine + first * sine)
    return tl.reshape(turned, (HEADS_BLOCK, 2 * HALF_BLOCK))


@triton.jit
def _rotate_kernel(
    qkv, row_scales, column_scales, table, table_step, sines, query_weight, key_weight, query, key, tokens,
    EPS: tl.constexpr, HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr, HALF_BLOCK: tl.constexpr,
):  # fmt: skip
    row, is_key = tl.program_id(0).to(tl.int64), tl.program_id(1)
    heads, columns = tl.arange(0, HEADS_BLOCK)[:, None], tl.arange(0, 2 * HALF_BLOCK)[None, :]
    is_inside, place = (heads < HEADS) & (columns < WIDTH), heads * WIDTH + columns
    turned = _rotated(
        qkv, row_scales, column_scales, table, table_step, sines, key_weight if is_key else query_weight,
        row, is_key, tokens, place, is_inside, EPS, HEADS, HEADS_BLOCK, WIDTH, HALF_BLOCK,
    )  # fmt: skip
    turned = turned.to(query.dtype.element_ty)
    tl.store((key if is_key else query) + row * HEADS * WIDTH + place, turned, mask=is_inside)


@triton.jit
def _rotate_quantized_kernel(
    qkv, row_scales, column_scales, table, table_step, sines, query_weight, key_weight, reach,
    query, key, value, scales, tokens, images,
    EPS: tl.constexpr, BOUND: tl.constexpr, HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, WIDTH: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
):  # fmt: skip
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    heads, columns = tl.arange(0, HEADS_BLOCK)[:, None], tl.arange(0, 2 * HALF_BLOCK)[None, :]
    is_inside, place = (heads < HEADS) & (columns < WIDTH), heads * WIDTH + columns
    if part == 2:
        features = tl.load(qkv + (3 * row + 2) * HEADS * WIDTH + place, mask=is_inside, other=0.0).to(tl.float32)
        lengths = tl.load(reach + 2 * HEADS * WIDTH + place, mask=is_inside, other=1.0)
        features *= tl.load(column_scales + 2 * HEADS * WIDTH + place, mask=is_inside, other=0.0) / lengths
        tl.store(value + row * HEADS * WIDTH + place, features.to(tl.float8e4nv), mask=is_inside)
    else:
        weight = key_weight if part == 1 else query_weight
        turned = _rotated(
            qkv, row_scales, column_scales, table, table_step, sines, weight, row, part, tokens, place, is_inside,
            EPS, HEADS, HEADS_BLOCK, WIDTH, HALF_BLOCK,
        )  # fmt: skip
        gain = tl.load(weight + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
        largest = tl.maximum(BOUND * tl.max(tl.abs(gain)), SMALLEST_MAGNITUDE)
        quantized = (turned * (FLOAT8_RANGE / largest)).to(tl.float8e4nv)
        tl.store((key if part == 1 else query) + row * HEADS * WIDTH + place, quantized, mask=is_inside)
        if row % tokens == 0:
            head = tl.arange(0, HEADS_BLOCK)
            scale = tl.zeros((HEADS_BLOCK,), tl.float32) + largest / FLOAT8_RANGE
            tl.store(scales + (part * images + row // tokens) * HEADS + head, scale, mask=head < HEADS)


@triton_op("llm_dit::rotate_normed", mutates_args={})
def rotate_normed(
    qkv: Tensor, rows: Tensor, columns: Tensor, table: Tensor, query_weight: Tensor, key_weight: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Norm the queries and keys of `qkv * rows * columns` by heads and turn them as `rope.rotate` does.

    Args:
        qkv: Queries, keys and values side by side, before the scales of their product, [B, L, 3 H K], contiguous.
        rows: Scales, [M, 1], float32.
        columns: Scales, [1, 3 H K], float32.
        table: [2, B or 1, L, 1, K], contiguous.
        query_weight: Of the queries' norm, [K].
        key_weight: Of the keys' norm, [K].
        eps: Of both norms.

    Returns:
        Queries and keys, [B, L, H, K] each.
    """
    batch, tokens, head_dim = qkv.shape[0], qkv.shape[1], table.shape[-1]
    heads = qkv.shape[2] // 3 // head_dim
    query = torch.empty(batch, tokens, heads, head_dim, dtype=qkv.dtype, device=qkv.device)
    key = torch.empty_like(query)
    table_step, sines = tokens * head_dim if table.shape[1] > 1 else 0, table.shape[1] * tokens * head_dim
    wrap_triton(_rotate_kernel)[(batch * tokens, 2)](
        qkv, rows, columns, table, table_step, sines, query_weight, key_weight, query, key, tokens,
        EPS=eps, HEADS=heads, HEADS_BLOCK=block_size(heads), WIDTH=head_dim, HALF_BLOCK=block_size(head_dim // 2),
        num_warps=4,
    )  # fmt: skip
    return query, key


@triton_op("llm_dit::rotate_to_float8", mutates_args={})
def rotate_to_float8(
    qkv: Tensor,
    rows: Tensor,
    columns: Tensor,
    table: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    reach: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do what `rotate_normed` does, and quantize queries, keys and values, all by bounds.

    Args:
        qkv: As `rotate_normed` takes it, of an input whose rows are scaled by the bound of their norm.
        rows: Scales, [M, 1], float32.
        columns: Scales, [1, 3 H K], float32.
        table: [2, B or 1, L, 1, K], contiguous.
        query_weight: Of the queries' norm, [K].
        key_weight: Of the keys' norm, [K].
        reach: Length of each row of the weight, [1, 3 H K], float32.
        eps: Of both norms.

    Returns:
        Queries, keys and values in float8, [B, L, H, K] each, and scales of the first two, [2, B, H], float32. Values
        must still be multiplied with the scales of their rows and with `reach`.
    """
    batch, tokens, head_dim = qkv.shape[0], qkv.shape[1], table.shape[-1]
    heads = qkv.shape[2] // 3 // head_dim
    query = torch.empty(batch, tokens, heads, head_dim, dtype=FLOAT8, device=qkv.device)
    key, value = torch.empty_like(query), torch.empty_like(query)
    scales = torch.empty(2, batch, heads, dtype=torch.float32, device=qkv.device)
    table_step, sines = tokens * head_dim if table.shape[1] > 1 else 0, table.shape[1] * tokens * head_dim
    wrap_triton(_rotate_quantized_kernel)[(batch * tokens, 3)](
        qkv, rows, columns, table, table_step, sines, query_weight, key_weight, reach,
        query, key, value, scales, tokens, batch,
        EPS=eps, BOUND=head_dim**0.5, HEADS=heads, HEADS_BLOCK=block_size(heads), WIDTH=head_dim,
        HALF_BLOCK=block_size(head_dim // 2), num_warps=4,
    )  # fmt: skip
    return query, key, value, scales
