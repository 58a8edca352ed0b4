"""Runs -> results: what is missing is drawn by the hands that a command has, and written on threads.

One run's failure is written down and the others go on.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from experiments.planning.design import Plan
from experiments.running.result_writer import ResultWriter
from experiments.running.worklist import KnownModel, WorkItem, Worklist, make_worklist
from experiments.store.comparable import Conditions
from experiments.store.folder_state import folder_state, has_summary_of
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError
from llm_dit.parameters import EngineSettings

if TYPE_CHECKING:
    from experiments.metrics.missing_scores import Spread
    from experiments.running.deciding import Decider
    from experiments.running.look_runs import Judging

Surroundings = Mapping[str, Mapping[str, str]]
"""Versions and machine; see `ZImagePipeline.surroundings`."""


@dataclass(frozen=True)
class Progress:
    """Where an execution stands.

    Attributes:
        done: Runs of this command that are made or failed.
        total: Runs that this command has to make.
        failed: Runs that failed.
        images_per_second: Mean rate since the start; 0 before the first image.
        seconds_left: Estimate; None before the first image.
        run_id: The latest run.
    """

    done: int
    total: int
    failed: int
    images_per_second: float
    seconds_left: float | None
    run_id: str


@dataclass(frozen=True)
class Outcome:
    """What came of an execution.

    Attributes:
        made: Images made.
        failed: Run id and error of each failed run.
        skipped: Runs that had their result already.
        stale: Runs whose file was made with other inputs and was left alone.
        remaining: Runs that were not begun.
        is_interrupted: True if it was asked to stop.
        shared_evaluations: Evaluations of the transformer taken from an earlier image that began alike.
        seconds: Wall time from the first encoding to the last file.
        summary_error: Why the summary could not be written; None if it was.
    """

    made: int
    failed: tuple[tuple[str, str], ...]
    skipped: int
    stale: tuple[str, ...]
    remaining: int
    is_interrupted: bool
    shared_evaluations: int
    seconds: float
    summary_error: str | None = None


class Hands(Protocol):
    """What draws: this process's device, or workers."""

    def lend(self, judging: Judging) -> Spread | None:
        """Return who scores between two blocks for a planned look; None leaves it to this process."""

    def known(self, settings: EngineSettings) -> KnownModel:
        """Return what is drawn with under these settings, which need not be loaded yet; asked of all of a plan first.

        Raises:
            LlmDitError: If the model is not there, or a setting is not to be had.
        """

    @property
    def device(self) -> str:
        """Where, for the manifest, once models are known."""

    @property
    def shared_evaluations(self) -> int:
        """Evaluations of the transformer taken so far from earlier images that began alike."""

    def begin(self, conditions: Conditions, experiment: str, session_of: Callable[[Surroundings], str]) -> None:
        """Learn what all runs of a plan share.

        Args:
            conditions: What the folder's runs share.
            experiment: Its name.
            session_of: Surroundings to the session that records name.
        """

    def draw(
        self,
        items: Sequence[WorkItem],
        writer: ResultWriter,
        on_finished: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> int:
        """Draw runs, and return how many were left because it was asked to stop.

        Args:
            items: In the plan's order: those of each setting of the engine together.
            writer: Writes them.
            on_finished: Told the name of every run that is handed to the writer or has failed.
            should_stop: Asked again and again; images in hand are finished.
        """


def run_plan(
    plan: Plan,
    hands: Hands,
    store: ResultStore,
    *,
    overwrite: bool = False,
    verify: bool = False,
    on_start: Callable[[Worklist], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    about: Mapping[str, Any] | None = None,
    decider: Decider | None = None,
) -> Outcome:
    """Make what is missing of a plan, and write the summary.

    Args:
        plan: What is asked for.
        hands: What draws; used by this call alone.
        store: The experiment's folder; its lock is held meanwhile.
        overwrite: Make runs again whose file was made with other inputs.
        verify: Compare every picture with its hash, and make again what does not fit.
        on_start: Called once with what is left to do.
        on_progress: Called after each image.
        should_stop: Asked before each image; the images made so far stay.
        about: More for the manifest, such as the configuration.
        decider: Draws in blocks and looks after each; None draws everything.

    Raises:
        LlmDitError: If the folder is in use, can't be written, or holds something else, or the plan's only model can't
            be loaded.
    """
    store.create()
    command = (about or {}).get("command", "")
    with store.lock(planned=plan.run_count, command=command):
        work = make_worklist(plan, hands.known, store, overwrite=overwrite, verify=verify)
        looks = {} if decider is None else decider.begin(work.manifest)
        sessions = Sessions(store, command)
        if work.to_do:
            hands.begin(work.conditions, plan.experiment.name, sessions.id_of)
        known = [*work.manifest.get("sessions", ()), *sessions.begun]
        told = {**work.manifest, "device": hands.device, **(about or {}), "sessions": known, **looks}
        if work.to_do or "versions" not in told:  # else those that made the pictures stay, and torch is not imported
            told["versions"] = hands.known(plan.loading_order[0]).surroundings()["versions"]
        store.write_manifest(told)
        sessions.are_written = True
        if on_start is not None:
            on_start(work)
        blocks = [work.to_do] if decider is None else decider.blocks(work)
        outcome = _make_blocks(work, blocks, hands, store, on_progress, should_stop or (lambda: False))
        if decider is not None:
            decider.finish()
        is_told_anew = bool(work.to_do or work.notes or work.stale)
        del work, blocks  # 2 KB of each run, which the summary's records may have
        try:
            if is_told_anew or not has_summary_of(store.folder, folder_state(store.folder)):
                store.write_summary()
        except OutputError as error:  # on a full disk; it can be rebuilt from the metadata
            outcome = replace(outcome, summary_error=str(error))
    return outcome


class Sessions:
    """What made the pictures of a command: one entry of the manifest for each set of versions and machine.

    Args:
        store: The folder, locked.
        command: How to run the same in a terminal.

    Attributes:
        begun: The entries so far.
        are_written: True once the manifest stands; later entries are added to it.
    """

    def __init__(self, store: ResultStore, command: str) -> None:
        self._store = store
        self._command = command
        self._ids: dict[str, str] = {}
        self.begun: list[dict[str, Any]] = []
        self.are_written = False

    def id_of(self, surroundings: Surroundings) -> str:
        """Return the id of the session with these versions on such a machine, which is begun where there is none."""
        key = json.dumps(surroundings, sort_keys=True, default=dict)
        if key not in self._ids:
            session: dict[str, Any] = {
                "id": uuid4().hex[:16],
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "host": socket.gethostname(),
                "command": self._command,
                **surroundings,
            }
            self._ids[key] = session["id"]
            self.begun.append(session)
            if self.are_written:
                raw = self._store.manifest().raw
                self._store.write_manifest({**raw, "sessions": [*raw.get("sessions", ()), session]})
        return self._ids[key]


def _make_blocks(
    work: Worklist,
    blocks: Iterable[Sequence[WorkItem]],
    hands: Hands,
    store: ResultStore,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool],
) -> Outcome:
    """Make one block after the other, until there is none or it is asked to stop."""
    made, remaining, seconds = 0, 0, 0.0
    failed: list[tuple[str, str]] = []
    for items in blocks:
        with ResultWriter(store) as writer:
            block = _BlockProgress(made + len(failed), len(items), len(failed), writer, on_progress)
            left = hands.draw(items, writer, block.on_finished, should_stop) if items else 0
        made, failed, remaining = made + writer.made, failed + writer.failed, remaining + left
        seconds += time.perf_counter() - block.started
        if left:
            break
    return Outcome(
        made=made,
        failed=tuple(failed),
        skipped=work.finished,
        stale=work.stale,
        remaining=remaining,
        is_interrupted=remaining > 0,
        shared_evaluations=hands.shared_evaluations,
        seconds=seconds,
    )


class _BlockProgress:
    """Tells of a block's runs, counted together with those of the blocks before."""

    def __init__(
        self,
        before: int,
        count: int,
        failed_before: int,
        writer: ResultWriter,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._before = before
        self._count = count
        self._failed_before = failed_before
        self._writer = writer
        self._on_progress = on_progress
        self._finished = 0
        self.started = time.perf_counter()

    def on_finished(self, run_id: str) -> None:
        self._finished += 1
        if self._on_progress is None:
            return
        rate = self._finished / max(time.perf_counter() - self.started, 1e-9)
        done, total = self._before + self._finished, self._before + self._count
        failed = self._failed_before + len(self._writer.failed)
        self._on_progress(Progress(done, total, failed, rate, (total - done) / rate, run_id))
