"""Weights as people hold them, in a file or a folder: which parts, in what layout and formats, under our names."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_dit.checkpoints.comfy_quantization import packed_layers, unpacked_tensors
from llm_dit.checkpoints.finding import read_json
from llm_dit.checkpoints.fingerprint import component_fingerprint, file_fingerprint
from llm_dit.checkpoints.foreign_models import refuse_foreign, refuse_packed_folder
from llm_dit.checkpoints.gguf_file import open_gguf
from llm_dit.checkpoints.layouts import find_layout, our_tensors, split_components
from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.safetensors_file import open_safetensors
from llm_dit.checkpoints.sizes import config_from_tensors
from llm_dit.checkpoints.weights import open_weights
from llm_dit.errors import CheckpointError

SUFFIXES = (".safetensors", ".sft", ".gguf")
ENCODER_NAMES = ("model.", "lm_head.weight")
"""What stands before the names of a Qwen3 language model's folder, and its output layer: the token embeddings again."""
PICKLES = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class StoredComponent:
    """One component in a file or folder.

    Attributes:
        path: The file, or the component's folder.
        component: `transformer`, `text_encoder` or `vae`.
        layout: What its layout is called.
        config: What its config.json would say.
        tensors: Our name to tensor.
    """

    path: Path
    component: str
    layout: str
    config: Mapping[str, Any]
    tensors: Mapping[str, LazyTensor]

    @property
    def formats(self) -> dict[str, int]:
        """Format to number of tensors stored in it, the commonest first."""
        return dict(Counter(tensor.format for tensor in self.tensors.values()).most_common())

    def fingerprint(self) -> str:
        """Return a hash of the file or folder and of the configuration, 64 hexadecimal digits."""
        if self.path.is_dir():
            return component_fingerprint(self.path)
        config = json.dumps(self.config, sort_keys=True)
        return hashlib.sha256(f"{file_fingerprint(self.path)}\0{config}".encode()).hexdigest()


@dataclass(frozen=True)
class ModelFile:
    """A file with its components.

    Attributes:
        path: The file.
        components: Component's name to component.
        rounds_activations: Layers whose inputs ComfyUI would round as well, so that its pictures differ.
    """

    path: Path
    components: Mapping[str, StoredComponent]
    rounds_activations: int = 0


def is_model_file(path: Path) -> bool:
    """Whether `path` is a file of weights by its name."""
    return path.suffix.lower() in (*SUFFIXES, *PICKLES) and path.is_file()


def open_model_file(path: Path) -> ModelFile:
    """Read the header of a safetensors or GGUF file and sort out what it holds.

    Raises:
        CheckpointError: If it is damaged, is no part of Z-Image, or is packed in a way that is not read.
    """
    if path.suffix.lower() in PICKLES:
        raise CheckpointError(
            f"{path} is a pickle file, which can run code when read; use the model in safetensors or GGUF.",
            field="model_path",
        )
    tensors, told, rounding = _gguf(path) if path.suffix.lower() == ".gguf" else _safetensors(path)
    components = {}
    for component, part in split_components(path, tensors).items():
        _, table = find_layout(path, part)
        ours = our_tensors(path, component, part)
        shapes = {name: tensor.shape for name, tensor in ours.items()}
        config = config_from_tensors(path, component, shapes, told if component == "text_encoder" else {})
        components[component] = StoredComponent(path, component, table.layout, config, ours)
    return ModelFile(path, components, rounding)


def open_folder(folder: Path, component: str) -> StoredComponent:
    """Read the headers of a component's folder, with config.json and one set of safetensors files.

    Raises:
        CheckpointError: If a file is missing or damaged, or the folder is packed in a way that is not read.
    """
    config = read_json(folder / "config.json")
    refuse_packed_folder(folder, config)
    stored: dict[str, LazyTensor] = {}
    for file in open_weights(folder):
        stored |= unpacked_tensors(file)
    prefix, repeated = ENCODER_NAMES if component == "text_encoder" else ("", "")
    ours = {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name != repeated}
    return StoredComponent(folder, component, "diffusers folder", config, ours)


def _gguf(path: Path) -> tuple[Mapping[str, LazyTensor], Mapping[str, Any], int]:
    file = open_gguf(path)
    refuse_foreign(path, {name: tensor.shape for name, tensor in file.tensors.items()})
    return file.tensors, file.told, 0


def _safetensors(path: Path) -> tuple[Mapping[str, LazyTensor], Mapping[str, Any], int]:
    file = open_safetensors(path)
    refuse_foreign(path, file.shapes, file.metadata)
    rounding = sum(layer.rounds_activations for layer in packed_layers(file).values())
    return unpacked_tensors(file), {}, rounding
