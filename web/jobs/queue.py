"""One queue, one worker thread, one job at a time, in order.

The queue knows neither HTTP nor models: a job is a title and a function that is called with a `JobHandle`, through
which it reports progress and learns that it was cancelled. Whoever wants to follow a job registers a listener and reads
snapshots; a slow reader sees fewer of them, never a backlog.

What is read reaches a page by several ways (answers, events) that overtake each other. The queue alone numbers the
changes, so that a page can tell which of two snapshots is newer: `JobQueue.told_version`.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llm_dit.errors import LlmDitError
from web.jobs.job import Job, JobState

logger = logging.getLogger(__name__)

FINISHED_KEPT = 4096
"""Finished jobs whose outcome stays in memory; older images are in the history."""
PREVIEWS_KEPT = 16
FAULTS_KEPT = 20
LONGEST_RETRY_S = 600


class JobCancelled(Exception):
    """Raised inside a job's work when the job is to stop."""


class QueueFull(LlmDitError):
    """No room for more waiting jobs.

    Attributes:
        retry_after_s: Whole seconds after which a place is likely to be free.
    """

    def __init__(self, queue_size: int, retry_after_s: int) -> None:
        super().__init__(f"{queue_size} jobs are waiting already; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class JobHandle:
    """What a job's work may do with its job."""

    def __init__(self, queue: JobQueue, job: Job) -> None:
        self._queue = queue
        self.job = job
        self._first_step_at = 0.0

    def check(self) -> None:
        """Raise `JobCancelled` if the job is to stop."""
        if self.job.is_cancel_requested:
            raise JobCancelled

    def step(self, step: int, total: int, preview: bytes | None = None) -> None:
        """Record that `step` of `total` steps are done; stop here if the job is cancelled."""
        self.check()
        assert self.job.started_at is not None
        if step == 1 or self.job.total != total:
            self._first_step_at = time.monotonic()
        spent_s = time.monotonic() - self._first_step_at
        eta_s = spent_s / (step - 1) * (total - step) if step > 1 else None
        self.show(step, total, eta_s, preview)

    def show(self, step: int, total: int, eta_s: float | None, preview: bytes | None = None) -> None:
        """Record how far the job is, whether it is to stop or not."""
        self._queue.update(self.job, step=step, total=total, eta_s=eta_s, preview=preview or self.job.preview)

    def note(self, notices: Sequence[str]) -> None:
        """Record what the user should know of the result."""
        self._queue.update(self.job, notices=tuple(notices))

    def show_workers(self, workers: Sequence[dict[str, Any]], others: str) -> None:
        """Record what workers do, and a word on those that are not named."""
        self._queue.update(self.job, workers=tuple(workers), other_workers=others)

    def show_loading(self, arm: str) -> None:
        """Record which arm of an experiment is being loaded, at once."""
        self._queue.update(self.job, loading=arm)

    def show_rate(self, images_per_second: float) -> None:
        """Record how fast an experiment goes; told with the next step."""
        self.job.images_per_second = images_per_second

    def tell_fault(self, sentence: str) -> None:
        """Record a fault of a worker; the latest ones are kept."""
        faults = self.job.faults
        number = faults[-1]["number"] + 1 if faults else 1
        fault = {"number": number, "at": round(time.time(), 2), "text": sentence}
        self._queue.update(self.job, faults=(*faults, fault)[-FAULTS_KEPT:])

    def publish(self, partial: Any) -> None:
        """Show what the job has so far as its result; stop here if the job is cancelled."""
        self.check()
        self._queue.update(self.job, result=partial)


class JobQueue:
    """Runs jobs one after the other on a thread of its own.

    Args:
        queue_size: Jobs that may wait; more are refused with `QueueFull`.
        prepare: Called once on the worker thread before the first job, to load the model.
        on_finish: Called on the worker thread, or where a waiting job is cancelled, after each job's end.
        on_refuse: Called with the number of jobs that found no room.

    Attributes:
        first_version: Number from which this queue counts; above all of the server before it.
        order_version: Number of the last change of which jobs wait or run, and in which order.
    """

    def __init__(
        self,
        queue_size: int,
        *,
        prepare: Callable[[], None] = lambda: None,
        on_finish: Callable[[Job], None] = lambda _job: None,
        on_refuse: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.queue_size = queue_size
        self._prepare = prepare
        self._on_finish = on_finish
        self._on_refuse = on_refuse
        self._condition = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._jobs: OrderedDict[str, Job] = OrderedDict()  # in the order of their versions
        self.first_version = self._version = time.time_ns() // 1000  # above the numbers of the server before this one
        self.order_version = self._version
        self._listeners: list[Callable[[], None]] = []
        self._recent_durations_s: deque[float] = deque([1.0], maxlen=20)
        self._latest_finished: deque[Job] = deque()
        self._is_closing = False
        self._is_prepared = False
        self._thread = threading.Thread(target=self._work, name="device-worker", daemon=True)

    def start(self) -> None:
        """Start the worker thread."""
        self._thread.start()

    def close(self, timeout_s: float = 30.0) -> None:
        """Stop the running job within its current step, leave the waiting ones, end the thread if it is prepared."""
        with self._condition:
            self._is_closing = True
            if self._running is not None:
                self._running.is_cancel_requested = True
            self._condition.notify_all()
        if self._is_prepared:  # a model that loads can't be stopped; its thread ends with the process
            self._thread.join(timeout_s)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put all of `jobs` at the end of the queue, or none.

        Raises:
            QueueFull: If they don't all fit.
        """
        with self._condition:
            if len(self._waiting) + len(jobs) > self.queue_size:
                self._on_refuse(len(jobs))
                raise QueueFull(self.queue_size, self._retry_after_s())
            for job in jobs:
                self._waiting.append(job)
                self._jobs[job.id] = job
                self._touch(job)
            self._note_order()
            self._condition.notify_all()
        self._tell_listeners()

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a waiting job at once, a running one within its current step; return it, None if unknown."""
        with self._condition:
            job = self._jobs.get(job_id)
            if job is None or job.state.is_final:
                return job
            job.is_cancel_requested = True
            self._touch(job)
            is_waiting = job.state is JobState.WAITING
            if is_waiting:
                self._waiting.remove(job)
                self._set_final(job, JobState.CANCELLED)
                self._note_order()
        if is_waiting:
            self._finish(job)
        self._tell_listeners()
        return job

    def cancel_all(self, job_ids: Sequence[str]) -> None:
        """Cancel several jobs; the last first, so that none of them begins meanwhile."""
        for job_id in reversed(job_ids):
            self.cancel(job_id)

    def let_go(self, job: Job) -> None:
        """Keep the result of `job` no longer, nor when it comes: whoever asked has taken it or gone away."""
        with self._condition:
            job.is_result_wanted = False
            job.result = None

    def forget(self, job_id: str) -> None:
        """Drop a job that is over: its image was deleted, and nothing shall tell of it any more."""
        with self._condition:
            job = self._jobs.get(job_id)
            if job is not None and job.state.is_final:
                del self._jobs[job_id]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every job as it is inside the block, so that what is read of one, or of several, fits together."""
        with self._condition:
            yield

    @property
    def version(self) -> int:
        """Number of the last change."""
        return self._version

    def get(self, job_id: str) -> Job | None:
        """Return a job that is waiting, running, or finished not long ago."""
        return self._jobs.get(job_id)

    def active(self) -> list[Job]:
        """Return the running job and the waiting ones, in order."""
        with self._condition:
            return ([self._running] if self._running else []) + list(self._waiting)

    def changed_since(self, version: int) -> list[Job]:
        """Return the jobs that changed after `version`, oldest change first."""
        with self._condition:
            newest_first = itertools.takewhile(lambda job: job.version > version, reversed(self._jobs.values()))
            return list(newest_first)[::-1]

    def told_version(self, job: Job) -> int:
        """Return the number of the last change of what is told of `job`, its place in the queue included.

        Of two snapshots the one with the higher number is newer. One number stands for all places: when a job ends,
        thousands that wait behind it need not be told of one by one.
        """
        return max(job.version, self.order_version) if job.state is JobState.WAITING else job.version

    def position(self, job: Job) -> int:
        """Return how many jobs are in front of `job`: 0 when it runs or is over."""
        with self._condition:
            if job.state is not JobState.WAITING:
                return 0
            return self._waiting.index(job) + (1 if self._running else 0)

    @property
    def waiting_count(self) -> int:
        """Number of waiting jobs."""
        return len(self._waiting)

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` on any thread after any change."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Undo `add_listener`."""
        self._listeners.remove(listener)

    def update(self, job: Job, **changes: Any) -> None:
        """Change a running job and tell the listeners."""
        with self._condition:
            _change(job, changes)
            self._touch(job)
        self._tell_listeners()

    def _touch(self, job: Job) -> None:
        self._version += 1
        job.version = self._version
        self._jobs.move_to_end(job.id)

    def _note_order(self) -> None:
        self._version += 1
        self.order_version = self._version

    def _set_final(self, job: Job, state: JobState) -> None:
        job.state = state
        job.finished_at = time.time()
        self._touch(job)
        self._keep_preview(job)
        while len(self._jobs) > FINISHED_KEPT + self.queue_size:
            oldest = next((key for key, old in self._jobs.items() if old.state.is_final), None)
            assert oldest is not None
            del self._jobs[oldest]

    def _keep_preview(self, job: Job) -> None:
        """Let go of the oldest preview; a page may still be fetching the latest ones of jobs that just ended."""
        if len(self._latest_finished) == PREVIEWS_KEPT:
            self._latest_finished.popleft().preview = None
        self._latest_finished.append(job)

    def _tell_listeners(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _retry_after_s(self) -> int:
        mean_s = sum(self._recent_durations_s) / len(self._recent_durations_s)
        return min(LONGEST_RETRY_S, max(1, math.ceil(mean_s)))

    def _work(self) -> None:
        self._prepare()
        self._is_prepared = True
        self._tell_listeners()
        while (job := self._next()) is not None:
            self._run(job)

    def _next(self) -> Job | None:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._is_closing)
            if self._is_closing:
                return None
            job = self._running = self._waiting.popleft()
            job.state = JobState.RUNNING
            job.started_at = time.time()
            self._touch(job)
            self._note_order()
        self._tell_listeners()
        return job

    def _run(self, job: Job) -> None:
        began = time.monotonic()
        outcome: dict[str, Any] = {}
        try:
            handle = JobHandle(self, job)
            handle.check()
            outcome = {"result": job.work(handle)}
            state = JobState.DONE
        except JobCancelled:
            state = JobState.INTERRUPTED if self._is_closing else JobState.CANCELLED
        except LlmDitError as error:
            state, outcome = JobState.FAILED, {"error": str(error), "error_field": error.field}
        except Exception as error:  # one job's defect must not end the worker; the log has its traceback
            logger.exception("job %s failed", job.id)
            state, outcome = JobState.FAILED, {"error": _sentence(error), "is_defect": True}
        self._recent_durations_s.append(time.monotonic() - began)
        with self._condition:
            _change(job, outcome)
            if not job.is_result_wanted:
                job.result = None
            self._set_final(job, state)
            self._running = None
            self._note_order()
        self._finish(job)
        self._tell_listeners()

    def _finish(self, job: Job) -> None:
        try:
            self._on_finish(job)
        except Exception:  # a full disk must not end the worker either
            logger.exception("the end of job %s could not be recorded", job.id)


def _change(job: Job, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(job, name, value)


def _sentence(error: Exception) -> str:
    """Say what went wrong without a traceback; memory is the one defect with advice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "The device ran out of memory; make the image smaller, or start the server with a lower --vram-limit."
    return f"Something went wrong inside ({type(error).__name__}); the server's log has the details."
