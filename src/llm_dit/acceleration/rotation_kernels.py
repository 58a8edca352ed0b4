"""A Triton kernel between a float8 block's first product and its attention: scales, norms and rotation in one pass.

Each program goes through its share of the rows (tokens) of the queries or of the keys. All arithmetic is float32. For
attention in float8 the scales come from a bound, so that nothing is read twice: a query or key that was normed is at
most the root of K times the largest gain long, whatever rotates it. Float8 keeps its relative precision over 15 powers
of two.

Legend: B images, L tokens of an image, M = B L rows, H heads, K head width.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from llm_dit.acceleration.float8_format import FLOAT8, RANGE, SMALLEST
from llm_dit.acceleration.float8_kernels import STAGES, block_size, programs
from llm_dit.acceleration.operators import triton_operator, wrap_triton

FLOAT8_RANGE = tl.constexpr(RANGE)
SMALLEST_MAGNITUDE = tl.constexpr(SMALLEST)


@triton.jit
def _rotate_kernel(
    projected, row_scales, column_scales, table, table_step, sines, query_weight, key_weight, query, key, scales,
    tokens, images,
    EPS: tl.constexpr, BOUND: tl.constexpr, PARTS: tl.constexpr, HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr,
    WIDTH: tl.constexpr, HALF_BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    is_key = tl.program_id(1)
    heads, columns, pairs = tl.arange(0, HEADS_BLOCK), tl.arange(0, 2 * HALF_BLOCK), tl.arange(0, HALF_BLOCK)
    is_inside = (heads < HEADS)[:, None] & (columns < WIDTH)[None, :]
    place = heads[:, None] * WIDTH + columns[None, :]
    column_scales = tl.load(column_scales + is_key * HEADS * WIDTH + place, mask=is_inside, other=0.0)
    gain = tl.load((key_weight if is_key else query_weight) + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)
    if BOUND > 0:
        largest = tl.maximum(BOUND * tl.max(tl.abs(gain), 0), SMALLEST_MAGNITUDE)
        gain *= FLOAT8_RANGE / largest
        if tl.program_id(0) == 0:
            for image in range(images):
                scale = tl.zeros((HEADS_BLOCK,), tl.float32) + largest / FLOAT8_RANGE
                tl.store(scales + (is_key * images + image) * HEADS + heads, scale, mask=heads < HEADS)
    for row in tl.range(tl.program_id(0).to(tl.int64), images * tokens, tl.num_programs(0), num_stages=STAGES):
        features = tl.load(projected + (PARTS * row + is_key) * HEADS * WIDTH + place, mask=is_inside, other=0.0)
        features = features.to(tl.float32) * (tl.load(row_scales + row) * column_scales)
        angle = table + row // tokens * table_step + row % tokens * WIDTH + 2 * pairs
        cosine = tl.load(angle, mask=2 * pairs < WIDTH, other=0.0)[None, :]
        sine = tl.load(angle + sines + 1, mask=2 * pairs < WIDTH, other=0.0)[None, :]
        features *= tl.rsqrt(tl.sum(features * features, 1) / WIDTH + EPS)[:, None] * gain[None, :]
        even, odd = tl.split(tl.reshape(features, (HEADS_BLOCK, HALF_BLOCK, 2)))
        turned = tl.join(even * cosine - odd * sine, odd * cosine + even * sine)
        turned = tl.reshape(turned, (HEADS_BLOCK, 2 * HALF_BLOCK)).to(query.dtype.element_ty)
        tl.store((key if is_key else query) + row * HEADS * WIDTH + place, turned, mask=is_inside)


def _launch(
    kernel: Any,
    projected: Tensor,
    parts: int,
    rows: Tensor,
    columns: Tensor,
    table: Tensor,
    weights: tuple[Tensor, Tensor],
    eps: float,
    bound: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    images, tokens, head_dim = projected.shape[0], projected.shape[1], table.shape[-1]
    heads = projected.shape[2] // parts // head_dim
    query = torch.empty(images, tokens, heads, head_dim, dtype=dtype, device=projected.device)
    key = torch.empty_like(query)
    scales = torch.empty(2, images, heads, dtype=torch.float32, device=projected.device)
    table_step, sines = tokens * head_dim if table.shape[1] > 1 else 0, table.shape[1] * tokens * head_dim
    kernel[(programs(projected), 2)](
        projected, rows, columns, table, table_step, sines, *weights, query, key, scales, tokens, images,
        EPS=eps, BOUND=bound, PARTS=parts, HEADS=heads, HEADS_BLOCK=block_size(heads), WIDTH=head_dim,
        HALF_BLOCK=block_size(head_dim // 2), STAGES=STAGES, num_warps=4,
    )  # fmt: skip
    return query, key, scales


@triton_operator
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
    weights = query_weight, key_weight
    kernel = wrap_triton(_rotate_kernel)
    query, key, _ = _launch(kernel, qkv, 3, rows, columns, table, weights, eps, bound=0.0, dtype=qkv.dtype)
    return query, key


@triton_operator
def rotate_to_float8(
    joined: Tensor, rows: Tensor, columns: Tensor, table: Tensor, query_weight: Tensor, key_weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `rotate_normed` does, and quantize, by the bound of the norms.

    Args:
        joined: Queries and keys side by side, before the scales of their product, [B, L, 2 H K], contiguous.
        rows: Scales, [M, 1], float32.
        columns: Scales of queries and keys, others may follow, [1, at least 2 H K], float32.
        table: [2, B or 1, L, 1, K], contiguous.
        query_weight: Of the queries' norm, [K].
        key_weight: Of the keys' norm, [K].
        eps: Of both norms.

    Returns:
        Queries and keys in float8, [B, L, H, K] each, and their scales, [2, B, H], float32.
    """
    bound, weights = table.shape[-1] ** 0.5, (query_weight, key_weight)
    kernel = wrap_triton(_rotate_kernel)
    return _launch(kernel, joined, 2, rows, columns, table, weights, eps, bound=bound, dtype=FLOAT8)
