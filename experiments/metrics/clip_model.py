"""CLIP's two towers on transformers' CLIPModel, from a checkpoint in its own layout or in open_clip's.

Source: Radford et al. 2021 (CLIP); open_clip's `CLIP` and `ViT-H-14.json`, whose layout HPS v2.1 is published in.

Shape legend: W = a tower's width, D = embedding width, P = positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from experiments.metrics.model_files import first_line, read_json
from experiments.metrics.two_towers import load_towers, ready
from llm_dit.checkpoints.weights import check_tensors
from llm_dit.errors import LlmDitError

if TYPE_CHECKING:
    from torch import Tensor

VISION_HEAD_WIDTH, TEXT_HEAD_WIDTH = 80, 64
"""Of open_clip's ViT-H-14; heads are the one size that its weights do not show."""
HIGHEST_TOKEN_ENDS = 2
"""transformers' old `eos_token_id`, by which CLIPModel pools the highest token of a text, as open_clip does."""

IN_PROJECTION = ".attn.in_proj_"
TRANSPOSED = ("visual.proj", "text_projection")
"""[W, D] in open_clip; a linear layer's weight, [D, W], in transformers."""
UNUSED = ("attn_mask",)
"""A constant that some exports hold."""
KEY_TABLE = (
    # open_clip                                        transformers
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1", "vision_model.embeddings.patch_embedding"),
    ("visual.ln_pre", "vision_model.pre_layrnorm"),
    ("visual.transformer.resblocks.{layer}.ln_1", "vision_model.encoder.layers.{layer}.layer_norm1"),
    ("visual.transformer.resblocks.{layer}.ln_2", "vision_model.encoder.layers.{layer}.layer_norm2"),
    ("visual.transformer.resblocks.{layer}.attn.out_proj", "vision_model.encoder.layers.{layer}.self_attn.out_proj"),
    ("visual.transformer.resblocks.{layer}.mlp.c_fc", "vision_model.encoder.layers.{layer}.mlp.fc1"),
    ("visual.transformer.resblocks.{layer}.mlp.c_proj", "vision_model.encoder.layers.{layer}.mlp.fc2"),
    ("visual.ln_post", "vision_model.post_layernorm"),
    ("visual.proj", "visual_projection.weight"),
    ("token_embedding", "text_model.embeddings.token_embedding"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("transformer.resblocks.{layer}.ln_1", "text_model.encoder.layers.{layer}.layer_norm1"),
    ("transformer.resblocks.{layer}.ln_2", "text_model.encoder.layers.{layer}.layer_norm2"),
    ("transformer.resblocks.{layer}.attn.out_proj", "text_model.encoder.layers.{layer}.self_attn.out_proj"),
    ("transformer.resblocks.{layer}.mlp.c_fc", "text_model.encoder.layers.{layer}.mlp.fc1"),
    ("transformer.resblocks.{layer}.mlp.c_proj", "text_model.encoder.layers.{layer}.mlp.fc2"),
    ("ln_final", "text_model.final_layer_norm"),
    ("text_projection", "text_projection.weight"),
    ("logit_scale", "logit_scale"),
)
"""open_clip's names to transformers'; the packed `attn.in_proj` of a block is divided into three besides."""


class CLIPSizes(BaseModel):
    """What `config.json` says; sizes that it leaves out have transformers' defaults."""

    model_config = ConfigDict(frozen=True)

    model_type: str
    projection_dim: int = 512
    text_config: dict[str, Any] = {}
    vision_config: dict[str, Any] = {}


def load_clip(folder: Path) -> Any:
    """Load a checkpoint of transformers' CLIPModel in float32, on the CPU, in evaluation mode.

    Raises:
        LlmDitError: If it is another kind of model, damaged, or a weight is missing, spare or of another shape.
    """
    sizes = read_json(folder / "config.json", CLIPSizes)
    if sizes.model_type != "clip":
        raise LlmDitError(f"{folder} holds a {sizes.model_type} model, not a clip one; PickScore_v1 is one.")
    return load_towers(_empty_network(sizes, folder / "config.json"), folder)


def load_open_clip(path: Path, weights: Mapping[str, Any]) -> Any:
    """Make a CLIPModel of open_clip's weights, whose shapes say all sizes but the heads'.

    Args:
        path: Where they come from, for the message.
        weights: open_clip's name to tensor.

    Raises:
        LlmDitError: If a weight is missing, spare or of another shape.
    """
    import torch

    wrong = [name for name, tensor in weights.items() if not isinstance(tensor, torch.Tensor)]
    if wrong:
        raise LlmDitError(f"{path}: {wrong[0]} is no tensor; fetch the file again.")
    network = _empty_network(_sizes_of(path, weights), path)
    tensors = {name: tensor.float() for name, tensor in from_open_clip(weights, path).items()}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, expected)
    network.load_state_dict(tensors, strict=False, assign=True)
    return ready(network)


def from_open_clip(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return open_clip's weights under transformers' names.

    Raises:
        LlmDitError: If the table has no place for a name.
    """
    found = {}
    for name, tensor in weights.items():
        if name in UNUSED:
            continue
        if IN_PROJECTION in name:
            block, _, kind = name.partition(IN_PROJECTION)
            ours = _renamed(f"{block}.attn.out_proj", path).removesuffix("out_proj")
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[f"{ours}{part}_proj.{kind}"] = rows
        else:
            found[_renamed(name, path)] = tensor.T.contiguous() if name in TRANSPOSED else tensor
    return found


def _renamed(name: str, path: Path) -> str:
    for published, ours in KEY_TABLE:
        pattern = re.escape(published).replace(r"\{layer\}", r"(?P<layer>\d+)") + r"(?P<rest>\.(?:weight|bias))?"
        if match := re.fullmatch(pattern, name):
            return ours.format(layer=match.groupdict().get("layer")) + (match["rest"] or "")
    raise LlmDitError(f"{path} holds {name}, which is no weight of open_clip's CLIP; fetch the file again.")


def _sizes_of(path: Path, weights: Mapping[str, Tensor]) -> CLIPSizes:
    """Read every size but the heads' from the shapes."""
    try:
        vision_width, _, patch, _ = weights["visual.conv1.weight"].shape
        image_positions = weights["visual.positional_embedding"].shape[0]
        vocabulary, text_width = weights["token_embedding.weight"].shape
        text_positions = weights["positional_embedding"].shape[0]
        text_inner = weights["transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
        vision_inner = weights["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
        embedding = weights["text_projection"].shape[1]
    except (KeyError, ValueError, IndexError) as error:
        raise LlmDitError(f"{path} is no CLIP in open_clip's layout ({error}); fetch the file again.") from None
    shared = {"hidden_act": "gelu", "projection_dim": embedding}
    return CLIPSizes(
        model_type="clip",
        projection_dim=embedding,
        text_config={
            **shared,
            "hidden_size": text_width,
            "intermediate_size": text_inner,
            "num_hidden_layers": _layers(weights, "transformer.resblocks."),
            "num_attention_heads": text_width // TEXT_HEAD_WIDTH,
            "vocab_size": vocabulary,
            "max_position_embeddings": text_positions,
            "eos_token_id": HIGHEST_TOKEN_ENDS,
            "bos_token_id": 0,
            "pad_token_id": 0,
        },
        vision_config={
            **shared,
            "hidden_size": vision_width,
            "intermediate_size": vision_inner,
            "num_hidden_layers": _layers(weights, "visual.transformer.resblocks."),
            "num_attention_heads": vision_width // VISION_HEAD_WIDTH,
            "image_size": patch * round((image_positions - 1) ** 0.5),
            "patch_size": patch,
        },
    )


def _layers(weights: Mapping[str, Tensor], beginning: str) -> int:
    return len({name.removeprefix(beginning).split(".")[0] for name in weights if name.startswith(beginning)})


def _empty_network(sizes: CLIPSizes, path: Path) -> Any:
    import torch
    from transformers import CLIPConfig, CLIPModel

    try:
        config = CLIPConfig(
            text_config=sizes.text_config, vision_config=sizes.vision_config, projection_dim=sizes.projection_dim
        )
        with torch.device("meta"):  # a random start would cost seconds and be thrown away
            return CLIPModel(config)
    except (OSError, ValueError, TypeError) as error:
        raise LlmDitError(f"{path} does not describe a CLIP model: {first_line(error)}") from error
