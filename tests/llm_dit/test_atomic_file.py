"""A file is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from llm_dit.atomic_file import remove_partial_files, write_atomically


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"old and longer")
    previous = os.umask(0o077)
    try:
        write_atomically(path, b"new")
    finally:
        os.umask(previous)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names_in(tmp_path) == ["one"]


def test_the_bytes_reach_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, steps = tmp_path / "one", []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append(("folder" if is_folder else os.fstat(descriptor).st_size, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomically(path, b"12345", before_replace=lambda: steps.append(("before", path.exists())))
    assert steps == [(5, False), ("before", False), ("folder", True)]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_stops_the_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"old")

    def stopped() -> None:
        assert [name[:9] for name in names_in(tmp_path)] == [".partial-", "one"]
        raise failure

    with pytest.raises(type(failure)):
        write_atomically(path, b"new", before_replace=stopped)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["one"]


def test_the_error_is_that_of_the_writing_where_the_partial_file_has_gone_too(tmp_path: Path) -> None:
    def stopped() -> None:
        next(tmp_path.glob(".partial-*")).unlink()
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write_atomically(tmp_path / "one", b"new", before_replace=stopped)


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "one", b"new")
    assert names_in(tmp_path) == ["one"]


def test_no_descriptor_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = [], os.open

    def noted(*arguments: object, **options: object) -> int:
        opened.append(real(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(os, "open", noted)
    write_atomically(tmp_path / "one", b"new")
    assert len(opened) == 2  # the partial file and its folder
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_partial_files_are_removed_by_age_and_nothing_else_is(tmp_path: Path) -> None:
    hour_ago = time.time() - 3600

    def leave() -> None:
        for name, changed in ((".partial-old", hour_ago), (".partial-new", None), ("one", hour_ago)):
            (tmp_path / name).write_bytes(b"x")
            os.utime(tmp_path / name, None if changed is None else (changed, changed))

    leave()
    remove_partial_files(tmp_path, older_than_s=1800)
    assert names_in(tmp_path) == [".partial-new", "one"]
    leave()
    remove_partial_files(tmp_path, older_than_s=7200)
    assert names_in(tmp_path) == [".partial-new", ".partial-old", "one"]
    remove_partial_files(tmp_path)
    assert names_in(tmp_path) == ["one"]


def test_a_partial_file_of_the_future_goes_too_where_the_folder_is_ones_own(tmp_path: Path) -> None:
    (tmp_path / ".partial-x").write_bytes(b"x")
    os.utime(tmp_path / ".partial-x", (time.time() + 3600,) * 2)  # a clock that was wrong
    remove_partial_files(tmp_path)
    assert names_in(tmp_path) == []


def test_a_partial_file_that_goes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".partial-x").write_bytes(b"x")
    (tmp_path / ".partial-y").write_bytes(b"y")
    unlink = Path.unlink

    def both(path: Path, missing_ok: bool = False) -> None:
        for other in tmp_path.glob(".partial-*"):
            unlink(other)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", both)
    remove_partial_files(tmp_path)
    assert names_in(tmp_path) == []
