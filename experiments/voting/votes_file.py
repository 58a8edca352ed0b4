"""The votes of a results folder: one file that is only added to, a line each, on disk before it is acknowledged.

A line is a vote, the undoing of one, or that somebody looked at what they say. Several processes may add lines; a
reader never waits for them. A line that was torn by a power cut or a kill is passed over, and counted.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal

from llm_dit.atomic_file import sync_folder
from llm_dit.errors import OutputError, unwritable

VOTES_FILE: Final = "votes.jsonl"
VOTES_LOCK_FILE: Final = ".votes.lock"
VOTES_FORMAT: Final = 1
PATIENCE_S: Final = 10.0
"""Much longer than a line takes to write."""
LONGEST_NAME: Final = 40

Choice = Literal["left", "right", "tie", "both_bad"]
CHOICES: Final[tuple[Choice, ...]] = ("left", "right", "tie", "both_bad")


@dataclass(frozen=True)
class Vote:
    """One answer of one voter.

    Attributes:
        id: Of the ballot; a vote that is added twice counts once.
        voter: Name.
        at: ISO time, UTC.
        left: Run id of the picture that stood left.
        right: The other one.
        pictures: Their sha256, left and right, or its first digits; a vote on pictures that were drawn anew since
            counts no more.
        choice: What was said.
        probability: That this pair of levels was drawn.
        evenly: What that probability would have been, had earlier votes played no part.
        of_pictures: That this prompt and seed were drawn, given the levels.
        repeats: Id of the vote that this one asks again; None for a first one.
        seconds: Between showing and answer.
    """

    id: str
    voter: str
    at: str
    left: str
    right: str
    pictures: tuple[str, str]
    choice: Choice
    probability: float
    evenly: float
    of_pictures: float
    repeats: str | None = None
    seconds: float | None = None

    @property
    def weight(self) -> float:
        """How much it counts: the less likely its pair was made to come by earlier votes, the more."""
        return self.evenly / self.probability

    @property
    def chosen(self) -> str | None:
        """Run id of the better picture; None for a tie, and where both are bad."""
        return {"left": self.left, "right": self.right}.get(self.choice)


@dataclass(frozen=True)
class Votes:
    """What a file holds.

    Attributes:
        standing: Votes that were not undone, in the order of the file.
        ids: Of all votes, undone ones too.
        torn: Lines that can't be read.
        looks: How many votes counted each time that somebody saw what they say.
    """

    standing: tuple[Vote, ...] = ()
    ids: frozenset[str] = frozenset()
    torn: int = 0
    looks: tuple[int, ...] = ()


def read_votes(folder: Path) -> Votes:
    """Read the votes of a results folder; none where there is no file.

    Raises:
        OutputError: If the file can't be read.
    """
    path = folder / VOTES_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Votes()
    except OSError as error:
        raise OutputError(f"{path} can't be read: {error.strerror}.") from None
    return votes_from_lines(content.split(b"\n"))


def votes_from_lines(lines: Iterable[bytes]) -> Votes:
    """Read lines, each a vote or the undoing of one; the first of several votes with one id holds."""
    standing: dict[str, Vote] = {}
    ids: set[str] = set()
    looks: list[int] = []
    torn = 0
    for line in lines:
        if not line.strip():
            continue
        found = _entry(line)
        if isinstance(found, Vote):
            if found.id not in ids:
                standing[found.id] = found
                ids.add(found.id)
        elif isinstance(found, int):
            looks.append(found)
        elif found is not None:
            standing.pop(found, None)
        else:
            torn += 1
    return Votes(tuple(standing.values()), frozenset(ids), torn, tuple(looks))


def append_votes(folder: Path, votes: Sequence[Vote]) -> None:
    """Add votes to the file; when this returns they are on the disk.

    Raises:
        OutputError: If they can't be written.
    """
    _append(folder, [{"format": VOTES_FORMAT, "kind": "vote", **asdict(vote)} for vote in votes])


def append_undo(folder: Path, vote: Vote, at: str) -> None:
    """Take a vote back by one more line; the vote's own line stays.

    Raises:
        OutputError: If it can't be written.
    """
    _append(folder, [{"format": VOTES_FORMAT, "kind": "undo", "id": vote.id, "voter": vote.voter, "at": at}])


def append_look(folder: Path, votes: int, by: str) -> None:
    """Keep that somebody saw what so many votes say.

    Raises:
        OutputError: If it can't be written.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    _append(folder, [{"format": VOTES_FORMAT, "kind": "look", "votes": votes, "by": by, "at": at}])


def add_votes(folder: Path, other: Path) -> tuple[int, int]:
    """Add the votes of another file, such as one that a report gave, to a results folder.

    A vote that was taken back there, and stands here from an earlier export, is taken back here too.

    Returns:
        How many were new, and how many were there already.

    Raises:
        OutputError: If a file can't be read or written, or `other` holds no votes.
    """
    try:
        found = votes_from_lines(other.read_bytes().split(b"\n"))
    except OSError as error:
        raise OutputError(f"{other} can't be read: {error.strerror}.", field="add") from None
    if not found.ids:
        raise OutputError(
            f"{other} holds no votes; give a file that a report exported, or a {VOTES_FILE}.", field="add"
        )
    known = read_votes(folder)
    new = [vote for vote in found.standing if vote.id not in known.ids]
    if new:
        append_votes(folder, new)
    undone = found.ids - {vote.id for vote in found.standing}
    for vote in known.standing:
        if vote.id in undone:
            append_undo(folder, vote, datetime.now(UTC).isoformat(timespec="seconds"))
    return len(new), len(found.standing) - len(new)


def voter_problem(name: Any) -> str | None:
    """Return what is wrong with a voter's name; None for a good one."""
    if not isinstance(name, str) or not name.strip():
        return "Write your name, so that your votes can be told from others'."
    if len(name) > LONGEST_NAME or not name.isprintable():
        return f"A voter's name has at most {LONGEST_NAME} characters, all of them printable."
    return None


def _append(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    from filelock import FileLock, Timeout

    path = folder / VOTES_FILE
    lines = b"".join(json.dumps(entry, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n" for entry in entries)
    try:
        with FileLock(folder / VOTES_LOCK_FILE).acquire(timeout=PATIENCE_S):
            is_new = not path.exists()
            with path.open("ab+") as file:
                if not _ends_a_line(file):
                    lines = b"\n" + lines  # somebody was killed within one
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_folder(folder)
    except Timeout:
        raise OutputError(f"{path}: another process holds it; try again.") from None
    except OSError as error:
        raise unwritable(f"{path} can't be written", error) from None


def _ends_a_line(file: IO[bytes]) -> bool:
    """Return True if the file is empty or its last line is whole."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _entry(line: bytes) -> Vote | str | int | None:
    """Return a vote, the id of one that is undone, the votes of a look, or None for a line that is none of these."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.pop("format", None) != VOTES_FORMAT:
        return None
    kind = values.pop("kind", None)
    if kind == "undo":
        return values["id"] if isinstance(values.get("id"), str) else None
    if kind == "look":
        return values["votes"] if type(values.get("votes")) is int else None
    if kind != "vote" or _problem(values):
        return None
    return Vote(**{**values, "pictures": tuple(values["pictures"])})


def _problem(values: dict[str, Any]) -> bool:
    """Return True if a line's values are not those of a vote."""
    fields = Vote.__dataclass_fields__
    if values.keys() - fields.keys() or fields.keys() - {"repeats", "seconds"} - values.keys():
        return True
    texts = [values[name] for name in ("id", "at", "left", "right")]
    pictures, chances = values["pictures"], [values[name] for name in ("probability", "evenly", "of_pictures")]
    return not (
        all(isinstance(text, str) and text for text in texts)
        and voter_problem(values["voter"]) is None
        and isinstance(pictures, list)
        and len(pictures) == 2
        and all(isinstance(picture, str) for picture in pictures)
        and values["choice"] in CHOICES
        and all(_is_number(chance) and 0 < chance <= 1 for chance in chances)
        and isinstance(values.get("repeats"), str | None)
        and (values.get("seconds") is None or (_is_number(values["seconds"]) and values["seconds"] >= 0))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
