"""Which layers of a safetensors file are packed and how, as ComfyUI writes it, and their numbers.

A layer's format stands in the header (`_quantization_metadata`) or in a tensor `LAYER.comfy_quant`; older files mark
their scales by the name `scale_weight`. float8 without any of these is a plain cast. What is declared otherwise, or
lacks a part, is refused: weights without their scales draw noise.

Source: ComfyUI `comfy/utils.py` (`convert_old_quants`), `comfy/ops.py`, `comfy/quant_ops.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints import packed_formats
from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.packed_formats import MXFP8_BLOCK, NVFP4_BLOCK, tiled_shape
from llm_dit.checkpoints.packed_rows import PackedRows, Unpacker
from llm_dit.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.checkpoints.safetensors_file import SafetensorsFile

METADATA_KEY = "_quantization_metadata"
DECLARATION = ".comfy_quant"
OLD_MARK = "scaled_fp8"
OLD_SCALES = {".scale_weight": ".weight_scale", ".scale_input": ".input_scale"}
SCALE_SUFFIXES = (".weight_scale", ".weight_scale_2", ".input_scale", *OLD_SCALES)
FLOAT8_FORMATS = ("float8_e4m3fn", "float8_e5m2")
FORMATS = (*FLOAT8_FORMATS, "int8_tensorwise", "mxfp8", "nvfp4")
DEFAULT_ROTATION = 256


@dataclass(frozen=True)
class PackedLayer:
    """One layer as its file declares it.

    Attributes:
        format: One of `FORMATS`.
        rotation: Columns in a group of `convrot`; 0 without.
        rounds_activations: ComfyUI would also round what the layer reads, which is not done here.
    """

    format: str
    rotation: int = 0
    rounds_activations: bool = False

    @property
    def shown(self) -> str:
        """Name of the format with its rotation."""
        return f"{self.format} convrot" if self.rotation else self.format


def unpacked_tensors(file: SafetensorsFile) -> dict[str, LazyTensor]:
    """Return every weight of `file` under its stored name, packed layers unpacked when they are read.

    Raises:
        CheckpointError: If a format is unknown, or scales and weights do not belong together.
    """
    layers = packed_layers(file)
    tensors = {}
    for name in file.shapes:
        layer = name.removesuffix(".weight")
        if layer in layers and layer != name:
            tensors[name] = _unpacked(file, layer, layers[layer])
        elif not _is_part_of_packing(name):
            _check_storage(file, name)
            tensors[name] = _plain(file, name)
    _check_scales(file, layers)
    return tensors


def packed_layers(file: SafetensorsFile) -> dict[str, PackedLayer]:
    """Return layer to format for every layer that the file declares as packed.

    Raises:
        CheckpointError: If a declaration is malformed or of an unknown format.
    """
    return {layer: _layer(file, layer, declared) for layer, declared in _declarations(file)}


def _declarations(file: SafetensorsFile) -> Iterator[tuple[str, Any]]:
    for name in file.shapes:
        if name.endswith(".scale_weight"):
            layer = name.removesuffix(".scale_weight")
            stored = file.formats.get(f"{layer}.weight", "")
            yield layer, {"format": stored if stored in FLOAT8_FORMATS else FLOAT8_FORMATS[0]}
        elif name.endswith(DECLARATION):
            yield name.removesuffix(DECLARATION), _json(file, name, file.read_bytes(name))
    if METADATA_KEY in file.metadata:
        layers = _json(file, METADATA_KEY, file.metadata[METADATA_KEY]).get("layers")
        if not isinstance(layers, Mapping):
            raise _damaged(file, f"its {METADATA_KEY} lists no layers")
        for layer, declared in layers.items():
            yield _stored_layer(file, layer), declared


def _json(file: SafetensorsFile, name: str, text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _damaged(file, f"{name} is not a JSON object")
    return content


def _stored_layer(file: SafetensorsFile, layer: str) -> str:
    """Find a layer whose name in the header may lack the prefix that the tensors have."""
    if f"{layer}.weight" in file.shapes:
        return layer
    found = [name for name in file.shapes if name.endswith(f".{layer}.weight")]
    return found[0].removesuffix(".weight") if len(found) == 1 else layer


def _layer(file: SafetensorsFile, layer: str, declared: Any) -> PackedLayer:
    if not isinstance(declared, Mapping):
        raise _damaged(file, f"the format of {layer} is not a JSON object")
    values = {**declared, **(declared.get("params") or {})}
    name = str(values.get("format"))
    if name not in FORMATS:
        raise CheckpointError(
            f"{file.path} stores {layer} as {name!r}, which is not read here; {', '.join(FORMATS)} are. Use the bf16, "
            "fp8 or GGUF file of the same model.",
            field="model_path",
        )
    is_full = bool(values.get("full_precision_matrix_mult"))
    return PackedLayer(
        name,
        int(values.get("convrot_groupsize") or DEFAULT_ROTATION) if values.get("convrot") else 0,
        rounds_activations=not is_full and (name != FLOAT8_FORMATS[0] or f"{layer}.input_scale" in file.shapes),
    )


def _plain(file: SafetensorsFile, name: str) -> LazyTensor:
    """Return a tensor whose numbers are what is stored; matrices in float8 may stay so."""
    shape, stored = file.shapes[name], file.formats[name]
    if len(shape) != 2 or stored not in FLOAT8_FORMATS:
        return file.lazy(name)

    def read_packed(start: int, stop: int, device: torch.device) -> PackedRows:
        return PackedRows((file.read_rows(name, start, stop, device),), (), Unpacker(_as_float, shape[1]))

    return LazyTensor.packed((shape[0], shape[1]), stored, file.stored_bytes(name), read_packed)


def _as_float(values: Tensor) -> Tensor:
    return values.float()


def _unpacked(file: SafetensorsFile, layer: str, how: PackedLayer) -> LazyTensor:
    weight = f"{layer}.weight"
    if how.format == "nvfp4":
        return _nvfp4(file, layer, weight)
    rows, columns = _matrix(file, weight)
    if how.format == "mxfp8":
        return _mxfp8(file, layer, weight)
    if how.rotation and columns % how.rotation:
        raise _damaged(file, f"{weight} has {columns} columns, no multiple of its rotation's {how.rotation}")
    scale_name = next(
        (f"{layer}{end}" for end in (".weight_scale", ".scale_weight") if f"{layer}{end}" in file.shapes), ""
    )
    if not scale_name:
        raise _damaged(file, f"{weight} is {how.format}, but {layer}.weight_scale is missing")
    size = math.prod(file.shapes[scale_name])
    if size not in (1, rows):
        raise _damaged(file, f"{scale_name} holds {size} scales for {rows} rows")

    formula = partial(packed_formats.scaled_unpacked, rotation=how.rotation)

    def read_packed(start: int, stop: int, device: torch.device) -> PackedRows:
        scale = file.read(scale_name, device).reshape(-1)
        values = _viewed(file.read_rows(weight, start, stop, device), how.format)
        unpack = Unpacker(formula, columns)
        return (
            PackedRows((values,), (scale,), unpack)
            if size == 1
            else PackedRows((values, scale[start:stop]), (), unpack)
        )

    return LazyTensor.packed((rows, columns), how.shown, file.stored_bytes(weight, scale_name), read_packed)


def _nvfp4(file: SafetensorsFile, layer: str, weight: str) -> LazyTensor:
    rows, half = _matrix(file, weight)
    columns = 2 * half
    scale, whole = f"{layer}.weight_scale", f"{layer}.weight_scale_2"
    if whole not in file.shapes:
        raise _damaged(file, f"{weight} is nvfp4, but {whole} is missing")
    blocks = _block_count(file, weight, scale, rows, columns, NVFP4_BLOCK)

    def read_packed(start: int, stop: int, device: torch.device) -> PackedRows:
        import torch

        block_scale = _ordered_scales(file, scale, (rows, blocks), device)[start:stop].view(torch.float8_e4m3fn)
        packed = file.read_rows(weight, start, stop, device)
        unpack = Unpacker(packed_formats.nvfp4_unpacked, columns)
        return PackedRows((packed, block_scale), (file.read(whole, device),), unpack)

    return LazyTensor.packed((rows, columns), "nvfp4", file.stored_bytes(weight, scale, whole), read_packed)


def _mxfp8(file: SafetensorsFile, layer: str, weight: str) -> LazyTensor:
    rows, columns = _matrix(file, weight)
    scale = f"{layer}.weight_scale"
    blocks = _block_count(file, weight, scale, rows, columns, MXFP8_BLOCK)

    def read_packed(start: int, stop: int, device: torch.device) -> PackedRows:
        exponents = _ordered_scales(file, scale, (rows, blocks), device)[start:stop]
        values = _viewed(file.read_rows(weight, start, stop, device), FLOAT8_FORMATS[0])
        return PackedRows((values, exponents), (), Unpacker(packed_formats.mxfp8_unpacked, columns))

    return LazyTensor.packed((rows, columns), "mxfp8", file.stored_bytes(weight, scale), read_packed)


def _ordered_scales(file: SafetensorsFile, scale: str, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Read block scales of one byte as bytes, [rows, blocks]."""
    import torch

    return packed_formats.untiled(file.read(scale, device).view(torch.uint8), *shape).contiguous()


def _matrix(file: SafetensorsFile, weight: str) -> tuple[int, int]:
    shape = file.shapes[weight]
    if len(shape) != 2:
        raise _damaged(file, f"{weight}, which has a scale or a format, has shape {list(shape)}")
    return shape[0], shape[1]


def _block_count(file: SafetensorsFile, weight: str, scale: str, rows: int, columns: int, block: int) -> int:
    blocks, rest = divmod(columns, block)
    expected = math.prod(tiled_shape(rows, blocks))
    if rest or scale not in file.shapes or math.prod(file.shapes[scale]) != expected:
        found = list(file.shapes[scale]) if scale in file.shapes else "missing"
        raise _damaged(
            file, f"{weight} of {rows} x {columns} needs {expected} scales of {block} in {scale}, which is {found}"
        )
    return blocks


def _viewed(values: Tensor, name: str) -> Tensor:
    """Read bytes that are stored as uint8 as float8."""
    import torch

    kinds: Mapping[str, torch.dtype] = {FLOAT8_FORMATS[0]: torch.float8_e4m3fn, FLOAT8_FORMATS[1]: torch.float8_e5m2}
    return values.view(kinds[name]) if values.dtype == torch.uint8 and name in kinds else values


def _is_part_of_packing(name: str) -> bool:
    is_mark = name == OLD_MARK or name.endswith(f".{OLD_MARK}")
    return is_mark or name.endswith((DECLARATION, *SCALE_SUFFIXES))


def _check_scales(file: SafetensorsFile, layers: Mapping[str, PackedLayer]) -> None:
    ends = ((name, next((end for end in SCALE_SUFFIXES if name.endswith(end)), "")) for name in sorted(file.shapes))
    alone = [name for name, end in ends if end and name.removesuffix(end) not in layers]
    if alone:
        raise CheckpointError(
            f"{file.path} has scales ({', '.join(alone[:3])}{', ...' if len(alone) > 3 else ''}), but says nowhere how "
            "the weights beside them are packed; use a file that ComfyUI reads, or the bf16 file of the same model.",
            field="model_path",
        )
    without_weight = sorted(layer for layer in layers if f"{layer}.weight" not in file.shapes)
    if without_weight:
        raise _damaged(file, f"{without_weight[0]} has a scale or a format, but its weight is missing")


def _check_storage(file: SafetensorsFile, name: str) -> None:
    if not file.shapes[name] or not file.formats[name].startswith(("float", "bfloat")):
        raise CheckpointError(
            f"{file.path}: {name} is stored as {file.formats[name]} {list(file.shapes[name])} without saying how it is "
            "packed; use the bf16, fp8 or GGUF file of the same model.",
            field="model_path",
        )


def _damaged(file: SafetensorsFile, problem: str) -> CheckpointError:
    return CheckpointError(f"{file.path}: {problem}; fetch the file again.", field="model_path")
