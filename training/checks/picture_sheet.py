"""Lay pictures out on a sheet with their prompts, to be looked at."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

MARGIN = 4
LINE = 11
LINES = 4


def save_sheet(pictures: Sequence[Tensor], labels: Sequence[str], path: Path, columns: int = 8) -> None:
    """Write a sheet.

    Args:
        pictures: uint8 [3, H, W] each; cells take the size of the largest.
        labels: Text below each picture, wrapped to `LINES` lines.
        path: PNG or WebP file.
        columns: Pictures in a row.
    """
    height = max(picture.shape[1] for picture in pictures)
    width = max(picture.shape[2] for picture in pictures)
    rows = -(-len(pictures) // columns)
    cell_height, cell_width = height + LINES * LINE + 2 * MARGIN, width + 2 * MARGIN
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = place % columns * cell_width + MARGIN, place // columns * cell_height + MARGIN
        sheet.paste(Image.fromarray(rearrange(picture, "c h w -> h w c").cpu().numpy()), (left, top))
        for line, text in enumerate(textwrap.wrap(label or "(empty prompt)", width // 6)[:LINES]):
            pen.text((left, top + height + 2 + line * LINE), text, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
