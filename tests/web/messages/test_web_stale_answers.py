"""Answers that come after others that were asked for later."""

from __future__ import annotations

from typing import Any

from held_answers import HeldAnswer, Hold, make, until
from web_fakes import FakeEngine


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
