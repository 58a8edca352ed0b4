"""The queue: order, bounds, cancelling, and what a failing job leaves behind."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import client_of, make_app, wait_until

from llm_dit.errors import LlmDitError
from llm_dit.stages.rewriter import Rewrite
from web.jobs.job import Job, JobState
from web.jobs.queue import JobHandle, JobQueue, QueueFull
from web.jobs.snapshots import job_snapshot, queue_news
from web.routes.rewriter_api import _event_of


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    queue = JobQueue(queue_size=3)
    queue.start()
    yield queue
    queue.close()


class Gate:
    """A job that runs until it is let through."""

    def __init__(self) -> None:
        self.is_inside, self.may_go = threading.Event(), threading.Event()

    def work(self, handle: JobHandle) -> str:
        self.is_inside.set()
        step = 0
        while not self.may_go.wait(0.005):
            step += 1
            handle.step(step, 1000)
        return "through"


def job(work=lambda handle: None, client: str | None = None) -> Job:
    return Job(kind="generate", title="a fox", work=work, client=client)


def finish(*jobs: Job) -> None:
    wait_until(lambda: all(item.state.is_final for item in jobs))


def test_jobs_run_one_at_a_time_in_the_order_they_came(queue: JobQueue) -> None:
    order: list[int] = []
    jobs = [job(lambda handle, number=number: order.append(number)) for number in range(3)]
    queue.submit(jobs)
    finish(*jobs)
    assert order == [0, 1, 2]
    assert [item.state for item in jobs] == [JobState.DONE] * 3


def test_a_full_queue_refuses_all_of_a_request_or_none(queue: JobQueue) -> None:
    gate = Gate()
    running = job(gate.work)
    queue.submit([running])
    gate.is_inside.wait()
    queue.submit([job(), job()])
    with pytest.raises(QueueFull, match="3 jobs are waiting already; try again in 1 s") as error:
        queue.submit([job(), job()])
    assert error.value.retry_after_s >= 1
    assert queue.waiting_count == 2
    gate.may_go.set()


def test_position_counts_the_running_job(queue: JobQueue) -> None:
    gate = Gate()
    first, second, third = job(gate.work), job(), job()
    queue.submit([first])
    gate.is_inside.wait()
    queue.submit([second, third])
    assert [queue.position(item) for item in (first, second, third)] == [0, 1, 2]
    assert queue.active() == [first, second, third]
    gate.may_go.set()


def test_cancelling_a_waiting_job_takes_it_out_at_once(queue: JobQueue) -> None:
    gate = Gate()
    first, second = job(gate.work), job()
    queue.submit([first, second])
    gate.is_inside.wait()
    queue.cancel(second.id)
    assert second.state is JobState.CANCELLED
    assert queue.active() == [first]
    gate.may_go.set()
    finish(first)
    assert first.state is JobState.DONE


def test_cancelling_a_running_job_stops_it_within_one_step(queue: JobQueue) -> None:
    steps: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def work(handle: JobHandle) -> None:
        for step in range(1, 100):
            steps.append(step)
            if step == 3:
                begun.set()
                go.wait()
            handle.step(step, 100)

    running = job(work)
    queue.submit([running])
    begun.wait()
    queue.cancel(running.id)
    go.set()
    finish(running)
    assert running.state is JobState.CANCELLED
    assert steps == [1, 2, 3]


def test_cancelling_a_finished_job_changes_nothing(queue: JobQueue) -> None:
    done = job()
    queue.submit([done])
    finish(done)
    assert queue.cancel(done.id) is done
    assert done.state is JobState.DONE
    assert queue.cancel("0" * 32) is None


@pytest.mark.parametrize(
    ("raised", "sentence", "is_defect"),
    [
        (LlmDitError("The prompt is too long.", field="prompt"), "The prompt is too long.", False),
        (MemoryError(), "The device ran out of memory; make the image smaller", True),
        (KeyError("x"), "Something went wrong inside (KeyError)", True),
    ],
)
def test_a_failing_job_says_why_and_the_next_one_runs(
    queue: JobQueue, raised: Exception, sentence: str, is_defect: bool
) -> None:
    def work(handle: JobHandle) -> None:
        raise raised

    failing, next_one = job(work), job()
    queue.submit([failing, next_one])
    finish(failing, next_one)
    assert failing.state is JobState.FAILED
    assert failing.error is not None
    assert failing.error.startswith(sentence)
    assert failing.is_defect is is_defect
    assert failing.error_field == getattr(raised, "field", None)
    assert next_one.state is JobState.DONE


def test_a_failure_to_record_the_end_does_not_end_the_worker() -> None:
    def full_disk(_job: Job) -> None:
        raise OSError("disk full")

    queue = JobQueue(3, on_finish=full_disk)
    queue.start()
    first, second = job(), job()
    queue.submit([first, second])
    finish(first, second)
    queue.close()
    assert second.state is JobState.DONE


def test_closing_interrupts_the_running_job_and_leaves_the_waiting() -> None:
    queue = JobQueue(3)
    queue.start()
    gate = Gate()
    running, waiting = job(gate.work), job()
    queue.submit([running, waiting])
    gate.is_inside.wait()
    queue.close()
    assert running.state is JobState.INTERRUPTED
    assert waiting.state is JobState.WAITING


def test_closing_waits_for_no_model_that_loads() -> None:
    loads = threading.Event()
    queue = JobQueue(3, prepare=lambda: loads.wait() and None)
    queue.start()
    began = time.monotonic()
    queue.close(timeout_s=20)
    assert time.monotonic() - began < 10
    loads.set()


def test_several_jobs_are_cancelled_together(queue: JobQueue) -> None:
    gate = Gate()
    running, own, other = job(gate.work), job(), job()
    queue.submit([running, own, other])
    gate.is_inside.wait()
    queue.cancel_all([own.id])
    assert [item.state for item in (running, own, other)] == [JobState.RUNNING, JobState.CANCELLED, JobState.WAITING]
    gate.may_go.set()


def test_changed_since_gives_each_change_once(queue: JobQueue) -> None:
    first = job()
    queue.submit([first])
    finish(first)
    wait_until(lambda: not queue.active())
    seen = max(item.version for item in queue.changed_since(0))
    assert queue.changed_since(seen) == []
    second = job()
    queue.submit([second])
    finish(second)
    assert queue.changed_since(seen) == [second]


def test_a_job_whose_place_changes_is_newer_and_news_tell_of_it_by_the_order_alone(queue: JobQueue) -> None:
    gate = Gate()
    running, second, third = job(gate.work), job(), job()
    queue.submit([running, second, third])
    gate.is_inside.wait()
    before, seen = job_snapshot(queue, third), queue.version
    assert queue_news(queue, seen, with_active=False) == {"version": seen, "active": None, "jobs": []}
    queue.cancel(second.id)
    after, news = job_snapshot(queue, third), queue_news(queue, seen, with_active=False)
    assert (before["position"], after["position"]) == (2, 1)
    assert before["version"] < after["version"] <= queue.version
    assert (news["active"], [told["id"] for told in news["jobs"]]) == ([running.id, third.id], [second.id])
    queue.cancel(running.id)
    finish(running, third)
    assert after["version"] < third.version <= queue.version


def test_news_of_a_job_that_ends_in_front_of_thousands_are_small() -> None:
    crowd = JobQueue(3000)
    jobs = [job() for _ in range(2000)]
    crowd.submit(jobs)
    seen = crowd.version
    crowd.cancel(jobs[0].id)
    news = queue_news(crowd, seen, with_active=False)
    assert [told["id"] for told in news["jobs"]] == [jobs[0].id]
    assert len(json.dumps(news)) < 2000 * len(json.dumps(jobs[0].id)) * 1.1


def test_the_numbers_of_a_queue_are_above_those_of_the_one_before_it(queue: JobQueue) -> None:
    queue.submit([job() for _ in range(3)])
    assert queue.version < JobQueue(3).first_version


class Meanwhile:
    """Lets a job go on to its end while someone reads, who must not see it: `pause` stands between two readings."""

    LONG_ENOUGH_S = 0.3

    def __init__(self, queue: JobQueue) -> None:
        self.gate = Gate()
        self.ended = threading.Event()
        self.running = job(self.gate.work)
        self.next_one = job(lambda handle: handle.step(1, 1))
        queue.submit([self.running, self.next_one])
        self.gate.is_inside.wait()
        queue.add_listener(lambda: self.ended.set() if self.next_one.state.is_final else None)

    def pause(self) -> None:
        self.gate.may_go.set()
        self.ended.wait(self.LONG_ENOUGH_S)


def test_a_snapshot_is_of_one_instant(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile = Meanwhile(queue)
    position = queue.position
    monkeypatch.setattr(queue, "position", lambda item: (meanwhile.pause(), position(item))[1])
    told = job_snapshot(queue, meanwhile.next_one)
    assert (told["state"], told["position"], told["step"], told["finished_at"]) == ("waiting", 1, 0, None)
    finish(meanwhile.next_one)
    assert told["version"] < meanwhile.next_one.version


def test_news_are_of_one_instant_and_the_next_news_go_on_there(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile = Meanwhile(queue)
    jobs = [meanwhile.running, meanwhile.next_one]
    active = queue.active
    with monkeypatch.context() as patches:
        patches.setattr(queue, "active", lambda: (active(), meanwhile.pause())[0])
        first = queue_news(queue, 0, with_active=True)
    assert first["active"] == [item.id for item in jobs]
    assert [item["state"] for item in first["jobs"]] == ["running", "waiting"]
    finish(*jobs)
    second = queue_news(queue, first["version"], with_active=False)
    assert {item["id"]: item["state"] for item in second["jobs"]} == {item.id: "done" for item in jobs}
    assert queue_news(queue, second["version"], with_active=False)["jobs"] == []


def test_a_rewrite_that_ends_while_it_is_looked_at_is_no_error(queue: JobQueue) -> None:
    gate = Gate()
    looking = threading.Event()

    class Looked(Job):
        def __getattribute__(self, name: str) -> object:
            value = super().__getattribute__(name)
            if name == "state" and looking.is_set():
                looking.clear()
                gate.may_go.set()
                ended.wait(Meanwhile.LONG_ENOUGH_S)
            return value

    def work(handle: JobHandle) -> Rewrite:
        handle.publish(Rewrite("A red", ""))
        gate.work(handle)
        return Rewrite("A red fox.", "")

    item = Looked(kind="rewrite", title="a fox", work=work)
    ended = threading.Event()
    queue.add_listener(lambda: ended.set() if item.state.is_final else None)
    queue.submit([item])
    gate.is_inside.wait()
    looking.set()
    assert _event_of(SimpleNamespace(queue=queue), item) == ("partial", {"text": "A red", "thinking": ""})
    finish(item)
    assert _event_of(SimpleNamespace(queue=queue), item) == ("done", {"text": "A red fox.", "thinking": ""})


def test_time_left_is_the_mean_step_times_the_steps_to_go(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    import web.jobs.queue

    seen: list[float | None] = []
    clock = iter([0.0, 10.0, 10.0, 12.0, 14.0, 20.0])
    monkeypatch.setattr(web.jobs.queue, "time", SimpleNamespace(monotonic=lambda: next(clock), time=lambda: 0.0))

    def work(handle: JobHandle) -> None:
        for step in (1, 2, 3):
            handle.step(step, 5)
            seen.append(handle.job.eta_s)

    one = job(work)
    queue._run(_started(queue, one))
    assert seen == [None, 2.0 * 3, 2.0 * 2]


def _started(queue: JobQueue, one: Job) -> Job:
    one.started_at = 0.0
    queue._jobs[one.id] = one
    return one


def test_the_history_names_model_files_without_their_folders(tmp_path: Path) -> None:
    class WithFiles(FakeEngine):
        def generate(self, *arguments: Any, **named: Any) -> Any:
            result = super().generate(*arguments, **named)
            result.metadata["model_parts"] = {"vae": {"path": "/home/ann/ae.safetensors", "layout": "LDM"}}
            return result

    with client_of(make_app(tmp_path, WithFiles())) as client:
        job = client.post("/api/generate", json={"prompt": "a fox"}).json()
        wait_until(lambda: client.get(f"/api/jobs/{job['id']}").json()["state"] == "done")
        entry = client.app.state.services.history.get(job["id"])
    assert entry.metadata["model_parts"]["vae"]["path"] == "ae.safetensors"
