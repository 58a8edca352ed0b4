"""Calls of the API that several tests begin with."""

from __future__ import annotations

from fastapi.testclient import TestClient
from web_server import wait_until


def make(client: TestClient, **values) -> str:
    """Make an image and return its id."""
    answer = client.post("/api/generate?wait=true", json={"prompt": "a fox", "seed": 1, **values})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-job-id"]


def wait_for(client: TestClient, job_id: str) -> dict:
    wait_until(lambda: client.get(f"/api/jobs/{job_id}").json()["state"] not in ("waiting", "running"))
    return client.get(f"/api/jobs/{job_id}").json()
