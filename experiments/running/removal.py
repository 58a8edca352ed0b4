"""Deleting an experiment's results: every file that the lab wrote, and none that it did not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from experiments.reporting.report_page import REPORT_FILE
from experiments.reporting.thumbnails import THUMBNAILS_FOLDER
from experiments.store.folder_lock import LOCK_FILE, MANIFEST_LOCK_FILE
from experiments.store.folder_state import MANIFEST_FILE
from experiments.store.json_file import read_json
from experiments.store.records import RunRecord, read_record
from experiments.store.result_store import ResultStore
from experiments.store.verification import hash_problem, size_problem
from experiments.voting.votes_file import VOTES_LOCK_FILE
from llm_dit.errors import LlmDitError, unwritable


def remove_results(folder: Path) -> list[str]:
    """Delete what the lab wrote in a results folder, the manifest last, and the folder if nothing else is in it.

    Args:
        folder: The experiment's folder.

    Returns:
        What stays there, as paths in the folder: votes, which nobody can make again, files of others, pictures that are
        not those that were written, and records that can't be read.

    Raises:
        OutputError: If another process works in the folder, or it can't be written.
    """
    store = ResultStore(folder)
    try:
        with store.lock(command="delete"):
            for path in _written(store):
                path.unlink(missing_ok=True)
            (folder / MANIFEST_FILE).unlink(missing_ok=True)
        for name in (LOCK_FILE, MANIFEST_LOCK_FILE, VOTES_LOCK_FILE):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(f"{folder} can't be deleted", error, field="results_dir") from None
    for part in (store.images, store.metadata, store.failed, folder / THUMBNAILS_FOLDER, folder):
        with suppress(OSError):  # not there, or something else is in it
            part.rmdir()
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _written(store: ResultStore) -> Iterator[Path]:
    """Yield the files of each run, and what was made from all of them."""
    for part in (store.metadata, store.failed):
        for path in sorted(part.glob("*.json")):
            values = read_json(path)
            record = None if values is None else read_record(values, store.folder)
            if not isinstance(record, RunRecord):
                continue
            picture = record.image_path
            if picture is not None and picture.parent == store.images:
                yield store.folder / THUMBNAILS_FOLDER / f"{picture.stem}.webp"
                if size_problem(record) is None and hash_problem(record) is None:
                    yield picture
            yield path
    try:
        name = store.manifest().name
    except LlmDitError:  # damaged; its folder has its name unless someone renamed it
        name = store.folder.name
    yield store.folder / f"{name}_summary.csv"
    yield store.folder / f"{name}_summary.json"
    yield store.folder / REPORT_FILE
