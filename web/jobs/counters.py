"""Counters for Prometheus, in a registry of their own for each application."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from web.jobs.job import Job
from web.jobs.queue import JobQueue


class Monitoring:
    """What /metrics tells."""

    def __init__(self, queue: JobQueue) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Counter("llm_dit_jobs", "Finished jobs.", ["kind", "outcome"], registry=self.registry)
        self._seconds = Histogram(
            "llm_dit_job_seconds",
            "Duration of finished jobs, waiting not included.",
            ["kind"],
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
            registry=self.registry,
        )
        self.refused = Counter("llm_dit_refused", "Jobs refused because the queue was full.", registry=self.registry)
        waiting = Gauge("llm_dit_waiting_jobs", "Jobs that wait.", registry=self.registry)
        waiting.set_function(lambda: queue.waiting_count)

    def record_end(self, job: Job) -> None:
        """Count a job that is over."""
        self._jobs.labels(job.kind, job.state.value).inc()
        if job.started_at is not None and job.finished_at is not None:
            self._seconds.labels(job.kind).observe(job.finished_at - job.started_at)

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self.registry)
