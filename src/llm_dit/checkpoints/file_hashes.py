"""Hashes of large files, each read once: remembered by path, size and time of change in the user's cache folder.

What is remembered is never needed: a cache that is damaged, gone or can't be written costs the reading again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llm_dit.atomic_file import write_atomically

logger = logging.getLogger(__name__)

CACHE_FORMAT = 1
MAX_REMEMBERED = 1000
MAX_CACHE_BYTES = 4 << 20
HASHING_THREADS = 4

Entry = tuple[int, int, int, str]
"""Size, time of the last change of content and of the file's own facts in nanoseconds, hash."""


def cache_file() -> Path:
    """Return where hashes are remembered."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "llm-dit" / "file_hashes.json"


def hashes_of(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of all bytes of each file, 64 hexadecimal digits."""
    remembered = _read()
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        found = list(pool.map(lambda path: _entry(path, remembered.get(str(path.resolve()))), paths))
    fresh = {str(path.resolve()): entry for path, entry in zip(paths, found, strict=True)}
    if any(remembered.get(path) != entry for path, entry in fresh.items()):
        _write({**{path: entry for path, entry in _read().items() if path not in fresh}, **fresh})
    return [entry[3] for entry in found]


def _entry(path: Path, remembered: Entry | None) -> Entry:
    """Return a file's entry, read again where it is not the one that is remembered, and while it changes."""
    while True:
        before = _facts(path)
        if remembered is not None and remembered[:3] == before:
            return remembered
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _facts(path) == before:
            return (*before, digest)


def _facts(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read() -> dict[str, Entry]:
    try:
        path = cache_file()
        if path.stat().st_size > MAX_CACHE_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RuntimeError):  # none yet, not JSON, nested too deeply, or a user without a home
        return {}
    entries = content.get("files") if isinstance(content, dict) and content.get("format") == CACHE_FORMAT else None
    if not isinstance(entries, dict):
        return {}
    return {path: (entry[0], entry[1], entry[2], entry[3]) for path, entry in entries.items() if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and [type(part) for part in entry] == [int, int, int, str]
        and len(entry[3]) == 64
        and set(entry[3]) <= set("0123456789abcdef")
    )


def _write(entries: dict[str, Entry]) -> None:
    kept = dict(list(entries.items())[-MAX_REMEMBERED:])
    try:
        path = cache_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"format": CACHE_FORMAT, "files": kept}).encode("utf-8"))
    except (OSError, RuntimeError) as error:
        logger.info("The model's hash can't be remembered and will be computed again (%s).", error)
