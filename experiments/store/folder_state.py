"""What summaries and reports of a folder are made from, as one hash, so that they are not made again from the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from experiments.store.json_file import read_json

MANIFEST_FILE: Final = "manifest.json"
RECORDS: Final = ("metadata", "failed")
TOLD_ANEW: Final = ("updated", "analyses")
"""Entries of the manifest that summaries and reports of the same runs do not depend on."""
STATE_DIGITS: Final = 32


def folder_state(folder: Path) -> str:
    """Return a hash of all that summaries and reports are made from, by the files' names, sizes and times.

    Times and the list of analyses in the manifest are left out, which commands write that change nothing else.
    """
    raw = read_json(folder / MANIFEST_FILE) or {}
    digest = hashlib.sha256(repr({name: raw[name] for name in raw if name not in TOLD_ANEW}).encode())
    files = [entry for name in RECORDS if (folder / name).is_dir() for entry in os.scandir(folder / name)]
    if folder.is_dir():  # votes and speeds lie beside the runs; what begins with a dot says who is at work
        found = (entry for entry in os.scandir(folder) if not entry.name.startswith("."))
        beside = (entry for entry in found if entry.name.endswith((".json", ".jsonl")))
        files += [entry for entry in beside if entry.name != MANIFEST_FILE and "_summary." not in entry.name]
    for entry in sorted(files, key=lambda entry: entry.path):
        about = entry.stat()
        told = f"{entry.name} {about.st_size} {about.st_mtime_ns}\n"
        digest.update(told.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:STATE_DIGITS]


def has_summary_of(folder: Path, state: str) -> bool:
    """Return True if both summaries are there, and were made from what is there now."""
    name = (read_json(folder / MANIFEST_FILE) or {}).get("experiment", {}).get("name")
    known = read_json(folder / f"{name}_summary.json") or {}
    return known.get("made_from") == state and (folder / f"{name}_summary.csv").is_file()
