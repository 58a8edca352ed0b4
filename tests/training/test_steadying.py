"""What scorers learn on damaged and mirrored copies: damages against Pillow, the loss against closed forms."""

import io
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from training.pictures import damages
from training.stages.drawn_bank import PART, Bank, draw_fourfold, fill_bank, steadiness, steadying_loss
from training.words.elsewhere import prompts_from_elsewhere
from training.words.sides import has_a_side


def picture(size=64):
    rows, columns = np.mgrid[:size, :size] / size
    waves = [np.sin(9 * rows + 4 * columns), np.cos(7 * columns), np.sin(12 * rows * columns)]
    pixels = (127 + 90 * np.stack(waves, -1)).astype(np.uint8)
    return Image.fromarray(pixels), torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


@pytest.mark.parametrize("quality", [10, 30, 75])
def test_jpeg_changes_a_picture_as_pillow_does(quality):
    image, tensor = picture()
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    theirs = np.asarray(Image.open(file).convert("RGB")).astype(float)
    ours = damages.jpeg(tensor, quality)[0].permute(1, 2, 0).numpy().astype(float)
    changed = np.abs(theirs - np.asarray(image)).mean()
    difference = np.abs(ours - theirs)
    assert difference.mean() < 0.3 * changed, f"mean {difference.mean():.2f} of {changed:.2f}"


@pytest.mark.parametrize("tiles", [2, 5, 8])
def test_shuffled_tiles_are_the_same_tiles_elsewhere(tiles):
    _, tensor = picture()
    side = 64 // tiles
    torch.manual_seed(1)
    shuffled = damages.shuffle_tiles(tensor, tiles)

    def cut(value):
        boxes = [(row * side, column * side) for row in range(tiles) for column in range(tiles)]
        return sorted(value[0, :, y : y + side, x : x + side].flatten().tolist() for y, x in boxes)

    assert cut(shuffled) == cut(tensor)
    assert not torch.equal(shuffled, tensor)


def test_every_damage_changes_a_picture_and_keeps_its_form():
    _, tensor = picture()
    for name, (_, change) in damages.DAMAGES.items():
        changed = change(tensor.repeat(3, 1, 1, 1), random.Random(4))
        assert (changed.shape, changed.dtype) == ((3, 3, 64, 64), torch.uint8), name
        assert not torch.equal(changed[:1], tensor), name
    assert sum(share for share, _ in damages.DAMAGES.values()) == pytest.approx(1.0)


def test_equal_scores_cost_an_even_guess_and_a_mirrored_copy_counts_without_a_side_only():
    equal = torch.zeros(4, 2)
    assert steadying_loss(equal, torch.tensor([False, False])).item() == pytest.approx(math.log(2))
    mirrored = equal.clone()
    mirrored[1] = torch.tensor([2.0, 5.0])
    sided = steadying_loss(mirrored, torch.tensor([False, True])).item()
    assert sided == pytest.approx(math.log(2) + 0.3 * 4.0 + 1.0 * 4.0)
    worse = equal.clone()
    worse[2] = -100.0
    assert steadying_loss(worse, torch.tensor([False, False])).item() == pytest.approx(0.0, abs=1e-6)


def test_a_batch_of_the_bank_holds_each_picture_whole_mirrored_damaged_and_touched():
    _, tensor = picture()
    bank = Bank.of(tensor.repeat(5, 1, 1, 1), torch.arange(5, dtype=torch.int16)[:, None], ["a cat left of a dog"] * 5)
    drawn = draw_fourfold(bank, PART + 3, torch.Generator().manual_seed(0), random.Random(0))
    whole, mirrored, damaged, touched = drawn.pictures.unflatten(0, (4, -1))
    assert torch.equal(whole.flip(-1), mirrored)
    assert drawn.sided.all()
    assert (touched.float() - whole.float()).abs().mean() < (damaged.float() - whole.float()).abs().mean()


def test_the_bank_is_trained_on_what_it_is_not_tested_with():
    drew = []

    def draw(prompts, seeds):
        drew.extend(prompts)
        return torch.full((len(prompts), 3, 16, 16), 7, dtype=torch.uint8)

    def ids_of(texts):
        return torch.tensor([[len(text)] for text in texts], dtype=torch.int16)

    drawn = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    renders = drawn.repeat(2, 1, 1, 1)
    captions = [f"thing {number}" for number in range(16)]
    trained, tested = fill_bank(SimpleNamespace(draw=draw), drawn, renders, captions, ids_of, 12, 2)
    assert len(drew) == 12
    assert len(trained.pictures) == (8 - 2) + (12 - 2) + 4
    assert tested.pictures[:, 0, 0, 0].tolist() == [0, 1, 7, 7]


def test_steadiness_of_a_scorer_that_loves_bright_right_halves():
    _, tensor = picture()
    dark = tensor.repeat(40, 1, 1, 1) // 4
    dark[:, :, :, 32:] += torch.arange(40, dtype=torch.uint8)[:, None, None, None]
    bank = Bank.of(dark, torch.zeros(40, 1, dtype=torch.int16), ["a thing"] * 40)
    found = steadiness(lambda pictures, ids: pictures[..., 32:].float().mean((1, 2, 3)), bank)
    assert found["mirrored minus whole"] < -0.5
    assert found["the same in standard errors"] < -2
    assert found["whole over cast"] == 1.0


def test_prompts_from_elsewhere_are_the_same_for_the_same_seed_and_seldom_repeat():
    assert prompts_from_elsewhere(50, 1) == prompts_from_elsewhere(50, 1)
    assert len(set(prompts_from_elsewhere(500, 2))) > 450


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat to the left of a dog", True),
        ("Two owls side by side", True),
        ('A sign with the word "OPEN"', True),
        ("A bright cat upside down", False),
        ("An old clock by itself", False),
    ],
)
def test_sides_and_words_to_read_are_other_things_in_a_mirror(text, expected):
    assert has_a_side(text) is expected
