"""The one way of writing a file whole: a reader sees the old file or the new one, never a part, through power cuts."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TEMPORARY_PREFIX = ".partial-"


def write_atomically(path: Path, data: bytes, *, before_replace: Callable[[], None] | None = None) -> None:
    """Replace `path` by `data`: a temporary file beside it, fsync, rename, fsync of the folder.

    Args:
        path: The file; its folder exists. A device or pipe is written, never replaced.
        data: All its bytes.
        before_replace: Called once `data` is safely on disk and before the old file goes.

    Raises:
        OSError: If the disk is full or the folder can't be written; the old file is still there then, whole.
    """
    if path.exists() and not path.is_file():  # a folder raises
        path.write_bytes(data)
        return
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
    sync_folder(path.parent)


def remove_partial_files(folder: Path, *, older_than_s: float = 0.0) -> None:
    """Delete what killed writers left behind.

    Args:
        folder: A folder that nobody else writes, or
        older_than_s: one where files younger than this may be under way.
    """
    for path in folder.glob(TEMPORARY_PREFIX + "*"):
        if not older_than_s or time.time() - path.stat().st_mtime > older_than_s:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, as far as the system lets one."""
    if os.name == "nt":  # folders can't be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
