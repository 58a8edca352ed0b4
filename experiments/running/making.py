"""How one device makes pictures: one by one, the next one queued, each handed on with its record or what failed it.

Every image is computed alone: batching several changes rounding, and a run's image must not depend on its companions.
Knows no folder: results go to a sink, which writes them here or takes them along to another process.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from experiments.planning.design import Run
from experiments.running.prompt_encodings import RUN_ERRORS, EncodingCache
from experiments.running.worklist import WorkItem
from experiments.store.comparable import Conditions
from llm_dit.sampling.shared_work import SharedWork

if TYPE_CHECKING:
    from PIL import Image

    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.stages.denoiser import PromptConditioning
    from llm_dit.stages.pending_image import PendingImage

VOLATILE_KEYS = ("stage_times_s",)
"""Parts of the engine's record that differ between two makings of the same image."""


def draw_in_turn(
    encodings: EncodingCache,
    maker: Maker,
    on_finished: Callable[[WorkItem], None],
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Draw the runs of `encodings` with the next one queued while one computes; return how many were begun."""
    begun = 0
    latest: Begun | None = None

    def finish(image: Begun) -> None:
        maker.finish(image)
        on_finished(image.item)

    with _repeated_warnings_dropped():
        for item in (item for group in encodings.groups() for item in group):
            if should_stop is not None and should_stop():
                break
            begun += 1
            previous, latest = latest, maker.begin(item)
            if previous is not None:
                finish(previous)
        if latest is not None:
            finish(latest)
    return begun


class Sink(Protocol):
    """Where a maker's results go."""

    def write(self, run: Run, image: Image.Image, metadata: dict[str, Any], png_record: dict[str, Any]) -> None:
        """Take a finished run; see `ResultWriter.write`."""

    def fail(self, run: Run, metadata: dict[str, Any], error: str) -> None:
        """Take a run that failed, and why."""


@dataclass(frozen=True, eq=False)
class Begun:
    """A run whose image is on its way, or the error that kept it from starting."""

    item: WorkItem
    conditioning: PromptConditioning | None
    drawing: PendingImage | None
    encode_s: float
    error: Exception | None = None


class Maker:
    """Makes images in two halves, so that the device has the next one before the last one is written."""

    def __init__(
        self,
        conditions: Conditions,
        pipeline: ZImagePipeline,
        shared: SharedWork,
        encodings: EncodingCache,
        sink: Sink,
        *,
        experiment: str,
        session: str,
        first_texts: dict[tuple[int | None, int | None], str],
    ) -> None:
        self._conditions = conditions
        self._pipeline = pipeline
        self._shared = shared
        self._encodings = encodings
        self._sink = sink
        self._experiment = experiment
        self._session = session
        self._first_texts = first_texts  # of each size, for all blocks together
        self._ended = time.perf_counter()

    def begin(self, item: WorkItem) -> Begun:
        """Start an image; what fails it is kept for `finish`."""
        params = item.run.params
        self._first_texts.setdefault((params.height, params.width), item.formatted_prompt)
        try:
            positive = self._encodings.get(item.formatted_prompt)
            negative = None if item.negative_prompt is None else self._encodings.get(item.negative_prompt)
            conditioning = self._pipeline.condition(params, positive.encoded, negative.encoded if negative else None)
            drawing = self._pipeline.draw(params, conditioning, self._shared)
        except RUN_ERRORS as error:
            return Begun(item, None, None, 0.0, error)
        finally:
            self._encodings.release(item)
        return Begun(item, conditioning, drawing, positive.seconds + (negative.seconds if negative else 0.0))

    def finish(self, begun: Begun) -> None:
        """Hand a finished image, or what failed it, to the writer."""
        run, block = begun.item.run, _run_block(begun.item, self._conditions, self._experiment)
        if begun.error is not None:
            self._fail(begun.item, begun.error)
            return
        assert begun.drawing is not None and begun.conditioning is not None
        try:
            image, times = begun.drawing.wait()
        except RUN_ERRORS as error:
            self._fail(begun.item, error)
            return
        record = self._pipeline.metadata(run.params, begun.conditioning, {"encode": begun.encode_s, **times})
        measured = {
            "generation_time_seconds": round(begun.encode_s + sum(times.values()), 4),
            "token_count": begun.conditioning.token_count,
            "token_count_used": begun.conditioning.token_count_used,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "session": self._session,
            "load_seconds": {network: round(took, 4) for network, took in self._pipeline.load_seconds.items()},
            "elapsed_seconds": self._elapsed(),
            # the first prompt's encoding and first evaluation are shared by its runs, and so is what they cost more
            "is_warm_up": self._first_texts[run.params.height, run.params.width] == begun.item.formatted_prompt,
        }
        lasting = {name: value for name, value in record.items() if name not in VOLATILE_KEYS}
        self._sink.write(run, image, {**record, "run": {**block, **measured}}, {**lasting, "run": block})

    def _elapsed(self) -> float:
        """Return the seconds since the run before ended."""
        before, self._ended = self._ended, time.perf_counter()
        return round(self._ended - before, 4)

    def _fail(self, item: WorkItem, error: Exception) -> None:
        if self._pipeline.device.type == "cuda":  # pragma: no cover - needs a card
            free_device_memory()
        self._elapsed()
        record = failure_record(item, self._conditions, self._experiment)
        self._sink.fail(item.run, record, str(error) or type(error).__name__)


def failure_record(item: WorkItem, conditions: Conditions, experiment: str) -> dict[str, Any]:
    """Return what is written down of a run that failed, beside why."""
    return {
        "parameters": item.run.params.model_dump(),
        "formatted_prompt": item.formatted_prompt,
        "model_fingerprint": item.model.fingerprint,
        "numerics": dict(item.model.numerics),
        "run": _run_block(item, conditions, experiment),
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


def free_device_memory() -> None:
    """Give back what a failed run or a pipeline that is gone left in the allocator's cache."""
    import torch

    if torch.cuda.is_available():  # pragma: no cover - needs a card
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():  # pragma: no cover - needs a GPU of Apple's
        torch.mps.empty_cache()


@contextmanager
def _repeated_warnings_dropped() -> Iterator[None]:
    """Let the engine's log say the same once, in whatever numbers, not once per image or prompt.

    How many prompts are too long, and which, is said before the first image, and each record has its own numbers.
    """
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        sentence = re.sub(r"\d+", "N", record.getMessage())
        if sentence in seen:
            return False
        seen.add(sentence)
        return True

    logger = logging.getLogger("llm_dit.pipeline")
    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)
