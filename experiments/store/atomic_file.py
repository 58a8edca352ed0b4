"""Whole-file replacement: a reader sees the old file or the new one, never a part, through crashes and power cuts."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".partial-"


def write_atomically(path: Path, data: bytes, *, before_replace: Callable[[], None] | None = None) -> None:
    """Replace `path` by `data`: a temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        path: The file; its folder exists.
        data: All its bytes.
        before_replace: Called once `data` is safely on disk and before the old file goes.

    Raises:
        OSError: If the disk is full or the folder can't be written; the old file is still there then, whole.
    """
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        if before_replace is not None:
            before_replace()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace `path` by `values` as JSON; see `write_atomically`."""
    text = json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False)
    write_atomically(path, text.encode("utf-8") + b"\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None where the file is missing, torn, or something else."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def remove_partial_files(folder: Path) -> None:
    """Delete what killed writers left behind; only for who holds the folder's lock."""
    for path in folder.glob(TEMPORARY_PREFIX + "*"):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders can't be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
