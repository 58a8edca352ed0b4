"""Runs -> results on this machine: encode ahead, draw one by one with the next one queued, write on threads.

One run's failure is written down and the others go on.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from experiments.planning.design import Plan
from experiments.running.making import Maker, draw_in_turn
from experiments.running.prompt_encodings import EncodingCache
from experiments.running.result_writer import ResultWriter
from experiments.running.worklist import WorkItem, Worklist, make_worklist
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError
from llm_dit.sampling.shared_work import HELD_RESULTS, SharedWork

if TYPE_CHECKING:
    from experiments.running.deciding import Decider
    from llm_dit.pipeline import ZImagePipeline


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


def run_plan(
    plan: Plan,
    pipeline: ZImagePipeline,
    store: ResultStore,
    *,
    overwrite: bool = False,
    verify: bool = False,
    shares: bool = True,
    on_start: Callable[[Worklist], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    about: Mapping[str, Any] | None = None,
    decider: Decider | None = None,
) -> Outcome:
    """Make what is missing of a plan, and write the summary.

    Args:
        plan: What is asked for.
        pipeline: The loaded model; used by this call alone.
        store: The experiment's folder; its lock is held meanwhile.
        overwrite: Make runs again whose file was made with other inputs.
        verify: Compare every picture with its hash, and make again what does not fit.
        shares: Compute once what images have in common at their beginning; False is for measuring what that saves.
        on_start: Called once with what is left to do.
        on_progress: Called after each image.
        should_stop: Asked before each image; the images made so far stay.
        about: More for the manifest, such as configuration, versions and device.
        decider: Draws in blocks and looks after each; None draws everything.

    Raises:
        LlmDitError: If the folder is in use, can't be written, or holds something else.
    """
    store.create()
    with store.lock(planned=plan.run_count, command=(about or {}).get("command", "")):
        work = make_worklist(plan, pipeline, store, overwrite=overwrite, verify=verify)
        session = _session(pipeline, (about or {}).get("command", ""))
        sessions = [*work.manifest.get("sessions", ()), *([session] if work.to_do else ())]
        looks = {} if decider is None else decider.begin(work.manifest)
        store.write_manifest({**work.manifest, **(about or {}), "sessions": sessions, **looks})
        if on_start is not None:
            on_start(work)
        shared = SharedWork(pipeline.device, HELD_RESULTS if shares else 0)
        maker = partial(
            Maker,
            work.conditions,
            pipeline,
            shared,
            experiment=plan.experiment.name,
            session=session["id"],
            first_texts={},
        )
        blocks = [work.to_do] if decider is None else decider.blocks(work)
        outcome = _make_blocks(work, blocks, pipeline, shared, store, maker, on_progress, should_stop)
        if decider is not None:
            decider.finish()
        try:
            store.write_summary()
        except OutputError as error:  # on a full disk; it can be rebuilt from the metadata
            outcome = replace(outcome, summary_error=str(error))
    return outcome


def _make_blocks(
    work: Worklist,
    blocks: Iterable[Sequence[WorkItem]],
    pipeline: ZImagePipeline,
    shared: SharedWork,
    store: ResultStore,
    make_maker: Callable[[EncodingCache, ResultWriter], Maker],
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Outcome:
    """Make one block after the other, until there is none or it is asked to stop."""
    parts: list[Outcome] = []

    def show(progress: Progress) -> None:
        done = sum(part.made + len(part.failed) for part in parts)
        failed = sum(len(part.failed) for part in parts)
        if on_progress is not None:
            on_progress(
                replace(
                    progress, done=progress.done + done, total=progress.total + done, failed=progress.failed + failed
                )
            )

    for items in blocks:
        block = replace(work, to_do=tuple(items))
        parts.append(_make_all(block, pipeline, shared, store, make_maker, show, should_stop))
        if parts[-1].is_interrupted:
            break
    return Outcome(
        made=sum(part.made for part in parts),
        failed=tuple(failure for part in parts for failure in part.failed),
        skipped=work.finished,
        stale=work.stale,
        remaining=sum(part.remaining for part in parts),
        is_interrupted=any(part.is_interrupted for part in parts),
        shared_evaluations=shared.reused_evaluations,
        seconds=math.fsum(part.seconds for part in parts),
    )


def _make_all(
    work: Worklist,
    pipeline: ZImagePipeline,
    shared: SharedWork,
    store: ResultStore,
    make_maker: Callable[[EncodingCache, ResultWriter], Maker],
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Outcome:
    started = time.perf_counter()
    encodings = EncodingCache(pipeline, work.to_do)
    finished = 0
    with ResultWriter(store) as writer:

        def on_finished(item: WorkItem) -> None:
            nonlocal finished
            finished += 1
            if on_progress is not None:
                on_progress(_progress(finished, len(work.to_do), len(writer.failed), started, item.run.run_id))

        begun = draw_in_turn(encodings, make_maker(encodings, writer), on_finished, should_stop)
    return Outcome(
        made=writer.made,
        failed=tuple(writer.failed),
        skipped=work.finished,
        stale=work.stale,
        remaining=len(work.to_do) - begun,
        is_interrupted=begun < len(work.to_do),
        shared_evaluations=shared.reused_evaluations,
        seconds=time.perf_counter() - started,
    )


def _session(pipeline: ZImagePipeline, command: str) -> dict[str, Any]:
    """Describe this run of a command: what made the pictures that carry its id."""
    return {
        "id": uuid4().hex[:16],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "command": command,
        **pipeline.surroundings(),
    }


def _progress(done: int, total: int, failed: int, started: float, run_id: str) -> Progress:
    rate = done / max(time.perf_counter() - started, 1e-9)
    return Progress(done, total, failed, rate, (total - done) / rate, run_id)
