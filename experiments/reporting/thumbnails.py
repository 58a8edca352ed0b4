"""Small pictures for the report, made once: `thumbnails/<run_id>.webp` beside `images/`."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.store.verification import hash_problem
from llm_dit.atomic_file import remove_partial_files, write_atomically
from llm_dit.errors import unwritable

if TYPE_CHECKING:
    from experiments.store.records import RunRecord

THUMBNAILS_FOLDER = "thumbnails"
THUMBNAIL_PIXELS = 256
"""Longest side of a thumbnail, sharp at the grid's largest size on an ordinary screen."""
LEFT_BEHIND_S = 3600.0
"""A partial thumbnail of this age is that of a process that was killed; two processes may write reports at a time."""
BUNDLED_PIXELS = 768
MOST_SECONDS = 4.0
"""So long a report waits for its thumbnails; whole pictures take the place of those that are left."""
PICTURE_ERRORS = (OSError, SyntaxError, ValueError)
"""What Pillow raises for a damaged picture; its own kind of error is an OSError."""
BUNDLED_IN_FULL = 300
"""A bundle of more pictures holds thumbnails only, so that a browser can still open it."""


@dataclass(frozen=True)
class Thumbnails:
    """What came of making thumbnails.

    Attributes:
        problems: Run id to the reason for pictures that can't be read.
        left: Pictures that nobody has looked at, since the time was up.
    """

    problems: Mapping[str, str]
    left: int

    @property
    def sentence(self) -> str:
        """Say what the page shows in place of those that are left."""
        return (
            f"{self.left:,} pictures have not been looked at for damage and have no thumbnail yet: the page shows the "
            "whole picture in its place. The next report goes on with them."
        )


def make_thumbnails(folder: Path, records: Sequence[RunRecord], most_seconds: float = MOST_SECONDS) -> Thumbnails:
    """Make the thumbnails that are missing or older than their picture, those without one first.

    Args:
        folder: The results folder.
        records: Runs; those without a picture are passed over.
        most_seconds: When to stop.

    Raises:
        OutputError: If the folder can't be written.
    """
    target = folder / THUMBNAILS_FOLDER
    try:
        target.mkdir(exist_ok=True)
        remove_partial_files(target, older_than_s=LEFT_BEHIND_S)
        existing = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(target)}
    except OSError as error:
        raise unwritable(f"{target} can't be made", error) from None

    ends = time.monotonic() + most_seconds
    left: list[str] = []

    def make(record: RunRecord) -> str | None:
        assert record.image_path is not None
        name = f"{record.run_id}.webp"
        if time.monotonic() > ends:  # one with a thumbnail was looked at when that was made
            if existing.get(name, -1) < record.image_path.stat().st_mtime_ns:
                left.append(record.run_id)
            return None
        problem = hash_problem(record)
        if problem is not None:
            (target / name).unlink(missing_ok=True)
            return f"{record.run_id}: {problem}"
        if existing.get(name, -1) >= record.image_path.stat().st_mtime_ns:
            return None
        return _write_thumbnail(record.image_path, target / name)

    pictured = [record for record in records if record.image_path is not None]
    pictured.sort(key=lambda record: f"{record.run_id}.webp" in existing)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        problems = pool.map(make, pictured)
    found = {record.run_id: problem for record, problem in zip(pictured, problems, strict=True) if problem}
    return Thumbnails(found, len(left))


def data_uris(folder: Path, records: Sequence[RunRecord]) -> list[str | None]:
    """Return each run's picture as a data URI, None where there is none; thumbnails beyond 300 pictures."""
    in_full = sum(record.image_path is not None for record in records) <= BUNDLED_IN_FULL

    def encode(record: RunRecord) -> str | None:
        if record.image_path is None:
            return None
        thumbnail = folder / THUMBNAILS_FOLDER / f"{record.run_id}.webp"
        if not thumbnail.exists():
            return None
        try:
            data = _webp(record.image_path, BUNDLED_PIXELS) if in_full else thumbnail.read_bytes()
        except PICTURE_ERRORS:  # `make_thumbnails` names it, unless it was damaged since
            return None
        return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(encode, records))


def _write_thumbnail(picture: Path, thumbnail: Path) -> str | None:
    """Write a thumbnail whole; return why it could not be read."""
    try:
        data = _webp(picture, THUMBNAIL_PIXELS)
    except PICTURE_ERRORS as error:
        return f"{picture.name} can't be read: {error}"
    try:
        write_atomically(thumbnail, data)
    except OSError as error:
        raise unwritable(f"{thumbnail} can't be written", error) from None
    return None


def _webp(picture: Path, pixels: int) -> bytes:
    from PIL import Image

    with Image.open(picture) as image:
        small = image.convert("RGB")
    small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "webp", quality=85, method=2)
    return file.getvalue()
