"""The history: what it keeps, and what it says after a crash."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from llm_dit.errors import OutputError
from llm_dit.image_io import png_bytes
from llm_dit.parameters import GenerationParams
from web.history.changes import CHANGES_KEPT
from web.history.image_history import UNFINISHED, History, StorageError, open_history
from web.history.search import parse_search

PARAMS = {"prompt": "a fox", "num_inference_steps": 9, "seed": None, "width": None, "height": None}
ID = "0123456789abcdef" * 2


def entry_id(number: int) -> str:
    return f"{number:032x}"


def store(history, number: int) -> None:
    image = Image.new("RGB", (16, 16), (number % 256, 0, 0))
    history.add_waiting({entry_id(number): PARAMS})
    history.store_image(entry_id(number), b"png bytes", image, {**PARAMS, "seed": number}, {"token_count": 3})


def test_a_stored_image_is_there_after_reopening(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    store(history, 7)
    history.close()

    reopened = open_history(tmp_path, 50)
    (listed,) = reopened.newest()
    assert (listed.id, listed.metadata) == (entry_id(7), None)
    entry = reopened.get(entry_id(7))
    assert (entry.id, entry.state, entry.params["seed"], entry.metadata) == (
        entry_id(7),
        "done",
        7,
        {"token_count": 3},
    )
    assert reopened.image_path(entry.id).read_bytes() == b"png bytes"
    with Image.open(reopened.thumbnail_path(entry.id)) as thumbnail:
        assert thumbnail.size == (16, 16)
    reopened.close()


def test_entries_are_newest_first_by_the_time_they_were_finished(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    history.add_waiting({entry_id(1): PARAMS, entry_id(2): PARAMS})
    image = Image.new("RGB", (16, 16))
    for number in (2, 1):
        history.store_image(entry_id(number), b"", image, PARAMS, {})
    assert [entry.id for entry in history.newest()] == [entry_id(1), entry_id(2)]
    history.close()


def test_only_the_last_images_are_kept_with_their_files(tmp_path: Path) -> None:
    history = open_history(tmp_path, 3)
    for number in range(5):
        store(history, number)
    assert [entry.params["seed"] for entry in history.newest()] == [4, 3, 2]
    assert sorted(path.stem for path in (tmp_path / "images").iterdir()) == [entry_id(n) for n in (2, 3, 4)]
    assert sorted(path.stem for path in (tmp_path / "thumbnails").iterdir()) == [entry_id(n) for n in (2, 3, 4)]
    history.close()


def test_a_waiting_row_says_after_a_restart_that_it_was_interrupted(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    history.add_waiting({ID: PARAMS})
    assert history.newest() == []
    history.close()

    reopened = open_history(tmp_path, 50)
    (entry,) = reopened.newest()
    assert entry.state == "interrupted"
    assert entry.error == "The server stopped before the image was finished."
    reopened.close()


def test_a_file_that_no_row_marks_as_deleted_stays(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    store(history, 1)
    history.add_waiting({ID: PARAMS})
    history.image_path(ID).write_bytes(b"of a row that waits, without a record")
    stranger = tmp_path / "images" / "holiday.png"
    stranger.write_bytes(b"not ours")
    unknown = history.image_path(entry_id(9))
    unknown.write_bytes(b"named as ours, without a record")
    history.close()

    reopened = open_history(tmp_path, 50)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        f"{entry_id(1)}.png", f"{ID}.png", stranger.name, unknown.name
    }  # fmt: skip
    assert reopened.get(ID).state == "interrupted"
    reopened.close()


def store_real(history, number: int) -> None:
    """Store a picture that carries its record, as the page's do."""
    image = Image.new("RGB", (16, 16), (number, 0, 0))
    asked = GenerationParams(prompt=f"fox {number}", seed=number, width=16 * 4, height=16 * 4)
    params = asked.replaced(
        shift=3.0, num_inference_steps=9, guidance_scale=0.0
    ).model_dump()  # as an engine resolves it
    record = {
        "parameters": params,
        "token_count": number,
        "model_path": "fake",
        "model_fingerprint": "0" * 64,
        "versions": {"llm-dit": "0.1.0"},
    }
    history.add_waiting({entry_id(number): params})
    history.store_image(entry_id(number), png_bytes(image, record), image, params, record)
    os.utime(history.image_path(entry_id(number)), (1000 + number, 1000 + number))


def test_a_picture_whose_row_could_not_say_done_before_the_kill_is_finished_from_its_record(tmp_path: Path) -> None:
    history = open_history(tmp_path / "before", 50)
    store_real(history, 7)
    picture, row = history.image_path(entry_id(7)).read_bytes(), history.get(entry_id(7))
    history.close()
    script = textwrap.dedent("""
        import os, signal, sqlite3, sys
        from pathlib import Path
        from PIL import Image
        from web.history.image_history import open_history
        history = open_history(Path(sys.argv[1]), 50)
        history.add_waiting({sys.argv[2]: {"prompt": "fox 7", "seed": None}})
        history._connection.set_authorizer(  # the first UPDATE is the row's
            lambda action, *_: os.kill(os.getpid(), signal.SIGKILL) if action == sqlite3.SQLITE_UPDATE else 0)
        history.store_image(sys.argv[2], sys.stdin.buffer.read(), Image.new("RGB", (16, 16)), {}, {})
    """)
    killed = subprocess.run([sys.executable, "-c", script, tmp_path, entry_id(7)], input=picture, check=False)
    assert killed.returncode == -signal.SIGKILL

    history = open_history(tmp_path, 50)
    assert history.image_path(entry_id(7)).read_bytes() == picture
    found = history.get(entry_id(7))
    assert (found.state, found.params, found.metadata) == ("done", row.params, row.metadata)
    assert found.params["seed"] == 7
    assert history.thumbnail_path(entry_id(7)).is_file()
    history.close()


def damage(database: Path) -> None:
    """Overwrite all behind the header."""
    content = database.read_bytes()
    database.write_bytes(content[:100] + b"\xff" * (len(content) - 100))


@pytest.mark.parametrize("loss", [Path.unlink, damage, lambda database: database.write_bytes(b"no database" * 100)])
def test_a_lost_or_damaged_database_is_made_again_from_the_pictures(
    tmp_path: Path, loss: Callable[[Path], None]
) -> None:
    history = open_history(tmp_path, 50)
    for number in (2, 1, 3):
        store_real(history, number)
    history.thumbnail_path(entry_id(3)).unlink()
    history.close()
    loss(tmp_path / "history.sqlite3")

    reopened = open_history(tmp_path, 50)
    assert [(entry.params["prompt"], entry.created_at) for entry in reopened.newest()] == [
        ("fox 3", 1003), ("fox 2", 1002), ("fox 1", 1001)
    ]  # fmt: skip
    entry = reopened.get(entry_id(3))
    assert entry.metadata["token_count"] == 3
    assert all(reopened.image_path(entry.id).is_file() for entry in reopened.newest())
    assert reopened.thumbnail_path(entry_id(3)).is_file()
    kept = list(tmp_path.glob("history.sqlite3.damaged-*"))
    assert len(kept) == (loss is not Path.unlink)
    reopened.close()


def test_what_is_deleted_does_not_come_back_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = open_history(tmp_path, 50)
    store_real(history, 1)

    def power_cut(_: object, __: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "_remove_files", power_cut)
    with pytest.raises(KeyboardInterrupt):
        history.delete(entry_id(1))
    monkeypatch.undo()
    history.close()
    reopened = open_history(tmp_path, 50)
    assert reopened.newest() == []
    assert list((tmp_path / "images").iterdir()) == []
    reopened.close()


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    history._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="free some space, or start with another --data-dir"):
        history.add_waiting({entry_id(n): {"prompt": "x" * 5000} for n in range(20)})
    history.close()


def test_delete_removes_row_and_files(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    store(history, 1)
    assert history.delete(entry_id(1)) is True
    assert history.delete(entry_id(1)) is False
    assert history.newest() == []
    assert list((tmp_path / "images").iterdir()) == []
    history.close()


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    with pytest.raises(OutputError, match="is in use by another server"):
        open_history(tmp_path, 50)
    history.close()
    open_history(tmp_path, 50).close()


def test_a_database_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_history(tmp_path, 50).close()
    connection = sqlite3.connect(tmp_path / "history.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutputError, match="version 99"):
        open_history(tmp_path, 50)


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written") as error:
        open_history(tmp_path / "file" / "data", 50)
    assert error.value.field == "data_dir"


def test_every_row_tells_the_truth_after_kill_9(tmp_path: Path) -> None:
    history = open_history(tmp_path / "before", 5)
    store_real(history, 7)
    picture = history.image_path(entry_id(7))
    history.close()
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from PIL import Image
        from web.history.image_history import open_history
        history = open_history(Path(sys.argv[1]), 1000)
        image, png = Image.new("RGB", (16, 16)), Path(sys.argv[2]).read_bytes()
        for number in range(100_000):
            history.add_waiting({f"{number:032x}": {"prompt": "x"}})
            history.store_image(f"{number:032x}", png, image, {"prompt": "x"}, {})
            print(number, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path, picture], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    finished = 20 + len(process.stdout.read().split())
    process.wait()
    process.stdout.close()

    history = open_history(tmp_path, 1000)
    entries = history.newest()
    done = [entry for entry in entries if entry.state == "done"]
    assert len(done) in (finished, finished + 1)
    assert all(history.image_path(entry.id).read_bytes() == picture.read_bytes() for entry in done)
    assert [entry.state for entry in entries if entry not in done] in ([], ["interrupted"])
    files = {path.stem for path in (tmp_path / "images").iterdir()}
    assert files == {entry.id for entry in done}
    history.close()


def test_a_row_is_synced_as_safely_as_a_file(tmp_path: Path) -> None:
    with sqlite3.connect(":memory:") as plain:
        full = plain.execute("PRAGMA synchronous").fetchone()[0]
    history = open_history(tmp_path, 5)
    assert history._connection.execute("PRAGMA synchronous").fetchone()[0] == full == 2
    history.close()


def test_what_a_killed_server_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    open_history(tmp_path, 5).close()
    left = tmp_path / "images" / ".partial-abc"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"x")
    open_history(tmp_path, 5).close()
    assert not left.exists()


# --- stars, several at once, changes, older databases -----------------------------------------------------------------


def test_a_starred_image_is_kept_however_many_come_after_it(tmp_path: Path) -> None:
    history = open_history(tmp_path, 2)
    store(history, 0)
    assert history.set_starred([entry_id(0), entry_id(9)], is_starred=True) == [entry_id(0)]
    for number in range(1, 5):
        store(history, number)
    history.close()
    reopened = open_history(tmp_path, 2)
    assert [(entry.params["seed"], entry.is_starred) for entry in reopened.newest()] == [
        (4, False), (3, False), (0, True)
    ]  # fmt: skip
    reopened.set_starred([entry_id(0)], is_starred=False)
    assert reopened.image_path(entry_id(0)).exists()  # a slip of the hand deletes nothing
    store(reopened, 5)
    assert [entry.params["seed"] for entry in reopened.newest()] == [5, 4]
    reopened.close()


def test_stars_come_back_with_the_rows_of_a_lost_database(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    for number in (1, 2, 3, 4):
        store_real(history, number)
    history.set_starred([entry_id(1), entry_id(3), entry_id(4)], is_starred=True)
    history.set_starred([entry_id(3)], is_starred=False)
    history.delete(entry_id(4))
    history.close()
    (tmp_path / "history.sqlite3").unlink()
    reopened = open_history(tmp_path, 50)
    assert {entry.params["seed"]: entry.is_starred for entry in reopened.newest()} == {1: True, 2: False, 3: False}
    assert reopened.count(parse_search("shift=3 fox is:starred")) == 1
    reopened.close()


def test_several_are_deleted_at_once_with_their_files_and_waiting_ones_stay(tmp_path: Path) -> None:
    history = open_history(tmp_path, 50)
    for number in range(4):
        store(history, number)
    history.add_waiting({entry_id(7): PARAMS})
    asked = [entry_id(1), entry_id(7), entry_id(9), entry_id(3)]
    assert history.delete_over(asked) == [entry_id(3), entry_id(1)]
    assert sorted(path.stem for path in (tmp_path / "images").iterdir()) == [entry_id(0), entry_id(2)]
    assert history.get(entry_id(7)).state == "waiting"
    history.close()


def test_changes_are_told_since_any_number_and_are_lost_where_they_are(tmp_path: Path) -> None:
    history = open_history(tmp_path, 2)
    start = history.changes.version
    told: list[int] = []
    history.changes.add_listener(lambda: told.append(history.changes.version))
    for number in (1, 2, 3):
        store(history, number)
    history.set_starred([entry_id(3)], is_starred=True)
    version, changed = history.changes.since(start)
    assert changed == [entry_id(1), entry_id(2), entry_id(3)]  # 1 twice: made, and dropped for 3
    assert history.changes.since(version) == (version, [])
    assert told[-1] == version
    history.changes.note(entry_id(n) for n in range(CHANGES_KEPT))
    assert history.changes.since(start) == (history.changes.version, None)
    assert len(history.changes.since(version)[1] or []) == CHANGES_KEPT
    assert history.changes.since(history.changes.version + 1)[1] is None  # another server's number
    history.close()


VERSION_1 = """
CREATE TABLE images (id TEXT PRIMARY KEY, number INTEGER NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
    params TEXT NOT NULL, metadata TEXT, error TEXT) STRICT;
CREATE INDEX images_by_number ON images (number);
PRAGMA user_version = 1;
"""


def test_a_history_from_before_stars_and_search_is_read_and_can_be_searched(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    database = sqlite3.connect(tmp_path / "history.sqlite3")
    database.executescript(VERSION_1)
    for number, state in ((5, "done"), (8, "failed"), (6, "waiting")):
        params = GenerationParams(prompt=f"Fox {number}", seed=number, shift=2.5).model_dump()
        metadata = json.dumps({"model_path": "mini"}) if state == "done" else None
        error = "It broke." if state == "failed" else None
        row = (entry_id(number), number, state, 1000.0 + number, json.dumps(params), metadata, error)
        database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()
    history = open_history(tmp_path, 50)
    assert [(entry.number, entry.state, entry.created_at, entry.error) for entry in history.newest()] == [
        (8, "failed", 1008.0, "It broke."), (6, "interrupted", 1006.0, UNFINISHED), (5, "done", 1005.0, None)
    ]  # fmt: skip
    assert [entry.number for entry in history.newest(search=parse_search("fox shift=2.5 model=mini"))] == [5]
    assert history.get(entry_id(5)).metadata == {"model_path": "mini"}
    history.close()
    open_history(tmp_path, 50).close()
