"""The decoder of Flux's autoencoder, on one page: from latents to pixels.

Diffusers' `AutoencoderKL` computes the same, but importing it takes as long as importing torch, and drawing needs no
encoder. Parameter names are those of the published checkpoint.

Source: Esser et al. 2024; diffusers 0.42 `models/autoencoders/vae.py`.

Legend: B images, C channels, H and W rows and columns of a feature map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from llm_dit.errors import LlmDitError
from llm_dit.networks.config_values import number, switch, whole, wholes
from llm_dit.networks.linear import Linear

WHAT = "The VAE"
NORM_EPS = 1e-6
QUERY_PARTS = 8
"""Fewest parts that attention's queries are taken in."""
SCORE_BYTES = 2 << 30
"""Most that the scores of a part have: what eight parts come to at 2048 x 2048, less than the last level's maps."""
UP_BLOCK = "UpDecoderBlock2D"


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes and scaling, under the names of the published `vae/config.json`."""

    latent_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    norm_num_groups: int
    mid_block_add_attention: bool
    use_post_quant_conv: bool
    sample_size: int
    scaling_factor: float
    shift_factor: float

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "DecoderConfig":
        """Read the content of a published `vae/config.json`.

        Raises:
            LlmDitError: If an entry is missing or not supported.
        """
        blocks, activation = config.get("up_block_types", [UP_BLOCK]), config.get("act_fn", "silu")
        if not isinstance(blocks, list | tuple) or any(block != UP_BLOCK for block in blocks) or activation != "silu":
            raise LlmDitError(
                f"The VAE's config.json asks for {str(blocks)[:80]} with {str(activation)[:40]}, not Flux's decoder; "
                "use Flux's VAE, such as ae.safetensors."
            )
        return cls(
            latent_channels=whole(config, "latent_channels", WHAT),
            out_channels=whole(config, "out_channels", WHAT, 3),
            block_out_channels=wholes(config, "block_out_channels", WHAT),
            layers_per_block=whole(config, "layers_per_block", WHAT),
            norm_num_groups=whole(config, "norm_num_groups", WHAT, 32),
            mid_block_add_attention=switch(config, "mid_block_add_attention", WHAT, True),
            use_post_quant_conv=switch(config, "use_post_quant_conv", WHAT, True),
            sample_size=whole(config, "sample_size", WHAT),
            scaling_factor=number(config, "scaling_factor", WHAT),
            shift_factor=0.0 if config.get("shift_factor") is None else number(config, "shift_factor", WHAT),
        )


class ResnetBlock(nn.Module):
    """Two normed convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, NORM_EPS)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, NORM_EPS)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H, W]."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        out: Tensor = hidden + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return out


class SpatialAttention(nn.Module):
    """Every position attends to every other, with one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, NORM_EPS)
        self.to_q = Linear(channels, channels)
        self.to_k = Linear(channels, channels)
        self.to_v = Linear(channels, channels)
        self.to_out = nn.ModuleList([Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H, W]."""
        tokens = rearrange(self.group_norm(x), "B C H W -> B 1 (H W) C")
        attended = F.scaled_dot_product_attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        mixed: Tensor = self.to_out[0](attended)
        return x + rearrange(mixed, "B 1 (H W) C -> B C H W", H=x.shape[2])


class MidBlock(nn.Module):
    """Two residual blocks at the coarsest level, with attention between them."""

    def __init__(self, channels: int, groups: int, has_attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups) for _ in range(2))
        self.attentions = nn.ModuleList([SpatialAttention(channels, groups)] if has_attention else [])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H, W]."""
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        mixed: Tensor = self.resnets[1](x)
        return mixed


class Upsampler(nn.Module):
    """Doubles rows and columns."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, 2 H, 2 W]."""
        doubled: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return doubled


class UpBlock(nn.Module):
    """Residual blocks of one level, then the way up to the next."""

    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, has_upsampler: bool) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * layers
        self.resnets = nn.ModuleList(ResnetBlock(*pair, groups) for pair in pairwise(widths))
        self.upsamplers = nn.ModuleList([Upsampler(outputs)] if has_upsampler else [])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', 2 H, 2 W], or [B, C', H, W] at the last level."""
        for module in (*self.resnets, *self.upsamplers):
            x = module(x)
        return x


class Decoder(nn.Module):
    """Unscaled latents to pixels."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = MidBlock(widths[0], groups, config.mid_block_add_attention)
        self.up_blocks = nn.ModuleList(
            UpBlock(inputs, outputs, config.layers_per_block + 1, groups, level < len(widths) - 1)
            for level, (inputs, outputs) in enumerate(pairwise((widths[0], *widths)))
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], NORM_EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] to pixels, [B, 3, 8 h, 8 w], nominally in [-1, 1]."""
        x = self.mid_block(self.conv_in(latents))
        for block in self.up_blocks:
            x = block(x)
        pixels: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return pixels


class Autoencoder(nn.Module):
    """The half of an `AutoencoderKL` that draws; `post_quant_conv` is absent in Flux's."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = Decoder(config)
        channels = config.latent_channels
        self.post_quant_conv = nn.Conv2d(channels, channels, 1) if config.use_post_quant_conv else None


class AttentionInParts(SpatialAttention):
    """Spatial attention by matrix products over a part of the queries at a time.

    PyTorch's fast attention kernels have no head as wide as Flux's 512 channels; the one that has takes three times as
    long as products whose results, as in it, are float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Do what `SpatialAttention` does."""
        tokens = rearrange(self.group_norm(x), "B C H W -> B (H W) C")
        query, key, value = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        parts = (query * query.shape[-1] ** -0.5).chunk(query_parts(len(query), query.shape[1]), dim=1)
        attended = [torch.bmm(_scores(part, key).softmax(-1).to(value.dtype), value) for part in parts]
        mixed: Tensor = self.to_out[0](torch.cat(attended, dim=1))
        return x + rearrange(mixed, "B (H W) C -> B C H W", H=x.shape[2])


def query_parts(images: int, tokens: int) -> int:
    """Return into how many parts the queries go, so that the float32 scores of one have at most `SCORE_BYTES`.

    Doubled from `QUERY_PARTS` on, so that few numbers of parts occur: each is compiled by itself.
    """
    parts = QUERY_PARTS
    while images * tokens * tokens * 4 > SCORE_BYTES * parts:
        parts *= 2
    return parts


def _scores(query: Tensor, key: Tensor) -> Tensor:
    """Products of each query with each key, float32; [B, L, C] and [B, M, C] to [B, L, M]."""
    if query.is_cuda and query.dtype != torch.float32:
        return torch.bmm(query, key.transpose(1, 2), out_dtype=torch.float32)
    return torch.bmm(query.float(), key.float().transpose(1, 2))


class NormByRows(nn.GroupNorm):
    """A group norm from the moments of each row and channel.

    In channels_last the compiler then reads all channels of a row at once, not each group's few by themselves.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        moments = torch.var_mean(x.float(), dim=3, correction=0)  # [B, C, H] each
        variances, means = (rearrange(values, "B (G c) H -> B G (c H)", G=self.num_groups) for values in moments)
        factor, offset = norm_as_affine(self, variances, means)
        return (x * factor + offset).to(x.dtype)


def lay_out_by_rows(vae: Autoencoder) -> None:
    """Let the decoder's convolutions read and write channels last, in place, with norms and attention that suit it.

    On a CUDA device this is an eighth faster than PyTorch's own norms in the usual layout, and no convolution needs a
    copy of its input: with too little memory for that, cuDNN takes other kernels, and the picture has other bits.
    """
    vae.to(memory_format=torch.channels_last)
    for module in vae.decoder.modules():
        if isinstance(module, nn.GroupNorm):
            module.__class__ = NormByRows
        elif isinstance(module, SpatialAttention) and next(module.parameters()).is_cuda:
            module.__class__ = AttentionInParts


def norm_as_affine(
    norm: nn.GroupNorm, variances: Tensor, means: Tensor, shares: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Factor and offset by which a group norm acts on a channel, float32, [B, C, 1, 1] each.

    Args:
        norm: With its groups and weights.
        variances: Of the parts that a group is made of, float32, [B, groups, parts].
        means: The same of the means.
        shares: Of the parts in a group, adding up to 1, [parts]; None for equal ones.
    """

    def averaged(values: Tensor) -> Tensor:
        return values.mean(-1, keepdim=True) if shares is None else (values * shares).sum(-1, keepdim=True)

    mean = averaged(means)
    variance = averaged(variances + (means - mean).square())
    per_channel = "B G 1 -> B (G c) 1 1"
    repeats = norm.num_channels // norm.num_groups
    factor = repeat(torch.rsqrt(variance + norm.eps), per_channel, c=repeats) * rearrange(norm.weight, "C -> C 1 1")
    offset = rearrange(norm.bias, "C -> C 1 1") - repeat(mean, per_channel, c=repeats) * factor
    return factor, offset
