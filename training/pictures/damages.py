"""Damages that a picture can take after it was drawn, as functions on tensors, and slight ones that are none.

Scorers learn from them that a damaged picture is the worse one, whatever it shows; the strengths are drawn anew each
time, so that no single one is learnt. What says something else than the caption is in `training.world.alterations`.
"""

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.alterations import add_noise, blur, coarsen

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
"""Steps of the coefficients at quality 50: ITU-T T.81, tables K.1 and K.2."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""ITU-T T.871."""

Damage = Callable[[Tensor, random.Random], Tensor]


def jpeg(pictures: Tensor, quality: int) -> Tensor:
    """Round uint8 pictures [B, 3, H, W] as JPEG does, with colours at half the size; sides are multiples of 16.

    Args:
        pictures: Of any content.
        quality: 1 to 95, as libjpeg scales its tables.
    """
    device = pictures.device
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    to_ycc = torch.tensor(TO_YCC, device=device)
    ycc = torch.einsum("dc,bchw->bdhw", to_ycc, pictures.float())
    light = _quantised(ycc[:, :1] - 128.0, LUMINANCE, scale) + 128.0
    color = _quantised(F.avg_pool2d(ycc[:, 1:], 2), CHROMINANCE, scale)
    color = F.interpolate(color, scale_factor=2.0, mode="bilinear")
    rgb = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(to_ycc), torch.cat([light, color], 1))
    return _to_bytes(rgb)


def _quantised(values: Tensor, table: tuple[tuple[int, ...], ...], scale: float) -> Tensor:
    """Round the cosine coefficients of each 8 x 8 block of [B, C, H, W] to multiples of the table's steps."""
    steps = ((torch.tensor(table, device=values.device) * scale + 50) / 100).floor().clamp(1, 255)
    places = torch.arange(8, device=values.device)
    cosines = torch.cos((2 * places[None] + 1) * places[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    height, width = values.shape[-2:]
    blocks = values.unflatten(3, (width // 8, 8)).unflatten(2, (height // 8, 8)).transpose(3, 4)  # [B, C, Y, X, 8, 8]
    kept = ((cosines @ blocks @ cosines.T) / steps).round() * steps
    values = cosines.T @ kept @ cosines
    return values.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def shuffle_tiles(pictures: Tensor, tiles: int) -> Tensor:
    """Lay the `tiles` x `tiles` tiles of square pictures in another order, one order for all; a rest stays."""
    side = pictures.shape[-1] // tiles
    order = torch.randperm(tiles * tiles, device=pictures.device)
    whole = pictures[..., : side * tiles, : side * tiles]
    cut = whole.unflatten(3, (tiles, side)).unflatten(2, (tiles, side)).transpose(3, 4).flatten(2, 3)  # [B, 3, T, s, s]
    laid = cut[:, :, order].unflatten(2, (tiles, tiles)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    result = pictures.clone()
    result[..., : side * tiles, : side * tiles] = laid
    return result


def flat(pictures: Tensor, rng: random.Random) -> Tensor:
    """One level in the place of each picture: black, white, a grey or any colour."""
    kind = rng.random()
    if kind < 0.4:
        level = rng.choice((0.0, 255.0))
        return torch.full_like(pictures, int(level))
    grey = torch.randint(256, (len(pictures), 1, 1, 1), device=pictures.device)
    color = torch.randint(256, (len(pictures), 3, 1, 1), device=pictures.device)
    return (grey if kind < 0.8 else color).to(torch.uint8).expand_as(pictures)


def cast(pictures: Tensor, rng: random.Random) -> Tensor:
    """Weaken one or two of the colour channels."""
    weak = rng.sample(range(3), rng.choice((1, 2)))
    shares = torch.tensor([rng.uniform(0.35, 0.75) if place in weak else 1.0 for place in range(3)])
    return _to_bytes(pictures.float() * shares.to(pictures.device)[:, None, None])


def crop(pictures: Tensor, rng: random.Random) -> Tensor:
    """Scale a corner up that has a fifth to a third of the area, as bicubic scaling does."""
    size = pictures.shape[-1]
    side = round(size * math.sqrt(rng.uniform(0.2, 0.33)))
    top, left = (rng.choice((0, size - side)) for _ in range(2))
    part = pictures[..., top : top + side, left : left + side].float()
    return _to_bytes(F.interpolate(part, (size, size), mode="bicubic"))


def _to_bytes(values: Tensor) -> Tensor:
    return values.clamp(0.0, 255.0).round().to(torch.uint8)


DAMAGES: dict[str, tuple[float, Damage]] = {
    "shuffled": (0.24, lambda pictures, rng: shuffle_tiles(pictures, rng.choice((2, 3, 4, 5, 6, 7, 8, 8, 10, 16)))),
    "jpeg": (0.24, lambda pictures, rng: jpeg(pictures, rng.randint(3, 28))),
    "flat": (0.14, flat),
    "noisy": (0.1, lambda pictures, rng: add_noise(pictures, rng.uniform(12.0, 60.0))),
    "blurred": (0.1, lambda pictures, rng: blur(pictures, rng.uniform(0.8, 4.0))),
    "coarse": (0.06, lambda pictures, rng: coarsen(pictures, rng.choice((2, 4, 8)))),
    "cropped": (0.06, crop),
    "cast": (0.06, cast),
}
"""Name -> share of it, and what does it to uint8 pictures [B, 3, S, S]."""


def damage(pictures: Tensor, rng: random.Random) -> Tensor:
    """Damage pictures in one way, drawn by the shares."""
    shares = [share for share, _ in DAMAGES.values()]
    (name,) = rng.choices(list(DAMAGES), shares)
    return DAMAGES[name][1](pictures, rng)


def touch(pictures: Tensor, rng: random.Random) -> Tensor:
    """Change pictures so little that they are as good as before: JPEG of a quality that files are kept in."""
    return jpeg(pictures, rng.randint(68, 95))
