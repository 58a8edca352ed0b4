"""One GGUF file: names, shapes and formats from its header, tensors unpacked when asked for.

The `gguf` package is llama.cpp's own and knows every format exactly. Matrices in formats that `gguf_formats.py` has are
unpacked by that, on the device; shapes in the file run from the innermost dimension.

Source: gguf 0.19 `gguf_reader.py`, `quants.py`; ComfyUI-GGUF `loader.py` for `comfy.gguf.orig_shape`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.gguf_formats import FORMATS, formula_of
from llm_dit.checkpoints.lazy_tensor import LazyTensor, ReadPacked
from llm_dit.checkpoints.packed_rows import PackedRows, Unpacker
from llm_dit.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAGIC = b"GGUF"
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
ENCODER = "qwen3"
TOLD = {
    "rope.freq_base": "rope_theta",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "context_length": "max_position_embeddings",
}
"""What llama.cpp writes about a text encoder, which no shape tells: fine-tunes of Qwen3-4B differ in it."""


@dataclass(frozen=True)
class GGUFFile:
    """One file and the tensors in it.

    Attributes:
        path: The file.
        tensors: Tensor name to the tensor, under its stored name, outermost dimension first.
        told: What the file says about its network, under the names of a config.json; empty where it says nothing.
    """

    path: Path
    tensors: Mapping[str, LazyTensor]
    told: Mapping[str, Any]


def open_gguf(path: Path) -> GGUFFile:
    """Read the header of a GGUF file.

    Raises:
        CheckpointError: If the package `gguf` is not installed, or the file is not GGUF, is truncated, or has a format
            that the package does not know.
    """
    if find_spec("gguf") is None:
        raise CheckpointError(
            f"{path.name} needs the package gguf, which is not installed; install it (uv sync --extra gguf), or take a "
            ".safetensors file of the same model.",
            field="model_path",
        )
    from gguf import GGUFReader

    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise CheckpointError(f"{path} is no GGUF file; fetch it again.", field="model_path")
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        raise CheckpointError(
            f"{path} is truncated, damaged, or of a kind that gguf can't read ({error}); fetch it again.",
            field="model_path",
        ) from None
    tensors = {item.name: _lazy(path, reader, item) for item in reader.tensors}
    fields = {name: reader.get_field(f"{ENCODER}.{key}") for key, name in TOLD.items()}
    return GGUFFile(path, tensors, {name: item.contents() for name, item in fields.items() if item is not None})


def _lazy(path: Path, reader: Any, item: Any) -> LazyTensor:
    from gguf import GGMLQuantizationType as Kind
    from gguf.quants import dequantize

    name = item.tensor_type.name
    known = (Kind.F32, Kind.F16, Kind.BF16)
    if item.tensor_type not in known and not _can_unpack(item.tensor_type):
        raise CheckpointError(
            f"{path} stores {item.name} as {name}, which the gguf package can't unpack; use a Q or F16 file of the "
            "same model.",
            field="model_path",
        )

    def read_rows(start: int, stop: int, device: torch.device) -> Tensor:
        import torch

        rows = item.data[start:stop]
        if item.tensor_type == Kind.BF16:
            return torch.from_numpy(rows.copy()).view(torch.bfloat16).to(device)
        values = rows.copy() if item.tensor_type in known else dequantize(rows, item.tensor_type)
        return torch.from_numpy(values).to(device)

    shape = tuple(int(size) for size in reversed(item.shape))
    if name in FORMATS and len(shape) == 2:
        stored = LazyTensor.packed((shape[0], shape[1]), name, int(item.n_bytes), _read_packed(item, shape[1]))
    else:
        formats = {Kind.F32: "float32", Kind.F16: "float16", Kind.BF16: "bfloat16"}
        stored = LazyTensor(shape, formats.get(item.tensor_type, name), int(item.n_bytes), read_rows)
    original = reader.get_field(ORIGINAL_SHAPE + item.name)
    return stored if original is None else stored.reshaped(*(int(size) for size in original.contents()))


def _read_packed(item: Any, columns: int) -> ReadPacked:
    def read_packed(start: int, stop: int, device: torch.device) -> PackedRows:
        import torch

        stored = torch.from_numpy(item.data[start:stop].copy()).to(device)
        return PackedRows((stored,), (), Unpacker(formula_of(item.tensor_type.name), columns))

    return read_packed


def _can_unpack(kind: Any) -> bool:
    from gguf.quants import _type_traits

    return kind in _type_traits
