"""A world of sixteen things in four styles."""

from pathlib import Path

import pytest
from small_world import NAMES, sprite

from training.pictures.sprites import render_glyphs, write_sprites
from training.world.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    concepts = [
        {"label": name, "names": [name], "group": group, "home": home, "scale": 1.0, "weight": 1.0}
        for name, (group, home) in NAMES.items()
    ]
    shapes = {"3d": "ellipse", "flat": "rectangle", "cartoon": "ellipse", "sticker": "rectangle"}
    drawn = [
        (number, style, sprite((40 + 12 * number, 200 - 9 * number, 60), shape))
        for number in range(len(concepts))
        for style, shape in shapes.items()
    ]
    import matplotlib as mpl

    font = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    path = tmp_path_factory.mktemp("world") / "sprites.npz"
    write_sprites(path, concepts, drawn, render_glyphs(font), {"3d": "art-1.0"})
    return World.load(path)
