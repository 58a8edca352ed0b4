"""Words in pictures: which are asked for, how near a reading comes, and the reader itself on rendered words."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from experiments.metrics.asked_words import edit_distance, quoted_words, text_similarity, words_asked_for
from experiments.metrics.declaration import ScoreInput
from experiments.metrics.text_accuracy import TextAccuracyScorer
from experiments.prompts import get_prompts_by_category
from llm_dit.errors import LlmDitError

LATIN = Path(find_spec("matplotlib").submodule_search_locations[0], "mpl-data", "fonts", "ttf")
PAPER, INK = (236, 229, 214), (30, 40, 60)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ('A sign "OPEN" and "CLOSED", then "OPEN"', ("OPEN", "CLOSED")),
        ("A sign that says “Fresh Bread.”", ("Fresh Bread",)),
        ("Ein Schild „Zimmer frei“ und «Café», »Bar«", ("Zimmer frei", "Café", "Bar")),
        ("一块写着“今天营业”的招牌", ("今天营业",)),
        ("门上写着「新鲜面包」和『八点』", ("新鲜面包", "八点")),
        ("A neon sign that reads 'Joe's Diner' at night", ("Joe's Diner",)),
        ("A potter's wheel and the dog's tail aren't 'wet'", ("wet",)),
        ("A cat's paw on its owners' table", ()),
        ('A sign that says "OPEN," in red, "Really?"', ("OPEN", "Really?")),
        ('An empty "" and " "', ()),
        ("No words at all", ()),
    ],
)
def test_words_in_quotation_marks_are_asked_for(prompt, words):
    assert quoted_words(prompt) == words


def test_the_prompts_file_says_more_than_its_quotation_marks():
    assert words_asked_for('A "sign"', ("OPEN",)) == ("OPEN",)
    assert words_asked_for('A "sign"', ()) == ("sign",)
    for prompt in get_prompts_by_category("text_rendering"):
        assert [text.rstrip(".") for text in prompt["words"]] == list(quoted_words(prompt["prompt"]))


@pytest.mark.parametrize(
    ("wanted", "lines", "expected"),
    [
        ("Happy Birthday", ["to you", "HAPPY", "BIRTHDAY!"], 1.0),
        ("OPEN", ["0PEN"], 0.75),
        ("OPEN", [], 0.0),
        ("OPEN", ["a long line of other words"], 0.0),
        ("Bread", ["Brxad", "and a line that is much longer"], 0.8),
        ("今天营业", ["今天营业"], 1.0),
        ("今天营业", ["今夭营业"], 0.75),
        ("8 to 12", ["８ to１２"], 1.0),
        ("Joe's", ["JOE’S"], 1.0),
    ],
)
def test_similarity_of_a_reading(wanted, lines, expected):
    assert text_similarity(wanted, lines) == pytest.approx(expected)


@pytest.mark.parametrize(("first", "second", "distance"), [("kitten", "sitting", 3), ("", "abc", 3), ("ab", "ab", 0)])
def test_edit_distance(first, second, distance):
    assert edit_distance(first, second) == edit_distance(second, first) == distance


def page(*lines: tuple[str, str, int], angle: float = 0) -> Image.Image:
    """Lines of (text, font, size in pixels), one below the other, turned by `angle` degrees."""
    layer = Image.new("L", (600, 600), 0)
    canvas = ImageDraw.Draw(layer)
    step = 600 / (len(lines) + 1)
    for place, (text, name, size) in enumerate(lines, start=1):
        if name == "cjk":
            import manimgx_fonts_cjk

            folder = Path(manimgx_fonts_cjk.__file__).parent
            font = ImageFont.truetype(str(folder / "NotoSansCJK-VF.otf.ttc"), size, index=2)
        else:
            font = ImageFont.truetype(str(LATIN / name), size)
        canvas.text((300, place * step), text, fill=255, font=font, anchor="mm")
    picture = Image.new("RGB", layer.size, PAPER)
    picture.paste(INK, mask=layer.rotate(angle, resample=Image.Resampling.BICUBIC))
    return picture


SIZES = (
    ("OPEN", "DejaVuSans.ttf", 72),
    ("Happy Birthday", "DejaVuSerif-Italic.ttf", 44),
    ("Midnight Diner", "STIXGeneral.ttf", 30),
    ("Fresh Bread", "DejaVuSansMono-Bold.ttf", 20),
    ("The night was full of wings.", "DejaVuSerif.ttf", 14),
    ("今天营业", "cjk", 40),
    ("新鲜面包", "cjk", 30),
)


@pytest.fixture(scope="module")
def reader():
    return TextAccuracyScorer()


def test_words_of_many_sizes_and_fonts_latin_and_chinese_are_read(reader):
    lines = reader.read(page(*SIZES))
    assert {text: text_similarity(text, lines) for text, _, _ in SIZES} == {text: 1.0 for text, _, _ in SIZES}


@pytest.mark.parametrize("angle", [-10, 30, 180])
def test_words_at_an_angle_are_read(reader, angle):
    lines = reader.read(page(SIZES[1], SIZES[5], angle=angle))
    assert min(text_similarity(text, lines) for text in ("Happy Birthday", "今天营业")) > 0.85, lines


def test_a_row_has_a_score_where_its_prompt_asks_for_words_and_what_was_read_beside_it(reader, tmp_path):
    page(("OPEN", "DejaVuSans.ttf", 60)).save(tmp_path / "sign.png")
    rows = [
        ScoreInput('A sign "open" and "SHUT"', tmp_path / "sign.png"),
        ScoreInput("A sign", tmp_path / "sign.png"),
        ScoreInput("A sign", tmp_path / "sign.png", words=("OPEN",)),
        ScoreInput('A sign "open"', tmp_path / "sign.png", is_wanted=False),
    ]
    both, none, named, unwanted = reader.score_rows(rows)
    assert both == {"text_accuracy": pytest.approx((1 + 0) / 2), "text_accuracy_read": "OPEN"}
    assert (none, unwanted) == ({}, {})
    assert named["text_accuracy"] == 1
    assert reader.metric.model.startswith("rapidocr-3.")


def test_without_the_reader_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(LlmDitError, match="rapidocr and onnxruntime are not installed; uv sync --extra ocr"):
        TextAccuracyScorer()
