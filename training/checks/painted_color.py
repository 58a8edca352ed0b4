"""Which colour a thing is painted in, read off its pixels: a judge of colour that needs no training.

Of the pixels around the middle of the thing, those that differ from the background beside it vote for the nearest of
`looks.TINTS` in CIELAB. `check_colors.py` asks it.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab
from torch import Tensor

from training.world.looks import COLORS, TINTS

REACH = 0.094
"""Half the side of the square that is looked at, as a share of the picture's shorter side: 12 of 128 pixels."""
MARGIN = 6
"""Columns at either border that show the background."""
DIFFERENT = 14.0
"""Distance in CIELAB from which a pixel is not background."""
FEWEST = 12
"""Pixels that must differ; if fewer do, all vote (a thing with a hole in its middle)."""


def _lab(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    converted: NDArray[np.float64] = rgb2lab(levels / 255.0)
    return converted


TINTS_IN_LAB = _lab(np.array([[COLORS[tint] for tint in TINTS]], dtype=np.float64))[0]


def painted_color(picture: Tensor, x: float, y: float) -> str:
    """Name the colour of the thing whose middle is at `x` of the width and `y` of the height.

    Args:
        picture: uint8 [3, H, W], on any device.
        x: 0 to 1, from the left.
        y: 0 to 1, from the top.

    Returns:
        One of `looks.TINTS`.
    """
    image = _lab(picture.permute(1, 2, 0).cpu().numpy().astype(np.float64))
    height, width = image.shape[:2]
    reach = round(REACH * min(height, width))
    row, column = int(y * height), int(x * width)
    band = image[max(0, row - reach) : row + reach + 1]
    beside = np.concatenate([band[:, :MARGIN], band[:, -MARGIN:]], axis=1).reshape(-1, 3)
    pixels = band[:, max(0, column - reach) : column + reach + 1].reshape(-1, 3)
    is_thing = np.linalg.norm(pixels - np.median(beside, axis=0), axis=1) > DIFFERENT
    voters = pixels[is_thing] if is_thing.sum() >= FEWEST else pixels
    nearest = np.linalg.norm(voters[:, None] - TINTS_IN_LAB, axis=2).argmin(axis=1)
    return TINTS[int(np.bincount(nearest).argmax())]
