"""Answers and events tell of the same jobs and overtake each other: each order is provoked here, in real Chromium."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from web_fakes import FakeEngine
from web_server import live_server, make_app, wait_for_model, wait_until
from web_tab import WAIT_MS, fill_prompt, open_tab

Hold = Callable[[str], list[Any]]
CLIENT = "0" * 32
RECENT_SHOWN = 16


@pytest.fixture(scope="module")
def model() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, model: FakeEngine) -> Iterator[str]:
    with live_server(make_app(tmp_path_factory.mktemp("order"), model)) as address:
        wait_for_model(address)
        yield address


@pytest.fixture
def engine(model: FakeEngine, address: str) -> Iterator[FakeEngine]:
    """The engine behind the pages, idle before and after each test."""
    model.halt.may_pass.clear()
    yield model
    model.halt.at = 0
    model.halt.may_pass.set()
    model.gate.set()
    wait_until(lambda: httpx.get(f"{address}/api/jobs").json() == [])


@pytest.fixture
def page(browser: Any, address: str, engine: FakeEngine) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        page.add_init_script(f"sessionStorage.setItem('client', '{CLIENT}')")
        yield page


@pytest.fixture
def hold(page: Any) -> Iterator[Hold]:
    """Return a function that keeps requests from the server, in lists; what is left there was never answered."""
    held: list[list[Any]] = []

    def hold(pattern: str) -> list[Any]:
        routes: list[Any] = []
        held.append(routes)
        page.route(pattern, lambda route: routes.append(route))
        return routes

    yield hold
    page.goto("/healthz")
    for route in itertools.chain(*held):
        route.abort()


class HeldAnswer:
    """The server does what a request asks, and its answer waits here until it is handed over.

    Args:
        page: Where the request comes from.
        routes: A list of `hold`; the request is its first.
    """

    def __init__(self, page: Any, routes: list[Any]) -> None:
        until(page, lambda: routes)
        self._route = routes.pop(0)
        self._answer = self._route.fetch()

    @property
    def content(self) -> dict[str, Any]:
        """The answer as JSON."""
        return self._answer.json()

    def release(self) -> None:
        """Hand it over."""
        self._route.fulfill(response=self._answer)


def until(page: Any, is_true: Any) -> None:
    """Wait for a condition while the page's routes go on being served."""
    end = time.monotonic() + WAIT_MS / 1000
    while not is_true():
        assert time.monotonic() < end, "the condition did not come true"
        page.wait_for_timeout(5)


def make(page: Any, prompt: str) -> str:
    """Generate from the form and return the image's id once the canvas shows it."""
    fill_prompt(page, prompt) if page.url == "about:blank" else page.fill("#field-prompt", prompt)
    with page.expect_response("**/api/generate") as answer:
        page.keyboard.press("Control+Enter")
    image_id = answer.value.json()["id"]
    page.locator(f"#result[src='/api/images/{image_id}']").wait_for()
    return image_id


def recent_ids(page: Any) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('#recent a')].map((link) => link.href.slice(-32))")


def assert_shows(page: Any, image_id: str) -> None:
    assert page.get_attribute("#canvas", "data-state") == "done"
    assert page.get_attribute("#result", "src") == f"/api/images/{image_id}"
    assert page.get_attribute("#details-link", "href") == f"/history/{image_id}"
    assert page.locator("#result-bar").is_visible()
    assert page.locator("#status").is_hidden()


# --- the answer to "make an image" beside the events ------------------------------------------------------------------


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


# --- the answer to "cancel" beside the events -------------------------------------------------------------------------


def test_the_answer_to_cancel_is_enough_where_its_event_is_late(page: Any, hold: Hold, engine: FakeEngine) -> None:
    hold("**/api/events?*")
    fill_prompt(page, "a fox")
    engine.gate.clear()
    httpx.post(page.url + "api/generate", json={"prompt": "in front"})
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


# --- streams ----------------------------------------------------------------------------------------------------------


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
    httpx.post(page.url + "api/generate", json={"prompt": "a stranger's"})
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
    httpx.post(page.url + "api/generate", json={"prompt": "a stranger's"})
    page.locator("#queue li", has_text="a stranger's").wait_for()
    assert image_id not in recent_ids(page)
    assert image_id not in (page.get_attribute("#result", "src") or "")


def test_whatever_order_events_come_in_the_newest_state_and_the_newest_image_stay(
    page: Any, address: str, engine: FakeEngine
) -> None:
    """24 jobs, the newest first, each with its four states in another order."""
    page.route("**/api/images/**", lambda route: route.fulfill(body=b"", content_type="image/png"))
    page.route("**/preview?*", lambda route: route.fulfill(body=b"", content_type="image/jpeg"))
    pattern = httpx.post(f"{address}/api/generate", json={"prompt": "a fox"}, headers={"X-Client": CLIENT}).json()
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
    job = httpx.post(f"{address}/api/generate", json={"prompt": "a fox"}, headers={"X-Client": CLIENT}).json()
    wait_until(lambda: httpx.get(f"{address}/api/jobs").json() == [])
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


# --- answers beside answers -------------------------------------------------------------------------------------------


def test_a_rewrite_that_was_given_up_does_not_end_the_one_that_took_its_place(page: Any, hold: Hold) -> None:
    requests = hold("**/api/rewrite")
    page.goto("/rewriter")
    page.fill("#rewriter-prompt", "a fox")
    for count in (1, 2):
        page.keyboard.press("Control+Enter")
        until(page, lambda count=count: len(requests) == count)
    page.evaluate("new Promise((done) => setTimeout(done))")  # the end of the first has run
    assert page.inner_text("#rewriter-status") == "waiting"
    assert page.locator("#stop-button").is_visible()
    written = 'event: done\ndata: {"text": "A red fox.", "thinking": ""}\n\n'
    requests.pop().fulfill(body=written, content_type="text/event-stream")
    page.locator("#use-button:enabled").wait_for()
    assert page.inner_text("#written-text") == "A red fox."


def test_the_plan_that_was_asked_for_before_the_start_does_not_come_over_it(page: Any, hold: Hold) -> None:
    page.add_init_script(
        """window.answered = [];
        document.addEventListener("htmx:afterRequest", (event) => answered.push(event.detail.pathInfo.requestPath));"""
    )
    page.goto("/experiments")
    page.locator("#start-button").wait_for()
    plans = hold("**/experiments/plan")
    page.route("**/experiments/start", lambda route: route.fulfill(body="<p>Started.</p>", content_type="text/html"))
    page.fill("#lab-name", "another_name")
    typed = HeldAnswer(page, plans)
    page.click("#start-button")  # leaving the field asks once more, in place of the plan that was typed
    page.locator("#plan", has_text="Started.").wait_for()
    typed.release()
    left = HeldAnswer(page, plans)
    left.release()
    expected = ["/experiments/plan", "/experiments/plan", "/experiments/start", "/experiments/plan"]
    until(page, lambda: page.evaluate("answered") == expected)
    assert page.inner_text("#plan") == "Started."


def test_a_count_of_tokens_that_was_given_up_midway_shows_nothing(page: Any, hold: Hold) -> None:
    page.add_init_script(
        """const real = window.fetch;
        let isFirst = true;
        window.fetch = async (path, options) => {
            const answer = await real(path, options);
            if (path !== "/api/format-prompt" || !isFirst) return answer;
            isFirst = false;
            answer.json = () => new Promise((_, reject) => {  // the answer has begun and does not end
                window.isReading = true;
                options.signal.addEventListener("abort", () => reject(options.signal.reason));
            });
            return answer;
        };"""
    )
    page.goto("/")
    until(page, lambda: page.evaluate("window.isReading"))
    hold("**/api/format-prompt")
    with page.expect_request("**/api/format-prompt"):
        page.fill("#field-prompt", "a fox")
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert page.inner_text("#token-count") == ""


def test_the_png_that_was_dropped_last_gives_the_settings(page: Any, hold: Hold, engine: FakeEngine) -> None:
    first, last = (page.request.get(f"/api/images/{make(page, name)}").body() for name in ("first", "last"))
    page.fill("#field-prompt", "")
    requests = hold("**/api/image-parameters")
    drop(page, first, "first.png")
    held = HeldAnswer(page, requests)
    drop(page, last, "last.png")
    HeldAnswer(page, requests).release()
    page.get_by_text("Settings restored from last.png.").wait_for()
    held.release()
    page.evaluate("new Promise((done) => setTimeout(done))")
    assert page.input_value("#field-prompt") == "last"
    assert page.locator("#messages .message").count() == 1


def drop(page: Any, content: bytes, name: str) -> None:
    page.evaluate(
        """([numbers, name]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(numbers)], name, { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        [list(content), name],
    )


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
