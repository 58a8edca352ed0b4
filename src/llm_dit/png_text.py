"""The texts of a PNG file, read chunk by chunk: no pixel is decoded, and a hostile file costs a known amount.

Source: PNG specification, third edition, sections 5.3 and 11.3.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from typing import IO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 100_000
MAX_TEXT_BYTES = 16 << 20
"""Of one text, packed and unpacked."""


class DamagedPng(ValueError):
    """A file is not a PNG, is cut off, or has a text that is damaged or too large; says what."""


def read_text(file: IO[bytes], keyword: str) -> str | None:
    """Return the first text of a keyword in a PNG file; None where there is none.

    Args:
        file: Positioned at its beginning; seekable.
        keyword: ASCII, at most 79 characters.

    Raises:
        DamagedPng: If the file can't be read up to that text.
    """
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise DamagedPng("it does not begin as a PNG does")
    wanted = keyword.encode("ascii") + b"\0"
    for _ in range(MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            raise DamagedPng("it is cut off")
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IEND":
            return None
        if kind in (b"iTXt", b"tEXt", b"zTXt"):
            beginning = file.read(min(length, len(wanted)))
            if beginning == wanted:
                return _unpacked(kind, _rest(file, kind, beginning, length))
            length -= len(beginning)
        file.seek(length + 4, 1)
    raise DamagedPng(f"it has more than {MAX_CHUNKS:,} chunks")


def read_texts(file: IO[bytes], keywords: Collection[str]) -> dict[str, str]:
    """Return the first text of each keyword that a PNG file holds; see `read_text`.

    Args:
        file: See `read_text`.
        keywords: See `read_text`.

    Raises:
        DamagedPng: See `read_text`.
    """
    texts: dict[str, str] = {}
    for keyword in keywords:
        file.seek(0)
        text = read_text(file, keyword)
        if text is not None:
            texts[keyword] = text
    return texts


def _rest(file: IO[bytes], kind: bytes, beginning: bytes, length: int) -> bytes:
    """Return the content of a text chunk after its keyword, its checksum compared."""
    if length > MAX_TEXT_BYTES:
        raise DamagedPng(f"its text is larger than {MAX_TEXT_BYTES >> 20} MiB")
    rest = file.read(length - len(beginning))
    checksum = file.read(4)
    if len(rest) < length - len(beginning) or len(checksum) < 4:
        raise DamagedPng("it is cut off")
    if zlib.crc32(kind + beginning + rest) != int.from_bytes(checksum, "big"):
        raise DamagedPng("the checksum of its text is wrong")
    return rest


def _unpacked(kind: bytes, content: bytes) -> str:
    """Return the text of a chunk's content after the keyword."""
    is_packed, encoding = kind == b"zTXt", "latin-1"
    if is_packed:
        content = content[1:]
    if kind == b"iTXt":
        is_packed, encoding = content[:1] == b"\1", "utf-8"
        language_and_text = content[2:].split(b"\0", 2)
        if len(language_and_text) < 3:
            raise DamagedPng("its text is damaged")
        content = language_and_text[2]
    if is_packed:
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(content, MAX_TEXT_BYTES)
        except zlib.error:
            raise DamagedPng("its text is damaged") from None
        if unpacker.unconsumed_tail:
            raise DamagedPng(f"its text is larger than {MAX_TEXT_BYTES >> 20} MiB")
        if not unpacker.eof:
            raise DamagedPng("its text is damaged")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise DamagedPng("its text is damaged") from None
