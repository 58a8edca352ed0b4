"""Runs -> results on this machine: encode ahead, draw one by one with the next one queued, write on threads.

Every image is computed alone: batching several changes rounding, and a run's image must not depend on its companions.
One run's failure is written down and the others go on.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from experiments.planning.design import Plan
from experiments.running.prompt_encodings import RUN_ERRORS, EncodingCache
from experiments.running.result_writer import ResultWriter
from experiments.running.worklist import WorkItem, Worklist, make_worklist
from experiments.store.comparable import Conditions
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError
from llm_dit.sampling.shared_work import HELD_RESULTS, SharedWork

if TYPE_CHECKING:
    from experiments.running.deciding import Decider
    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.stages.denoiser import PromptConditioning
    from llm_dit.stages.pending_image import PendingImage

VOLATILE_KEYS = ("stage_times_s",)
"""Parts of the engine's record that differ between two makings of the same image."""


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
            _Maker,
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


def free_device_memory() -> None:
    """Give back what a failed run or a pipeline that is gone left in the allocator's cache."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _make_blocks(
    work: Worklist,
    blocks: Iterable[Sequence[WorkItem]],
    pipeline: ZImagePipeline,
    shared: SharedWork,
    store: ResultStore,
    make_maker: Callable[[EncodingCache, ResultWriter], _Maker],
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
    make_maker: Callable[[EncodingCache, ResultWriter], _Maker],
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> Outcome:
    started = time.perf_counter()
    encodings = EncodingCache(pipeline, work.to_do)
    begun, finished, is_interrupted = 0, 0, False
    with ResultWriter(store) as writer, _repeated_warnings_dropped():
        maker = make_maker(encodings, writer)

        def finish(image: _Begun) -> None:
            nonlocal finished
            maker.finish(image)
            finished += 1
            if on_progress is not None:
                on_progress(_progress(finished, len(work.to_do), len(writer.failed), started, image.item.run.run_id))

        latest: _Begun | None = None
        for item in (item for group in encodings.groups() for item in group):
            if should_stop is not None and should_stop():
                is_interrupted = True
                break
            begun += 1
            previous, latest = latest, maker.begin(item)
            if previous is not None:
                finish(previous)
        if latest is not None:
            finish(latest)
    return Outcome(
        made=writer.made,
        failed=tuple(writer.failed),
        skipped=work.finished,
        stale=work.stale,
        remaining=len(work.to_do) - begun,
        is_interrupted=is_interrupted,
        shared_evaluations=shared.reused_evaluations,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, eq=False)
class _Begun:
    """A run whose image is on its way, or the error that kept it from starting."""

    item: WorkItem
    conditioning: PromptConditioning | None
    drawing: PendingImage | None
    encode_s: float
    error: Exception | None = None


class _Maker:
    """Makes images in two halves, so that the device has the next one before the last one is written."""

    def __init__(
        self,
        conditions: Conditions,
        pipeline: ZImagePipeline,
        shared: SharedWork,
        encodings: EncodingCache,
        writer: ResultWriter,
        *,
        experiment: str,
        session: str,
        first_texts: dict[tuple[int | None, int | None], str],
    ) -> None:
        self._conditions = conditions
        self._pipeline = pipeline
        self._shared = shared
        self._encodings = encodings
        self._writer = writer
        self._experiment = experiment
        self._session = session
        self._first_texts = first_texts  # of each size, for all blocks together
        self._ended = time.perf_counter()

    def begin(self, item: WorkItem) -> _Begun:
        """Start an image; what fails it is kept for `finish`."""
        params = item.run.params
        self._first_texts.setdefault((params.height, params.width), item.formatted_prompt)
        try:
            positive = self._encodings.get(item.formatted_prompt)
            negative = None if item.negative_prompt is None else self._encodings.get(item.negative_prompt)
            conditioning = self._pipeline.condition(params, positive.encoded, negative.encoded if negative else None)
            drawing = self._pipeline.draw(params, conditioning, self._shared)
        except RUN_ERRORS as error:
            return _Begun(item, None, None, 0.0, error)
        finally:
            self._encodings.release(item)
        return _Begun(item, conditioning, drawing, positive.seconds + (negative.seconds if negative else 0.0))

    def finish(self, begun: _Begun) -> None:
        """Hand a finished image, or what failed it, to the writer."""
        run, block = begun.item.run, _run_block(begun.item, self._conditions, self._experiment)
        if begun.error is not None:
            self._fail(begun.item, block, begun.error)
            return
        assert begun.drawing is not None and begun.conditioning is not None
        try:
            image, times = begun.drawing.wait()
        except RUN_ERRORS as error:
            self._fail(begun.item, block, error)
            return
        record = self._pipeline.metadata(run.params, begun.conditioning, {"encode": begun.encode_s, **times})
        measured = {
            "generation_time_seconds": round(begun.encode_s + sum(times.values()), 4),
            "token_count": begun.conditioning.token_count,
            "token_count_used": begun.conditioning.token_count_used,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "session": self._session,
            "elapsed_seconds": self._elapsed(),
            # the first prompt's encoding and first evaluation are shared by its runs, and so is what they cost more
            "is_warm_up": self._first_texts[run.params.height, run.params.width] == begun.item.formatted_prompt,
        }
        lasting = {name: value for name, value in record.items() if name not in VOLATILE_KEYS}
        self._writer.write(run, image, {**record, "run": {**block, **measured}}, {**lasting, "run": block})

    def _elapsed(self) -> float:
        """Return the seconds since the run before ended."""
        before, self._ended = self._ended, time.perf_counter()
        return round(self._ended - before, 4)

    def _fail(self, item: WorkItem, block: dict[str, Any], error: Exception) -> None:
        if self._pipeline.device.type == "cuda":
            free_device_memory()
        self._elapsed()
        record = {
            "parameters": item.run.params.model_dump(),
            "formatted_prompt": item.formatted_prompt,
            "model_fingerprint": self._conditions.fingerprint,
            "numerics": dict(self._conditions.numerics),
            "run": block,
        }
        self._writer.fail(item.run, record, str(error) or type(error).__name__)


def _session(pipeline: ZImagePipeline, command: str) -> dict[str, Any]:
    """Describe this run of a command: what made the pictures that carry its id."""
    return {
        "id": uuid4().hex[:16],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "command": command,
        **pipeline.surroundings(),
    }


def _run_block(item: WorkItem, conditions: Conditions, experiment: str) -> dict[str, Any]:
    run = item.run
    return {
        "run_id": run.run_id,
        "identity": item.identity,
        "conditions": conditions.hash,
        "experiment": experiment,
        "prompt_id": run.prompt.id,
        "category": run.prompt.category,
        "difficulty": run.prompt.difficulty,
        "prompt": run.prompt.text,
        "seed": run.seed,
        "levels": dict(run.cell.levels),
    }


def _progress(done: int, total: int, failed: int, started: float, run_id: str) -> Progress:
    rate = done / max(time.perf_counter() - started, 1e-9)
    return Progress(done, total, failed, rate, (total - done) / rate, run_id)


@contextmanager
def _repeated_warnings_dropped() -> Iterator[None]:
    """Let the engine's log say the same sentence once, not once per image."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in seen:
            return False
        seen.add(message)
        return True

    logger = logging.getLogger("llm_dit.pipeline")
    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
