"""A component's configuration where there is no config.json: sizes from the tensors, the rest from the published model.

What shapes can't tell (rotary axes, epsilons, the VAE's scaling) is that of the published model of the same width, or
stands in `NAME.json` beside `NAME.safetensors`: the component's config.json, which then has to agree with the tensors.
Beside a file of several components it holds each one's under the component's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_dit.checkpoints import published
from llm_dit.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "transformer": published.TRANSFORMER,
    "text_encoder": published.TEXT_ENCODER,
    "vae": published.VAE,
}
PUBLISHED_WIDTHS = {
    "transformer": published.TRANSFORMER["dim"],
    "text_encoder": published.TEXT_ENCODER["hidden_size"],
    "vae": published.VAE["block_out_channels"][-1],
}


def config_from_tensors(path: Path, component: str, shapes: Shapes, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the component's config.json would say.

    Args:
        path: The weights' file, beside which `NAME.json` may lie.
        component: `transformer`, `text_encoder` or `vae`.
        shapes: Our tensor name to shape.
        told: What the file itself says beyond shapes; wins over the published model's.

    Raises:
        CheckpointError: If tensors that give the sizes are missing, the width is nobody's and no NAME.json tells the
            rest, or NAME.json contradicts the tensors.
    """
    try:
        sizes, width = {"transformer": _transformer, "text_encoder": _text_encoder, "vae": _vae}[component](shapes)
    except KeyError as error:
        raise CheckpointError(
            f"{path} lacks {error.args[0]}, from which the sizes of its {component} are read; fetch it again.",
            field="model_path",
        ) from None
    beside = path.with_suffix(".json")
    if beside.is_file():
        return _agreeing(path, beside, component, sizes)
    expected = PUBLISHED_WIDTHS[component]
    if width != expected:
        raise CheckpointError(
            f"{path} is a {component} of width {width}, Z-Image's has {expected}; use Z-Image's, or lay the "
            f"config.json of this one beside it as {beside.name}.",
            field="model_path",
        )
    return {**PUBLISHED[component], **told, **sizes}


def _agreeing(path: Path, beside: Path, component: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{beside} can't be read ({error}); write it again.", field="model_path") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{beside} is not a JSON object; use the component's config.json.", field="model_path")
    config = config.get(component, config)
    for name, value in sizes.items():
        if config.get(name, value) != value:
            raise CheckpointError(
                f"{beside} says {name} = {config[name]!r}, but the tensors of {path.name} say {value!r}; use files of "
                "the same model.",
                field="model_path",
            )
    return {**sizes, **config}


def _transformer(shapes: Shapes) -> tuple[dict[str, Any], int]:
    dim, cap_feat_dim = shapes["cap_embedder.1.weight"]
    head_dim = shapes["layers.0.attention.norm_q.weight"][0]
    patch_features = shapes["all_x_embedder.2-1.weight"][1]
    sizes = {
        "dim": dim,
        "cap_feat_dim": cap_feat_dim,
        "n_heads": dim // head_dim,
        "n_kv_heads": shapes["layers.0.attention.to_k.weight"][0] // head_dim,
        "n_layers": _count(shapes, "layers"),
        "n_refiner_layers": _count(shapes, "noise_refiner"),
        "in_channels": patch_features // 4,
    }
    return sizes, dim


def _text_encoder(shapes: Shapes) -> tuple[dict[str, Any], int]:
    vocabulary, width = shapes["embed_tokens.weight"]
    head_dim = shapes["layers.0.self_attn.q_norm.weight"][0]
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "head_dim": head_dim,
        "intermediate_size": shapes["layers.0.mlp.gate_proj.weight"][0],
        "num_hidden_layers": _count(shapes, "layers"),
        "num_attention_heads": shapes["layers.0.self_attn.q_proj.weight"][0] // head_dim,
        "num_key_value_heads": shapes["layers.0.self_attn.k_proj.weight"][0] // head_dim,
    }
    return sizes, width


def _vae(shapes: Shapes) -> tuple[dict[str, Any], int]:
    levels = _count(shapes, "decoder.up_blocks")
    coarse_first = [shapes[f"decoder.up_blocks.{level}.resnets.0.conv1.weight"][0] for level in range(levels)]
    sizes = {
        "block_out_channels": coarse_first[::-1],
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "layers_per_block": _count(shapes, "decoder.up_blocks.0.resnets") - 1,
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "mid_block_add_attention": "decoder.mid_block.attentions.0.to_q.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }
    return sizes, coarse_first[0]


def _count(shapes: Shapes, prefix: str) -> int:
    indices = {match[1] for name in shapes if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))}
    return len(indices)
