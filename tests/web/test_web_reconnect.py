"""Servers that stop and come back, and networks that go away: the page asks again, and shows what the server knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from web_fakes import FakeEngine
from web_server import live_server, make_app, wait_until
from web_tab import fill_prompt, open_tab

NO_SERVER = "net::ERR"
NOT_FOUND = "status of 404"
BAD_GATEWAY = "status of 502"


def is_ready(address: str) -> bool:
    return httpx.get(f"{address}/healthz").json()["model"] == "ready"


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
        page.get_by_text("Step 2 of").wait_for()
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
