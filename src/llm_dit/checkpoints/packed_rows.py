"""Rows of a matrix as their file packs them, and how they become numbers, a bounded number of them at once.

Loading and computing with packed weights both unpack by this, in the same portions, so that they give the same bits.

Legend: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NUMBERS_AT_ONCE = 1 << 24
"""Unpacked in one portion; what a formula needs beside stays some 200 MB."""

Formula = Callable[..., "Tensor"]
"""Stored tensors of some rows, then those of the whole matrix, to the numbers, float32, [R, C]."""


@dataclass(frozen=True)
class Unpacker:
    """How the rows of one matrix are unpacked.

    Attributes:
        formula: See `Formula`.
        columns: C, numbers in a row.
    """

    formula: Formula
    columns: int

    def __call__(self, by_row: Sequence[Tensor], whole: Sequence[Tensor], out: Tensor) -> None:
        """Write all rows to `out`, [R, C], rounded once to its number format.

        Args:
            by_row: Stored tensors with R rows.
            whole: Stored tensors of the matrix, such as its one scale.
            out: On the device of the stored tensors.
        """
        portion = max(1, NUMBERS_AT_ONCE // self.columns)
        for start in range(0, len(out), portion):
            rows = (tensor[start : start + portion] for tensor in by_row)
            out[start : start + portion] = self.formula(*rows, *whole)


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Some rows of a matrix, read.

    Attributes:
        by_row: Stored tensors with a row for each of them.
        whole: Stored tensors of the matrix.
        unpack: Makes numbers of both.
    """

    by_row: tuple[Tensor, ...]
    whole: tuple[Tensor, ...]
    unpack: Unpacker

    @property
    def shape(self) -> tuple[int, int]:
        """[R, C]."""
        return len(self.by_row[0]), self.unpack.columns

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """Return the numbers, rounded once to `dtype`, [R, C]."""
        import torch

        out = torch.empty(self.shape, dtype=dtype, device=self.by_row[0].device)
        self.unpack(self.by_row, self.whole, out)
        return out
