"""The texts in a PNG, JPEG or WebP file that other tools write, under the names that they use in a PNG.

In JPEG and WebP they stand in EXIF: A1111's and SwarmUI's in the user comment, ComfyUI's in other tags with their names
before them (`prompt:{...}`). Only headers are read; sizes are bounded.

Source: TIFF 6.0 section 2; EXIF 2.32 section 4.6.5 (UserComment); WebP container specification.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import IO

from llm_dit.png_text import MAX_TEXT_BYTES, SIGNATURE, read_texts

KEYWORDS = ("parameters", "prompt", "workflow", "invokeai_metadata")
NAMED = re.compile(rf"({'|'.join(KEYWORDS)}):", re.IGNORECASE)
EXIF_MARK = b"Exif\0\0"
EXIF_FOLDER = 0x8769
USER_COMMENT = 0x9286
TEXT_TAGS = (0x010E, 0x010F, 0x0110, USER_COMMENT)
"""Description, make, model, user comment."""
SIZES = {1: 1, 2: 1, 7: 1}
"""Bytes of a value of the types BYTE, ASCII and UNDEFINED."""
MAX_ENTRIES = 512
MAX_SEGMENTS = 10_000


class DamagedPicture(ValueError):
    """A file is no PNG, JPEG or WebP, or is cut off; says what."""


def picture_texts(file: IO[bytes]) -> dict[str, str]:
    """Return the texts of a picture by keyword.

    Args:
        file: Positioned at its beginning; seekable.

    Raises:
        ValueError: If it is no such picture, or is damaged or too large.
    """
    beginning = file.read(12)
    file.seek(0)
    if beginning.startswith(SIGNATURE):
        return read_texts(file, KEYWORDS)
    if beginning.startswith(b"\xff\xd8"):
        return _from_exif(_jpeg_exif(file))
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return _from_exif(_webp_exif(file))
    raise DamagedPicture("it does not begin as a PNG, JPEG or WebP does")


def _jpeg_exif(file: IO[bytes]) -> bytes:
    file.seek(2)
    for _ in range(MAX_SEGMENTS):
        header = file.read(4)
        if len(header) < 4 or header[0] != 0xFF:
            raise DamagedPicture("it is cut off")
        if header[1] in (0xDA, 0xD9):  # the picture itself begins, or the file ends
            return b""
        content = file.read(int.from_bytes(header[2:], "big") - 2)
        if header[1] == 0xE1 and content.startswith(EXIF_MARK):
            return content.removeprefix(EXIF_MARK)
    raise DamagedPicture(f"it has more than {MAX_SEGMENTS:,} segments")


def _webp_exif(file: IO[bytes]) -> bytes:
    file.seek(12)
    for _ in range(MAX_SEGMENTS):
        header = file.read(8)
        if len(header) < 8:
            return b""
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"EXIF":
            if length > MAX_TEXT_BYTES:
                raise DamagedPicture(f"its text is larger than {MAX_TEXT_BYTES >> 20} MiB")
            return file.read(length).removeprefix(EXIF_MARK)
        file.seek(length + length % 2, 1)
    raise DamagedPicture(f"it has more than {MAX_SEGMENTS:,} chunks")


def _from_exif(exif: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    for tag, value in _entries(exif) if exif else ():
        text = (_comment(value, exif[:2]) if tag == USER_COMMENT else value.decode("utf-8", "replace")).strip("\0")
        named = NAMED.match(text)
        if named:
            texts.setdefault(named[1].lower(), text[named.end() :])
        elif text.strip():
            texts["parameters"] = text  # the user comment comes last
    return texts


def _entries(exif: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the text tags of the first folder, then of the EXIF folder in it."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        raise DamagedPicture("its EXIF is damaged")
    try:
        folders = [struct.unpack_from(f"{order}I", exif, 4)[0]]
        for place in range(2):
            if place >= len(folders):
                return
            (count,) = struct.unpack_from(f"{order}H", exif, folders[place])
            for index in range(min(count, MAX_ENTRIES)):
                entry = folders[place] + 2 + 12 * index
                tag, kind, length, offset = struct.unpack_from(f"{order}HHII", exif, entry)
                if tag == EXIF_FOLDER and place == 0:
                    folders.append(offset)
                elif tag in TEXT_TAGS and kind in SIZES:
                    start = entry + 8 if length <= 4 else offset
                    yield tag, exif[start : start + length]
    except struct.error:
        raise DamagedPicture("its EXIF is damaged") from None


def _comment(value: bytes, order: bytes) -> str:
    """Read a user comment: eight bytes say how its characters are written."""
    code, content = value[:8], value[8:]
    if code.startswith(b"UNICODE"):
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16", "replace")
        zeros = content[0::2].count(0), content[1::2].count(0)
        is_big = zeros[0] > zeros[1] if zeros[0] != zeros[1] else order == b"MM"
        return content.decode("utf-16-be" if is_big else "utf-16-le", "replace")
    if code.startswith((b"ASCII", b"\0\0\0\0")):
        return content.decode("utf-8", "replace")
    return value.decode("utf-8", "replace")
