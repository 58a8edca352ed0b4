"""LoRAs in the weights of the loaded transformer: added before an image, taken away after, to the last bit.

The weights of layers that a LoRA changes are kept on the CPU as they were loaded (at most all of them, 12 GB), and
every change starts from these: `base + sum of strength * delta` in float32, rounded once, quantized again where the
layer is. Nothing is ever subtracted. Weights change in place, so compiled code and graphs stay. Those that are
kept packed are changed each time they are unpacked, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.lora_factors import LayerChange
from llm_dit.checkpoints.lora_files import LoraFiles
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.loras import lora_entries
from llm_dit.placement.devices import on

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.networks.transformer import ZImageTransformer
    from llm_dit.placement.block_stream import BlockStream


class _Applied(NamedTuple):
    """What a layer's weight holds: file's hash and strength of each change, in their order."""

    entries: tuple[tuple[str, float], ...]


class LoraMerger:
    """The LoRAs of a loaded transformer.

    Attributes:
        files: The LoRA files that its images ask for.
    """

    def __init__(
        self,
        transformer: ZImageTransformer,
        tensors: Mapping[str, LazyTensor],
        device: torch.device,
        dtype: torch.dtype,
        folder: str | None = None,
        stream: BlockStream | None = None,
    ) -> None:
        self.transformer = transformer
        self._stream = stream
        self.files = LoraFiles(tensors, folder)
        self._tensors = tensors
        self._device = device
        self._dtype = dtype
        self._base: dict[str, Tensor] = {}
        self._applied: dict[str, _Applied] = {}

    def use(self, params: GenerationParams) -> None:
        """Bring the weights to what resolved parameters say: LoRAs added, or taken away."""
        wanted: dict[str, list[tuple[LayerChange, str, float]]] = {}
        for entry in lora_entries(params.loras):
            strength = entry.strength * params.lora_strength
            if strength:
                file = self.files.file(entry, ignore_unknown=params.lora_ignore_unknown)
                for layer, changes in file.changes.items():
                    wanted.setdefault(layer, []).extend((change, entry.hash, strength) for change in changes)
        import torch

        now = {
            layer: _Applied(tuple((found, strength) for _, found, strength in wanted.get(layer, [])))
            for layer in sorted({*wanted, *self._applied})
        }
        changed = [layer for layer, applied in now.items() if self._applied.get(layer, _Applied(())) != applied]
        if changed and self._stream is not None:
            self._stream.forget()
        with on(self._device), torch.inference_mode(False), torch.no_grad():
            for layer in changed:
                self._bring(layer, wanted.get(layer, []), now[layer])

    def _bring(self, layer: str, changes: list[tuple[LayerChange, str, float]], now: _Applied) -> None:
        from llm_dit.networks.packed_linear import PackedLinear

        module, start = self.transformer.place_of(layer)
        changed = partial(_changed, [(change.on(self._device), strength) for change, _, strength in changes])
        if isinstance(module, PackedLinear):
            module.part_at(start).change = changed if changes else None
        else:
            weight = self._base_weight(layer).to(self._device, non_blocking=True)
            write_rows(module, start, changed(weight) if changes else weight, self._home)
        if changes:
            self._applied[layer] = now
        else:
            del self._applied[layer]

    def _home(self, tensor: Tensor) -> Tensor:
        return tensor if self._stream is None else self._stream.home(tensor)

    def _base_weight(self, layer: str) -> Tensor:
        import torch

        if layer not in self._base:
            weight = self._tensors[f"{layer}.weight"].read(self._dtype, torch.device("cpu")).clone()
            self._base[layer] = weight.pin_memory() if self._device.type == "cuda" else weight
        return self._base[layer]


def _changed(changes: list[tuple[LayerChange, float]], weight: Tensor) -> Tensor:
    """Return a weight with changes added in float32, rounded once to its own number format."""
    changed = weight.float()
    for change, strength in changes:
        changed = change.applied(changed, strength)
    return changed.to(weight.dtype)


def write_rows(
    module: Any, start: int, weight: Tensor, home: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> None:
    """Replace some rows of a linear layer's weight in place, quantized as the layer is.

    Args:
        module: `nn.Linear`, `ScaledLinear` or `Int8Linear`.
        start: First row.
        weight: In the number format of the model, on the device where it is quantized, [rows, columns].
        home: Where a tensor of the layer waits, if it is elsewhere.
    """
    from torch import nn

    from llm_dit.acceleration import float8, int8

    stop = start + len(weight)
    if isinstance(module, nn.Linear):
        home(module.weight)[start:stop].copy_(weight)
    elif isinstance(module, float8.ScaledLinear):
        values, scales = float8.quantize_weight(weight)
        home(module.weight)[start:stop].copy_(values)
        module.scale[:, start:stop].copy_(scales.T)
    else:
        assert isinstance(module, int8.Int8Linear)
        values, scales = int8.quantize_weight(weight)
        home(module.weight)[start:stop].copy_(values)
        module.scale[start:stop].copy_(scales)
