"""One safetensors file: names, shapes and formats from its header, tensors when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FORMATS = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""The header's names to PyTorch's, and bytes of a number."""
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class SafetensorsFile:
    """One file and the tensors in it, as they are stored.

    Attributes:
        path: The file.
        shapes: Tensor name to stored shape.
        formats: Tensor name to stored number format.
        metadata: Texts of the header.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    formats: Mapping[str, str]
    metadata: Mapping[str, str]
    _handles: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def read(self, name: str, device: torch.device | str = "cpu") -> Tensor:
        """Return one tensor as it is stored."""
        tensor: Tensor = self._handle(device).get_tensor(name)
        return tensor

    def read_bytes(self, name: str) -> bytes:
        """Return a tensor of bytes, without importing torch."""
        from safetensors import safe_open

        with safe_open(self.path, framework="np") as tensors:
            return bytes(tensors.get_tensor(name))

    def read_rows(self, name: str, start: int, stop: int, device: torch.device | str = "cpu") -> Tensor:
        """Return rows `start` to `stop` of one tensor as it is stored."""
        if not self.shapes[name] or (start, stop) == (0, self.shapes[name][0]):
            return self.read(name, device)
        rows: Tensor = self._handle(device).get_slice(name)[start:stop]
        return rows

    def lazy(self, name: str) -> LazyTensor:
        """Return one tensor, to be read later as it is stored."""
        return LazyTensor(
            self.shapes[name],
            self.formats[name],
            self.stored_bytes(name),
            lambda start, stop, device: self.read_rows(name, start, stop, device),
        )

    def stored_bytes(self, *names: str) -> int:
        """Bytes of these tensors in the file."""
        widths = dict(FORMATS.values())
        return sum(math.prod(self.shapes[name]) * widths.get(self.formats[name], 1) for name in names)

    def _handle(self, device: torch.device | str) -> Any:
        from safetensors import safe_open

        key = str(device)
        if key not in self._handles:
            self._handles[key] = safe_open(self.path, framework="pt", device=key)
        return self._handles[key]


def open_safetensors(path: Path, field: str = "model_path") -> SafetensorsFile:
    """Read the header of a safetensors file.

    Args:
        path: The file.
        field: The setting that named it, for the message.

    Raises:
        CheckpointError: If the file is a Git LFS pointer, truncated or damaged.
    """
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not weights; run `git lfs pull` in that folder.", field=field
            )
    try:
        with safe_open(path, framework="np") as tensors:  # the header needs no torch
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            codes = {name: str(part.get_dtype()) for name, part in slices.items()}
            metadata = tensors.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}); fetch it again.", field=field) from None
    formats = {name: FORMATS.get(code, (code, 1))[0] for name, code in codes.items()}
    return SafetensorsFile(path, shapes, formats, metadata)
