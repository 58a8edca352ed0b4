"""What an image job does: parameters in, a row of the history with its PNG out."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llm_dit.parameters import GenerationParams
from llm_dit.parameters.effects import without_effect
from web.history.image_history import History
from web.jobs.job import Job, JobState
from web.jobs.loaded_model import EngineHandle
from web.jobs.queue import JobHandle, JobQueue

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_KIND = "generate"
PREVIEW_PIXELS = 512
PREVIEW_SHARE = 0.2
"""Most of the time that previews may take."""
TITLE_CHARACTERS = 200


class ImageStudio:
    """Puts image jobs into the queue and their results into the history.

    Args:
        engine: The model.
        queue: Where jobs wait.
        history: Where rows and images go.
        is_watched: Says whether anyone would look at a preview of this job.
    """

    def __init__(
        self, engine: EngineHandle, queue: JobQueue, history: History, is_watched: Callable[[Job], bool]
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._history = history
        self._is_watched = is_watched

    def submit(
        self, requests: Sequence[GenerationParams], client: str | None = None, *, is_awaited: bool = False
    ) -> list[Job]:
        """Queue one job an image: all of them, or none.

        Args:
            requests: What to draw.
            client: Browser tab that asks.
            is_awaited: True if the caller takes the PNG from `Job.result`, however fast the history moves on.

        Raises:
            InvalidParameter: If a parameter does not fit the model.
            QueueFull: If they don't all fit.
        """
        jobs = [self._job(self._engine.resolve(params), client, is_awaited=is_awaited) for params in requests]
        self._history.add_waiting({job.id: job.request for job in jobs})
        try:
            self._queue.submit(jobs)
        except BaseException:
            for job in jobs:
                self._history.delete(job.id)
            raise
        return jobs

    def record_end(self, job: Job) -> None:
        """Bring the row of a job that ended without an image up to date."""
        if job.kind != IMAGE_KIND or job.state is JobState.DONE:
            return
        if job.state is JobState.CANCELLED:
            self._history.delete(job.id)
        elif job.state is JobState.INTERRUPTED:
            self._history.set_failed(job.id, "interrupted", "The server stopped before the image was finished.")
        else:
            self._history.set_failed(job.id, "failed", job.error)

    def _job(self, params: GenerationParams, client: str | None, *, is_awaited: bool) -> Job:
        return Job(
            kind=IMAGE_KIND,
            title=params.prompt[:TITLE_CHARACTERS],
            work=lambda handle: self._make(handle, params, is_awaited=is_awaited),
            request=params.model_dump(),
            notices=tuple(item.sentence() for item in without_effect(params)),
            client=client,
        )

    def _make(self, handle: JobHandle, params: GenerationParams, *, is_awaited: bool) -> bytes | None:
        """Make the image and store it; return the PNG if someone waits for it."""
        from llm_dit.image_io import png_bytes, without_places

        previews = PreviewPace()

        def report(info: Any) -> None:
            handle.check()
            is_due = info.step < info.total and self._is_watched(handle.job) and previews.is_due()
            handle.step(info.step, info.total, previews.make(info.preview) if is_due else None)

        result = self._engine.get().generate(params, on_step=report)
        handle.check()
        png = png_bytes(result.image, result.metadata)
        record = without_places(result.metadata)
        self._history.store_image(handle.job.id, png, result.image, result.params.model_dump(), record)
        handle.note(result.metadata.get("notices", ()))
        return png if is_awaited else None


class PreviewPace:
    """Makes previews only as often as they take a small share of the time."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def is_due(self) -> bool:
        """Say whether enough time has passed since the last preview."""
        return time.monotonic() >= self._next_at

    def make(self, draw: Callable[[], Image]) -> bytes:
        """Return a preview as JPEG, and rest for a multiple of the time it took."""
        began = time.monotonic()
        preview = encode_preview(draw())
        ended = time.monotonic()
        self._next_at = ended + (ended - began) * (1 / PREVIEW_SHARE - 1)
        return preview


def encode_preview(image: Image) -> bytes:
    """Return a small JPEG of a preview."""
    image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=70)
    return buffer.getvalue()
