"""Fonts for text in pictures: DejaVu Sans first, and for what it lacks the first font that has it.

Z-Image is bilingual, so labels may be Chinese. matplotlib brings DejaVu Sans, which covers Latin, Greek, Cyrillic and
many symbols; `uv sync --extra fonts` installs Noto Sans CJK and Noto Emoji; else the system's fonts are searched.
"""

from __future__ import annotations

import importlib.util
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import ImageFont

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

PACKAGES = ("manimgx_fonts_cjk", "manimgx_fonts")
"""Folders of font files on PyPI, as Noto publishes them, under the Open Font License."""
FAMILIES = (
    "notosanscjk", "notosanssc", "sourcehansans", "wqy", "wenquanyi", "pingfang", "msyh", "hiragino", "yugoth",
    "malgun", "applesdgothic", "nanumgothic", "droidsansfallback", "arphic", "uming", "notoemoji", "symbola",
    "seguiemj", "seguisym", "unifont", "arialunicode",
)  # fmt: skip
"""Beginnings of the names of system fonts that cover Chinese, Japanese, Korean or emoji in outlines, best first."""
REGULAR_WEIGHT = 400
INVISIBLE = frozenset("\u200b\u200c\u200d\ufe0e\ufe0f")
"""Joiners and variation selectors: parts of emoji that stand for no mark of their own."""


class FontFile(NamedTuple):
    """A font: a file, and which of its faces."""

    path: Path
    face: int


class Typeface:
    """Text of one size, each character in the first font that has it.

    Args:
        size: Height in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def getlength(self, text: str) -> float:
        """Return the width of `text` in pixels."""
        return sum(_font(file, self.size).getlength(run) for run, file in runs_of(text))

    def draw(self, canvas: ImageDraw, corner: tuple[float, float], text: str, fill: str) -> None:
        """Write one line, its baseline that of the main font in every run."""
        left, top = corner
        baseline = top + self._ascent
        for run, file in runs_of(text):
            font = _font(file, self.size)
            if file == main_font():
                canvas.text((left, top), run, font=font, fill=fill)
            else:
                canvas.text((left, baseline), run, font=font, fill=fill, anchor="ls")
            left += font.getlength(run)

    @cached_property
    def _ascent(self) -> int:
        return _font(main_font(), self.size).getmetrics()[0]


def runs_of(text: str) -> list[tuple[str, FontFile]]:
    """Divide a line into runs of one font; what no font has stays with the main one, which shows it as boxes."""
    visible = [character for character in text if character not in INVISIBLE]
    return [
        ("".join(run), file)
        for file, run in itertools.groupby(visible, key=lambda character: _font_of(character) or main_font())
    ]


def uncovered(texts: Iterable[str]) -> str:
    """Return the characters that no font here has, each once, in order."""
    seen = dict.fromkeys(character for text in texts for character in text)
    return "".join(
        character
        for character in seen
        if character not in INVISIBLE
        and not character.isspace()
        and unicodedata.category(character)[0] != "C"
        and _font_of(character) is None
    )


@cache
def main_font() -> FontFile:
    """Return DejaVu Sans, from matplotlib's own fonts."""
    import matplotlib

    return FontFile(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 0)


@cache
def further_fonts() -> tuple[FontFile, ...]:
    """Return the fonts that are asked for what the main one lacks: installed packages first, then the system's."""
    paths: list[Path] = []
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or []) if found else []:
            paths += sorted(Path(folder).glob("Noto*"))
    return tuple(FontFile(path, _face(path)) for path in [*paths, *system_fonts()])


def system_fonts() -> list[Path]:
    """Return the system's fonts of known families, best first."""
    from matplotlib.font_manager import findSystemFonts

    found: list[tuple[int, str]] = []
    for name in findSystemFonts():
        stem = Path(name).stem.lower().replace(" ", "").replace("-", "").replace("_", "")
        rank = next((index for index, family in enumerate(FAMILIES) if stem.startswith(family)), None)
        if rank is not None and "color" not in stem:  # colour bitmaps come in one size only
            found.append((rank, name))
    return [Path(name) for _, name in sorted(found)]


@cache
def _font_of(character: str) -> FontFile | None:
    if character.isspace() or ord(character) in _coverage(main_font()):
        return main_font()
    return next((file for file in further_fonts() if ord(character) in _coverage(file)), None)


@cache
def _coverage(file: FontFile) -> frozenset[int]:
    """Return the code points that a font has; none where it can't be read."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with file.path.open("rb") as stream, TTFont(stream, fontNumber=file.face, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, AssertionError):
        return frozenset()


@cache
def _font(file: FontFile, size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(str(file.path), size, index=file.face)
    if file != main_font():
        _set_regular(font)
    return font


def _set_regular(font: ImageFont.FreeTypeFont) -> None:
    """Give a font of variable weight the usual one; Noto's own default is thin."""
    try:
        axes = font.get_variation_axes()
    except (OSError, NotImplementedError):  # of one weight
        return
    font.set_variation_by_axes(
        [REGULAR_WEIGHT if axis["name"] == b"Weight" else float(axis["default"] or 0) for axis in axes]
    )


def _face(path: Path) -> int:
    """Return which face of a collection has the Simplified Chinese forms; the first where none says so."""
    if path.suffix.lower() not in (".ttc", ".otc"):
        return 0
    names = _face_names(path)
    return next((index for index, name in enumerate(names) if name.endswith(" SC")), 0)


def _face_names(path: Path) -> Sequence[str]:
    from fontTools.ttLib import TTCollection, TTLibError

    try:
        with path.open("rb") as stream, TTCollection(stream, lazy=True) as collection:
            return [font["name"].getDebugName(1) or "" for font in collection]
    except (TTLibError, OSError, AssertionError):
        return []
