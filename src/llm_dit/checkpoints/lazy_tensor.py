"""A tensor that lies in a file: its shape and storage are known at once, its numbers when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.checkpoints.packed_rows import PackedRows

UNPACKING_DEVICES = ("cpu", "cuda")
ReadRows = Callable[[int, int, "torch.device"], "Tensor"]
"""First row, row after the last and device to the unpacked rows, in the number format that unpacking gives."""
ReadPacked = Callable[[int, int, "torch.device"], "PackedRows"]
"""The same to the rows as they are packed."""


@dataclass(frozen=True)
class LazyTensor:
    """One tensor of a file.

    Attributes:
        shape: Its shape once unpacked.
        format: How its numbers are stored: `bfloat16`, `float8_e4m3fn`, `nvfp4`, `Q4_K`, ...
        stored_bytes: What it takes in the file, its scales included.
        read_rows: Reads and unpacks some of its rows; packed formats give float32, others their own format.
        read_packed: Reads some of its rows packed; None where they can't stay so.
    """

    shape: tuple[int, ...]
    format: str
    stored_bytes: int
    read_rows: ReadRows
    read_packed: ReadPacked | None = None

    @classmethod
    def packed(cls, shape: tuple[int, int], format: str, stored_bytes: int, read_packed: ReadPacked) -> LazyTensor:
        """Return a tensor whose rows may stay packed; see `LazyTensor`."""

        def read_rows(start: int, stop: int, device: torch.device) -> Tensor:
            import torch

            return read_packed(start, stop, _unpacking_device(device)).unpacked(torch.float32).to(device)

        return cls(shape, format, stored_bytes, read_rows, read_packed)

    def read(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the whole tensor, rounded once to `dtype`."""
        rows = self.shape[0] if self.shape else 1
        if self.read_packed is not None:
            return self.read_packed(0, rows, _unpacking_device(device)).unpacked(dtype).to(device)
        return self.read_rows(0, rows, device).to(dtype)

    def rows(self, start: int, stop: int) -> LazyTensor:
        """Return rows `start` to `stop`; nothing else is read when they are."""
        read_rows, read_packed, rows = self.read_rows, self.read_packed, self.shape[0]
        return replace(
            self,
            shape=(stop - start, *self.shape[1:]),
            stored_bytes=self.stored_bytes * (stop - start) // rows,
            read_rows=lambda first, last, device: read_rows(start + first, start + last, device),
            read_packed=None
            if read_packed is None
            else lambda first, last, device: read_packed(start + first, start + last, device),
        )

    def reshaped(self, *shape: int) -> LazyTensor:
        """Return the same numbers under another shape, unpacked when they are read.

        Raises:
            ValueError: If the count of numbers differs.
        """
        if math.prod(shape) != math.prod(self.shape):
            raise ValueError(f"{list(self.shape)} can't become {list(shape)}.")
        read_rows, rows = self.read_rows, self.shape[0]
        return replace(
            self,
            shape=shape,
            read_rows=lambda first, last, device: read_rows(0, rows, device).reshape(shape)[first:last],
            read_packed=None,
        )


def _unpacking_device(device: torch.device) -> torch.device:
    """Return where a tensor for `device` is unpacked: there, or on the CPU where not all formats are known."""
    import torch

    return device if device.type in UNPACKING_DEVICES else torch.device("cpu")
