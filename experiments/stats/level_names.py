"""A level's name in a sentence."""

from __future__ import annotations

MOST_NAME_CHARACTERS = 40


def quoted(level: str) -> str:
    """Return a level's name for a sentence: numbers as they are, text in quotation marks and not too long."""
    shown = level
    if len(level) > MOST_NAME_CHARACTERS:  # in the middle: names of one experiment often differ at their end only
        half = MOST_NAME_CHARACTERS // 2
        shown = f"{level[: half - 1].rstrip()}…{level[-half:].lstrip()}"
    try:
        for part in level.split(" x "):
            float(part)
    except ValueError:
        return f"“{shown}”"
    return shown
