"""What a LoRA adds to one layer, kept in its factors: LoRA, LoHa, LoKr, a full difference, each with DoRA or without.

DoRA has two conventions in use. PEFT and LyCORIS divide by the norm of the changed weight, ComfyUI, where the scale is
one a row, by the norm of the base weight. The first is taken. Strength blends the base and the changed weight, as in
ComfyUI; LyCORIS scales the change of the norm only. At strength 1 this is what PEFT and LyCORIS compute.

Source: LyCORIS `functional/`; PEFT `tuners/lora/dora.py`; ComfyUI `comfy/weight_adapter/`.

Legend: O rows of the layer, I columns, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DORA_CONVENTION = "norm of the changed weight (PEFT, LyCORIS)"

Factors = Mapping[str, "Tensor"]
"""Factors by the names of `KINDS`."""


@dataclass(frozen=True, eq=False)
class LayerChange:
    """What one LoRA adds to one layer.

    Attributes:
        kind: `lora`, `loha`, `lokr` or `diff`.
        factors: As they are stored.
        scale: What the product of the factors is multiplied by, strength left out.
        shape: Of the whole product, [O, I]; O counts the rows of all projections fused in it.
        rows: First row, and the row after the last, that belong to this layer.
        magnitude: DoRA's norms, [O, 1] or [1, I]; None without.
    """

    kind: str
    factors: Factors
    scale: float
    shape: tuple[int, int]
    rows: tuple[int, int]
    magnitude: Tensor | None = None

    def on(self, device: torch.device) -> LayerChange:
        """Return the same with its tensors on a device."""
        factors = {name: factor.to(device) for name, factor in self.factors.items()}
        return replace(self, factors=factors, magnitude=None if self.magnitude is None else self.magnitude.to(device))

    def delta(self, device: torch.device | str = "cpu") -> Tensor:
        """Return what is added to the layer's weight at strength 1, DoRA left out, float32, [O, I]."""
        factors = {name: factor.to(device).float() for name, factor in self.factors.items()}
        first, last = self.rows
        if self.kind == "lora":  # the other kinds' products don't split by rows
            product: Any = factors["up"].flatten(1)[first:last] @ factors["down"].flatten(1)
        else:
            product = PRODUCTS[self.kind](factors).reshape(self.shape)[first:last]
        delta: Tensor = product * self.scale
        return delta

    def applied(self, weight: Tensor, strength: float) -> Tensor:
        """Return a changed copy of a weight, float32, [O, I]; the same numbers at strength 0."""
        delta = self.delta(weight.device)
        if self.magnitude is None:
            return weight + strength * delta
        changed = weight + delta
        magnitude = self.magnitude.to(weight.device).float()
        if magnitude.shape[0] == 1:
            norm = changed.norm(dim=0, keepdim=True)
        else:
            norm, magnitude = changed.norm(dim=1, keepdim=True), magnitude[slice(*self.rows)]
        blended: Tensor = weight + strength * (magnitude * changed / norm - weight)
        return blended


def _loha(factors: Factors) -> Tensor:
    return (factors["w1_a"] @ factors["w1_b"]) * (factors["w2_a"] @ factors["w2_b"])


def _lokr(factors: Factors) -> Tensor:
    import torch

    first, second = (
        factors[name] if name in factors else factors[f"{name}_a"] @ factors[f"{name}_b"] for name in ("w1", "w2")
    )
    return torch.kron(first, second)


PRODUCTS: Mapping[str, Callable[[Factors], Tensor]] = {
    "loha": _loha,
    "lokr": _lokr,
    "diff": lambda factors: factors["diff"],
}


def rank(kind: str, factors: Factors) -> int | None:
    """Return what alpha is divided by; None where alpha is a placeholder: no factor is itself a product."""
    if kind == "lora":
        return factors["down"].shape[0]
    if kind == "loha":
        return factors["w1_b"].shape[0]
    parts = [factors[name].shape[0] for name in ("w1_b", "w2_b") if name in factors]
    return parts[-1] if kind == "lokr" and parts else None


def product_shape(kind: str, factors: Factors) -> tuple[int, int]:
    """Return rows and columns of what the factors multiply to."""
    if kind == "lora":
        return factors["up"].shape[0], factors["down"].flatten(1).shape[1]
    if kind == "loha":
        return factors["w1_a"].shape[0], factors["w1_b"].shape[1]
    if kind == "diff":
        return factors["diff"].shape[0], factors["diff"].flatten(1).shape[1]
    sizes = [
        factors[name].shape if name in factors else (factors[f"{name}_a"].shape[0], factors[f"{name}_b"].shape[1])
        for name in ("w1", "w2")
    ]
    return sizes[0][0] * sizes[1][0], sizes[0][1] * sizes[1][1]
