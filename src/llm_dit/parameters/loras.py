"""LoRAs as a parameter: `FILE[:STRENGTH]`, several after commas; a record adds the hash of each file, `#HASH`.

A file's name that holds a comma, begins with a quote, or ends like a strength or a hash stands in quotes:
`"ink, fine.safetensors":0.8`, or single quotes where double ones are hard to type; `""` is a quote in double ones.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

SEPARATOR = ", "
MAX_STRENGTH = 10.0
PART = re.compile(r"""\s*((?:"(?:[^"]|"")*"|'[^']*')?[^,]*)""")
"""One entry up to the comma after it."""
ENTRY = re.compile(
    r"""(?:"(?P<double>(?:[^"]|"")+)"|'(?P<single>[^']+)'|(?P<bare>[^"'].*?))"""
    r"(?::(?P<strength>[-+]?[\d.]+(?:e[-+]?\d+)?))?(?:#(?P<hash>[0-9a-f]{16}))?",
    re.DOTALL,
)


class LoraEntry(NamedTuple):
    """One LoRA of an image.

    Attributes:
        file: Its file.
        strength: What its change is multiplied by.
        hash: First 16 digits of the file's hash; empty where nobody has looked yet.
    """

    file: str
    strength: float
    hash: str = ""

    def text(self) -> str:
        """Return the entry as it is read."""
        return f"{quoted_file(self.file)}:{self.strength:g}" + (f"#{self.hash}" if self.hash else "")


def lora_entries(text: str) -> list[LoraEntry]:
    """Take a value of `loras` apart, which has been validated before."""
    entries = []
    for part in _parts(text):
        match = ENTRY.fullmatch(part)
        assert match is not None, part
        entries.append(LoraEntry(_file_in(match), float(match["strength"] or 1.0), match["hash"] or ""))
    return entries


def loras_text(entries: list[LoraEntry]) -> str:
    """Return entries as one value of `loras`."""
    return SEPARATOR.join(entry.text() for entry in entries)


def quoted_file(file: str) -> str:
    """Return a file's name as an entry begins with it: in quotes where it would be read otherwise."""
    match = ENTRY.fullmatch(file)
    is_plain = match is not None and match["bare"] == file and "," not in file and file == file.strip()
    return file if is_plain else '"' + file.replace('"', '""') + '"'


def _parts(text: str) -> list[str]:
    """Cut a text at the commas outside of quotes; empty for an empty text."""
    parts, position = [], 0
    while text.strip() and position <= len(text):
        match = PART.match(text, position)
        assert match is not None  # it matches nothing at least
        parts.append(match[1].strip())
        position = match.end() + 1
    return parts


def _file_in(match: re.Match[str]) -> str:
    if match["double"]:
        return match["double"].replace('""', '"')
    return match["single"] or match["bare"]


def _joined(value: Any) -> Any:
    """Take a list of entries for the text that they make."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return value
    return SEPARATOR.join(item.strip() for item in value if item.strip())


def _valid(value: str) -> str:
    parts = _parts(value)
    for part in parts:
        match = ENTRY.fullmatch(part)
        if match is None and part[:1] in ('"', "'"):
            raise PydanticCustomError(
                "text", f'has a quote without its other half in {part}; write "FILE"[:STRENGTH], "" for a quote in it'
            )
        if match is None:
            raise PydanticCustomError("text", "has an empty entry; write FILE[:STRENGTH], more after commas")
        try:
            strength = float(match["strength"] or 1.0)
        except ValueError:
            strength = math.nan
        if not abs(strength) <= MAX_STRENGTH:
            raise PydanticCustomError(
                "text", f"has strength {match['strength']} in {part}; use -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}"
            )
    return SEPARATOR.join(parts)


LoraList = Annotated[str, BeforeValidator(_joined), AfterValidator(_valid)]
