"""Answers of the server that a test hands over when it likes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from web_tab import WAIT_MS, fill_prompt

Hold = Callable[[str], list[Any]]


CLIENT = "0" * 32


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
