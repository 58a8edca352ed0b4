"""Damages of pictures, by closed forms."""

import numpy as np
import pytest
from PIL import Image

from experiments.examination.damages import DAMAGES

CHANGES = {damage.name: damage.change for damage in DAMAGES if damage.change is not None}


def picture(width: int = 64, height: int = 48) -> Image.Image:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([across * 3, down * 4, (across + down)], -1).astype(np.uint8))


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64)


@pytest.mark.parametrize("name", CHANGES)
def test_a_damage_keeps_size_and_mode_and_is_the_same_each_time(name):
    first, second = (CHANGES[name](picture(), 3) for _ in range(2))
    assert (first.size, first.mode) == ((64, 48), "RGB")
    assert np.array_equal(values(first), values(second))
    assert not np.array_equal(values(first), values(picture()))


def test_a_mirrored_picture_mirrored_is_the_picture():
    assert np.array_equal(values(CHANGES["mirrored"](picture(), 0)), values(picture())[:, ::-1])


def test_shuffled_tiles_keep_every_pixel_and_move_most():
    shuffled = CHANGES["shuffled tiles"](picture(), 0)
    tiles = lambda image: values(image).reshape(8, 6, 8, 8, 3).swapaxes(1, 2).reshape(64, -1)  # noqa: E731
    assert sorted(map(tuple, tiles(shuffled))) == sorted(map(tuple, tiles(picture())))
    assert sum(np.array_equal(*pair) for pair in zip(tiles(shuffled), tiles(picture()), strict=True)) < 8
    assert not np.array_equal(values(shuffled), values(CHANGES["shuffled tiles"](picture(), 1)))


def test_noise_has_its_deviation():
    noise = values(CHANGES["noisy"](Image.new("RGB", (200, 200), (128,) * 3), 0)) - 128
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.5), pytest.approx(40, abs=0.5))


def test_flat_pictures_a_cast_a_crop_and_a_blur():
    assert [set(values(CHANGES[name](picture(), 0)).ravel()) for name in ("black", "grey", "white")] == [
        {0.0},
        {128.0},
        {255.0},
    ]
    grey = Image.new("RGB", (32, 32), (200, 200, 200))
    assert set(map(tuple, values(CHANGES["colour cast"](grey, 0)).reshape(-1, 3))) == {(200.0, 140.0, 90.0)}
    assert np.array_equal(values(CHANGES["blurred"](grey, 0)), values(grey))
    halves = Image.fromarray(np.repeat(np.repeat([[10, 200], [200, 200]], 16, 0), 16, 1).astype(np.uint8)).convert(
        "RGB"
    )
    assert set(values(CHANGES["cropped to a quarter"](halves, 0)).ravel()) == {10.0}


def test_jpeg_of_a_lower_quality_is_farther_from_the_picture():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    far = [np.abs(values(CHANGES[f"JPEG {quality}"](image, 0)) - values(image)).mean() for quality in (75, 30, 10)]
    assert 0 < far[0] < far[1] < far[2]
