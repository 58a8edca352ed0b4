"""PNG files with their parameters inside."""

import json
import random
import struct
import time
import zlib
from io import BytesIO

import pytest
from PIL import Image

from llm_dit.errors import OutputError
from llm_dit.image_io import RECORD_CHUNK, png_bytes, read_parameters, record_of, write_png

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
    with pytest.raises(OutputError, match="can't be read as a picture"):
        read_parameters(tmp_path / "x.png")
    with pytest.raises(OutputError, match="can't be read as a picture"):
        read_parameters(tmp_path / "missing.png")


def chunk(kind, content, checksum=None):
    crc = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png_with(*chunks, size=(64, 96)):
    """A PNG of these chunks and no pixels."""
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")))


def record_chunk(text, *, is_packed=True):
    content = zlib.compress(text) if is_packed else text
    return chunk(b"iTXt", RECORD_CHUNK.encode() + b"\0" + bytes([is_packed, 0]) + b"\0\0" + content)


@pytest.mark.parametrize("characters", [1_000, 400_000])
def test_the_longest_record_is_read_back_by_us_and_by_pillow(image, characters):
    parameters = {**RECORD["parameters"], "prompt": "\u732b" * characters, "system_prompt": "\u72ac" * characters}
    record = {**RECORD, "parameters": parameters}
    content = png_bytes(image, record)
    assert read_parameters(BytesIO(content)) == record
    with Image.open(BytesIO(content)) as picture:
        picture.load()
        assert record_of(picture) == record


def test_large_records_that_were_packed_are_read_though_pillow_refuses_them():
    record = {"parameters": {"prompt": "\u732b" * 500_000}}
    packed = png_with(record_chunk(json.dumps(record, ensure_ascii=False).encode()))
    assert read_parameters(BytesIO(packed)) == record


def test_no_pixel_is_decoded():
    huge = png_with(record_chunk(json.dumps(RECORD).encode()), chunk(b"IDAT", b"no pixels"), size=(60_000, 60_000))
    started = time.process_time()
    assert read_parameters(BytesIO(huge)) == RECORD
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (png_with(record_chunk(b"[" * 100_000)), "damaged llm-dit parameters"),
        (png_with(record_chunk(b'{"seed": ' + b"9" * 5_000 + b"}")), "damaged llm-dit parameters"),
        (png_with(record_chunk(b'{"seed": NaN}')), "damaged llm-dit parameters"),
        (png_with(record_chunk(b'{"seed": 1e999}')), "damaged llm-dit parameters"),
        (png_with(record_chunk(b'{"prompt": "\\ud800"}')), "damaged llm-dit parameters"),
        (png_with(record_chunk(b"[1]")), "damaged llm-dit parameters"),
        (png_with(record_chunk(b" " * (17 << 20))), "larger than 16 MiB"),
        (png_with(record_chunk(b" " * (17 << 20), is_packed=False)), "larger than 16 MiB"),
        (png_with(record_chunk(b"{}\xff", is_packed=False)), "its text is damaged"),
        (png_with(chunk(b"iTXt", RECORD_CHUNK.encode() + b"\0\1\0\0\0no zlib")), "its text is damaged"),
        (png_with(chunk(b"iTXt", RECORD_CHUNK.encode() + b"\0\1\0")), "its text is damaged"),
        (
            png_with(chunk(b"iTXt", RECORD_CHUNK.encode() + b"\0\0\0\0\0{}", checksum=1)),
            "checksum of its text is wrong",
        ),
        (png_with(record_chunk(b"{}"))[:-20], "is cut off"),
        (png_with(*[chunk(b"tEXt", b"")] * 100_001), "more than 100,000 chunks"),
        (png_with(), "carries no llm-dit parameters"),
    ],
    ids=range(15),
)
def test_hostile_files_are_one_sentence(content, problem):
    with pytest.raises(OutputError, match=problem) as caught:
        read_parameters(BytesIO(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_a_record_that_another_program_stored_again_is_read(kind):
    text = json.dumps(RECORD).encode()
    content = text if kind == b"tEXt" else b"\0" + zlib.compress(text)
    assert read_parameters(BytesIO(png_with(chunk(kind, RECORD_CHUNK.encode() + b"\0" + content)))) == RECORD


def test_6000_mutated_files_are_a_record_or_one_sentence(image):
    draw = random.Random(13)
    seeds = (
        png_bytes(image.resize((8, 8)), RECORD),
        png_with(record_chunk(json.dumps(RECORD).encode(), is_packed=False)),
        png_with(chunk(b"zTXt", RECORD_CHUNK.encode() + b"\0\0" + zlib.compress(json.dumps(RECORD).encode()))),
    )
    outcomes = {"record": 0, "sentence": 0}
    for _ in range(6_000):
        content = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 2, 8))):
            place = draw.randrange(len(content))
            match draw.randrange(5):
                case 0:
                    content[place] ^= 1 << draw.randrange(8)
                case 1:
                    content[place : place + draw.randrange(1, 9)] = draw.randbytes(draw.randrange(9))
                case 2:
                    del content[place : place + draw.randrange(1, 40)]
                case 3:
                    content[place:place] = content[place : place + draw.randrange(40)]
                case _:
                    content[place : place + 4] = draw.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"iTXt"))
            content = content or bytearray(1)
        try:
            outcomes["record"] += isinstance(read_parameters(BytesIO(bytes(content))), dict)
        except OutputError:
            outcomes["sentence"] += 1
    assert sum(outcomes.values()) == 6_000
    assert min(outcomes.values()) > 500, outcomes


def test_a_picture_names_files_without_their_folders(tmp_path):
    loras = "/home/ann/style.safetensors:0.8#0123456789abcdef, /x/b.safetensors:1"
    record = RECORD | {
        "parameters": RECORD["parameters"] | {"loras": loras},
        "loras": [{"file": "/home/ann/style.safetensors", "strength": 0.8}],
        "model_parts": {"vae": {"path": "/home/ann/ae.safetensors", "layout": "LDM"}},
    }
    write_png(tmp_path / "a.png", Image.new("RGB", (8, 8)), record)
    told = read_parameters(tmp_path / "a.png")
    assert told["parameters"]["loras"] == "style.safetensors:0.8#0123456789abcdef, b.safetensors:1"
    assert told["loras"] == [{"file": "style.safetensors", "strength": 0.8}]
    assert told["model_parts"] == {"vae": {"path": "ae.safetensors", "layout": "LDM"}}
    assert "/home" not in png_text(tmp_path / "a.png")
    assert record["loras"][0]["file"] == "/home/ann/style.safetensors"


def png_text(path):
    """Every text of a PNG, as Pillow reads it."""
    with Image.open(path) as image:
        return " ".join(str(value) for value in image.info.values())
