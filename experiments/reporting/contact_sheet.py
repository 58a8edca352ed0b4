"""Labelled contact sheets: pictures in rows and columns with labels that wrap and are never cut.

Knows pictures and texts, not experiments, and leaves it to `fonts` which letters there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw

from experiments.reporting.fonts import Typeface

BACKGROUND, TEXT, QUIET = "#ffffff", "#1f2328", "#5c636d"
GAP = 12
"""Pixels between pictures and around the sheet."""
LINE_SPACING = 1.25
LEAST_LABEL_PIXELS = 180
"""Width of the row labels' column, and of a column too narrow for words."""
MOST_SIDE_PIXELS = 32_000
"""Longest side of a sheet; beyond it many programs do not open a PNG."""


@dataclass(frozen=True)
class Sheet:
    """What stands on a sheet.

    Attributes:
        title: One line or more at the top.
        columns: Column labels.
        rows: Row labels.
        pictures: One per row and column, `fitted` to the cells; None where there is none.
        captions: A text under each picture, as `pictures`; empty for none.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[str]
    pictures: Sequence[Sequence[Image.Image | None]]
    captions: Sequence[Sequence[str]]

    def texts(self) -> list[str]:
        """Return everything that is written on the sheet."""
        return [self.title, *self.columns, *self.rows, *(text for row in self.captions for text in row)]


def draw_sheet(sheet: Sheet, *, cell_pixels: int) -> Image.Image:
    """Draw a sheet whose pictures fit squares of `cell_pixels`; rows grow with their labels."""
    font, small = Typeface(_font_size(cell_pixels)), Typeface(max(11, _font_size(cell_pixels) - 2))
    label_width, cell_width = max(LEAST_LABEL_PIXELS, cell_pixels), max(cell_pixels, 96)
    width = GAP + label_width + (GAP + cell_width) * len(sheet.columns) + GAP
    title = wrapped(sheet.title, font, width - 2 * GAP)
    heads = [wrapped(label, font, cell_width) for label in sheet.columns]
    labels = [wrapped(label, small, label_width) for label in sheet.rows]
    captions = [[wrapped(text, small, cell_width) for text in row] for row in sheet.captions]
    row_heights = [
        max(cell_pixels + _height(small, max(map(len, row), default=0)), _height(small, len(label)))
        for row, label in zip(captions, labels, strict=True)
    ]
    head_top = GAP + _height(font, len(title)) + GAP
    body_top = head_top + _height(font, max(map(len, heads), default=0)) + GAP // 2
    image = Image.new("RGB", (width, body_top + sum(row_heights) + GAP * (len(row_heights) + 1)), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    _write(canvas, (GAP, GAP), title, font, TEXT)
    lefts = [GAP + label_width + GAP + index * (cell_width + GAP) for index in range(len(sheet.columns))]
    for left, lines in zip(lefts, heads, strict=True):
        _write(canvas, (left, head_top), lines, font, TEXT)
    top = body_top
    for label, pictures, texts, height in zip(labels, sheet.pictures, captions, row_heights, strict=True):
        _write(canvas, (GAP, top), label, small, TEXT)
        for left, picture, lines in zip(lefts, pictures, texts, strict=True):
            if picture is not None:
                image.paste(picture, (left, top))
            _write(canvas, (left, top + (cell_pixels if picture is not None else 0)), lines, small, QUIET)
        top += height + GAP
    return image


def sheet_pixels(rows: int, columns: int, cell_pixels: int) -> tuple[int, int]:
    """Return about how wide and high a sheet will be, before its labels are known."""
    return LEAST_LABEL_PIXELS + columns * (cell_pixels + GAP), rows * (cell_pixels + GAP + 20)


def fitted(picture: Image.Image, pixels: int) -> Image.Image:
    """Return `picture` scaled to fit a square; small ones grow by whole factors, so that pixels stay sharp."""
    longest = max(picture.size)
    if longest < pixels:
        factor = pixels // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    scale = pixels / longest
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def difference(picture: Image.Image, other: Image.Image) -> tuple[Image.Image, float]:
    """Return |picture - other| in grey, brightened to its largest value, and its mean before that, 0 to 255.

    Sizes must be equal.
    """
    grey = ImageChops.difference(picture, other).convert("L")
    histogram = grey.histogram()
    mean = sum(level * count for level, count in enumerate(histogram)) / (grey.width * grey.height)
    brightest = max((level for level, count in enumerate(histogram) if count), default=0)
    return grey.point([round(level * 255 / max(brightest, 1)) for level in range(256)]).convert("RGB"), mean


def wrapped(text: str, font: Typeface, width: int) -> list[str]:
    """Break `text` into lines that fit `width` pixels, too long words within; nothing is left out."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}" if line else word
        if font.getlength(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, font, width)
        lines += whole
    return [*lines, line] if line else lines


def _pieces(word: str, font: Typeface, width: int) -> list[str]:
    pieces = [""]
    for character in word:
        if pieces[-1] and font.getlength(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _font_size(cell_pixels: int) -> int:
    return min(max(cell_pixels // 14, 13), 24)


def _height(font: Typeface, lines: int) -> int:
    return round(lines * font.size * LINE_SPACING) + 4 if lines else 0


def _write(
    canvas: ImageDraw.ImageDraw, corner: tuple[int, int], lines: Sequence[str], font: Typeface, fill: str
) -> None:
    left, top = corner
    for index, line in enumerate(lines):
        font.draw(canvas, (left, top + round(index * font.size * LINE_SPACING)), line, fill)
