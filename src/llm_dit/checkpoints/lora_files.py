"""The LoRA files that images of one transformer ask for: found, hashed, checked against its layers, and read once.

Needs no loaded model: the names and shapes of its tensors are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_dit.checkpoints.fingerprint import file_fingerprint
from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.lora_factors import DORA_CONVENTION
from llm_dit.checkpoints.lora_file import LoraFile, read_lora
from llm_dit.checkpoints.lora_folder import find_lora
from llm_dit.errors import CheckpointError
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.loras import LoraEntry, lora_entries, loras_text

HASH_DIGITS = 16


class LoraFiles:
    """Files of LoRAs for one transformer.

    Args:
        tensors: The transformer's, by our names.
        folder: Where a file is found by its name; None searches nowhere.

    Attributes:
        layers: Our layer to rows and columns, of every layer that may be changed.
    """

    def __init__(self, tensors: Mapping[str, LazyTensor], folder: str | None = None) -> None:
        self.layers = {
            name.removesuffix(".weight"): (tensor.shape[0], tensor.shape[1])
            for name, tensor in tensors.items()
            if name.endswith(".weight") and len(tensor.shape) == 2
        }
        self._folder = folder
        self._files: dict[tuple[str, str, bool], LoraFile] = {}

    def resolve(self, params: GenerationParams) -> str:
        """Return the image's LoRAs with the hash of each file, all read and checked.

        Raises:
            CheckpointError: If a file is missing, damaged, for another model, or another than when its hash was taken.
        """
        entries = []
        for entry in lora_entries(params.loras):
            path = find_lora(entry.file, self._folder)
            found = file_fingerprint(path)[:HASH_DIGITS]
            if entry.hash and entry.hash != found:
                raise CheckpointError(
                    f"LoRA {path} is another file than the one of the record ({found}, not {entry.hash}); give that "
                    "one, or leave the hash out.",
                    field="loras",
                )
            resolved = entry._replace(hash=found)
            self.file(resolved, ignore_unknown=params.lora_ignore_unknown)
            entries.append(resolved)
        return loras_text(entries)

    def record(self, params: GenerationParams) -> list[dict[str, Any]]:
        """Return what stands in an image's record about its LoRAs; `params` are resolved."""
        return [self._recorded(entry, params) for entry in lora_entries(params.loras)]

    def file(self, entry: LoraEntry, *, ignore_unknown: bool) -> LoraFile:
        """Return a file that `resolve` has seen, read.

        Raises:
            CheckpointError: If it is missing, damaged or for another model.
        """
        key = (entry.file, entry.hash, ignore_unknown)
        if key not in self._files:
            path = find_lora(entry.file, self._folder)
            self._files[key] = read_lora(path, self.layers, ignore_unknown=ignore_unknown)
        return self._files[key]

    def _recorded(self, entry: LoraEntry, params: GenerationParams) -> dict[str, Any]:
        file = self.file(entry, ignore_unknown=params.lora_ignore_unknown)
        has_dora = any(change.magnitude is not None for changes in file.changes.values() for change in changes)
        return {
            "file": entry.file,
            "fingerprint": entry.hash,
            "strength": entry.strength * params.lora_strength,
            "layers": len(file.changes),
            "ignored": list(file.ignored),
            **({"dora": DORA_CONVENTION} if has_dora else {}),
        }
