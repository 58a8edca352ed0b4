"""Where people vote on one results folder: votes go to the file, pictures have names that say nothing.

Knows nothing of HTTP. One ballot is open for a voter until it is answered, so that nobody can pass over a pair by
asking again; it lives here alone, and who votes on one that another process drew is told so.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore
from experiments.voting.bare_png import without_metadata
from experiments.voting.pairs import Pairs
from experiments.voting.votes_file import (
    CHOICES,
    VOTES_FILE,
    Vote,
    Votes,
    append_undo,
    append_votes,
    read_votes,
    voter_problem,
)
from llm_dit.errors import LlmDitError, OutputError

REPEAT_SHARE = 0.1
"""Of ballots, that ask again what the voter has answered before."""
LEAST_BETWEEN = 5
"""Votes between a ballot and its repeat, so that it is not remembered."""
READING_SHARE = 0.1
"""Of the time, at most, that looking for new pictures takes while they are drawn."""
LONGEST_LOOK_S = 24 * 3600.0


@dataclass(frozen=True)
class Ballot:
    """One pair as it is shown.

    Attributes:
        id: Random.
        voter: Who is asked.
        left: Record of the left picture.
        right: Of the right one.
        probability: Of the pair of levels.
        evenly: What it would be, had votes played no part.
        of_pictures: Probability of prompt and seed, given the levels.
        repeats: Id of the vote that it asks again.
        names: Random names of both pictures, left and right.
    """

    id: str
    voter: str
    left: RunRecord
    right: RunRecord
    probability: float
    evenly: float
    of_pictures: float
    repeats: str | None = None
    names: tuple[str, str] = field(default_factory=lambda: (secrets.token_hex(12), secrets.token_hex(12)))


class Booth:
    """Votes on the pictures of one folder; may be called from several threads.

    Args:
        folder: The results folder.
        generator: Randomness of pairs and sides; the system's by default.
    """

    def __init__(self, folder: Path, generator: np.random.Generator | None = None) -> None:
        self._folder = folder
        self._generator = generator or np.random.default_rng()
        self._lock = threading.Lock()
        self._open: dict[str, list[Ballot]] = {}
        self._pictures: dict[str, Path] = {}
        self._votes, self._votes_state = Votes(), (-1, -1)
        self._read_at, self._read_took_s, self._drawn_state = -1e9, 0.0, -1
        self._pairs = self._read_pairs()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self._name

    def next_ballot(self, voter: str) -> dict[str, Any]:
        """Return what a voter is asked now, and how far they are; see `_shown`.

        Raises:
            LlmDitError: If the name can't be one.
        """
        with self._lock:
            return self._shown(_checked(voter))

    def vote(self, voter: str, ballot_id: str, choice: str, seconds: float | None = None) -> dict[str, Any]:
        """Write a vote down, and return the next ballot; a vote that was written before is not written again.

        Raises:
            LlmDitError: If the ballot is not open, or the answer is none.
            OutputError: If it can't be written; the ballot stays open.
        """
        voter = _checked(voter)
        if choice not in CHOICES:
            raise LlmDitError(f"{choice!r:.40} is no answer; say {', '.join(CHOICES[:-1])} or {CHOICES[-1]}.")
        with self._lock:
            ballots = self._open.get(voter, [])
            ballot = next((item for item in ballots if item.id == ballot_id), None)
            if ballot is None:
                if str(ballot_id) not in self._current_votes().ids:
                    raise LlmDitError(
                        "This pair was shown by a server that is gone, and its vote is not saved; here is another one.",
                        field="ballot",
                    )
                return self._shown(voter)
            append_votes(self._folder, [self._answered(ballot, choice, seconds)])
            ballots.remove(ballot)
            for name in ballot.names:
                self._pictures.pop(name, None)
            return self._shown(voter)

    def undo(self, voter: str) -> dict[str, Any]:
        """Take the voter's last vote back, and ask it again.

        Raises:
            LlmDitError: If there is none.
            OutputError: If it can't be written.
        """
        voter = _checked(voter)
        with self._lock:
            last = next((vote for vote in reversed(self._standing()) if vote.voter == voter), None)
            if last is None:
                raise LlmDitError("There is no vote of yours to take back.", field="voter")
            append_undo(self._folder, last, _now())
            left, right = (self._pairs.by_run[name][2] for name in (last.left, last.right))
            again = Ballot(
                secrets.token_hex(12), voter, left, right, last.probability, last.evenly, last.of_pictures, last.repeats
            )
            self._open.setdefault(voter, []).append(again)
            return self._shown(voter)

    def picture(self, name: str) -> bytes:
        """Return a picture of an open ballot, without its texts.

        Raises:
            OutputError: If there is none of that name, or it can't be read.
        """
        path = self._pictures.get(name)
        if path is None:
            raise OutputError("This picture is not shown any more; load the page again.")
        try:
            return without_metadata(path.read_bytes())
        except OSError:
            raise OutputError("A picture of this pair can't be read; is its experiment being deleted?") from None

    def _shown(self, voter: str) -> dict[str, Any]:
        """Return the open ballot as a page may know it: no level, no run, no score, no time, no file."""
        ballots = self._open.setdefault(voter, [])
        if not ballots:
            self._pairs = self._read_pairs()
            drawn = self._drawn(voter)
            ballots += [] if drawn is None else [drawn]
        standing = self._standing()
        own = [vote for vote in standing if vote.voter == voter]
        shown: dict[str, Any] = {
            "ballot": None,
            "votes": len(own),
            "votes_of_all": len(standing),
            "pairs": self._pairs.count,
            "pairs_seen": sum(vote.repeats is None for vote in own),
            "can_undo": bool(own),
        }
        if not ballots:
            return shown
        ballot = ballots[-1]
        for name, record in zip(ballot.names, (ballot.left, ballot.right), strict=True):
            assert record.image_path is not None, "a finished run has a picture"
            self._pictures[name] = record.image_path
        sizes = [{name: record.metadata["image"][name] for name in ("width", "height")} for record in _sides(ballot)]
        return {**shown, "ballot": ballot.id, "pictures": ballot.names, "sizes": sizes, "prompt": ballot.left.prompt}

    def _drawn(self, voter: str) -> Ballot | None:
        """Draw a new pair, or now and then one that the voter has answered before; sides by chance each time."""
        standing = self._standing()
        own = [vote for vote in standing if vote.voter == voter]
        repeated = {vote.repeats for vote in own}
        old = [vote for vote in own[:-LEAST_BETWEEN] if vote.repeats is None and vote.id not in repeated]
        is_swapped = bool(self._generator.integers(2))
        if old and self._generator.random() < REPEAT_SHARE:
            vote = old[int(self._generator.integers(len(old)))]
            sides = [self._pairs.by_run[name][2] for name in (vote.left, vote.right)]
            left, right = sides[::-1] if is_swapped else sides
            return Ballot(
                secrets.token_hex(12), voter, left, right, vote.probability, vote.evenly, vote.of_pictures, vote.id
            )
        drawn = self._pairs.draw([vote for vote in standing if vote.repeats is None], voter, self._generator)
        if drawn is None:
            return None
        left, right = (drawn.second, drawn.first) if is_swapped else (drawn.first, drawn.second)
        return Ballot(secrets.token_hex(12), voter, left, right, drawn.probability, drawn.evenly, drawn.of_pictures)

    def _answered(self, ballot: Ballot, choice: Any, seconds: Any) -> Vote:
        is_told = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < LONGEST_LOOK_S
        return Vote(
            id=ballot.id,
            voter=ballot.voter,
            at=_now(),
            left=ballot.left.run_id,
            right=ballot.right.run_id,
            pictures=(self._pairs.hash_of(ballot.left), self._pairs.hash_of(ballot.right)),
            choice=choice,
            probability=ballot.probability,
            evenly=ballot.evenly,
            of_pictures=ballot.of_pictures,
            repeats=ballot.repeats,
            seconds=round(float(seconds), 2) if is_told else None,
        )

    def _current_votes(self) -> Votes:
        """Return the file's votes, read again where another process has added some."""
        path = self._folder / VOTES_FILE
        try:
            status = path.stat()
            state = (status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            state = (0, 0)
        if state != self._votes_state:
            self._votes, self._votes_state = read_votes(self._folder), state
        return self._votes

    def _standing(self) -> list[Vote]:
        """Return the votes on pictures that are there now."""
        return [vote for vote in self._current_votes().standing if self._pairs.holds(vote)]

    def _read_pairs(self) -> Pairs:
        """Return the pictures, read again where some were drawn since and looking does not take long."""
        store = ResultStore(self._folder)
        started = time.monotonic()
        if started - self._read_at < self._read_took_s / READING_SHARE:
            return self._pairs
        state = store.metadata.stat().st_mtime_ns if store.metadata.is_dir() else 0
        if state == self._drawn_state:
            return self._pairs
        manifest = store.manifest()
        self._name = manifest.name
        pairs = Pairs(manifest, store.runs())
        self._drawn_state, self._read_at = state, time.monotonic()
        self._read_took_s = self._read_at - started
        return pairs


def _sides(ballot: Ballot) -> tuple[RunRecord, RunRecord]:
    return ballot.left, ballot.right


def _checked(voter: Any) -> str:
    problem = voter_problem(voter)
    if problem is not None:
        raise LlmDitError(problem, field="voter")
    return " ".join(str(voter).split())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
