"""Jobs over the API: their streams, clients that go away, and what a restart leaves."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from api_calls import make, wait_for
from fastapi.testclient import TestClient
from web_fakes import FakeEngine
from web_server import HTTP, client_of, live_server, make_app, wait_until

from web.jobs.job import Job


def test_a_full_queue_answers_429_with_retry_after(client: TestClient, engine: FakeEngine) -> None:
    engine.gate.clear()
    answers = [client.post("/api/generate", json={"prompt": "a fox"})]
    wait_until(lambda: engine.running == 1)
    answers += [client.post("/api/generate", json={"prompt": "a fox"}) for _ in range(5)]
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "try again" in refused.json()["error"]
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert len(accepted) == 5
    engine.gate.set()
    assert all(wait_for(client, job_id)["state"] == "done" for job_id in accepted)


def test_delete_cancels_a_running_job_within_one_step(client: TestClient, engine: FakeEngine) -> None:
    engine.gate.clear()
    job_id = client.post("/api/generate", json={"prompt": "a fox"}).json()["id"]
    wait_until(lambda: engine.running == 1)
    client.delete(f"/api/jobs/{job_id}")
    engine.gate.set()
    job = wait_for(client, job_id)
    assert job["state"] == "cancelled"
    assert job["step"] <= 1
    assert engine.made == []
    assert client.get("/api/history").json() == []
    assert client.get(f"/api/images/{job_id}").status_code == 404


def test_running_out_of_memory_fails_that_job_and_the_server_goes_on(client: TestClient) -> None:
    job_id = client.post("/api/generate", json={"prompt": "out of memory"}).json()["id"]
    job = wait_for(client, job_id)
    assert job["state"] == "failed"
    assert "ran out of memory" in job["error"]
    assert make(client)
    assert [entry["state"] for entry in client.get("/api/history").json()] == ["done", "failed"]


def test_latents_that_are_not_finite_are_a_clear_message(client: TestClient) -> None:
    answer = client.post("/api/generate?wait=true", json={"prompt": "not finite"})
    assert answer.status_code == 422
    assert "use --dtype bfloat16" in answer.json()["error"]
    assert make(client)


def test_events_follow_a_job_to_its_end(client: TestClient, engine: FakeEngine) -> None:
    engine.gate.clear()
    engine.halt.at = 5
    job_id = client.post("/api/generate", json={"prompt": "a fox", "num_inference_steps": 20}).json()["id"]
    with client.stream("GET", f"/api/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = (json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:"))
        jobs = [next(told)]
        engine.gate.set()
        while jobs[-1]["step"] < 5:
            jobs.append(next(told))
        assert (jobs[-1]["step"], bool(jobs[-1]["preview"])) == (5, True)
        engine.halt.may_pass.set()
        jobs += told
    assert jobs[-1]["state"] == "done"
    assert jobs[-1]["image"] == f"/api/images/{job_id}"
    for name in ("step", "version"):
        assert [job[name] for job in jobs] == sorted(job[name] for job in jobs)


def test_the_end_of_a_job_is_told_however_slowly_it_is_written_down(
    client: TestClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = client.app.state.services
    touch = services.queue._touch

    def touch_slowly(job: Job) -> None:
        if job.state.is_final:  # its state says so already, its version not yet
            services.hub.announce()
            threading.Event().wait(0.3)  # the stream looks meanwhile, or waits until it may
        touch(job)

    monkeypatch.setattr(services.queue, "_touch", touch_slowly)
    engine.halt.at = 9
    job_id = client.post("/api/generate", json={"prompt": "a fox", "num_inference_steps": 9}).json()["id"]
    with client.stream("GET", f"/api/jobs/{job_id}/events") as answer:
        told = (json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:"))
        jobs = [next(told)]
        while jobs[-1]["step"] < 9:
            jobs.append(next(told))
        engine.halt.may_pass.set()
        jobs += told
    assert jobs[-1]["state"] == "done"


def test_a_stream_of_the_page_goes_on_where_the_page_is(tmp_path: Path, engine: FakeEngine) -> None:

    with live_server(make_app(tmp_path, engine)) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        job_id = HTTP.post(f"{address}/api/generate", json={"prompt": "a fox"}).json()["id"]
        wait_until(lambda: HTTP.get(f"{address}/api/jobs/{job_id}").json()["state"] == "done")
        known = int(re.search(r'data-since="(\d+)"', HTTP.get(address).text)[1])
        engine.gate.clear()
        running = HTTP.post(f"{address}/api/generate", json={"prompt": "another"}).json()["id"]
        wait_until(lambda: engine.running == 1)

        def told(since: int, **headers: str) -> set[str]:
            path = f"{address}/api/events?client=tab-number-one&since={since}"
            with HTTP.stream("GET", path, headers=headers) as events:
                news = next(json.loads(line[5:]) for line in events.iter_lines() if line.startswith("data:"))
            assert news["version"] > known
            return {job["id"] for job in news["jobs"]}

        assert told(known) == {running}
        assert told(0) == {job_id, running}
        assert told(2**53) == {job_id, running}, "a number of another server"
        assert told(0, **{"Last-Event-ID": str(known)}) == {running}
        engine.gate.set()


def test_a_waiting_job_is_cancelled_when_its_client_goes_away(tmp_path: Path, engine: FakeEngine) -> None:
    import httpx

    app = make_app(tmp_path, engine)
    engine.gate.clear()
    with live_server(app) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        first = HTTP.post(f"{address}/api/generate", json={"prompt": "first"}).json()["id"]
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(f"{address}/api/generate?wait=true", json={"prompt": "impatient"}, timeout=0.5)
        wait_until(lambda: len(HTTP.get(f"{address}/api/jobs").json()) == 1)
        engine.gate.set()
        wait_until(lambda: HTTP.get(f"{address}/api/jobs/{first}").json()["state"] == "done")
    assert [prompt for prompt, _ in engine.made] == ["first"]


def test_a_tab_that_is_away_keeps_its_waiting_images(tmp_path: Path, engine: FakeEngine) -> None:

    app = make_app(tmp_path, engine)
    engine.gate.clear()
    tab = {"X-Client": "tab-number-one"}
    with live_server(app) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        with HTTP.stream("GET", f"{address}/api/events?client=tab-number-one") as events:
            next(events.iter_lines())
            asked = [HTTP.post(f"{address}/api/generate", json={"prompt": "a fox"}, headers=tab) for _ in range(2)]
        hub = app.state.services.hub
        wait_until(lambda: not hub.is_watched("tab-number-one"))
        assert HTTP.get(f"{address}/healthz").json()["waiting"] == 1
        engine.gate.set()
        jobs = [f"{address}{answer.headers['location']}" for answer in asked]
        wait_until(lambda: all(HTTP.get(job).json()["state"] == "done" for job in jobs))


def test_an_abandoned_wait_keeps_no_picture(tmp_path: Path, engine: FakeEngine) -> None:
    import httpx

    app = make_app(tmp_path, engine)
    engine.gate.clear()
    queue = app.state.services.queue
    with live_server(app) as address:
        wait_until(lambda: HTTP.get(f"{address}/healthz").json()["model"] == "ready")
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(f"{address}/api/generate?wait=true", json={"prompt": "impatient"}, timeout=0.5)
        (job,) = queue.changed_since(0)
        wait_until(lambda: not job.is_result_wanted)
        engine.gate.set()
        wait_until(lambda: job.state.is_final)
        assert (job.state.value, job.result) == ("done", None)


def test_a_refusal_is_counted(client: TestClient, engine: FakeEngine) -> None:
    engine.gate.clear()
    answers = [client.post("/api/generate", json={"prompt": "a fox"}) for _ in range(6)]
    assert answers[-1].status_code == 429
    refused = sum(answer.status_code == 429 for answer in answers)
    assert f"llm_dit_refused_total {refused}.0" in client.get("/metrics").text


def test_a_full_disk_is_told_and_not_a_defect(client: TestClient) -> None:
    client.app.state.services.history._connection.execute("PRAGMA max_page_count = 1")
    body = {"prompt": "a fox", "negative_prompt": "x" * 9000}
    answers = [client.post("/api/generate?wait=true", json=body) for _ in range(5)]
    assert answers[-1].status_code == 507
    assert "free some space" in answers[-1].json()["error"]


def test_after_a_restart_finished_images_are_there_and_interrupted_ones_say_so(
    tmp_path: Path, engine: FakeEngine
) -> None:
    with client_of(make_app(tmp_path, engine)) as client:
        done = make(client)
        engine.gate.clear()
        engine.step_s = 0.01
        interrupted, waiting = (
            client.post("/api/generate", json={"prompt": "cut off", "num_inference_steps": 1000}).json()["id"]
            for _ in range(2)
        )
        wait_until(lambda: engine.running == 1)
        version = client.get(f"/api/jobs/{interrupted}").json()["version"]
        engine.gate.set()
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        jobs = {job: client.get(f"/api/jobs/{job}").json() for job in (done, interrupted, waiting)}
        states = {job: told["state"] for job, told in jobs.items()}
        assert states == {done: "done", interrupted: "interrupted", waiting: "interrupted"}
        assert jobs[interrupted]["version"] > version
        assert client.get(f"/api/images/{done}").status_code == 200
        assert "stopped" in client.get(f"/api/jobs/{interrupted}").json()["error"]
