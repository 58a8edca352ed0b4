"""The miniature's transformer in training: diffusers' parameters, a batched forward of our own.

Diffusers' `ZImageTransformer2DModel` holds the parameters (names, shapes, initial values) but takes lists of pictures
and pads them one by one. Here a batch shares one picture size and one padded caption length, so no mask is needed: pad
tokens are learned and attended to, exactly as in the reference (`patchify_and_embed` and `_prepare_sequence` there).
One block function serves all layers and is compiled once for any batch size and length.

Shapes: B batch, S tokens, D width, C channels of a latent, H and W sides of a latent.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ZImageTransformer2DModel
from einops import rearrange
from torch import Tensor, nn

from llm_dit.networks.transformer_config import SEQUENCE_MULTIPLE

PATCH = "2-1"
AXES_DIMS = (16, 16, 16)
AXES_LENS = (1536, 512, 512)
ROPE_THETA = 256.0
FULL_SIZE = {"dim": 288, "n_layers": 7, "n_refiner_layers": 2, "n_heads": 6, "cap_feat_dim": 192}

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, each [S, head_dim / 2]."""


class BlockWeights(NamedTuple):
    """Parameters of one block in the order in which `block_forward` uses them."""

    modulation: Tensor | None
    modulation_bias: Tensor | None
    norms: tuple[Tensor, Tensor, Tensor, Tensor]
    attention: tuple[Tensor, Tensor, Tensor, Tensor]
    query_norm: Tensor
    key_norm: Tensor
    feed_forward: tuple[Tensor, Tensor, Tensor]


def build_transformer(**sizes: int) -> ZImageTransformer2DModel:
    """Make the transformer with `FULL_SIZE` or other sizes, every block near the identity at first."""
    chosen = FULL_SIZE | sizes
    model = ZImageTransformer2DModel(
        in_channels=16, n_kv_heads=chosen["n_heads"], axes_dims=list(AXES_DIMS), axes_lens=list(AXES_LENS), **chosen
    )
    _initialise(model)
    return model


@torch.no_grad()
def _initialise(model: ZImageTransformer2DModel) -> None:
    width = model.config.dim
    for block in [*model.noise_refiner, *model.layers]:
        modulation = block.adaLN_modulation[0]
        modulation.weight.zero_()
        modulation.bias.zero_()
        modulation.bias[width : 2 * width] = 0.3
        modulation.bias[3 * width :] = 0.3
    final = model.all_final_layer[PATCH]
    for layer in (final.linear, final.adaLN_modulation[1]):
        layer.weight.zero_()
        layer.bias.zero_()
    for token in (model.cap_pad_token, model.x_pad_token):
        token.normal_(0.0, 0.02)
    for layer in (model.t_embedder.mlp[0], model.t_embedder.mlp[2]):
        nn.init.normal_(layer.weight, std=0.02)


def padded_length(tokens: int) -> int:
    """Round a number of tokens up to the multiple that the model pads to."""
    return math.ceil(tokens / SEQUENCE_MULTIPLE) * SEQUENCE_MULTIPLE


@lru_cache(maxsize=512)
def rotary_tables(caption_tokens: int, rows: int, columns: int, device: torch.device) -> tuple[Rotary, Rotary]:
    """Rotary tables of the picture tokens and of the caption tokens.

    Args:
        caption_tokens: Padded length of the caption.
        rows: Picture tokens from top to bottom.
        columns: Picture tokens from left to right.
        device: Where the tables are needed.

    Returns:
        Picture tables over padded rows * columns tokens, pads at position (0, 0, 0); caption tables.
    """
    grid = torch.meshgrid(torch.tensor([caption_tokens + 1]), torch.arange(rows), torch.arange(columns), indexing="ij")
    picture = torch.zeros(padded_length(rows * columns), 3)
    picture[: rows * columns] = torch.stack(grid, -1).reshape(-1, 3).float()
    caption = torch.zeros(caption_tokens, 3)
    caption[:, 0] = torch.arange(1, caption_tokens + 1)
    return _cosines_and_sines(picture, device), _cosines_and_sines(caption, device)


def _cosines_and_sines(positions: Tensor, device: torch.device) -> Rotary:
    angles = []
    for axis, width in enumerate(AXES_DIMS):
        frequencies = ROPE_THETA ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles.append(torch.outer(positions[:, axis].double(), frequencies))
    angle = torch.cat(angles, -1)
    return angle.cos().float().to(device), angle.sin().float().to(device)


def _rms_norm(value: Tensor, weight: Tensor) -> Tensor:
    value = value.float()
    return value * torch.rsqrt(value.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


def _rotate(value: Tensor, rotary: Rotary) -> Tensor:
    cosine, sine = rotary[0][:, None], rotary[1][:, None]
    even, odd = value.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)


def block_forward(hidden: Tensor, rotary: Rotary, time: Tensor | None, weights: BlockWeights) -> Tensor:
    """One single-stream block: attention and gated feed-forward, each between two norms.

    Args:
        hidden: [B, S, D], bfloat16 or float32; products are taken in its type, norms in float32.
        rotary: Tables of the S tokens.
        time: Time embedding [B, 256], or None for the caption's blocks, which are not modulated.
        weights: The block's parameters, float32.

    Returns:
        [B, S, D].
    """
    kind = hidden.dtype
    scale_attention: Tensor | float = 1.0
    scale_feed: Tensor | float = 1.0
    gate_attention: Tensor | float = 1.0
    gate_feed: Tensor | float = 1.0
    if time is not None and weights.modulation is not None and weights.modulation_bias is not None:
        parts = F.linear(time, weights.modulation, weights.modulation_bias)[:, None].chunk(4, -1)
        scale_attention, gate_attention = 1.0 + parts[0], parts[1].tanh()
        scale_feed, gate_feed = 1.0 + parts[2], parts[3].tanh()
    head_dim = weights.query_norm.shape[0]

    normed = (_rms_norm(hidden, weights.norms[0]) * scale_attention).to(kind)
    joined = F.linear(normed, torch.cat(weights.attention[:3]).to(kind))
    query, key, value = joined.unflatten(-1, (3, -1, head_dim)).unbind(2)  # each [B, S, heads, head_dim]
    query = _rotate(_rms_norm(query, weights.query_norm), rotary).to(kind)
    key = _rotate(_rms_norm(key, weights.key_norm), rotary).to(kind)
    mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    mixed = F.linear(mixed.transpose(1, 2).flatten(2), weights.attention[3].to(kind))
    hidden = (hidden + gate_attention * _rms_norm(mixed, weights.norms[1])).to(kind)

    normed = (_rms_norm(hidden, weights.norms[2]) * scale_feed).to(kind)
    gate, up, down = weights.feed_forward
    left, right = F.linear(normed, torch.cat([gate, up]).to(kind)).chunk(2, -1)
    wide = F.linear(F.silu(left) * right, down.to(kind))
    return (hidden + gate_feed * _rms_norm(wide, weights.norms[3])).to(kind)


def block_weights(block: Any) -> BlockWeights:
    """Collect the parameters of one of diffusers' blocks."""
    attention, feed = block.attention, block.feed_forward
    modulation = block.adaLN_modulation[0] if block.modulation else None
    return BlockWeights(
        None if modulation is None else modulation.weight,
        None if modulation is None else modulation.bias,
        tuple(getattr(block, name).weight for name in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2")),
        (attention.to_q.weight, attention.to_k.weight, attention.to_v.weight, attention.to_out[0].weight),
        attention.norm_q.weight,
        attention.norm_k.weight,
        (feed.w1.weight, feed.w3.weight, feed.w2.weight),
    )


class FlowModel:
    """Batched velocity of a Z-Image transformer.

    Args:
        transformer: Holder of the parameters.
        kind: Type of the products, bfloat16 on an accelerator.
        is_compiled: Compile the block function (once, for any batch size and length).
    """

    def __init__(self, transformer: ZImageTransformer2DModel, kind: torch.dtype, *, is_compiled: bool) -> None:
        self.transformer = transformer
        self.kind = kind
        self.block: Callable[..., Tensor] = (
            torch.compile(block_forward, dynamic=True, fullgraph=True) if is_compiled else block_forward
        )
        self.noise_blocks = [block_weights(block) for block in transformer.noise_refiner]
        self.caption_blocks = [block_weights(block) for block in transformer.context_refiner]
        self.blocks = [block_weights(block) for block in transformer.layers]

    def __call__(self, latents: Tensor, model_time: Tensor, captions: Tensor, lengths: Tensor) -> Tensor:
        """Estimate data minus noise (the transformer's raw output, before the pipeline negates it).

        Args:
            latents: Noisy latents [B, C, H, W], float32, H and W even.
            model_time: 1 - sigma, [B].
            captions: Hidden states of the language model [B, S, width], S a multiple of 32.
            lengths: Number of real tokens of each caption [B].

        Returns:
            [B, C, H, W], float32.
        """
        model = self.transformer
        rows, columns = latents.shape[2] // 2, latents.shape[3] // 2
        picture_rotary, caption_rotary = rotary_tables(captions.shape[1], rows, columns, latents.device)
        time = self._embed_time(model_time)
        picture = self._embed_picture(latents)
        for weights in self.noise_blocks:
            picture = self.block(picture, picture_rotary, time, weights)
        caption = self._embed_caption(captions, lengths)
        for weights in self.caption_blocks:
            caption = self.block(caption, caption_rotary, None, weights)
        rotary = tuple(torch.cat(pair) for pair in zip(picture_rotary, caption_rotary, strict=True))
        unified = torch.cat([picture, caption], 1)
        for weights in self.blocks:
            unified = self.block(unified, rotary, time, weights)
        final = model.all_final_layer[PATCH]
        tokens = unified[:, : rows * columns].float()
        scale = 1.0 + F.linear(F.silu(time), final.adaLN_modulation[1].weight, final.adaLN_modulation[1].bias)
        tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * scale[:, None]
        patches = F.linear(tokens, final.linear.weight, final.linear.bias)
        return rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=rows, w=columns, p=2, q=2)

    def _embed_time(self, model_time: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(128, device=model_time.device) / 128)
        angles = (model_time.float() * 1000.0)[:, None] * frequencies
        layers = self.transformer.t_embedder.mlp
        wave = torch.cat([angles.cos(), angles.sin()], -1)
        return F.linear(F.silu(F.linear(wave, layers[0].weight, layers[0].bias)), layers[2].weight, layers[2].bias)

    def _embed_picture(self, latents: Tensor) -> Tensor:
        embedder = self.transformer.all_x_embedder[PATCH]
        patches = rearrange(latents, "b c (h p) (w q) -> b (h w) (p q c)", p=2, q=2).to(self.kind)
        tokens = F.linear(patches, embedder.weight.to(self.kind), embedder.bias.to(self.kind))
        missing = padded_length(tokens.shape[1]) - tokens.shape[1]
        if missing:
            pads = self.transformer.x_pad_token.to(self.kind).expand(len(tokens), missing, -1)
            tokens = torch.cat([tokens, pads], 1)
        return tokens

    def _embed_caption(self, captions: Tensor, lengths: Tensor) -> Tensor:
        norm, linear = self.transformer.cap_embedder
        normed = _rms_norm(captions, norm.weight).to(self.kind)
        tokens = F.linear(normed, linear.weight.to(self.kind), linear.bias.to(self.kind))
        is_real = torch.arange(captions.shape[1], device=captions.device) < lengths[:, None]
        return torch.where(is_real[..., None], tokens, self.transformer.cap_pad_token.to(self.kind))
