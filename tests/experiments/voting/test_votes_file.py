"""The file of votes: nothing acknowledged is lost, several processes add to it, and torn lines stop nobody."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.voting.votes_file import (
    VOTES_FILE,
    Vote,
    add_votes,
    append_undo,
    append_votes,
    read_votes,
    voter_problem,
)
from llm_dit.errors import OutputError

VOTE = Vote(
    id="a1",
    voter="Ada",
    at="2026-01-01T00:00:00+00:00",
    left="run_a",
    right="run_b",
    pictures=("hash a", "hash b"),
    choice="left",
    probability=0.5,
    evenly=0.25,
    of_pictures=0.1,
)

ADDER = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_votes_file import VOTE
from experiments.voting.votes_file import append_votes
for number in range(100000):
    append_votes(Path({folder!r}), [replace(VOTE, id=f"vote {{number}}")])
    print(number, flush=True)
"""


def test_votes_come_back_as_they_were_written(tmp_path: Path) -> None:
    votes = [VOTE, replace(VOTE, id="a2", choice="both_bad", repeats="a1", seconds=1.5, voter="Zoë 你好")]
    append_votes(tmp_path, votes)
    assert read_votes(tmp_path).standing == tuple(votes)
    assert VOTE.weight == 0.5
    assert [vote.chosen for vote in votes] == ["run_a", None]


def test_an_undone_vote_stands_no_more_and_its_line_stays(tmp_path: Path) -> None:
    append_votes(tmp_path, [VOTE, replace(VOTE, id="a2")])
    append_undo(tmp_path, VOTE, "2026-01-01T00:00:01+00:00")
    votes = read_votes(tmp_path)
    assert [vote.id for vote in votes.standing] == ["a2"]
    assert votes.ids == {"a1", "a2"}
    assert (tmp_path / VOTES_FILE).read_bytes().count(b"\n") == 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"format": 1, "kind": "vote", "id": "a3", "vot',
        b"\xff\xfe\x00",
        b"[]",
        b'{"format": 2, "kind": "vote"}',
        b"[" * 100_000,
    ],
)
def test_a_torn_line_is_passed_over_and_the_next_vote_begins_its_own(tmp_path: Path, line: bytes) -> None:
    append_votes(tmp_path, [VOTE])
    with (tmp_path / VOTES_FILE).open("ab") as file:
        file.write(line)
    append_votes(tmp_path, [replace(VOTE, id="a4")])
    votes = read_votes(tmp_path)
    assert [vote.id for vote in votes.standing] == ["a1", "a4"]
    assert votes.torn == 1


@pytest.mark.parametrize(
    "change", [{"choice": "up"}, {"probability": 0}, {"probability": None}, {"pictures": ["a"]}, {"left": 3}, {"x": 1}]
)
def test_a_line_that_is_no_vote_counts_as_torn(tmp_path: Path, change: dict) -> None:
    append_votes(tmp_path, [VOTE])
    values = json.loads((tmp_path / VOTES_FILE).read_bytes())
    (tmp_path / VOTES_FILE).write_text(json.dumps({**values, **change}))
    assert read_votes(tmp_path).standing == ()
    assert read_votes(tmp_path).torn == 1


def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path) -> None:
    code = ADDER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(20)][-1]
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert {f"vote {number}" for number in range(acknowledged + 1)} <= read_votes(tmp_path).ids
    append_votes(tmp_path, [VOTE])
    assert "a1" in read_votes(tmp_path).ids


def _add_many(folder: Path, name: str) -> None:
    for number in range(25):
        append_votes(folder, [replace(VOTE, id=f"{name} {number}")])


def test_two_processes_add_to_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_many, args=(tmp_path, name)) for name in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    votes = read_votes(tmp_path)
    assert votes.ids == {f"{name} {number}" for name in "xy" for number in range(25)}
    assert votes.torn == 0


def test_votes_of_another_file_are_added_once(tmp_path: Path) -> None:
    other = tmp_path / "exported.jsonl"
    (tmp_path / "from").mkdir()
    append_votes(tmp_path / "from", [VOTE, replace(VOTE, id="a2"), replace(VOTE, id="a3")])
    append_undo(tmp_path / "from", replace(VOTE, id="a3"), "2026-01-01T00:00:01+00:00")
    (tmp_path / "from" / VOTES_FILE).rename(other)
    append_votes(tmp_path, [VOTE])
    assert add_votes(tmp_path, other) == (1, 1)
    assert add_votes(tmp_path, other) == (0, 2)
    assert [vote.id for vote in read_votes(tmp_path).standing] == ["a1", "a2"]


def test_a_file_without_votes_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("nothing\n")
    with pytest.raises(OutputError, match=r"notes\.txt holds no votes; give a file that a report exported"):
        add_votes(tmp_path, other)


@pytest.mark.parametrize(
    ("name", "problem"), [("Ada", None), (" ", "Write"), ("x" * 41, "at most 40"), ("a\nb", "at most")]
)
def test_a_voter_has_a_short_printable_name(name: str, problem: str | None) -> None:
    found = voter_problem(name)
    assert (found is None) if problem is None else (found is not None and problem in found)
