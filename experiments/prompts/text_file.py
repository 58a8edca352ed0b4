"""Text files as people have them: UTF-8 with or without a mark in front, or UTF-16; lines ended in any usual way."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from llm_dit.errors import ConfigError

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LINE_END = re.compile(r"\r\n|\n|\r")
"""Python's `splitlines` also divides at form feeds and at U+2028, which stand within prompts copied from the web."""


def read_text(path: Path, option: str) -> str:
    """Return a text file's content without its byte order mark.

    Args:
        path: The file.
        option: The command line's name of it.

    Raises:
        ConfigError: If it is not there, can't be read, or is neither UTF-8 nor UTF-16.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{option} {path} does not exist.") from None
    except OSError as error:
        raise ConfigError(f"{option} {path} can't be read: {error.strerror}.") from None
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{option} {path} is not a text in UTF-8 or UTF-16 (byte {error.start}: {error.reason}); save it as UTF-8."
        ) from None


def lines_of(text: str) -> list[str]:
    """Divide a text at real line ends only."""
    return LINE_END.split(text)


def _encoding(content: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    if content[:2].count(0) == 1:  # no text has a NUL in it, but half of UTF-16's bytes may be one
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8"
