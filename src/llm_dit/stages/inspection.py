"""What a file or folder of a model holds, told without reading its weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_dit.checkpoints.finding import COMPONENTS, WEIGHT_COMPONENTS
from llm_dit.checkpoints.fingerprint import file_fingerprint, fingerprint
from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.model_file import StoredComponent, is_model_file, open_folder, open_model_file
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.checkpoints.weights import without_weights
from llm_dit.errors import CheckpointError, listed
from llm_dit.parameters import EngineSettings
from llm_dit.stages.card_plans import card_lines
from llm_dit.stages.latent_decoder import drawn_with

SHOWN_SIZES = {
    "transformer": ("dim", "n_layers", "n_refiner_layers", "n_heads", "cap_feat_dim", "in_channels"),
    "text_encoder": ("hidden_size", "num_hidden_layers", "vocab_size", "rope_theta"),
    "vae": ("block_out_channels", "latent_channels", "scaling_factor", "shift_factor"),
}
SHOWN_NAMES = 4


def inspect_model(path: Path) -> Iterator[str]:
    """Yield lines that say what a file or a folder is: layout, sizes, formats by layer, hash, what is missing.

    Raises:
        CheckpointError: If it is damaged, no part of Z-Image, or packed in a way that is not read.
    """
    if is_model_file(path):
        yield from _file_lines(path)
        return
    if not path.exists():
        raise CheckpointError(f"{path} is not there; give a file or a folder that is.", field="model_path")
    found = [name for name in WEIGHT_COMPONENTS if (path / name).is_dir()]
    if not found:
        raise CheckpointError(
            f"{path} is neither a .safetensors or .gguf file nor a folder with {', '.join(WEIGHT_COMPONENTS)}; give "
            "one of these.",
            field="model_path",
        )
    yield f"{path}: a folder as on the hub"
    for name in found:
        yield from _component_lines(open_folder(path / name, name))
    absent = [name for name in (*COMPONENTS, "scheduler") if not (path / name).is_dir()]
    if absent:
        yield f"not in this folder: {', '.join(absent)}"
    else:
        yield f"fingerprint {fingerprint(path)}"
        yield from card_lines(find_parts(EngineSettings(model_path=str(path))))


def _file_lines(path: Path) -> Iterator[str]:
    file = open_model_file(path)
    yield f"{path}: {path.stat().st_size / 1e9:.2f} GB, fingerprint {file_fingerprint(path)}"
    for component in file.components.values():
        yield from _component_lines(component)
    if file.rounds_activations:
        yield (
            f"{file.rounds_activations} layers: ComfyUI would also round what they read; here only the weights are "
            "what the file says."
        )
    absent = [name for name in WEIGHT_COMPONENTS if name not in file.components]
    if absent:
        yield f"not in this file: {', '.join(absent)}, tokenizer, scheduler"


def _component_lines(component: StoredComponent) -> Iterator[str]:
    yield f"{component.component}, layout {component.layout}, {len(component.tensors)} tensors"
    shown = SHOWN_SIZES[component.component]
    yield "  sizes: " + ", ".join(f"{name} {component.config[name]}" for name in shown if name in component.config)
    for name, count in component.formats.items():
        tensors = {key: tensor for key, tensor in component.tensors.items() if tensor.format == name}
        yield f"  {name}: {count} tensors, {_megabytes(tensors)}: {_places(tensors)}"
    expected = expected_shapes(component.component, component.config)
    tensors = drawn_with(component.tensors) if component.component == "vae" else dict(component.tensors)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    problems = {
        "missing": expected.keys() - found.keys(),
        "spare": found.keys() - expected.keys(),
        "misshapen": {name for name in expected.keys() & found.keys() if expected[name] != found[name]},
    }
    for what, names in problems.items():
        if names:
            yield f"  {what}: {listed(sorted(names), SHOWN_NAMES)}"
    if not any(problems.values()):
        yield "  complete"


def _megabytes(tensors: Mapping[str, LazyTensor]) -> str:
    return f"{sum(tensor.stored_bytes for tensor in tensors.values()) / 1e6:,.1f} MB"


def _places(tensors: Mapping[str, LazyTensor]) -> str:
    """Names with their numbers taken out, so that the layers of one kind are one entry."""
    return listed(sorted({re.sub(r"\.\d+\.", ".#.", name) for name in tensors}), SHOWN_NAMES)


def expected_shapes(component: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return parameter name to shape of the network that a configuration describes.

    Raises:
        LlmDitError: If the configuration describes no network of Z-Image.
    """
    from llm_dit.networks.qwen3 import Qwen3Config, Qwen3Encoder
    from llm_dit.networks.transformer import ZImageTransformer
    from llm_dit.networks.transformer_config import ZImageTransformerConfig
    from llm_dit.networks.vae_decoder import Autoencoder, DecoderConfig

    with without_weights():
        if component == "transformer":
            module: Any = ZImageTransformer(ZImageTransformerConfig.from_dict(config))
        elif component == "text_encoder":
            module = Qwen3Encoder(Qwen3Config.from_dict(config))
        else:
            module = Autoencoder(DecoderConfig.from_dict(config))
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
