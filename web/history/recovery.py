"""Rows made again from the pictures themselves, where the database is lost or damaged, and their stars from a list."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path

from llm_dit.atomic_file import write_atomically
from llm_dit.errors import LlmDitError
from web.history.entry import Entry
from web.history.thumbnail import thumbnail_bytes

STARS_FILE = "starred.txt"
"""A line for each starred picture, beside the database: pictures don't carry what one thinks of them."""


def write_stars(folder: Path, entry_ids: Iterable[str]) -> None:
    """Write down which pictures are starred, for a time when the database is lost."""
    write_atomically(folder / STARS_FILE, "".join(f"{entry_id}\n" for entry_id in entry_ids).encode("ascii"))


def read_stars(folder: Path) -> frozenset[str]:
    """Return which pictures were starred last."""
    path = folder / STARS_FILE
    return frozenset(path.read_text("ascii", "replace").split()) if path.is_file() else frozenset()


def lost_entries(images: Path, known: Container[str]) -> list[Entry]:
    """Return an entry for each picture of ours that carries its record and is not known, oldest first.

    Args:
        images: Folder of the PNGs, each named by its id.
        known: Ids that have a row.
    """
    paths = [path for path in images.glob("*.png") if path.stem not in known and path.is_file()]
    paths = [path for path in paths if re.fullmatch("[0-9a-f]{32}", path.stem)]
    found = (entry_of_picture(path) for path in sorted(paths, key=lambda path: (path.stat().st_mtime, path.name)))
    return [entry for entry in found if entry is not None]


def entry_of_picture(path: Path) -> Entry | None:
    """Return the entry of a picture; None if there is none, or it carries no record of ours that can be read."""
    from llm_dit.image_io import read_record
    from llm_dit.parameters import GenerationParams

    if not path.is_file():
        return None
    try:
        record = read_record(path)
        params = GenerationParams.parse(record.get("parameters") or {}).model_dump()
    except LlmDitError:
        return None
    return Entry(path.stem, "done", path.stat().st_mtime, params, record, None)


def restore_thumbnails(folder: Path, entry_ids: Iterable[str]) -> None:
    """Make the thumbnails that are missing; a picture that can't be decoded gets none."""
    from PIL import Image

    for entry_id in entry_ids:
        path = folder / "thumbnails" / f"{entry_id}.webp"
        if path.exists():
            continue
        try:
            with Image.open(folder / "images" / f"{entry_id}.png") as image:
                write_atomically(path, thumbnail_bytes(image))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
