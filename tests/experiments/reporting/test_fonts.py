"""Letters in pictures: each from the first font that has it, and those that none has are named."""

import pytest
from PIL import Image, ImageDraw
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments.compare import write_comparison
from experiments.reporting import fonts
from experiments.reporting.fonts import Typeface, main_font, runs_of, uncovered
from experiments.reporting.short_names import distinct_names, shortened


def drawn(text: str, size: int = 24) -> bytes:
    image = Image.new("L", (60, 40), 255)
    Typeface(size).draw(ImageDraw.Draw(image), (4, 4), text, "black")
    return image.tobytes()


@pytest.fixture
def without_further_fonts(monkeypatch):
    fonts._font_of.cache_clear()
    monkeypatch.setattr(fonts, "further_fonts", tuple)
    yield
    fonts._font_of.cache_clear()


@pytest.mark.parametrize("pair", ["猫犬", "がぎ", "한글", "🦊🚀"])
def test_chinese_japanese_korean_and_emoji_are_letters_not_boxes(pair):
    assert uncovered(pair) == ""
    assert len({drawn(pair[0]), drawn(pair[1]), drawn("\U0010fffe")}) == 3


def test_latin_text_is_one_run_of_the_main_font_and_mixed_text_is_divided():
    assert runs_of("A red cat") == [("A red cat", main_font())]
    runs = runs_of("A 猫, cat")
    assert [run for run, _ in runs] == ["A ", "猫", ", cat"]
    assert [file == main_font() for _, file in runs] == [True, False, True]


def test_a_width_is_the_sum_of_its_runs():
    face = Typeface(20)
    assert face.getlength("A猫") == pytest.approx(face.getlength("A") + face.getlength("猫"))
    assert face.getlength("猫") == pytest.approx(20, abs=1)


def test_variation_selectors_and_joiners_take_no_room():
    assert Typeface(20).getlength("❤\ufe0f") == Typeface(20).getlength("❤")
    assert uncovered("❤\ufe0f\u200d\n") == ""


def test_a_collection_gives_its_simplified_chinese_face():
    (file,) = [file for file in fonts.further_fonts() if file.path.name == "NotoSansCJK-VF.otf.ttc"]
    assert fonts._face_names(file.path)[file.face] == "Noto Sans CJK SC"


def test_characters_without_a_font_are_named_with_the_way_out(tmp_path, without_further_fonts, caplog):
    assert uncovered("A 猫 and a 猫犬") == "猫犬"
    folder = write_results(
        tmp_path / "r", sample_plan(axes=[axis("system_prompt", "一只猫", "a cat")], prompts=1), noisy_scores({})
    )
    write_comparison(folder, tmp_path / "x.png")
    assert "No font here has 一 只 猫, which show as boxes; `uv sync --extra fonts`" in caplog.text


def test_system_fonts_are_found_by_their_names_best_first(monkeypatch, tmp_path):
    names = ["DejaVuSans.ttf", "unifont.ttf", "wqy-microhei.ttc", "NotoColorEmoji.ttf", "Noto Sans CJK SC.otf"]
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(tmp_path / name) for name in names])
    assert [path.name for path in fonts.system_fonts()] == ["Noto Sans CJK SC.otf", "wqy-microhei.ttc", "unifont.ttf"]


def test_a_damaged_font_covers_nothing(tmp_path):
    (tmp_path / "NotoSansCJK.ttc").write_bytes(b"no font")
    assert fonts._face(tmp_path / "NotoSansCJK.ttc") == 0
    assert fonts._coverage(fonts.FontFile(tmp_path / "NotoSansCJK.ttc", 0)) == frozenset()


def test_names_are_shortened_in_the_middle_and_stay_apart():
    assert shortened("short", 20) == "short"
    assert shortened("abcdefghijklmnopqrstuvwxyz", 11) == "abcde…vwxyz"
    names = ["x" * 40 + "A" + "y" * 40, "x" * 40 + "B" + "y" * 40, "z"]
    short = distinct_names(names, 30)
    assert len(set(short)) == 3
    assert "A" in short[0]
    assert max(map(len, short)) <= 31
