"""JSON objects in files, replaced whole and read whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_dit.atomic_file import write_atomically

MOST_AT_ONCE = 2**16
"""Bytes; a record has a few thousand."""


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace `path` by `values` as JSON; see `write_atomically`.

    What is no Unicode, such as a folder's name in other bytes, is written as its escape.
    """
    text = json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False)
    write_atomically(path, text.encode("utf-8", "backslashreplace") + b"\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None where the file is missing, torn, or something else."""
    try:
        values = json.loads(_content(path))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _content(path: Path) -> bytes:
    """Return a file's bytes by the fewest calls of the system; `Path.open` takes twice as long."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        parts = []
        while part := os.read(file, MOST_AT_ONCE):
            parts.append(part)
    finally:
        os.close(file)
    return b"".join(parts)
