"""Known changes of a picture, as pure functions on PIL pictures, and what a judge should make of each.

Strengths go with the shorter side, so that a damage means the same for a miniature's picture and a large one.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

TILES = 8
"""Tiles along each side that are shuffled: 16 pixels wide in a picture of 128."""
BLUR_SHARE = 0.02
NOISE_LEVELS = 40
CROP_SHARE = 0.5
CAST = (1.0, 0.7, 0.45)


@dataclass(frozen=True)
class Damage:
    """One known change.

    Attributes:
        name: As it stands in tables and sentences.
        should: What a judge of pictures owes it: `notice` makes the score worse, `ignore` leaves it.
        change: Picture and a number for its randomness to the changed picture; None where the text or the seed is
            another one, and the picture is not changed.
    """

    name: str
    should: Literal["notice", "ignore"]
    change: Callable[[Image.Image, int], Image.Image] | None


def mirror(image: Image.Image, _seed: int) -> Image.Image:
    """Exchange left and right."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def jpeg(quality: int) -> Callable[[Image.Image, int], Image.Image]:
    """Return what compresses a picture as JPEG of a quality, 1 to 95, and opens it again."""

    def change(image: Image.Image, _seed: int) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as again:
            return again.convert("RGB")

    return change


def shuffle_tiles(image: Image.Image, seed: int) -> Image.Image:
    """Cut into 8 x 8 tiles and lay them in another order; a rest at the lower and right side stays."""
    width, height = image.width // TILES, image.height // TILES
    boxes = [
        (column * width, row * height, (column + 1) * width, (row + 1) * height)
        for row in range(TILES)
        for column in range(TILES)
    ]
    order = np.random.default_rng(seed).permutation(len(boxes))
    result = image.copy()
    for box, source in zip(boxes, order, strict=True):
        result.paste(image.crop(boxes[source]), box)
    return result


def blur(image: Image.Image, _seed: int) -> Image.Image:
    """Blur by a Gaussian with a deviation of 2 % of the shorter side."""
    return image.filter(ImageFilter.GaussianBlur(BLUR_SHARE * min(image.size)))


def add_noise(image: Image.Image, seed: int) -> Image.Image:
    """Add normal noise with a deviation of 40 of 255 levels to each channel of each pixel."""
    values = np.asarray(image, dtype=np.float64)
    noisy = values + np.random.default_rng(seed).normal(0, NOISE_LEVELS, values.shape)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def crop(image: Image.Image, _seed: int) -> Image.Image:
    """Keep the upper left quarter, scaled up to the whole size."""
    box = (0, 0, round(image.width * CROP_SHARE), round(image.height * CROP_SHARE))
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)


def cast(image: Image.Image, _seed: int) -> Image.Image:
    """Take 30 % of the green and 55 % of the blue away."""
    values = np.asarray(image, dtype=np.float64) * CAST
    return Image.fromarray(values.round().astype(np.uint8))


def flat(level: int) -> Callable[[Image.Image, int], Image.Image]:
    """Return what puts one grey level, 0 to 255, in the place of a picture."""
    return lambda image, _seed: Image.new("RGB", image.size, (level,) * 3)


WRONG_CAPTION, ANOTHER_SEED, MIRRORED = "wrong caption", "another seed", "mirrored"
DAMAGES = (
    Damage(ANOTHER_SEED, "ignore", None),
    Damage(MIRRORED, "ignore", mirror),
    Damage("JPEG 75", "ignore", jpeg(75)),
    Damage("JPEG 30", "notice", jpeg(30)),
    Damage("JPEG 10", "notice", jpeg(10)),
    Damage("shuffled tiles", "notice", shuffle_tiles),
    Damage("blurred", "notice", blur),
    Damage("noisy", "notice", add_noise),
    Damage("cropped to a quarter", "notice", crop),
    Damage("colour cast", "notice", cast),
    Damage(WRONG_CAPTION, "notice", None),
    Damage("black", "notice", flat(0)),
    Damage("grey", "notice", flat(128)),
    Damage("white", "notice", flat(255)),
)
