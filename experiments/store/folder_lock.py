"""One writer per results folder, known by name to everybody else.

The operating system drops the lock with its process, so a killed runner never leaves a folder closed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.store.json_file import read_json, write_json
from llm_dit.errors import OutputError, unwritable

LOCK_FILE = ".lock"
HOLDER_FILE = ".holder.json"
MANIFEST_LOCK_FILE = ".manifest.lock"
PATIENCE_S = 1.0
"""Longer than `holder_of` holds a lock to find out whether somebody else does."""
MANIFEST_PATIENCE_S = 10.0
"""Much longer than a manifest takes to write."""


@contextmanager
def locked(folder: Path, **details: Any) -> Iterator[None]:
    """Hold a folder against other writers.

    Args:
        folder: The results folder; it exists.
        **details: What the holder says about itself, such as `command`.

    Raises:
        OutputError: If another process holds it (the message says which), or nothing can be written there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        raise OutputError(
            f"{folder} is in use by {_described(holder_values(folder))}; wait for it or end it."
        ) from None
    except OSError as error:
        raise unwritable(f"{folder} can't be written", error) from None
    holder = folder / HOLDER_FILE
    try:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "started": started, **details})
        except OSError as error:
            raise unwritable(f"{folder} can't be written", error) from None
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def manifest_locked(folder: Path) -> Iterator[None]:
    """Hold the manifest alone, for the moment of reading and replacing it; the folder's writer may be another.

    Raises:
        OutputError: If nothing can be written there, or another process holds it for long.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / MANIFEST_LOCK_FILE)
    try:
        lock.acquire(timeout=MANIFEST_PATIENCE_S)
    except Timeout:
        raise OutputError(f"{folder}: another process holds the manifest; try again.") from None
    except OSError as error:
        raise unwritable(f"{folder} can't be written", error, field="output_dir") from None
    try:
        yield
    finally:
        lock.release()


def holder_of(folder: Path) -> dict[str, Any] | None:
    """Return what the process that works in `folder` says about itself; None if no process holds it."""
    from filelock import FileLock, Timeout

    if not (folder / HOLDER_FILE).exists():
        return None
    try:
        with FileLock(folder / LOCK_FILE).acquire(timeout=0):
            return None
    except Timeout:
        return holder_values(folder)
    except OSError:  # a folder that can't even be locked is nobody's
        return None


def holder_values(folder: Path) -> dict[str, Any]:
    """Return the holder file's content; empty where it is not there yet."""
    return read_json(folder / HOLDER_FILE) or {}


def _described(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('started')}"
