"""Jobs and history entries as the JSON that pages and API clients read."""

from __future__ import annotations

from typing import Any

from web.history.image_history import Entry
from web.jobs.image_jobs import IMAGE_KIND
from web.jobs.queue import Job, JobQueue, JobState


def job_snapshot(queue: JobQueue, job: Job) -> dict[str, Any]:
    """Return a job as JSON."""
    is_image_there = job.kind == IMAGE_KIND and job.state is JobState.DONE
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "title": job.title,
        "request": job.request,
        "client": job.client,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "position": queue.position(job),
        "step": job.step,
        "total": job.total,
        "eta_s": None if job.eta_s is None else round(job.eta_s, 2),
        "preview": f"/api/jobs/{job.id}/preview?step={job.step}" if job.preview else None,
        "image": f"/api/images/{job.id}" if is_image_there else None,
        "error": job.error,
        "field": job.error_field,
    }


def entry_as_job(entry: Entry) -> dict[str, Any]:
    """Return a history entry in the shape of a job that is over, for jobs from before a restart."""
    return {
        "id": entry.id,
        "kind": IMAGE_KIND,
        "state": entry.state,
        "title": entry.params["prompt"][:200],
        "request": entry.params,
        "client": None,
        "created_at": entry.created_at,
        "started_at": None,
        "finished_at": None,
        "position": 0,
        "step": 0,
        "total": 0,
        "eta_s": None,
        "preview": None,
        "image": f"/api/images/{entry.id}" if entry.state == "done" else None,
        "error": entry.error,
        "field": None,
    }


def entry_snapshot(entry: Entry) -> dict[str, Any]:
    """Return a history entry as JSON."""
    is_done = entry.state == "done"
    return {
        "id": entry.id,
        "state": entry.state,
        "created_at": entry.created_at,
        "params": entry.params,
        "error": entry.error,
        "image": f"/api/images/{entry.id}" if is_done else None,
        "thumbnail": f"/api/images/{entry.id}/thumbnail" if is_done else None,
    }
