"""The network of ImageReward in small, under the names of its published weights.

A vision transformer reads the picture, a BERT reads the text and attends to the picture's tokens, and a linear head
turns the text's first token into a number. Only the names and the arithmetic are ImageReward's; the sizes are ours.

Source: Xu et al. 2023 (ImageReward), `ImageReward/ImageReward.py`; Li et al. 2022 (BLIP), `models/vit.py` and
`models/med.py`.

Shapes: B batch, N picture tokens with the class token, L text tokens, D width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_SIZES = (1024, 128, 64, 16)
MAX_TOKENS = 35
PICTURE_MEAN = (0.48145466, 0.4578275, 0.40821073)
PICTURE_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class RewardSizes:
    """Sizes of the network; both towers share width and heads."""

    vocab_size: int
    hidden_size: int = 128
    num_attention_heads: int = 4
    vision_layers: int = 4
    text_layers: int = 3
    image_size: int = 128
    patch_size: int = 16

    def config(self, mean: float, std: float) -> dict[str, Any]:
        """The folder's `config.json`: vision tower, head and scale of the reward."""
        vision = {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.vision_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": 4 * self.hidden_size,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
        }
        return {
            "vision_config": vision,
            "mlp_hidden_sizes": list(HEAD_SIZES),
            "max_length": MAX_TOKENS,
            "mean": mean,
            "std": std,
        }

    def med_config(self) -> dict[str, Any]:
        """The folder's `med_config.json`: the text encoder, as published."""
        return {
            "architectures": ["BertModel"],
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": 4 * self.hidden_size,
            "max_position_embeddings": 64,
            "vocab_size": self.vocab_size,
            "encoder_width": self.hidden_size,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
            "type_vocab_size": 2,
            "add_cross_attention": True,
        }


class VisionAttention(nn.Module):
    """Self-attention of the vision tower with one joint projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class VisionBlock(nn.Module):
    """A pre-norm block of the vision tower."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = VisionAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        wide: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))
        return tokens + wide


class VisionTower(nn.Module):
    """BLIP's vision transformer."""

    def __init__(self, sizes: RewardSizes) -> None:
        super().__init__()
        width = sizes.hidden_size
        count = (sizes.image_size // sizes.patch_size) ** 2 + 1
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, count, width) * 0.02)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, sizes.patch_size, sizes.patch_size)})
        self.blocks = nn.ModuleList(VisionBlock(width, sizes.num_attention_heads) for _ in range(sizes.vision_layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pictures: Tensor) -> Tensor:
        """Normalised pictures [B, 3, S, S] -> tokens [B, N, D]."""
        patches: Tensor = self.patch_embed["proj"](pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed


class BertAttention(nn.Module):
    """Attention with BERT's names: `self.{query,key,value}` and `output.{dense,LayerNorm}`, norm behind the sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        projections = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        self.add_module("self", nn.ModuleDict(projections))
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)})

    def forward(self, hidden: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """[B, L, D] attends to `source` [B, N, D]; `mask` [B, 1, 1, N] is True where it may."""
        projections = self.get_submodule("self")
        assert isinstance(projections, nn.ModuleDict)
        query, key, value = (
            projections[name](tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name, tokens in (("query", hidden), ("key", source), ("value", source))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        normed: Tensor = self.output["LayerNorm"](self.output["dense"](mixed) + hidden)
        return normed


class BertLayer(nn.Module):
    """One layer of the text encoder: self-attention, attention to the picture, feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = BertAttention(width, heads)
        self.crossattention = BertAttention(width, heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = nn.ModuleDict({"dense": nn.Linear(4 * width, width), "LayerNorm": nn.LayerNorm(width, eps=1e-12)})

    def forward(self, hidden: Tensor, mask: Tensor, picture: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, D]."""
        hidden = self.attention(hidden, hidden, mask)
        hidden = self.crossattention(hidden, picture, None)
        wide = F.gelu(self.intermediate["dense"](hidden))
        normed: Tensor = self.output["LayerNorm"](self.output["dense"](wide) + hidden)
        return normed


class TextEncoder(nn.Module):
    """BLIP's BERT with cross-attention."""

    def __init__(self, sizes: RewardSizes) -> None:
        super().__init__()
        width = sizes.hidden_size
        tables = {
            "word_embeddings": nn.Embedding(sizes.vocab_size, width, padding_idx=0),
            "position_embeddings": nn.Embedding(64, width),
            "LayerNorm": nn.LayerNorm(width, eps=1e-12),
        }
        self.embeddings = nn.ModuleDict(tables)
        layers = [BertLayer(width, sizes.num_attention_heads) for _ in range(sizes.text_layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, ids: Tensor, mask: Tensor, picture: Tensor) -> Tensor:
        """Ids and mask [B, L], picture tokens [B, N, D] -> [B, L, D]."""
        positions = self.embeddings["position_embeddings"](torch.arange(ids.shape[1], device=ids.device))
        hidden: Tensor = self.embeddings["LayerNorm"](self.embeddings["word_embeddings"](ids) + positions)
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            hidden = layer(hidden, mask[:, None, None].bool(), picture)
        return hidden


class RewardModel(nn.Module):
    """Picture and text to an unscaled reward.

    Args:
        sizes: Sizes of both towers.
    """

    def __init__(self, sizes: RewardSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.blip = nn.ModuleDict({"visual_encoder": VisionTower(sizes), "text_encoder": TextEncoder(sizes)})
        widths = (sizes.hidden_size, *HEAD_SIZES)
        linears = [nn.Linear(first, second) for first, second in zip(widths, (*HEAD_SIZES, 1), strict=True)]
        drops = [nn.Dropout(0.2), nn.Dropout(0.2), nn.Dropout(0.1)]
        layers = [linears[0], drops[0], linears[1], drops[1], linears[2], drops[2], linears[3], linears[4]]
        self.mlp = nn.ModuleDict({"layers": nn.Sequential(*layers)})

    def forward(self, pictures: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Normalised pictures [B, 3, S, S], ids and mask [B, L] -> rewards [B], float32."""
        return self.read(self.look(pictures), ids, mask)

    def look(self, pictures: Tensor) -> Tensor:
        """Normalised pictures [B, 3, S, S] -> picture tokens [B, N, D]."""
        picture: Tensor = self.blip["visual_encoder"](pictures)
        return picture

    def embed_words(self, ids: Tensor) -> Tensor:
        """Ids [B, L] -> word embeddings [B, L, D]."""
        embedded: Tensor = self.blip.get_submodule("text_encoder.embeddings.word_embeddings")(ids)
        return embedded

    def read(self, picture: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Picture tokens [B, N, D], ids and mask [B, L] -> rewards [B], float32."""
        first = self.blip["text_encoder"](ids, mask, picture)[:, 0]
        reward: Tensor = self.mlp["layers"](first.float()).squeeze(-1)
        return reward


def normalise_pictures(pictures: Tensor) -> Tensor:
    """Map uint8 pictures to the network's input with ImageReward's constants."""
    mean = torch.tensor(PICTURE_MEAN, device=pictures.device)[:, None, None]
    deviation = torch.tensor(PICTURE_DEVIATION, device=pictures.device)[:, None, None]
    return (pictures.float() / 255.0 - mean) / deviation
