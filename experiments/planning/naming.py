"""Names of levels and of runs' files: readable, short, and different for different things."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

MAX_FILE_STEM = 200
"""Longest run id in characters; file systems allow 255 bytes with suffix and temporary name."""


def level_name(value: Any) -> str:
    """Name the level of one value: short, on one line, and different for different values."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if not value:
        return "empty"
    if value in ("none", "empty", "true", "false"):
        return f"'{value}'"
    line = " ".join(value.split())
    if line == value and len(value) <= 60 and value.isprintable():
        return value
    readable = "".join(character for character in line if character.isprintable())
    return f"{readable[:40].strip()}… {_short_hash(value, 6)}"


def path_level_names(paths: Sequence[str | None]) -> list[str]:
    """Name the levels of files and folders: by their own names, with as many folders before as tell them apart."""
    parts = [() if path is None else PurePath(path).parts for path in paths]
    depths = [1] * len(paths)
    while True:
        names = ["/".join(part[-depth:]) or "none" for part, depth in zip(parts, depths, strict=True)]
        counts = Counter(names)
        unclear = [index for index, name in enumerate(names) if counts[name] > 1 and depths[index] < len(parts[index])]
        if not unclear:
            return [level_name(None if path is None else name) for path, name in zip(paths, names, strict=True)]
        for index in unclear:
            depths[index] += 1


def safe_name(text: str) -> str:
    """Return a part of a file name for any text: lower-case ASCII, no separators, different for different texts."""
    if re.fullmatch(r"-?[a-z0-9][a-z0-9._-]{0,39}", text) and not text.endswith("."):
        return text
    folded = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:24].strip("-")
    return "-".join(part for part in (words, _short_hash(text, 8)) if part)


def run_id(experiment: str, prompt_id: str, levels: Mapping[str, str], seed: int) -> str:
    """Return the stem of a run's files, such as `shift_sweep_animal_001_shift_3.0_seed42`."""
    parts = [experiment if len(experiment) <= 64 else safe_name(experiment), safe_name(prompt_id)]
    parts += [f"{safe_name(axis)}_{safe_name(level)}" for axis, level in levels.items()]
    stem, ending = "_".join(parts), f"_seed{seed}"
    if len(stem) + len(ending) > MAX_FILE_STEM:
        stem = f"{stem[: MAX_FILE_STEM - 40]}-{_short_hash(stem, 16)}"
    return stem + ending


def _short_hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
