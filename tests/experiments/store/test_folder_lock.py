"""One writer per folder: who holds it is told, and nothing stays behind when he is gone."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from experiments.store import folder_lock
from experiments.store.folder_lock import holder_of, holder_values, locked, manifest_locked
from llm_dit.errors import OutputError


def test_a_held_folder_tells_who_holds_it_and_a_free_one_nothing(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None
    before = datetime.now(UTC)
    with locked(tmp_path, command="score.py", planned=7):
        told = holder_of(tmp_path)
        assert told == holder_values(tmp_path) == json.loads((tmp_path / ".holder.json").read_text(encoding="utf-8"))
        assert set(told) == {"pid", "host", "started", "command", "planned"}
        assert (told["pid"], told["host"], told["planned"]) == (os.getpid(), socket.gethostname(), 7)
        started = datetime.fromisoformat(told["started"])
        assert started.microsecond == 0
        assert timedelta(seconds=-1) <= started - before <= timedelta(seconds=10)
    assert holder_of(tmp_path) is None
    assert not (tmp_path / ".holder.json").exists()
    assert holder_values(tmp_path) == {}


def test_a_second_writer_waits_a_second_and_is_told_the_first(tmp_path: Path) -> None:
    began = time.monotonic()
    with locked(tmp_path), pytest.raises(OutputError) as refused, locked(tmp_path):
        pytest.fail("two writers")
    assert time.monotonic() - began >= 1.0
    started = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    refused.match(
        rf"^{tmp_path} is in use by process {os.getpid()} on {socket.gethostname()} since {started}; "
        r"wait for it or end it\.$"
    )


def test_a_holder_that_has_not_said_who_it_is_is_another_process(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / ".holder.json").unlink()
        with pytest.raises(OutputError, match=r" is in use by another process; "), locked(tmp_path):
            pytest.fail("two writers")


def test_a_folder_is_free_again_after_an_error_even_while_the_error_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="work") as broken, locked(tmp_path):
        raise ValueError("work")
    with locked(tmp_path, command="again"):
        assert holder_of(tmp_path)["command"] == "again"
    assert str(broken.value) == "work"  # and keeps the frame that held the folder
    assert not (tmp_path / ".holder.json").exists()


def test_who_looks_does_not_wait_for_who_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path):
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
        assert holder_of(tmp_path) is not None


def test_a_holder_file_without_a_lock_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / ".holder.json").write_text('{"pid": 1}', encoding="utf-8")
    assert holder_of(tmp_path) is None
    with locked(tmp_path):  # looking took no lock that stays
        pass


def test_a_folder_that_cant_be_locked_is_one_sentence_and_nobodys(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    (tmp_path / ".holder.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError, match=rf"^{tmp_path} can't be written: "), locked(tmp_path):
        pytest.fail("held")
    assert holder_of(tmp_path) is None


def test_a_full_disk_refuses_the_folder_and_leaves_it_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=rf"^{tmp_path} can't be written: No space left"), locked(tmp_path):
            pytest.fail("held")
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}
    with locked(tmp_path):
        pass


def test_the_manifest_has_a_lock_of_its_own_that_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "MANIFEST_PATIENCE_S", 0.1)
    with locked(tmp_path), manifest_locked(tmp_path), pytest.raises(OutputError) as refused, manifest_locked(tmp_path):
        pytest.fail("two writers")
    assert str(refused.value) == f"{tmp_path}: another process holds the manifest; try again."
    with manifest_locked(tmp_path):
        pass


def test_a_manifest_that_cant_be_locked_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".manifest.lock").mkdir()
    with pytest.raises(OutputError, match=rf"^{tmp_path} can't be written: ") as refused, manifest_locked(tmp_path):
        pytest.fail("held")
    assert refused.value.field == "output_dir"
