"""Decode large latents in bands of rows: the same image as in one piece, in about half the memory.

The usual tiles are decoded each by itself, so every group normalisation sees another mean and deviation and the tiles
differ in colour. Here all bands of a layer are done before the next layer starts: the statistics are those of the
whole map, convolutions get the rows they need from the neighbouring bands, and nothing is blended. Only what a layer
makes on the way (normalised and activated maps) is kept to one band. Coarse levels are small and done in one piece.

Works on the modules of `decoder.Decoder`.

Legend: B images, C channels, H and W rows and columns of a feature map.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from llm_dit.networks.vae_decoder import Decoder, ResnetBlock, Upsampler, norm_as_affine

BAND_PIXELS = 65_536
"""Positions of a feature map that are worked on at once: 32 rows of a map 2048 wide."""


def decode_in_bands(decoder: Decoder, latents: Tensor, *, band_pixels: int = BAND_PIXELS) -> Tensor:
    """Do what `decoder(latents)` does.

    Args:
        decoder: Gives modules and weights.
        latents: [B, C, h, w], unscaled.
        band_pixels: Positions of a feature map in one band, at least one row.

    Returns:
        Pixels, [B, 3, 8 h, 8 w].
    """
    x = decoder.mid_block(decoder.conv_in(latents))
    for module in (module for block in decoder.up_blocks for module in block.modules()):
        if isinstance(module, ResnetBlock):
            x = _resnet(module, x, band_pixels)
        elif isinstance(module, Upsampler):
            x = _upsample(module.conv, x, band_pixels)
    return _normed_convolution(decoder.conv_norm_out, decoder.conv_out, x, band_pixels)


def _resnet(resnet: ResnetBlock, x: Tensor, band_pixels: int) -> Tensor:
    hidden = _normed_convolution(resnet.norm1, resnet.conv1, x, band_pixels)
    affine = _norm_as_affine(resnet.norm2, hidden, band_pixels)
    above = hidden[:, :, :0]  # the row above the band, saved before the band before it was overwritten
    for start, end in _bands(hidden, band_pixels):
        rows = torch.cat([above, hidden[:, :, start : end + 1]], dim=2)
        above = hidden[:, :, end - 1 : end].clone()
        band = _convolution(resnet.conv2, _activated(rows, affine), start > 0, end < hidden.shape[2])
        shortcut = x[:, :, start:end]
        if resnet.conv_shortcut is not None:
            shortcut = resnet.conv_shortcut(shortcut)
        hidden[:, :, start:end] = shortcut + band
    return hidden


def _upsample(conv: nn.Conv2d, x: Tensor, band_pixels: int) -> Tensor:
    """Double rows and columns, then 3 x 3 convolution: [B, C, H, W] to [B, C', 2 H, 2 W]."""
    out = _empty_map(x, conv.out_channels, 2)
    for start, end in _bands(x, band_pixels // 4):
        first, last = max(0, start - 1), min(x.shape[2], end + 1)
        rows = F.interpolate(x[:, :, first:last], scale_factor=2.0, mode="nearest")
        rows = rows[:, :, start - first : rows.shape[2] - (last - end)]  # of a doubled neighbour the nearer row
        out[:, :, 2 * start : 2 * end] = _convolution(conv, rows, start > 0, end < x.shape[2])
    return out


def _normed_convolution(norm: nn.GroupNorm, conv: nn.Conv2d, x: Tensor, band_pixels: int) -> Tensor:
    """Group norm over the whole map, SiLU, 3 x 3 convolution: [B, C, H, W] to [B, C', H, W]."""
    affine = _norm_as_affine(norm, x, band_pixels)
    out = _empty_map(x, conv.out_channels, 1)
    for start, end in _bands(x, band_pixels):
        rows = x[:, :, max(0, start - 1) : end + 1]
        out[:, :, start:end] = _convolution(conv, _activated(rows, affine), start > 0, end < x.shape[2])
    return out


def _convolution(conv: nn.Conv2d, rows: Tensor, has_above: bool, has_below: bool) -> Tensor:
    """3 x 3 convolution of a band that brings its neighbouring rows along, zeros beyond the map's edges."""
    return F.conv2d(F.pad(rows, (1, 1, int(not has_above), int(not has_below))), conv.weight, conv.bias)


def _norm_as_affine(norm: nn.GroupNorm, x: Tensor, band_pixels: int) -> tuple[Tensor, Tensor]:
    """Factor and offset, float32 [B, C, 1, 1], by which the group norm of the whole map acts on a channel."""
    bands = list(_bands(x, band_pixels))
    grouped = "B (G c) H W -> B G (c H W)"
    moments = [
        torch.var_mean(rearrange(x[:, :, start:end].float(), grouped, G=norm.num_groups), dim=2, correction=0)
        for start, end in bands
    ]
    shares = torch.tensor([(end - start) / x.shape[2] for start, end in bands], device=x.device)
    variances, means = (torch.stack(values, -1) for values in zip(*moments, strict=True))  # [B, G, bands]
    return norm_as_affine(norm, variances, means, shares)


def _activated(rows: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    factor, offset = affine
    value = rows * factor  # float32
    value += offset
    return F.silu(value, inplace=True).to(rows.dtype)


def _empty_map(x: Tensor, channels: int, factor: int) -> Tensor:
    shape = (x.shape[0], channels, x.shape[2] * factor, x.shape[3] * factor)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _bands(x: Tensor, band_pixels: int) -> Iterator[tuple[int, int]]:
    height, width = x.shape[2:]
    rows = max(1, band_pixels // width)
    return ((start, min(start + rows, height)) for start in range(0, height, rows))
