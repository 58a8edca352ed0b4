"""Networks filled so that what their files pack stays packed: linear layers only, and in formats that torch unpacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from llm_dit.checkpoints.lazy_tensor import UNPACKING_DEVICES, LazyTensor
from llm_dit.checkpoints.weights import MAX_READERS, assign_weights
from llm_dit.errors import DeviceError, InvalidParameter
from llm_dit.parameters import EngineSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from llm_dit.networks.packed_linear import PackedLinear
    from llm_dit.placement.devices import AnyDevice

logger = logging.getLogger(__name__)

FIELD = "keep_packed"


def check_packed(wanted: EngineSettings, *devices: AnyDevice) -> None:
    """Refuse what does not go with packed weights.

    Args:
        wanted: The settings.
        devices: Of the stages whose weights stay packed.

    Raises:
        LlmDitError: If weights are to be quantized otherwise, compiled with, or replayed in graphs, or a device can't
            unpack them.
    """
    if not wanted.keep_packed:
        return
    for device in devices:
        if device.type not in UNPACKING_DEVICES:
            raise DeviceError(
                f"keep_packed needs {' or '.join(UNPACKING_DEVICES)}, not {device.type}; leave it out.", field=FIELD
            )
    for field in ("quantization", "text_encoder_quantization"):
        if getattr(wanted, field) != "none":
            raise InvalidParameter(
                FIELD, f"keeps weights as their file packs them, and {field} packs them anew; use one of the two."
            )
    for field in ("compile", "cuda_graphs"):
        if getattr(wanted, field) == "on":
            raise DeviceError(f"{field} = on does not go with keep_packed; use auto or off.", field=field)


def tell_unpacked(path: Path, tensors: Mapping[str, LazyTensor]) -> None:
    """Warn where a network's file packs nothing that can stay packed."""
    if all(tensor.read_packed is None for tensor in tensors.values()):
        logger.warning("keep_packed does nothing for %s, which packs no linear layer in a format that can stay.", path)


def assign_packed(
    module: nn.Module, tensors: Mapping[str, LazyTensor], *, dtype: torch.dtype, device: torch.device
) -> None:
    """Do as `assign_weights` does, but leave weights of linear layers packed that are.

    Args:
        module: See `load_weights`.
        tensors: Parameter name to tensor, compared with the module before.
        dtype: Number format of the other parameters, and of the products.
        device: Where all go.
    """
    from torch import nn

    linears = {name: child for name, child in module.named_modules() if isinstance(child, nn.Linear)}
    weights = {name: tensors.get(f"{name}.weight" if name else "weight") for name in linears}
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None and tensor.read_packed is not None}
    with ThreadPoolExecutor(MAX_READERS) as readers:
        layers = readers.map(lambda name: _packed(linears[name], kept[name], device), kept)
        for name, layer in zip(kept, layers, strict=True):
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, layer)
    rest = {name: tensor for name, tensor in tensors.items() if name.removesuffix(".weight") not in kept}
    assign_weights(module, rest, dtype=dtype, device=device)


def _packed(linear: nn.Linear, tensor: LazyTensor, device: torch.device) -> PackedLinear:
    from llm_dit.networks.packed_linear import PackedLinear, PackedPart

    assert tensor.read_packed is not None
    rows = tensor.read_packed(0, tensor.shape[0], device)
    return PackedLinear([PackedPart(rows.by_row, rows.whole, rows.unpack)], linear.in_features, linear.bias)
