"""LoRAs as a parameter: `FILE[:STRENGTH]`, several after commas; a record adds the hash of each file, `#HASH`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

SEPARATOR = ", "
MAX_STRENGTH = 10.0
ENTRY = re.compile(r"(?P<file>.+?)(:(?P<strength>[-+]?[\d.]+(e[-+]?\d+)?))?(#(?P<hash>[0-9a-f]{16}))?")


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
        return f"{self.file}:{self.strength:g}" + (f"#{self.hash}" if self.hash else "")


def lora_entries(text: str) -> list[LoraEntry]:
    """Take a value of `loras` apart, which has been validated before."""
    entries = []
    for part in text.split(SEPARATOR) if text else []:
        match = ENTRY.fullmatch(part)
        assert match is not None, part
        entries.append(LoraEntry(match["file"], float(match["strength"] or 1.0), match["hash"] or ""))
    return entries


def loras_text(entries: list[LoraEntry]) -> str:
    """Return entries as one value of `loras`."""
    return SEPARATOR.join(entry.text() for entry in entries)


def _joined(value: Any) -> Any:
    """Take a list of entries for the text that they make."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return value
    return SEPARATOR.join(item.strip() for item in value if item.strip())


def _valid(value: str) -> str:
    parts = [part.strip() for part in value.split(",")] if value.strip() else []
    for part in parts:
        match = ENTRY.fullmatch(part)
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
