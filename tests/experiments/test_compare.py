"""Contact sheets: what stands where, labels that are whole, and differences that are numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments import compare
from experiments.compare import write_comparison
from experiments.reporting import contact_sheet
from experiments.reporting.contact_sheet import (
    GAP,
    LEAST_LABEL_PIXELS,
    Sheet,
    difference,
    draw_sheet,
    fitted,
    wrapped,
)
from experiments.reporting.fonts import Typeface
from llm_dit.errors import LlmDitError, OutputError

LONG = (
    "Soft lighting, warm colors, peaceful atmosphere and a Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen"
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    noise = noisy_scores({})

    def scores(run):
        return "failed" if run.prompt.id == "text_rendering_002" and run.params.shift == 2.0 else noise(run)

    return write_results(tmp_path_factory.mktemp("compare") / "sweep", sample_plan(prompts=3), scores)


def drawn_texts(monkeypatch) -> list[tuple[float, float, str, int]]:
    """Record every text that is drawn: left, top, text, font size."""
    calls = []
    original = ImageDraw.ImageDraw.text

    def text(self, xy, text, font=None, **options):
        calls.append((*xy, text, font.size))
        return original(self, xy, text, font=font, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return calls


def test_grid_shows_every_picture_in_its_row_and_column(sweep, tmp_path):
    path = write_comparison(sweep, tmp_path / "grid.png", cell_pixels=64)
    with Image.open(path) as image:
        sheet = np.asarray(image)
    assert sheet.shape[1] == GAP + LEAST_LABEL_PIXELS + 4 * (GAP + 96) + GAP
    found = 0
    for file in sorted((sweep / "images").iterdir()):
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        column = ["1.0", "2.0", "3.0", "4.0"].index(file.stem.split("shift_")[-1].split("_")[0])
        left = GAP + LEAST_LABEL_PIXELS + GAP + column * (96 + GAP)
        strip = sheet[:, left : left + 64]
        found += any(np.array_equal(strip[top : top + 64], pixels) for top in range(strip.shape[0] - 63))
    assert found == 11


def test_labels_are_whole_and_inside_the_sheet(monkeypatch):
    calls = drawn_texts(monkeypatch)
    picture = Image.new("RGB", (64, 64), "teal")
    sheet = Sheet(
        LONG, [LONG, "3.0"], [LONG, "short"], [[picture, None], [picture, picture]], [[LONG, "not made"], ["", ""]]
    )
    image = draw_sheet(sheet, cell_pixels=64)
    texts = "".join(text for _, _, text, _ in calls).replace(" ", "")
    assert texts.count(LONG.replace(" ", "")) == 4
    for left, top, text, size in calls:
        assert left + Typeface(size).getlength(text) <= image.width
        assert top + size * 1.25 <= image.height
        assert size >= 11


def test_labels_do_not_run_into_the_next_column_or_row(monkeypatch):
    calls = drawn_texts(monkeypatch)
    picture = Image.new("RGB", (64, 64), "teal")
    draw_sheet(Sheet("", [LONG, LONG], [LONG], [[picture, picture]], [[LONG, LONG]]), cell_pixels=64)
    boxes = [(left, top, left + Typeface(size).getlength(text), top + size) for left, top, text, size in calls]
    assert len(boxes) > 5  # each of five labels is longer than a line
    for index, (left, top, right, bottom) in enumerate(boxes):
        for other_left, other_top, other_right, other_bottom in boxes[:index]:
            apart = right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
            assert apart, (calls[index], boxes)


def test_difference_is_the_mean_absolute_one():
    one = Image.new("RGB", (8, 8), (100, 100, 100))
    other = one.copy()
    other.paste((140, 140, 140), (0, 0, 4, 8))
    shown, mean = difference(one, other)
    assert mean == pytest.approx(20.0)
    assert shown.getpixel((0, 0)) == (255, 255, 255)
    assert shown.getpixel((7, 7)) == (0, 0, 0)


def test_equal_pictures_have_no_difference():
    one = Image.new("RGB", (8, 8), "teal")
    shown, mean = difference(one, one.copy())
    assert mean == 0
    assert shown.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_diff_has_the_baseline_first_and_names_what_is_subtracted(sweep, tmp_path, monkeypatch):
    calls = drawn_texts(monkeypatch)
    write_comparison(sweep, tmp_path / "diff.png", mode="diff", cell_pixels=200)
    texts = [text for _, _, text, _ in calls]
    assert [text for text in texts if text.startswith(("shift 3.0", "|"))] == [
        "shift 3.0", "|1.0 - 3.0|", "|2.0 - 3.0|", "|4.0 - 3.0|",
    ]  # fmt: skip
    assert sum(text.startswith("mean ") and text.endswith(" of 255") for text in texts) == 8
    assert "not made" in texts


def test_side_by_side_shows_two_levels_and_their_difference(sweep, tmp_path, monkeypatch):
    calls = drawn_texts(monkeypatch)
    write_comparison(sweep, tmp_path / "two.png", mode="side-by-side", levels=["2.0", "4.0"], cell_pixels=200)
    assert [text for _, _, text, _ in calls if text in ("shift 2.0", "4.0", "difference")] == [
        "shift 2.0", "4.0", "difference",
    ]  # fmt: skip


def test_small_pictures_grow_by_whole_factors():
    assert fitted(Image.new("RGB", (64, 32)), 200).size == (192, 96)
    assert fitted(Image.new("RGB", (1000, 500)), 200).size == (200, 100)


def test_wrapping_leaves_nothing_out():
    font = Typeface(14)
    lines = wrapped(LONG, font, 120)
    assert "".join(lines).replace(" ", "") == LONG.replace(" ", "")
    assert max(font.getlength(line) for line in lines) <= 120


def test_pictures_of_different_sizes_are_not_subtracted(tmp_path, monkeypatch):
    plan = sample_plan(axes=[axis("width", 64, 128)], prompts=1)
    folder = write_results(tmp_path / "r", plan, noisy_scores({}))
    picture = next(path for path in (folder / "images").iterdir() if "width_128" in path.stem)
    size = picture.stat().st_size
    Image.new("RGB", (128, 64)).save(picture)
    picture.write_bytes(picture.read_bytes() + b"\0" * (size - picture.stat().st_size))
    calls = drawn_texts(monkeypatch)
    write_comparison(folder, tmp_path / "diff.png", mode="diff", cell_pixels=400)
    assert any(text.startswith("sizes differ: ") for _, _, text, _ in calls)


def test_seeds_may_be_a_range(tmp_path, monkeypatch):
    folder = write_results(tmp_path / "r", sample_plan(prompts=1, seeds=(1, 2, 5)), noisy_scores({}))
    calls = drawn_texts(monkeypatch)
    result = CliRunner().invoke(compare.main, [str(folder), "-o", str(tmp_path / "x.png"), "--seeds", "1..3"])
    assert result.exit_code == 0, result.output
    written = " ".join(text for _, _, text, _ in calls)
    assert ("seed 1" in written, "seed 2" in written, "seed 5" in written) == (True, True, False)


def test_level_names_may_hold_commas(tmp_path, monkeypatch):
    names = ("Soft, warm", "plain")
    folder = write_results(
        tmp_path / "r", sample_plan(axes=[axis("system_prompt", *names)], prompts=1), noisy_scores({})
    )
    calls = drawn_texts(monkeypatch)
    write_comparison(folder, tmp_path / "x.png", levels=["Soft, warm"], cell_pixels=300)
    assert [text for _, _, text, _ in calls if "plain" in text or "Soft" in text] == ["system_prompt Soft, warm"]
    with pytest.raises(OutputError, match=r"x.jpg is not a PNG's name; use x.png"):
        write_comparison(folder, tmp_path / "x.jpg")


def test_long_level_names_that_differ_at_their_end_or_within_look_different(tmp_path, monkeypatch):
    same = "You are a patient assistant that describes pictures in every detail one could ever want to see"
    levels = [
        f"{same}, in oil.",
        f"{same}, in ink.",
        f"{same[:60]} never {same[60:]}" * 3,
        f"{same[:60]} always {same[60:]}" * 3,
    ]
    folder = write_results(
        tmp_path / "r", sample_plan(axes=[axis("system_prompt", *levels)], prompts=1), noisy_scores({})
    )
    calls = drawn_texts(monkeypatch)
    write_comparison(folder, tmp_path / "x.png", cell_pixels=2000)
    heads = [text for _, top, text, _ in calls if top == min(top for _, top, _, _ in calls[1:] if top > GAP)]
    assert len(heads) == len(set(heads)) == 4
    assert heads[0].endswith("in oil.")
    assert heads[1].endswith("in ink.")
    assert "never" in heads[2]
    assert "always" in heads[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ["9.0"]}, "--levels 9.0 is not a level of shift_sweep"),
        ({"prompt_ids": ["animals_00"]}, "did you mean 'animals_000'"),
        ({"seeds": ["7"]}, "no finished picture to show"),
        (
            {"mode": "side-by-side", "levels": ["1.0", "2.0", "4.0"]},
            "shows two levels, and 3 are chosen; name two by --levels",
        ),
    ],
)
def test_what_is_not_there_is_said(sweep, tmp_path, options, message):
    with pytest.raises(LlmDitError, match=message):
        write_comparison(sweep, tmp_path / "x.png", **options)


def test_sheet_too_large_for_a_picture_is_refused_before_it_is_drawn(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MOST_SIDE_PIXELS", 500)
    with pytest.raises(OutputError, match="use --max-rows"):
        write_comparison(sweep, tmp_path / "x.png", cell_pixels=256)


def test_command_writes_the_file_and_names_it(sweep, tmp_path):
    output = tmp_path / "grid.png"
    result = CliRunner().invoke(compare.main, [str(sweep), "--mode", "grid", "-o", str(output), "--max-rows", "2"])
    assert (result.exit_code, result.output.strip()) == (0, str(output))
    with Image.open(output) as image:
        assert image.format == "PNG"


def test_command_refuses_an_unwritable_file(sweep, tmp_path):
    result = CliRunner().invoke(compare.main, [str(sweep), "-o", str(tmp_path / "no" / "grid.png")])
    assert result.exit_code == 2
    assert "can't be written: No such file or directory; free some space, make" in result.output
