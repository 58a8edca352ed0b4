"""The network of ImageReward: a BLIP vision tower, a BERT that looks at the picture, and a linear head.

Built from transformers' BLIP parts. Departs from them in one number: the vision tower's layer norm eps is BLIP's 1e-6,
which transformers' configuration does not carry over.

Source: Xu et al. 2023 (ImageReward), github.com/THUDM/ImageReward `ImageReward/ImageReward.py`; Li et al. 2022 (BLIP),
`models/vit.py` and `models/med.py`.

Shape legend: B = batch, S = image size in pixels, N = (S / patch)**2 + 1 image tokens, L = text tokens,
V = vision width, T = text width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, RootModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.models.blip.configuration_blip import BlipTextConfig, BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from experiments.metrics.model_files import first_line, read_json
from experiments.metrics.pickled_tensors import read_pickled
from llm_dit.errors import LlmDitError, listed

VISION_LAYER_NORM_EPS = 1e-6
MAX_NAMES_SHOWN = 5

KEY_TABLE = (
    # published name                                  name here (transformers' parts)
    ("blip.visual_encoder.cls_token", "vision.embeddings.class_embedding"),
    ("blip.visual_encoder.pos_embed", "vision.embeddings.position_embedding"),
    ("blip.visual_encoder.patch_embed.proj", "vision.embeddings.patch_embedding"),
    ("blip.visual_encoder.blocks.{layer}.norm1", "vision.encoder.layers.{layer}.layer_norm1"),
    ("blip.visual_encoder.blocks.{layer}.norm2", "vision.encoder.layers.{layer}.layer_norm2"),
    ("blip.visual_encoder.blocks.{layer}.attn.qkv", "vision.encoder.layers.{layer}.self_attn.qkv"),
    ("blip.visual_encoder.blocks.{layer}.attn.proj", "vision.encoder.layers.{layer}.self_attn.projection"),
    ("blip.visual_encoder.blocks.{layer}.mlp.fc1", "vision.encoder.layers.{layer}.mlp.fc1"),
    ("blip.visual_encoder.blocks.{layer}.mlp.fc2", "vision.encoder.layers.{layer}.mlp.fc2"),
    ("blip.visual_encoder.norm", "vision.post_layernorm"),
    ("blip.text_encoder.embeddings", "text.embeddings"),
    ("blip.text_encoder.encoder.layer.{layer}", "text.encoder.layer.{layer}"),
    ("mlp.layers.{layer}", "mlp.{layer}"),
)
"""Names of parameters, or of modules whose parameters keep their own name (`.weight`, `.bias`, and deeper)."""

UNUSED_KEYS = frozenset(
    {
        "blip.text_encoder.embeddings.position_ids",
        "blip.vision_proj.weight",
        "blip.vision_proj.bias",
        "blip.text_proj.weight",
        "blip.text_proj.bias",
    }
)
"""In published checkpoints but without influence on the reward: a constant, and BLIP's contrastive projections."""


class VisionSizes(BaseModel):
    """Sizes of the vision tower."""

    model_config = ConfigDict(frozen=True)

    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt
    image_size: PositiveInt
    patch_size: PositiveInt


class TextSizes(BaseModel):
    """Sizes of the text encoder, under the names of the published `med_config.json`."""

    model_config = ConfigDict(frozen=True)

    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt
    max_position_embeddings: PositiveInt
    vocab_size: PositiveInt
    hidden_act: str
    layer_norm_eps: PositiveFloat
    pad_token_id: int = Field(ge=0)


class HeadAndScale(BaseModel):
    """What `config.json` says beside the text encoder; the defaults of a folder without it are the published values."""

    model_config = ConfigDict(frozen=True)

    vision_config: VisionSizes
    mlp_hidden_sizes: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (1024, 128, 64, 16)
    max_length: PositiveInt = 35
    mean: float
    std: PositiveFloat


PUBLISHED = HeadAndScale(
    vision_config=VisionSizes(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        image_size=224,
        patch_size=16,
    ),
    mean=0.16717362830052426,
    std=1.0333394966054072,
)
"""ImageReward-v1.0: BLIP with ViT-L/16."""


class AnyConfig(RootModel[dict[str, Any]]):
    """Any JSON object."""


class ImageRewardConfig(BaseModel):
    """Everything that fixes the network and its scale."""

    model_config = ConfigDict(frozen=True)

    text: TextSizes
    head: HeadAndScale

    @classmethod
    def from_folder(cls, folder: Path) -> ImageRewardConfig:
        """Read `med_config.json` and, where there is one, `config.json`.

        Raises:
            LlmDitError: If a file is absent or malformed.
        """
        text = read_json(folder / "med_config.json", TextSizes)
        return cls(text=text, head=read_json(folder / "config.json", HeadAndScale) if _has_sizes(folder) else PUBLISHED)


class ImageRewardModel(nn.Module):
    """Scores how well a picture pleases for a prompt.

    Args:
        config: Sizes and scale. Dropout is active in training mode, in the head only, as published.
    """

    def __init__(self, config: ImageRewardConfig) -> None:
        super().__init__()
        self.config = config
        vision, text, sizes = config.head.vision_config, config.text, config.head.mlp_hidden_sizes
        self.vision = BlipVisionModel(BlipVisionConfig(**vision.model_dump(), layer_norm_eps=VISION_LAYER_NORM_EPS))
        self.text = BlipTextModel(_text_config(text, vision.hidden_size), add_pooling_layer=False)
        self.mlp = nn.Sequential(
            nn.Linear(text.hidden_size, sizes[0]),
            nn.Dropout(0.2),
            nn.Linear(sizes[0], sizes[1]),
            nn.Dropout(0.2),
            nn.Linear(sizes[1], sizes[2]),
            nn.Dropout(0.1),
            nn.Linear(sizes[2], sizes[3]),
            nn.Linear(sizes[3], 1),
        )

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Return the picture's tokens.

        Args:
            pixel_values: Normalised pictures, [B, 3, S, S].

        Returns:
            Tokens after the last norm, class token first, [B, N, V].
        """
        tokens: Tensor = self.vision(pixel_values=pixel_values).last_hidden_state
        return tokens

    def reward(self, input_ids: Tensor, attention_mask: Tensor, image_embeds: Tensor) -> Tensor:
        """Return the standardised reward of each text for the picture in the same row.

        Args:
            input_ids: Tokens, [CLS] first, [B, L].
            attention_mask: 1 for tokens, 0 for padding, [B, L].
            image_embeds: What `encode_images` returned, [B, N, V].

        Returns:
            Rewards, [B], float32; 0 is the mean of the pictures that fixed the scale, 1 their standard deviation.
        """
        hidden_states = self.text(
            input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=image_embeds
        ).last_hidden_state  # [B, L, T]
        raw = self.mlp(hidden_states[:, 0].float()).squeeze(-1)  # [B]
        reward: Tensor = (raw - self.config.head.mean) / self.config.head.std
        return reward

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the standardised rewards of B pictures and B texts, [B]; for training."""
        return self.reward(input_ids, attention_mask, self.encode_images(pixel_values))


def load_image_reward(folder: Path) -> tuple[ImageRewardModel, Path]:
    """Build the network from a folder, with every weight in its place.

    Args:
        folder: `med_config.json`, optionally `config.json`, and `model.safetensors` or `ImageReward.pt`.

    Returns:
        The model in evaluation mode and float32 on the CPU, and the path of its weights.

    Raises:
        LlmDitError: If a file is absent or damaged, or a weight is missing, spare or of another shape.
    """
    config = ImageRewardConfig.from_folder(folder)
    path = _weights_path(folder)
    weights = _read_weights(path)
    with torch.device("meta"):  # a random start would cost seconds and be thrown away
        model = ImageRewardModel(config)
    names = {_published_name(name): name for name in model.state_dict()}
    shapes = {published: tuple(model.state_dict()[name].shape) for published, name in names.items()}
    _check_weights(weights, shapes, path)
    model.load_state_dict({names[name]: weights[name].float() for name in names}, assign=True)
    positions = torch.arange(config.text.max_position_embeddings)[None]  # [1, positions]
    model.text.embeddings.position_ids = positions  # not part of the state, so still without storage
    return model.eval().requires_grad_(False), path


def _has_sizes(folder: Path) -> bool:
    """Return whether `config.json` is there and describes this network; hub repositories often hold another kind."""
    return (folder / "config.json").is_file() and "vision_config" in read_json(folder / "config.json", AnyConfig).root


def _text_config(text: TextSizes, vision_width: int) -> BlipTextConfig:
    return BlipTextConfig(
        **text.model_dump(),
        encoder_hidden_size=vision_width,
        is_decoder=True,  # transformers' word for "has cross-attention"; attention stays bidirectional
        bos_token_id=None,
        eos_token_id=None,
        sep_token_id=None,
    )


def _published_name(name: str) -> str:
    for published, ours in KEY_TABLE:
        pattern = re.escape(ours).replace(r"\{layer\}", r"(?P<layer>\d+)") + r"(?P<rest>\..+)?"
        if match := re.fullmatch(pattern, name):
            return published.format(**match.groupdict()) + (match["rest"] or "")
    raise AssertionError(f"KEY_TABLE has no row for {name}")


def _weights_path(folder: Path) -> Path:
    candidates = [folder / "model.safetensors", folder / "ImageReward.pt"]
    for path in candidates:
        if path.is_file():
            return path
    raise LlmDitError(
        f"Scorer folder {folder} has neither model.safetensors nor ImageReward.pt; put one of them there."
    )


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            weights: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise LlmDitError(f"{path} is damaged and can't be read; fetch it again ({first_line(error)}).") from error
    else:
        weights = read_pickled(path)
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise LlmDitError(f"{path} is not a flat table of tensors as ImageReward is published; fetch it again.")
    return weights


def _check_weights(weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    missing = sorted(shapes.keys() - weights.keys())
    spare = sorted(weights.keys() - shapes.keys() - UNUSED_KEYS)
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    faults = [("missing", missing), ("not known", spare), ("of another shape", misshapen)]
    found = [f"{len(names)} {fault}: {listed(names, MAX_NAMES_SHOWN)}" for fault, names in faults if names]
    if found:
        raise LlmDitError(f"{path} does not fit ImageReward's layout; weights {'; '.join(found)}.")
