"""PNG files with their parameters inside."""

from io import BytesIO

import pytest
from PIL import Image

from llm_dit.errors import OutputError
from llm_dit.image_io import png_bytes, read_parameters, write_png

RECORD = {
    "parameters": {
        "prompt": 'A cat, "quoted" \u2014 \u732b\nsecond line',
        "negative_prompt": "blurry",
        "num_inference_steps": 9,
        "guidance_scale": 0.0,
        "shift": 3.0,
        "seed": 2**53 - 1,
        "width": 64,
        "height": 96,
        "hidden_layer": -2,
    },
    "model_path": "/models/z-image-turbo",
    "model_fingerprint": "0123456789abcdef",
    "versions": {"llm-dit": "0.1.0"},
}


@pytest.fixture
def image():
    return Image.radial_gradient("L").convert("RGB").resize((64, 96))


def test_the_record_comes_back_to_the_letter(tmp_path, image):
    path = tmp_path / "deep" / "cat.png"
    write_png(path, image, RECORD)
    assert read_parameters(path) == RECORD
    with Image.open(path) as written:
        assert written.tobytes() == image.tobytes()


def test_other_tools_find_their_parameters_text(image):
    text = Image.open(BytesIO(png_bytes(image, RECORD))).info["parameters"]
    assert text.startswith('A cat, "quoted" \u2014 \u732b\nsecond line\nNegative prompt: blurry\nSteps: 9, Shift: 3.0,')
    assert "CFG scale: 1.0, Seed:" in text, "off is 1 where others count, and 0 here"
    assert "Seed: 9007199254740991, Hidden layer: -2, Sampler: Euler, Schedule type: Simple, Size: 64x96" in text
    assert "Model: z-image-turbo, Model hash: 0123456789, Version: llm-dit 0.1.0" in text


def test_nothing_is_left_behind_where_writing_fails(tmp_path, image, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left on device"):
        write_png(tmp_path / "cat.png", image, RECORD)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_image_survives_a_failed_write(tmp_path, image, monkeypatch):
    path = tmp_path / "cat.png"
    write_png(path, image, RECORD)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError):
        write_png(path, image.rotate(90), RECORD)
    assert path.read_bytes() == before


def test_images_of_other_tools_are_refused(tmp_path, image):
    image.save(tmp_path / "plain.png")
    with pytest.raises(OutputError, match="carries no llm-dit parameters"):
        read_parameters(tmp_path / "plain.png")


def test_files_that_are_no_png_are_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(b"not a picture")
    with pytest.raises(OutputError, match="is not a PNG that can be read"):
        read_parameters(tmp_path / "x.png")
    with pytest.raises(OutputError, match="is not a PNG that can be read"):
        read_parameters(tmp_path / "missing.png")
