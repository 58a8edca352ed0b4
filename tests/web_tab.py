"""A browser's tab on the page, and what it must never do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WAIT_MS = 60_000


@contextmanager
def open_tab(browser: Any, address: str, *expected: str) -> Iterator[Any]:
    """Open a fresh tab; afterwards: no console errors but those that hold an `expected` text, no foreign requests."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 900}, accept_downloads=True)
    problems: list[str] = []
    context.on("console", lambda message: problems.append(message.text) if _is_problem(message, expected) else None)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on("request", lambda request: _note_foreign(request.url, address, problems))
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    yield page
    context.close()
    assert not problems, problems


def fill_prompt(page: Any, prompt: str) -> None:
    """Open Generate, wait for the model, and write a prompt."""
    page.goto("/")
    page.locator("#model-pill[data-state=ready]").wait_for()
    page.fill("#field-prompt", prompt)


def _is_problem(message: Any, expected: tuple[str, ...]) -> bool:
    """An answer 422 is the server's word on a wrong value, which the browser logs by itself; htmx logs its aborts."""
    aborted = ("htmx:afterRequest", "htmx:sendAbort")
    known = ("the server responded with a status of 422", *aborted, *expected)
    return message.type == "error" and not any(text in message.text for text in known)


def _note_foreign(url: str, address: str, problems: list[str]) -> None:
    if not url.startswith((address, "data:", "blob:")):
        problems.append(f"a request to another host: {url}")
