"""Servers that stop and come back, and networks that go away: the page asks again, and shows what the server knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sample_results import noisy_scores, sample_plan, write_results
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_until
from web_tab import fill_prompt, open_tab

NO_SERVER = "net::ERR"
NOT_FOUND = "status of 404"
BAD_GATEWAY = "status of 502"


def is_ready(address: str) -> bool:
    return HTTP.get(f"{address}/healthz").json()["model"] == "ready"


def draw(page: Any) -> None:
    page.click("#generate-button")
    page.locator("#canvas[data-state=done]").wait_for()


@pytest.mark.parametrize("is_history_kept", [True, False])
def test_a_server_that_stops_while_it_draws_and_starts_again_leaves_no_step_on_the_page(
    browser: Any, tmp_path: Path, is_history_kept: bool
) -> None:
    engine = FakeEngine()
    with live_server(make_app(tmp_path / "first", engine)) as address:
        wait_until(lambda: is_ready(address))
        port = int(address.rsplit(":", 1)[1])
        tab = open_tab(browser, address, NO_SERVER, NOT_FOUND)
        page = tab.__enter__()
        fill_prompt(page, "A fox")
        engine.halt.at = 2
        page.click("#generate-button")
        page.locator("#status-text", has_text="Step 2 of").wait_for()
        engine.halt.at = 0
        engine.halt.may_pass.set()
    folder = tmp_path / ("first" if is_history_kept else "second")
    with live_server(make_app(folder, FakeEngine()), port):
        wait_until(lambda: is_ready(address))
        page.locator(
            "#canvas[data-state=interrupted], #canvas[data-state=done], #canvas[data-state=cancelled]"
        ).wait_for()
        assert page.locator("#status").is_hidden()
        draw(page)
        tab.__exit__(None, None, None)


def test_after_a_proxys_502_the_page_hears_of_its_images_again(browser: Any, tmp_path: Path) -> None:
    with live_server(make_app(tmp_path, FakeEngine())) as address:
        wait_until(lambda: is_ready(address))
        with open_tab(browser, address, BAD_GATEWAY) as page:
            refused: list[Any] = []

            def refuse_two(route: Any) -> None:
                if len(refused) < 2:
                    refused.append(route)
                    route.fulfill(status=502, body="Bad gateway")
                else:
                    route.continue_()

            page.route("**/api/events*", refuse_two)
            page.goto("/")
            page.fill("#field-prompt", "A fox")
            draw(page)
            assert len(refused) == 2


CUT_STREAM = """
const words = ['event: partial\\r', '\\ndata: {"text": "A red", "thinking": ""}\\r', '\\n\\r', '\\nevent: done\\r\\n',
  'data: {"text": "A red fox", "thinking": ""}\\r\\n\\r', '\\n'];
const original = window.fetch;
window.fetch = (path, options) => path !== "/api/rewrite" ? original(path, options) : Promise.resolve(new Response(
  new ReadableStream({ start(stream) {
    words.forEach((word) => stream.enqueue(new TextEncoder().encode(word)));
    stream.close();
  } })));
"""


def test_the_rewriter_reads_a_stream_that_is_cut_between_cr_and_lf(browser: Any, tmp_path: Path) -> None:
    with live_server(make_app(tmp_path, FakeEngine())) as address, open_tab(browser, address) as page:
        page.add_init_script(CUT_STREAM)
        page.goto("/rewriter")
        page.fill("#rewriter-prompt", "fox")
        page.click("#rewrite-button")
        page.locator("#written-text[data-state=done]").wait_for()
        assert page.inner_text("#written-text") == "A red fox"


def test_a_page_of_another_version_offers_to_be_loaded_again(browser: Any, tmp_path: Path) -> None:
    with live_server(make_app(tmp_path, FakeEngine())) as address, open_tab(browser, address) as page:

        def make_old(route: Any) -> None:
            answer = route.fetch()
            page_of_old = re.sub(r'data-build="[0-9a-f]+"', 'data-build="0123456789ab"', answer.text())
            route.fulfill(response=answer, body=page_of_old)

        page.route("**/history", make_old)
        page.goto("/history")
        page.unroute("**/history")
        page.get_by_role("link", name="Reload this page").click()
        page.locator("#model-pill[data-state=ready]").wait_for()
        assert page.locator("body").get_attribute("data-build") != "0123456789ab"


@pytest.mark.slow  # two servers, and a page's pauses between its attempts
def test_after_a_break_the_page_asks_again_for_its_experiments_and_for_the_formatted_prompt(
    browser: Any, tmp_path: Path
) -> None:
    results = tmp_path / "results"

    def app_of(name: str) -> Any:
        return make_app(tmp_path / name, FakeEngine(), results_dir=results)

    def leave_polling_out(route: Any) -> None:
        answer = route.fetch()
        assert "every 20s, " in answer.text()
        route.fulfill(response=answer, body=answer.text().replace("every 20s, ", ""))

    with live_server(app_of("first")) as address:
        wait_until(lambda: is_ready(address))
        port = int(address.rsplit(":", 1)[1])
        tabs = [open_tab(browser, address, NO_SERVER, NOT_FOUND, "htmx:") for _ in range(2)]
        experiments, form = (tab.__enter__() for tab in tabs)
        experiments.route("**/experiments", leave_polling_out)
        experiments.goto("/experiments")
        experiments.locator("#model-pill[data-state=ready]").wait_for()
        experiments.evaluate("[1, 2].forEach(() => document.dispatchEvent(new CustomEvent('htmx:sendError')))")
        assert experiments.locator(".message").count() == 1
        fill_prompt(form, "A fox")
    write_results(results / "drawn_meanwhile", sample_plan(name="drawn_meanwhile", prompts=2), noisy_scores({}))
    form.fill("#field-prompt", "A red fox")
    form.locator("#token-count", has_text="can't be reached").wait_for()
    with live_server(app_of("second"), port):
        experiments.locator("[data-name=drawn_meanwhile]").wait_for()
        form.locator("#token-count", has_text=" of 1024 tokens").wait_for()
        for tab in tabs:
            tab.__exit__(None, None, None)
