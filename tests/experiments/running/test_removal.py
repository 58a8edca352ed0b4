"""Deleting results: what the lab wrote, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_runs import images, make

from experiments.running.removal import remove_results
from llm_dit.errors import OutputError


def test_a_folder_goes_with_all_that_the_lab_wrote(tmp_path: Path) -> None:
    store, _ = make(tmp_path)
    assert remove_results(store.folder) == []
    assert not store.folder.exists()


def test_what_is_no_run_or_is_not_as_it_was_written_stays_and_is_told(tmp_path: Path) -> None:
    store, _ = make(tmp_path)
    damaged, other = sorted(store.metadata.iterdir())[:2]
    damaged.write_text("{")
    json.loads(other.read_text())
    store.image_path(other.stem).write_bytes(b"somebody's own")
    (store.folder / "notes.txt").write_text("mine")
    assert remove_results(store.folder) == [
        f"images/{damaged.stem}.png",
        f"images/{other.stem}.png",
        f"metadata/{damaged.name}",
        "notes.txt",
    ]


def test_a_folder_whose_manifest_is_damaged_goes_too(tmp_path: Path) -> None:
    store, _ = make(tmp_path)
    store.write_summary()
    (store.folder / "manifest.json").write_text("{")
    assert remove_results(store.folder) == []
    assert not store.folder.exists()


def test_a_folder_that_cannot_be_written_is_said_and_keeps_its_manifest(tmp_path: Path, monkeypatch) -> None:
    store, _ = make(tmp_path)
    before = images(store)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match=r"trial can't be deleted: Permission denied") as refused:
        remove_results(store.folder)
    monkeypatch.undo()
    assert refused.value.field == "results_dir"
    assert (images(store), store.manifest().name) == (before, "trial")
