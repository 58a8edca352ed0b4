"""Scenes as pictures: what is drawn where, in which colours."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from small_world import plain

from training.pictures.render import Renderer
from training.pictures.sprites import render_sprite
from training.words.samples import sample_world
from training.world.composition import Composer
from training.world.looks import COLORS, MEDIA, MOODS, PATTERNS
from training.world.places import PLACES
from training.world.scene import Scene, SceneObject, Setting, Sign
from training.world.world import World


@pytest.fixture(scope="module")
def renderer(world: World) -> Renderer:
    return Renderer(world, torch.device("cpu"))


def _draw(renderer: Renderer, world: World, scene: Scene, height: int = 96, width: int = 96) -> np.ndarray:
    rows = torch.from_numpy(world.row(scene))[None]
    return renderer.render(rows, height, width)[0].permute(1, 2, 0).numpy().astype(int)


def _is_near(pixel: np.ndarray, color: tuple[int, ...], tolerance: int = 12) -> bool:
    return bool(np.abs(pixel - np.asarray(color)).max() <= tolerance)


def test_a_batch_is_drawn_like_each_picture_alone(world: World, renderer: Renderer) -> None:
    rows = torch.from_numpy(sample_world(world, 12, seed=9).rows)
    together = renderer.render(rows, 48, 48)
    alone = torch.cat([renderer.render(row[None], 48, 48) for row in rows])
    difference = (together.int() - alone.int()).abs()
    assert difference.max() <= 1, f"max {difference.max()}, mean {difference.float().mean()}"


@pytest.mark.parametrize(("height", "width"), [(192, 96), (112, 176)])
def test_pictures_have_the_size_asked_for(world: World, renderer: Renderer, height: int, width: int) -> None:
    pictures = renderer.render(torch.from_numpy(sample_world(world, 3, seed=2).rows), height, width)
    assert pictures.shape == (3, 3, height, width)
    assert pictures.dtype == torch.uint8


def test_a_plain_background_has_its_colour(world: World, renderer: Renderer) -> None:
    picture = _draw(renderer, world, plain(color="teal"))
    assert (picture == np.asarray(COLORS["teal"])).all()


def test_a_thing_fills_its_place_and_nothing_else(world: World, renderer: Renderer) -> None:
    picture = _draw(renderer, world, plain(SceneObject(0, "flat", 0.5, 0.5, 0.5)))
    is_background = (np.abs(picture - np.asarray(COLORS["white"])).max(-1) <= 2).astype(float)
    assert is_background[30:66, 30:66].max() == 0
    assert is_background[:22].min() == 1
    assert is_background[:, 75:].min() == 1
    assert 1 - is_background.mean() == pytest.approx(0.25, abs=0.03)


def test_enlarged_sprites_are_even(world: World, renderer: Renderer) -> None:
    picture = _draw(renderer, world, plain(SceneObject(0, "flat", 0.5, 0.5, 0.9)), 192, 192)
    middle = picture[60:130, 60:130]
    assert middle.std((0, 1)).max() < 2


def test_a_painted_thing_takes_the_colour(world: World, renderer: Renderer) -> None:
    thing = SceneObject(3, "3d", 0.5, 0.5, 0.6, color="blue")
    assert _is_near(_draw(renderer, world, plain(thing))[48, 48], COLORS["blue"])


def test_painting_takes_gray_parts_along_and_keeps_the_hue(world: World) -> None:
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    for row, shade in enumerate((240, 128, 70, 4)):
        ImageDraw.Draw(picture).rectangle((4, 4 + 14 * row, 60, 17 + 14 * row), fill=(shade, shade, shade, 255))
    encoded = render_sprite(picture)
    assert encoded is not None
    panda = replace(world, images=[encoded, *world.images[1:]])
    [(concept, style)] = [pair for pair, sprite in world.index.sprites.items() if sprite == 0]
    drawn = _draw(
        Renderer(panda, torch.device("cpu")), panda, plain(SceneObject(concept, style, 0.5, 0.5, 0.9, color="orange"))
    )
    light, middle, dark, outline = drawn[[18, 38, 58, 78], 48]
    for pixel in (light, middle, dark):
        assert pixel[0] > 170
        assert 0.35 < pixel[1] / pixel[0] < 0.85
        assert pixel[2] < 0.7 * pixel[0]
    assert light.sum() > middle.sum() > dark.sum()
    assert outline.max() < 60


def test_no_thing_is_painted_in_its_own_colour(world: World) -> None:
    concepts = [replace(concept, color="red") for concept in world.concepts]
    scenes = sample_world(replace(world, concepts=concepts), 600, seed=4).scenes
    colors = {thing.color for scene in scenes for thing in scene.objects}
    assert "blue" in colors
    assert "red" not in colors


def test_a_silhouette_is_black(world: World, renderer: Renderer) -> None:
    scene = plain(SceneObject(3, "3d", 0.5, 0.5, 0.6), medium="silhouette")
    assert _is_near(_draw(renderer, world, scene)[48, 48], COLORS["black"])


def test_stickers_have_a_white_border(world: World, renderer: Renderer) -> None:
    picture = _draw(renderer, world, plain(SceneObject(0, "sticker", 0.5, 0.5, 0.5), color="black"))
    assert _is_near(picture[48, 23], (255, 255, 255), 40)
    assert picture[48, 18].max() < 60


def test_a_thing_stands_on_its_foot(world: World, renderer: Renderer) -> None:
    place = Setting("place", ("beige",), place="studio", horizon=0.6)
    picture = _draw(renderer, world, Scene((SceneObject(0, "flat", 0.5, 0.9, 0.4, stands=True),), place))
    empty = _draw(renderer, world, Scene((), place))
    rows = np.abs(picture - empty).max((1, 2)) > 120
    assert 0.46 < rows.argmax() / 96 < 0.53
    assert 0.86 < (96 - rows[::-1].argmax()) / 96 < 0.93


def test_black_and_white_moods_have_no_colour(world: World, renderer: Renderer) -> None:
    picture = _draw(renderer, world, plain(SceneObject(0, "3d", 0.5, 0.5, 0.6), color="teal", mood="noir"))
    assert (picture.max(-1) - picture.min(-1)).max() <= 1


def test_pixel_art_has_blocks_of_one_colour(world: World, renderer: Renderer) -> None:
    picture = _draw(renderer, world, plain(SceneObject(0, "3d", 0.5, 0.5, 0.7), medium="pixel art"))
    blocks = picture.reshape(32, 3, 32, 3, 3)
    assert np.ptp(blocks, axis=(1, 3)).max() == 0


def test_night_is_darker_than_day(world: World, renderer: Renderer) -> None:
    day, night = (
        _draw(renderer, world, Scene((), Setting("place", (), place="meadow", sky=sky, horizon=0.55))).mean()
        for sky in ("clear", "night")
    )
    assert night < 0.5 * day


def test_letters_are_drawn_in_their_colour_on_the_board(world: World, renderer: Renderer) -> None:
    scene = Scene((), Setting("plain", ("gray",)), sign=Sign("HI", "white", "board", "red", 0.5, 0.5, 0.3))
    pixels = _draw(renderer, world, scene).reshape(-1, 3)
    found = {color: np.mean([_is_near(pixel, COLORS[color]) for pixel in pixels]) for color in ("white", "red", "gray")}
    assert found["white"] > 0.03
    assert found["red"] > 0.08
    assert found["gray"] > 0.2


def test_every_place_mood_medium_and_pattern_is_drawn_differently(world: World, renderer: Renderer) -> None:
    thing = SceneObject(0, "3d", 0.5, 0.85, 0.5, stands=True)
    meadow = Setting("place", (), place="meadow", sky="clear", horizon=0.55)
    scenes = [Scene((thing,), meadow, mood=mood) for mood in MOODS]
    scenes += [Scene((thing,), meadow, medium=medium) for medium in MEDIA if medium != "none"]
    scenes += [Scene((), Setting("pattern", ("red", "white"), pattern=name, repeats=4.0)) for name in PATTERNS]
    scenes += [
        Scene(
            (),
            Setting(
                "place",
                place.walls[:1],
                place=name,
                sky=(place.skies or ("clear",))[0] if place.is_outdoor else None,
                horizon=place.horizon[0],
            ),
        )
        for name, place in PLACES.items()
    ]
    pictures = renderer.render(torch.from_numpy(np.stack([world.row(scene) for scene in scenes])), 48, 48).float()
    distances = torch.cdist(pictures.flatten(1), pictures.flatten(1)) / 48
    distances.fill_diagonal_(1e9)
    assert distances.min() > 4


def test_counted_things_do_not_touch(world: World) -> None:
    composer = Composer(world, random.Random(1))
    counted = [scene for scene, _ in (composer.scene() for _ in range(500)) if scene.count in (2, 3, 4)]
    assert len(counted) > 40
    for scene in counted:
        for place, one in enumerate(scene.objects):
            for other in scene.objects[place + 1 :]:
                apart = max(abs(one.x - other.x), abs(one.y - other.y))
                assert apart > 0.9 * max(one.size, other.size)
