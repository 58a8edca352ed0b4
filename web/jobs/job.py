"""One piece of work of the queue, and where it stands."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job stands; the last four are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """True if nothing will change any more."""
        return self not in (JobState.WAITING, JobState.RUNNING)


@dataclass(eq=False)
class Job:
    """One piece of work and how far it is.

    Attributes:
        id: 32 hexadecimal digits; an image has the id of its job.
        kind: `generate`, `rewrite` or `experiment`.
        title: What is shown in the queue, such as the prompt.
        work: What is to be done; called with the queue's handle of this job.
        request: What was asked for, JSON-able.
        client: Name of the browser tab that asked; None for clients without a page.
        step: Steps done.
        total: Steps to do; 0 while unknown.
        eta_s: Seconds left, None while unknown.
        preview: Small JPEG of the image so far.
        result: What the work returned, or has so far; None once nobody wants it (`is_result_wanted`).
        error: One sentence, if the job failed.
        error_field: Parameter at fault, if one is.
        is_defect: True if it failed for a reason the user can't mend.
        notices: Sentences on what was asked for and has no effect, and on texts that were cut.
        images_per_second: Mean rate of an experiment, of all workers together; None while unknown.
        loading: The arm of an experiment whose model is being loaded, or the model's name; empty while none is.
        workers: What the workers of an experiment do, JSON-able; those in trouble where there are too many.
        other_workers: A word on the workers that are not among them.
        faults: The latest faults of workers, and what they wait for: each a `number`, Unix time `at`, sentence `text`.
        version: Number of the last change of this job; its place among the waiting ones has a number of its own, which
            they share (`JobQueue.told_version`). All numbers are in the order of the changes.
    """

    kind: str
    title: str
    work: Callable[[Any], Any] = field(repr=False)
    request: dict[str, Any] = field(default_factory=dict)
    client: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: JobState = JobState.WAITING
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    step: int = 0
    total: int = 0
    eta_s: float | None = None
    preview: bytes | None = None
    result: Any = None
    error: str | None = None
    error_field: str | None = None
    is_defect: bool = False
    notices: tuple[str, ...] = ()
    images_per_second: float | None = None
    loading: str = ""
    workers: tuple[dict[str, Any], ...] = ()
    other_workers: str = ""
    faults: tuple[dict[str, Any], ...] = ()
    is_cancel_requested: bool = False
    is_result_wanted: bool = True
    version: int = 0
