"""A world of eight coloured shapes in four styles, small enough for every stage of training in seconds."""

import io
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw

from training.pictures.sprites import render_glyphs, write_sprites

NAMES = {
    "cat": ("animal-mammal", "meadow"), "dog": ("animal-mammal", "meadow"), "apple": ("food-fruit", "table"),
    "car": ("transport-ground", "road"), "ship": ("transport-water", "water"), "kite": ("game", "sky"),
    "chair": ("household", "floor"), "heart": ("heart", "none"),
}  # fmt: skip
SHAPES = {"3d": "ellipse", "flat": "rectangle", "cartoon": "ellipse", "sticker": "rectangle"}


def write_tiny_world(path: Path) -> Path:
    """Write the file that `World.load` reads."""
    concepts = [
        {"label": name, "names": [name], "group": group, "home": home, "scale": 1.0, "weight": 1.0}
        for name, (group, home) in NAMES.items()
    ]
    drawn = [
        (number, style, _sprite((40 + 25 * number, 220 - 20 * number, 60), shape))
        for number in range(len(concepts))
        for style, shape in SHAPES.items()
    ]
    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    write_sprites(path, concepts, drawn, render_glyphs(font), {"3d": "art-1.0"})
    return path


def _sprite(color: tuple[int, int, int], shape: str) -> bytes:
    picture = Image.new("RGBA", (128, 128), (0, 0, 0, 0))
    getattr(ImageDraw.Draw(picture), shape)((8, 8, 120, 120), fill=(*color, 255))
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=90)
    return encoded.getvalue()
