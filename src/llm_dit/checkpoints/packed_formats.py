"""Weights in a few bits, turned back into numbers: the formulas, exact in float32, and nothing about files.

What comes out is what the file's weights are. It is not always what ComfyUI computes with them: where a layer has an
`input_scale`, it rounds activations to eight bits too.

Source: comfy-kitchen 0.2 `backends/eager/quantization.py`, `tensor/int8_utils.py`; ComfyUI `comfy/quant_ops.py`.

Legend: R rows, C columns.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FLOAT4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Magnitudes of float4 (e2m1); the fourth bit is the sign."""
NVFP4_BLOCK = 16
MXFP8_BLOCK = 32
E8M0_BIAS = 127
TILE_ROWS = 128
TILE_COLUMNS = 4


def scaled(quantized: Tensor, scale: Tensor) -> Tensor:
    """Multiply by one scale for all or one a row.

    Args:
        quantized: float8 or int8, [R, C].
        scale: A single number, or [R] or [R, 1].

    Returns:
        float32, [R, C].
    """
    by_row = scale.float().reshape(-1, 1) if scale.numel() > 1 else scale.float().reshape(())
    return quantized.float() * by_row


def scaled_unpacked(quantized: Tensor, scale: Tensor, *, rotation: int = 0) -> Tensor:
    """Scale, and take back the rotation of groups of so many columns; 0 for none. See `scaled` and `unrotated`."""
    values = scaled(quantized, scale)
    return unrotated(values, rotation) if rotation else values


def unrotated(rotated: Tensor, group_size: int) -> Tensor:
    """Take back the rotation of `convrot`: each group of columns was multiplied by a Hadamard matrix, its own inverse.

    Args:
        rotated: float32, [R, C], C a multiple of `group_size`.
        group_size: A power of 4.
    """
    rows, columns = rotated.shape
    matrix = hadamard(group_size, rotated.device)
    restored: Tensor = (rotated.view(rows, -1, group_size) @ matrix).view(rows, columns)
    return restored


@cache
def hadamard(size: int, device: torch.device | None = None) -> Tensor:
    """The symmetric orthonormal matrix of `convrot`, a Kronecker power of one of 4 rows, [size, size], float32."""
    import torch

    seed = torch.tensor([[1.0, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]])
    matrix = seed
    while matrix.shape[0] < size:
        matrix = torch.kron(matrix, seed)
    return (matrix / math.sqrt(size)).to(device)


@cache
def _float4_values(device: torch.device) -> Tensor:
    """The number of each of the 16 codes; made once, since the copy to a device waits for it."""
    import torch

    return torch.tensor([*FLOAT4_VALUES, *(-value for value in FLOAT4_VALUES)], device=device)


def nvfp4_unpacked(packed: Tensor, block_scale: Tensor, tensor_scale: Tensor) -> Tensor:
    """Unpack two numbers a byte, the first in the high bits, with a scale for each 16.

    Args:
        packed: uint8, [R, C / 2].
        block_scale: From `untiled`, [R, C / 16].
        tensor_scale: float32, a single number.

    Returns:
        float32, [R, C].
    """
    import torch

    codes = torch.stack([packed >> 4, packed & 15], dim=-1).flatten(-2).int()
    values = _float4_values(packed.device)[codes]
    scale = block_scale.float() * tensor_scale.float().reshape(())
    unpacked: Tensor = (values.unflatten(-1, (-1, NVFP4_BLOCK)) * scale[..., None]).flatten(-2)
    return unpacked


def mxfp8_unpacked(quantized: Tensor, exponents: Tensor) -> Tensor:
    """Multiply each 32 numbers by their power of two.

    Args:
        quantized: float8_e4m3fn, [R, C].
        exponents: From `untiled`, biased by 127, uint8, [R, C / 32].

    Returns:
        float32, [R, C].
    """
    import torch

    scale = torch.exp2(exponents.float() - E8M0_BIAS)
    unpacked: Tensor = (quantized.float().unflatten(-1, (-1, MXFP8_BLOCK)) * scale[..., None]).flatten(-2)
    return unpacked


def tiled_shape(rows: int, columns: int) -> tuple[int, int]:
    """Shape that scales of `rows` x `columns` have when they are stored in tiles of 128 x 4."""
    return -(-rows // TILE_ROWS) * TILE_ROWS, -(-columns // TILE_COLUMNS) * TILE_COLUMNS


def untiled(scales: Tensor, rows: int, columns: int) -> Tensor:
    """Put block scales in order that lie as cuBLAS reads them, in tiles of 128 x 4, [rows, columns].

    Args:
        scales: As many numbers as `tiled_shape` says.
        rows: Rows of the weight.
        columns: Blocks in a row.
    """
    from einops import rearrange

    padded_rows, padded_columns = tiled_shape(rows, columns)
    ordered: Tensor = rearrange(
        scales.reshape(-1),
        "(rb cb lane group column) -> (rb group lane) (cb column)",
        rb=padded_rows // TILE_ROWS,
        cb=padded_columns // TILE_COLUMNS,
        lane=32,
        group=4,
        column=TILE_COLUMNS,
    )
    return ordered[:rows, :columns]
