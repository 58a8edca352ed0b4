"""Jobs and history entries as the JSON that pages and API clients read."""

from __future__ import annotations

from typing import Any

from web.history.entry import Entry
from web.jobs.image_jobs import IMAGE_KIND
from web.jobs.job import Job, JobState
from web.jobs.queue import JobQueue


def job_snapshot(queue: JobQueue, job: Job) -> dict[str, Any]:
    """Return a job as JSON, all of it as of its `version`."""
    with queue.held():
        return _job_values(job, queue.told_version(job), queue.position(job))


def active_snapshots(queue: JobQueue) -> list[dict[str, Any]]:
    """Return the running job and the waiting ones, in order, as JSON of one instant."""
    with queue.held():
        active = enumerate(queue.active())
        return [_job_values(job, queue.told_version(job), position) for position, job in active]


def queue_news(queue: JobQueue, since: int, *, with_active: bool) -> dict[str, Any]:
    """Return what is new in the queue as JSON.

    Args:
        queue: Read at one instant.
        since: `version` of the news before; a number that this queue has not reached is another server's.
        with_active: Tell of the jobs that wait or run even if they did not change.

    Returns:
        `version`; `active`, the ids of the jobs that wait or run in their order, or null where the order is as it was;
        and `jobs`, those that changed themselves. That a job moved up is told by `active` alone.
    """
    with queue.held():
        since = since if since <= queue.version else 0
        active = queue.active() if with_active or queue.order_version > since else None
        changed = queue.changed_since(since)
        told = {job.id: job for job in [*((active or []) if with_active else []), *changed]}
        positions = {job.id: position for position, job in enumerate(active or [])}
        return {
            "version": queue.version,
            "active": None if active is None else [job.id for job in active],
            "jobs": [
                _job_values(job, queue.told_version(job), positions.get(job.id) or queue.position(job))
                for job in told.values()
            ],
        }


def _job_values(job: Job, version: int, position: int) -> dict[str, Any]:
    is_image_there = job.kind == IMAGE_KIND and job.state is JobState.DONE
    return {
        "id": job.id,
        "version": version,
        "kind": job.kind,
        "state": job.state.value,
        "title": job.title,
        "request": job.request,
        "client": job.client,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "position": position,
        "is_cancelling": job.is_cancel_requested and not job.state.is_final,
        "step": job.step,
        "total": job.total,
        "eta_s": None if job.eta_s is None else round(job.eta_s, 2),
        "preview": f"/api/jobs/{job.id}/preview?step={job.step}" if job.preview else None,
        "image": f"/api/images/{job.id}" if is_image_there else None,
        "error": job.error,
        "field": job.error_field,
        "notices": list(job.notices),
        "images_per_second": job.images_per_second,
        "loading": "" if job.state.is_final else job.loading,
        "workers": list(job.workers),
        "other_workers": job.other_workers,
        "faults": list(job.faults),
    }


def entry_as_job(entry: Entry, version: int) -> dict[str, Any]:
    """Return a history entry in the shape of a job that is over, for jobs from before a restart.

    Args:
        entry: Its row.
        version: `JobQueue.first_version`: newer than all that the server before told of it.
    """
    return {
        "id": entry.id,
        "version": version,
        "kind": IMAGE_KIND,
        "state": entry.state,
        "title": entry.params["prompt"][:200],
        "request": entry.params,
        "client": None,
        "created_at": entry.created_at,
        "started_at": None,
        "finished_at": None,
        "position": 0,
        "is_cancelling": False,
        "step": 0,
        "total": 0,
        "eta_s": None,
        "preview": None,
        "image": f"/api/images/{entry.id}" if entry.state == "done" else None,
        "error": entry.error,
        "field": None,
        "notices": (entry.metadata or {}).get("notices", []),
        "images_per_second": None,
        "loading": "",
        "workers": [],
        "other_workers": "",
        "faults": [],
    }


def entry_snapshot(entry: Entry) -> dict[str, Any]:
    """Return a history entry as JSON."""
    is_done = entry.state == "done"
    return {
        "id": entry.id,
        "state": entry.state,
        "created_at": entry.created_at,
        "number": entry.number,
        "is_starred": entry.is_starred,
        "params": entry.params,
        "error": entry.error,
        "image": f"/api/images/{entry.id}" if is_done else None,
        "thumbnail": f"/api/images/{entry.id}/thumbnail" if is_done else None,
    }
