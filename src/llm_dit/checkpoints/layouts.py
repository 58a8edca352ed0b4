"""The layouts in which Z-Image's parts are handed round, one table each, and how a file's layout is recognised.

A file's tensors become (component, our name, lazy tensor): prefixes go, names are looked up, fused projections are cut
by rows after unpacking, and tensors that two tools write in different shapes get ours.

Source: ComfyUI `comfy/utils.py` (`z_image_to_diffusers`), `model_detection.py`, `supported_models.py`; diffusers 0.42
`loaders/single_file_utils.py`; ComfyUI-GGUF `loader.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.name_table import NameTable
from llm_dit.errors import CheckpointError

BUNDLE_PREFIXES = {
    "model.diffusion_model.": "transformer",
    "diffusion_model.": "transformer",
    "transformer.": "transformer",
    "text_encoders.qwen3_4b.transformer.": "text_encoder",
    "text_encoder.": "text_encoder",
    "vae.": "vae",
    "first_stage_model.": "vae",
}
"""Where a name starts with one of these it belongs to that component, and the rest is its name there."""
CAUSAL_PREFIX = "model."
VAE_LEVELS = 4

ORIGINAL_TRANSFORMER = NameTable(
    "original (ComfyUI)",
    parts=(
        ("x_embedder", "all_x_embedder.2-1"),
        ("final_layer", "all_final_layer.2-1"),
        ("attention.out", "attention.to_out.0"),
        ("attention.q_norm", "attention.norm_q"),
        ("attention.k_norm", "attention.norm_k"),
    ),
    fused={"attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v")},
    dropped=frozenset({"norm_final.weight"}),
)
DIFFUSERS_TRANSFORMER = NameTable("diffusers", dropped=frozenset({"norm_final.weight"}))
TRANSFORMERS_ENCODER = NameTable("transformers", dropped=frozenset({"lm_head.weight"}))
LLAMA_ENCODER = NameTable(
    "llama.cpp",
    parts=(
        ("token_embd", "embed_tokens"),
        ("blk.#", "layers.#"),
        *((f"attn_{name}", f"self_attn.{name}_proj") for name in "qkv"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        *((f"ffn_{name}", f"mlp.{name}_proj") for name in ("gate", "up", "down")),
        ("attn_norm", "input_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("output_norm", "norm"),
    ),
    dropped=frozenset({"output.weight", "rope_freqs.weight"}),
)
LDM_VAE = NameTable(
    "LDM (ae.safetensors)",
    parts=(
        ("encoder.down.#.block.#", "encoder.down_blocks.#.resnets.#"),
        ("encoder.down.#.downsample", "encoder.down_blocks.#.downsamplers.0"),
        ("decoder.up.~.block.#", "decoder.up_blocks.~.resnets.#"),
        ("decoder.up.~.upsample", "decoder.up_blocks.~.upsamplers.0"),
        ("mid.block_1", "mid_block.resnets.0"),
        ("mid.block_2", "mid_block.resnets.1"),
        ("mid.attn_1.norm", "mid_block.attentions.0.group_norm"),
        *((f"mid.attn_1.{name}", f"mid_block.attentions.0.to_{name}") for name in "qkv"),
        ("mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"),
        ("nin_shortcut", "conv_shortcut"),
        ("norm_out", "conv_norm_out"),
    ),
    levels=VAE_LEVELS,
)
DIFFUSERS_VAE = NameTable("diffusers")

SIGNS: tuple[tuple[str, str, NameTable], ...] = (
    ("noise_refiner.0.attention.k_norm.weight", "transformer", ORIGINAL_TRANSFORMER),
    ("noise_refiner.0.attention.norm_k.weight", "transformer", DIFFUSERS_TRANSFORMER),
    ("token_embd.weight", "text_encoder", LLAMA_ENCODER),
    ("embed_tokens.weight", "text_encoder", TRANSFORMERS_ENCODER),
    ("decoder.mid.block_1.conv1.weight", "vae", LDM_VAE),
    ("decoder.mid_block.resnets.0.conv1.weight", "vae", DIFFUSERS_VAE),
)
"""A tensor that only this layout of this component has."""
MATRICES = re.compile(r"mid_block\.attentions\.\d+\.to_(q|k|v|out\.0)\.weight")
PAD_TOKENS = ("x_pad_token", "cap_pad_token")


def split_components(path: Path, tensors: Mapping[str, LazyTensor]) -> dict[str, dict[str, LazyTensor]]:
    """Sort the tensors of a file by component, prefixes stripped, under the names that its layout gives them.

    Args:
        path: The file, for messages.
        tensors: Stored name to tensor.

    Raises:
        CheckpointError: If tensors of no known component are among them.
    """
    parts: dict[str, dict[str, LazyTensor]] = {}
    rest: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in BUNDLE_PREFIXES if name.startswith(prefix)), "")
        home = parts.setdefault(BUNDLE_PREFIXES[prefix], {}) if prefix else rest
        home[name.removeprefix(prefix)] = tensor
    if rest and not parts:
        component, _ = find_layout(path, rest)
        return {component: _without_causal_prefix(rest)}
    if rest:
        raise CheckpointError(
            f"{path} holds {', '.join(parts)} and {len(rest)} tensors of no part of Z-Image "
            f"({', '.join(sorted(rest)[:3])}{', ...' if len(rest) > 3 else ''}); use a file without them.",
            field="model_path",
        )
    return {component: _without_causal_prefix(part) for component, part in parts.items()}


def _without_causal_prefix(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Take away the `model.` that a Qwen3 language model has before all but its output layer."""
    return {name.removeprefix(CAUSAL_PREFIX): tensor for name, tensor in tensors.items()}


def find_layout(path: Path, tensors: Mapping[str, LazyTensor]) -> tuple[str, NameTable]:
    """Return component and layout of a part of a file, by its names.

    Args:
        path: The file, for the message.
        tensors: From `split_components`.

    Raises:
        CheckpointError: If it is no part of Z-Image.
    """
    names = {name.removeprefix(CAUSAL_PREFIX) for name in tensors}
    for sign, component, table in SIGNS:
        if sign in names:
            return component, table
    shown = ", ".join(sorted(tensors)[:3])
    raise CheckpointError(
        f"{path} is no transformer, text encoder or VAE of Z-Image: its {len(tensors)} tensors are called {shown}, "
        "...; docs/models.md lists the files that are read.",
        field="model_path",
    )


def our_tensors(path: Path, component: str, tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Return the tensors of one component of a file under our names, in our shapes.

    Args:
        path: The file, for messages.
        component: What it has to be.
        tensors: From `split_components`.

    Raises:
        CheckpointError: If it is another component, or a fused tensor can't be cut into its parts.
    """
    found, table = find_layout(path, tensors)
    if found != component:
        raise CheckpointError(f"{path} holds a {found}, not a {component}.", field="model_path")
    ours: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        targets = table.ours(name)
        if targets and tensor.shape[0] % len(targets):
            raise CheckpointError(
                f"{path}: {name} has {tensor.shape[0]} rows, which can't be {len(targets)} projections; fetch the file "
                "again.",
                field="model_path",
            )
        for place, target in enumerate(targets):
            rows = tensor.shape[0] // len(targets)
            part = tensor if len(targets) == 1 else tensor.rows(place * rows, (place + 1) * rows)
            if target in ours:
                raise CheckpointError(
                    f"{path} holds {target} twice, once as {name}; use a file that one program wrote.",
                    field="model_path",
                )
            ours[target] = _in_our_shape(target, part)
    return ours


def _in_our_shape(name: str, tensor: LazyTensor) -> LazyTensor:
    if name in PAD_TOKENS and len(tensor.shape) == 1:
        return tensor.reshaped(1, tensor.shape[0])
    if MATRICES.search(name) and tensor.shape[2:] == (1, 1):
        return tensor.reshaped(*tensor.shape[:2])
    return tensor
