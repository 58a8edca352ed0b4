"""Linear layers whose weights stay as their file packs them, and become numbers for each product.

The product is that of a plain layer with the unpacked weight, of the same shape, so its bits are the same. What packs
and unpacks is not known here.

Legend: N outputs, K inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor, nn

from llm_dit.networks.linear import linear

Change = Callable[[Tensor], Tensor]
"""From the rows of a weight as they are unpacked to what is computed with, of the same shape and number format."""


class Unpack(Protocol):
    """How the rows of a weight are unpacked."""

    def __call__(self, by_row: Sequence[Tensor], whole: Sequence[Tensor], out: Tensor) -> None:
        """Write all rows to `out`, [rows, K], rounded once, from tensors with as many rows and tensors of them all."""


class PackedPart(nn.Module):
    """Some rows of a weight, packed.

    Args:
        by_row: Stored tensors with a row for each.
        whole: Stored tensors of all rows.
        unpack: Makes numbers of both.
    """

    def __init__(self, by_row: Sequence[Tensor], whole: Sequence[Tensor], unpack: Unpack) -> None:
        super().__init__()
        self.rows = len(by_row[0])
        self.unpack = unpack
        self.change: Change | None = None
        self._by_row = [f"by_row_{index}" for index in range(len(by_row))]
        self._whole = [f"whole_{index}" for index in range(len(whole))]
        for name, tensor in zip((*self._by_row, *self._whole), (*by_row, *whole), strict=True):
            self.register_buffer(name, tensor, persistent=False)

    def write(self, out: Tensor) -> None:
        """Write the rows to `out`, [rows, K], changed where a change is set."""
        by_row = [self.get_buffer(name) for name in self._by_row]
        self.unpack(by_row, [self.get_buffer(name) for name in self._whole], out)
        if self.change is not None:
            out.copy_(self.change(out))


class PackedLinear(nn.Module):
    """A linear layer with a packed weight.

    Attributes:
        in_features: K.
        bias: [N]; None for none.
    """

    bias: nn.Parameter | None

    def __init__(self, parts: Sequence[PackedPart], in_features: int, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self._parts = nn.ModuleList(parts)
        self.in_features = in_features
        self.register_parameter("bias", bias)

    @property
    def parts(self) -> list[PackedPart]:
        """The weight's rows, in order."""
        return [part for part in self._parts if isinstance(part, PackedPart)]

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        return linear(x, self.weight_in(x.dtype, x.device), self.bias)

    def weight_in(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the weight in a number format, [N, K]."""
        weight = torch.empty(sum(part.rows for part in self.parts), self.in_features, dtype=dtype, device=device)
        for start, part in self._places():
            part.write(weight[start : start + part.rows])
        return weight

    def part_at(self, row: int) -> PackedPart:
        """Return the part whose first row is `row`."""
        return dict(self._places())[row]

    def _places(self) -> list[tuple[int, PackedPart]]:
        ends = list(accumulate(part.rows for part in self.parts))
        return list(zip([0, *ends], self.parts, strict=False))


def join_linears(layers: Sequence[nn.Linear | PackedLinear]) -> PackedLinear:
    """Return one layer whose outputs are those of `layers`, side by side; nothing is copied but biases."""
    parts = [part for layer in layers for part in _parts_of(layer)]
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    bias = nn.Parameter(torch.cat(biases).detach(), requires_grad=False) if biases else None
    return PackedLinear(parts, layers[0].in_features, bias)


def _parts_of(layer: nn.Linear | PackedLinear) -> list[PackedPart]:
    return layer.parts if isinstance(layer, PackedLinear) else [PackedPart([layer.weight.detach()], [], _plain)]


def _plain(by_row: Sequence[Tensor], whole: Sequence[Tensor], out: Tensor) -> None:  # noqa: ARG001 - as `Unpack`
    out.copy_(by_row[0])
