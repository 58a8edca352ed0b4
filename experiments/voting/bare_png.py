"""A PNG file without what it tells of itself: our pictures carry their settings, which a voter must not see."""

from __future__ import annotations

import struct
from typing import Final

from llm_dit.errors import OutputError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS: Final = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"iCCP"))
"""Chunks that pixels and their colours need; everything else is left out, whatever it is.

Source: PNG specification, third edition, section 11.
"""


def without_metadata(png: bytes) -> bytes:
    """Return the same picture, byte for byte the same pixels, without texts, times and whatever else a file may hold.

    Raises:
        OutputError: If it is no whole PNG file.
    """
    if not png.startswith(SIGNATURE):
        raise OutputError("A picture of this pair is not a PNG file.")
    parts, position = [SIGNATURE], len(SIGNATURE)
    while position + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        end = position + 12 + length
        if end > len(png):
            break
        if kind in PIXEL_CHUNKS:
            parts.append(png[position:end])
        if kind == b"IEND":
            return b"".join(parts)
        position = end
    raise OutputError("A picture of this pair is cut off.")
