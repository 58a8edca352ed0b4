"""What an image job does: parameters in, a row of the history with its PNG out."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams
from web.engine import EngineHandle
from web.history import History
from web.jobs import Job, JobHandle, JobQueue, JobState

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_KIND = "generate"
PREVIEW_PIXELS = 512
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

    def submit(self, requests: Sequence[GenerationParams], client: str | None = None) -> list[Job]:
        """Queue one job an image: all of them, or none.

        Raises:
            InvalidParameter: If the model has no such hidden layer.
            QueueFull: If they don't all fit.
        """
        for params in requests:
            self._check_against_model(params)
        jobs = [self._job(params, client) for params in requests]
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

    def _check_against_model(self, params: GenerationParams) -> None:
        count = self._engine.card.hidden_layer_count
        if count is not None and params.hidden_layer < -count:
            raise InvalidParameter(
                "hidden_layer", f"{params.hidden_layer} is deeper than this model; use -{count} to -1."
            )

    def _job(self, params: GenerationParams, client: str | None) -> Job:
        return Job(
            kind=IMAGE_KIND,
            title=params.prompt[:TITLE_CHARACTERS],
            work=lambda handle: self._make(handle, params),
            request=params.model_dump(),
            client=client,
        )

    def _make(self, handle: JobHandle, params: GenerationParams) -> dict[str, Any]:
        """Make the image and store it; return its metadata."""

        def report(info: Any) -> None:
            preview = encode_preview(info.preview()) if self._is_watched(handle.job) else None
            handle.step(info.step, info.total, preview)

        result = self._engine.get().generate(params, on_step=report)
        handle.check()
        self._history.store_image(handle.job.id, result.image, result.params.model_dump(), result.metadata)
        metadata: dict[str, Any] = result.metadata
        return metadata


def encode_preview(image: Image) -> bytes:
    """Return a small JPEG of a preview."""
    image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=70)
    return buffer.getvalue()
