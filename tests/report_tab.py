"""A tab on a report, in which no script may fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def report_tab(browser: Any, folder: Path) -> Iterator[Any]:
    """Open the report of a folder; afterwards: no script of its own has failed."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((folder / "report.html").as_uri())
    yield page
    page.close()
    assert problems == []
