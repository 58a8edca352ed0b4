"""Answers and events tell of the same jobs and overtake each other: each order is provoked here, in real Chromium."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from held_answers import CLIENT, HeldAnswer, Hold, make, until
from web_fakes import FakeEngine
from web_server import HTTP, wait_until
from web_tab import fill_prompt

RECENT_SHOWN = 16


def recent_ids(page: Any) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('#recent a')].map((link) => link.href.slice(-32))")


def assert_shows(page: Any, image_id: str) -> None:
    assert page.get_attribute("#canvas", "data-state") == "done"
    assert page.get_attribute("#result", "src") == f"/api/images/{image_id}"
    assert page.get_attribute("#details-link", "href") == f"/history/{image_id}"
    assert page.locator("#result-bar").is_visible()
    assert page.locator("#status").is_hidden()


@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
def test_an_answer_that_comes_after_the_end_does_not_bring_the_job_back(
    page: Any, hold: Hold, engine: FakeEngine, end: str
) -> None:
    fill_prompt(page, "out of memory" if end == "failed" else "a fox")
    posts = hold("**/api/generate")
    engine.gate.clear()
    page.keyboard.press("Control+Enter")
    held = HeldAnswer(page, posts)
    job_id = held.content["id"]
    if end == "cancelled":
        page.request.delete(f"/api/jobs/{job_id}")
    engine.gate.set()
    page.locator(f"#canvas[data-state={end}]").wait_for()
    held.release()
    page.locator("#generate-button:enabled").wait_for()
    assert page.get_attribute("#canvas", "data-state") == end
    assert page.locator("#status").is_hidden()
    assert page.locator("#result-bar").is_visible() == (end == "done")


def test_an_answer_that_comes_late_does_not_turn_a_running_job_into_a_waiting_one(
    page: Any, hold: Hold, engine: FakeEngine
) -> None:
    fill_prompt(page, "a fox")
    posts = hold("**/api/generate")
    engine.halt.at = 5
    page.keyboard.press("Control+Enter")
    held = HeldAnswer(page, posts)
    page.locator("#status-text", has_text="Step 5 of 9").wait_for()
    held.release()
    page.locator("#generate-button:enabled").wait_for()
    assert "Step 5 of 9" in page.inner_text("#status-text")
    engine.halt.may_pass.set()
    page.locator("#result-bar").wait_for()


def test_an_end_before_the_stream_begins_is_told_by_its_first_event(page: Any, hold: Hold, engine: FakeEngine) -> None:
    streams = hold("**/api/events?*")
    fill_prompt(page, "a fox")
    with page.expect_response("**/api/generate") as answer:
        page.keyboard.press("Control+Enter")
    job_id = answer.value.json()["id"]
    until(page, lambda: page.request.get(f"/api/jobs/{job_id}").json()["state"] == "done")
    streams.pop().continue_()
    page.locator("#result-bar").wait_for()
    assert_shows(page, job_id)


def test_the_answer_to_cancel_is_enough_where_its_event_is_late(page: Any, hold: Hold, engine: FakeEngine) -> None:
    hold("**/api/events?*")
    fill_prompt(page, "a fox")
    engine.gate.clear()
    HTTP.post(page.url + "api/generate", json={"prompt": "in front"})
    page.keyboard.press("Control+Enter")
    page.locator("#status-text", has_text="Waiting, 1 in front").wait_for()
    page.click("#cancel-button")
    page.locator("#canvas[data-state=cancelled]").wait_for()


def test_a_late_answer_to_cancel_does_not_bring_the_job_back(page: Any, hold: Hold, engine: FakeEngine) -> None:
    fill_prompt(page, "a fox")
    deletions = hold("**/api/jobs/*")
    engine.gate.clear()
    page.keyboard.press("Control+Enter")
    page.locator("#canvas[data-state=running]").wait_for()
    page.click("#cancel-button")
    held = HeldAnswer(page, deletions)
    assert held.content["state"] == "running"
    engine.gate.set()
    page.locator("#canvas[data-state=cancelled]").wait_for()
    newer = make(page, "a newer fox")
    with page.expect_response("**/api/jobs/*"):
        held.release()
    page.evaluate("new Promise((done) => setTimeout(done))")  # what waited for the answer has run
    assert_shows(page, newer)


def test_a_fresh_stream_does_not_put_an_older_image_over_the_newer_one(page: Any, engine: FakeEngine) -> None:
    older, newer = make(page, "an older fox"), make(page, "a newer fox")
    for state in ("hidden", "visible"):
        page.evaluate(
            """(state) => {
                Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )
    engine.gate.clear()
    HTTP.post(page.url + "api/generate", json={"prompt": "a stranger's"})
    page.locator("#queue li", has_text="a stranger's").wait_for()  # the fresh stream has told of something new
    assert_shows(page, newer)
    assert recent_ids(page)[:2] == [newer, older]


def test_a_deleted_image_does_not_come_back(page: Any, engine: FakeEngine) -> None:
    image_id = make(page, "a fox to be deleted")
    page.goto("/history")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click(f"[data-id='{image_id}'] [data-action=delete]")
    page.locator(f"[data-id='{image_id}']").wait_for(state="detached")
    assert page.request.get(f"/api/jobs/{image_id}").status == 404
    fill_prompt(page, "another fox")
    engine.gate.clear()
    HTTP.post(page.url + "api/generate", json={"prompt": "a stranger's"})
    page.locator("#queue li", has_text="a stranger's").wait_for()
    assert image_id not in recent_ids(page)
    assert image_id not in (page.get_attribute("#result", "src") or "")


def test_whatever_order_events_come_in_the_newest_state_and_the_newest_image_stay(
    page: Any, address: str, engine: FakeEngine
) -> None:
    """24 jobs, the newest first, each with its four states in another order."""
    page.route("**/api/images/**", lambda route: route.fulfill(body=b"", content_type="image/png"))
    page.route("**/preview?*", lambda route: route.fulfill(body=b"", content_type="image/jpeg"))
    pattern = HTTP.post(f"{address}/api/generate", json={"prompt": "a fox"}, headers={"X-Client": CLIENT}).json()
    orders = list(itertools.permutations(range(4)))
    told = [states_of(pattern, number) for number in range(len(orders))]
    news = [told[number][place] for number in reversed(range(len(orders))) for place in orders[number]]
    body = "retry: 600000\n\n" + "".join(f"event: news\ndata: {json.dumps(news_of(job))}\n\n" for job in news)
    page.route(
        "**/api/events?*", lambda route: route.fulfill(body=body, content_type="text/event-stream; charset=utf-8")
    )
    page.goto("/")
    page.locator("#model-pill[data-state=offline]").wait_for()  # the stream has come to its end
    ids = [states[-1]["id"] for states in told]
    assert_shows(page, ids[-1])
    assert recent_ids(page) == ids[::-1][:RECENT_SHOWN]
    assert page.locator("#queue").is_hidden()


def test_news_that_come_before_the_pages_own_script_are_not_lost(page: Any, hold: Hold, address: str) -> None:
    page.add_init_script("window.heard = 0; document.addEventListener('news', () => window.heard++);")
    scripts = hold("**/generate.js")
    page.goto("/", wait_until="commit")
    until(page, lambda: scripts and page.evaluate("window.heard"))
    job = HTTP.post(f"{address}/api/generate", json={"prompt": "a fox"}, headers={"X-Client": CLIENT}).json()
    wait_until(lambda: HTTP.get(f"{address}/api/jobs").json() == [])
    until(page, lambda: page.evaluate("document.getElementById('queue-pill').hidden"))
    before = page.evaluate("window.heard")
    scripts.pop().continue_()
    page.locator(f"#result[src='/api/images/{job['id']}']").wait_for()
    assert page.evaluate("window.heard") in (before, before + 1)
    assert_shows(page, job["id"])


def states_of(pattern: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Return a job as the server would tell of it: waiting, at its first step, at its second, done."""
    job = pattern | {"id": f"{number:032x}", "started_at": 1.0, "total": 9}
    first = pattern.get("version", 0) + 1_000_000 + 10 * number
    changes: list[dict[str, Any]] = [
        {"state": "waiting", "step": 0},
        {"state": "running", "step": 1, "preview": f"/api/jobs/{job['id']}/preview?step=1"},
        {"state": "running", "step": 2, "preview": f"/api/jobs/{job['id']}/preview?step=2"},
        {"state": "done", "step": 9, "finished_at": 2.0, "image": f"/api/images/{job['id']}"},
    ]
    return [job | change | {"version": first + place} for place, change in enumerate(changes)]


def news_of(job: dict[str, Any]) -> dict[str, Any]:
    model = {"name": "fake", "state": "ready", "error": None, "native_height": 64, "native_width": 64}
    active = [] if job["state"] == "done" else [job["id"]]
    return {"model": model | {"hidden_layer_count": 7}, "version": job["version"], "active": active, "jobs": [job]}


def test_a_hidden_tab_whose_job_only_the_answer_told_of_keeps_its_stream(
    page: Any, hold: Hold, engine: FakeEngine
) -> None:
    hold("**/api/events?*")
    fill_prompt(page, "a fox")
    engine.gate.clear()
    page.keyboard.press("Control+Enter")
    page.locator("#status").wait_for()
    closed: list[str] = []
    page.on("requestfailed", lambda request: closed.append(request.url) if "/api/events" in request.url else None)
    page.evaluate(
        """() => {
            Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.evaluate("fetch('/healthz').then((answer) => answer.text())")  # had the stream ended, it would be known by now
    assert closed == []
