"""Whether a picture is the one that was written: by its size, which costs nothing, or by its hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from experiments.store.records import DamagedRecord, RunRecord


def size_problem(record: RunRecord) -> str | None:
    """Return why a finished run's picture is not there in the size that was written; None if it is."""
    assert record.image_path is not None
    try:
        size = record.image_path.stat().st_size
    except OSError:
        return "its picture is missing"
    return None if size == record.metadata["image"]["bytes"] else "its picture has another size than was written"


def hash_problem(record: RunRecord) -> str | None:
    """Return why a finished run's picture does not have the hash that was written; None if it has, or none was."""
    assert record.image_path is not None
    wanted = record.metadata["image"].get("sha256")
    if not wanted:
        return None
    try:
        with record.image_path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"its picture can't be read: {error.strerror}"
    return None if found == wanted else "its picture is not the one that was written; --verify makes it again"


def unfit_pictures(records: Iterable[RunRecord]) -> list[DamagedRecord]:
    """Return the finished runs whose picture does not have the hash that was written."""
    finished = [record for record in records if record.is_finished]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        problems = pool.map(hash_problem, finished)
        return [
            DamagedRecord(record.run_id, problem)
            for record, problem in zip(finished, problems, strict=True)
            if problem is not None
        ]
