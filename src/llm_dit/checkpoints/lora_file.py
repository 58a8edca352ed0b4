"""One LoRA file in any trainer's spelling: our layer to what is added to it, every tensor placed or named.

Text encoders are not changed: what a file has for one is refused by name, as is any tensor that no layer takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.lora_factors import LayerChange, product_shape, rank
from llm_dit.checkpoints.lora_names import PartName, is_text_encoder, layer_spellings, part_name
from llm_dit.checkpoints.safetensors_file import SafetensorsFile, open_safetensors
from llm_dit.errors import CheckpointError, listed

if TYPE_CHECKING:
    from torch import Tensor

FIELD = "loras"
PARTS = {
    "lora": ({"up", "down"},),
    "loha": ({"w1_a", "w1_b", "w2_a", "w2_b"},),
    "lokr": tuple(first | second for first in ({"w1"}, {"w1_a", "w1_b"}) for second in ({"w2"}, {"w2_a", "w2_b"})),
    "diff": ({"diff"},),
}
"""Kind to the sets of factors that make one."""
PEFT_METADATA = "lora_adapter_metadata"
PEFT_CONFIG = "adapter_config.json"
SHOWN = 4


@dataclass(frozen=True, eq=False)
class LoraFile:
    """A LoRA, read.

    Attributes:
        path: The file.
        changes: Our layer to what is added to its weight, one after the other.
        ignored: Names of tensors that no layer takes.
    """

    path: Path
    changes: Mapping[str, tuple[LayerChange, ...]]
    ignored: tuple[str, ...]


def read_lora(path: Path, layers: Mapping[str, tuple[int, int]], *, ignore_unknown: bool = False) -> LoraFile:
    """Read a LoRA file whole.

    Args:
        path: A safetensors file.
        layers: Our layer to rows and columns of its weight, for every layer that may be changed.
        ignore_unknown: Leave out what no layer takes instead of refusing the file.

    Raises:
        CheckpointError: If the file is damaged, is for another model, or has a tensor that no layer takes.
    """
    file = open_safetensors(path, FIELD)
    found: dict[str, dict[str, tuple[PartName, str]]] = {}
    ignored = []
    spellings = layer_spellings(layers)
    for name in sorted(file.shapes):
        part = part_name(name)
        if part is None or part.layer not in spellings:
            ignored.append(name)
        else:
            found.setdefault(part.layer, {})[part.part] = (part, name)
    if ignored and not ignore_unknown:
        raise _unplaced(path, ignored)
    if not found:
        raise CheckpointError(f"LoRA {path} changes no layer of this model; it is for another.", field=FIELD)
    alphas = _peft_alphas(file)
    changes: dict[str, list[LayerChange]] = {}
    for layer, parts in found.items():
        for ours, change in _changes(file, layer, parts, spellings[layer], layers, alphas):
            changes.setdefault(ours, []).append(change)
    return LoraFile(path, {layer: tuple(parts) for layer, parts in changes.items()}, tuple(ignored))


def _unplaced(path: Path, names: list[str]) -> CheckpointError:
    shown = listed(names, SHOWN)
    if all(is_text_encoder(name) for name in names):
        what = "for a text encoder, which LoRAs don't change here"
    else:
        what = "that belong to no layer of this model"
    return CheckpointError(
        f"LoRA {path} has {len(names)} tensors {what} ({shown}); use a LoRA for Z-Image, or set lora_ignore_unknown to "
        "leave them out.",
        field=FIELD,
    )


def _changes(
    file: SafetensorsFile,
    layer: str,
    parts: Mapping[str, tuple[PartName, str]],
    ours: tuple[str, ...],
    layers: Mapping[str, tuple[int, int]],
    alphas: PeftAlphas,
) -> list[tuple[str, LayerChange]]:
    kinds = {part.kind for part, _ in parts.values() if part.kind}
    names = {part.part for part, _ in parts.values() if part.kind}
    kind = next(iter(kinds), "")
    if len(kinds) != 1 or names not in PARTS[kind]:
        given = ", ".join(name for _, name in parts.values())
        raise CheckpointError(
            f"LoRA {file.path} has only parts of a change of {layer} ({given}); fetch it again.", field=FIELD
        )
    tensors = {part: file.read(name) for part, (_, name) in parts.items()}
    factors = {name: tensors[name] for name in names}
    shape, expected = product_shape(kind, factors), (sum(layers[name][0] for name in ours), layers[ours[0]][1])
    if shape != expected:
        raise CheckpointError(
            f"LoRA {file.path} changes {layer} as {shape[0]} x {shape[1]}, but this model has {expected[0]} x "
            f"{expected[1]}; it is for another model.",
            field=FIELD,
        )
    scale = _scale(kind, factors, tensors.get("alpha"), alphas, ours[0])
    magnitude = _magnitude(file, layer, tensors.get("magnitude"), shape, len(ours))
    changes, start = [], 0
    for name in ours:
        stop = start + layers[name][0]
        changes.append((name, LayerChange(kind, factors, scale, shape, (start, stop), magnitude)))
        start = stop
    return changes


def _scale(kind: str, factors: Mapping[str, Tensor], alpha: Tensor | None, alphas: PeftAlphas, layer: str) -> float:
    divisor = rank(kind, factors)
    if divisor is None:
        return 1.0
    if alpha is not None:
        return float(alpha) / divisor
    return alphas.scale(layer, divisor)


def _magnitude(
    file: SafetensorsFile, layer: str, magnitude: Tensor | None, shape: tuple[int, int], projections: int
) -> Tensor | None:
    """Bring DoRA's norms to [O, 1] or [1, I]."""
    if magnitude is None:
        return None
    by_row = magnitude.ndim == 1 or magnitude.shape[0] == shape[0]
    if magnitude.numel() != (shape[0] if by_row else shape[1]):
        raise CheckpointError(
            f"LoRA {file.path}: the DoRA scale of {layer} has shape {list(magnitude.shape)}, which fits no weight of "
            f"{shape[0]} x {shape[1]}; it is for another model.",
            field=FIELD,
        )
    if not by_row and projections > 1:
        raise CheckpointError(
            f"LoRA {file.path}: the DoRA scale of {layer} has one norm for the columns of three projections, which is "
            "not read here; train it by rows, or without DoRA.",
            field=FIELD,
        )
    return magnitude.reshape(-1, 1) if by_row else magnitude.reshape(1, -1)


@dataclass(frozen=True)
class PeftAlphas:
    """PEFT's configuration, which says of the whole file what others say by an alpha a layer.

    Attributes:
        values: Keys as `lora_alpha`, `alpha_pattern`, `use_rslora`; empty where a file has none.
    """

    values: Mapping[str, Any]

    def scale(self, layer: str, rank: int) -> float:
        """Return alpha over the rank (over its root with rank-stabilised LoRA); 1 where nothing is said."""
        patterns = self.values.get("alpha_pattern") or {}
        alpha = next((value for name, value in patterns.items() if layer.endswith(name)), self.values.get("lora_alpha"))
        if alpha is None:
            return 1.0
        divisor: float = rank**0.5 if self.values.get("use_rslora") else rank
        return float(alpha) / divisor


def _peft_alphas(file: SafetensorsFile) -> PeftAlphas:
    beside = file.path.with_name(PEFT_CONFIG)
    if PEFT_METADATA in file.metadata:
        text, prefix = file.metadata[PEFT_METADATA], "transformer."
    elif file.path.name.startswith("adapter_model") and beside.is_file():
        text, prefix = beside.read_text(encoding="utf-8"), ""
    else:
        return PeftAlphas({})
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"LoRA {file.path} has a damaged PEFT configuration ({error}); fetch it again.", field=FIELD
        ) from None
    return PeftAlphas({name.removeprefix(prefix): value for name, value in content.items()})
