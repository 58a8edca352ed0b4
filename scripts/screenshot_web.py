"""Pictures of the web page: those of docs/web.md, and every page in every state to look at.

`uv run scripts/screenshot_web.py` needs Chromium at /usr/bin/chromium (`apt-get install chromium`). It keeps its data
in a temporary folder and writes `docs/web/*.png`; `--every FOLDER` writes each state in each view there instead.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
from PIL import Image

from llm_dit.errors import LlmDitError

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
WAIT_MS = 300_000
"""Plans are made by a process of low priority, which on a busy machine takes minutes."""
KEY = "a-key-for-pictures-only"
PROMPT = "A red fox in fresh snow"
MADE: tuple[dict[str, Any], ...] = (
    {"prompt": "A penguin in the snow", "seed": 1},
    {"prompt": "A flat vector illustration of a sailboat on a lake", "seed": 4, "width": 192},
    {"prompt": PROMPT, "seed": 2, "num_inference_steps": 2},
    {"prompt": PROMPT, "seed": 2},
)
"""Of the embedded model's world, oldest first; the last two differ in their steps alone."""
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
    "narrow": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark", "has_touch": True},
    "wide": {"viewport": {"width": 2560, "height": 1440}, "color_scheme": "light"},
}


def _open(page: Any, path: str) -> None:
    page.goto(path)
    page.locator("#model-pill[data-state=ready]").wait_for()
    page.wait_for_load_state("load")
    page.wait_for_timeout(500)


def _newest(page: Any) -> list[str]:
    entries = page.request.get("/api/history?search=is:done").json()
    return [entry["id"] for entry in entries]


def _generate(page: Any) -> None:
    _open(page, "/")
    page.fill("#field-prompt", PROMPT)
    page.locator("#formatted-prompt", has_text="red fox").wait_for()


def _parameters(page: Any) -> None:
    _generate(page)
    page.click("#picture-parameters summary")
    page.click("#older-button")
    page.locator("#picture-parameters").scroll_into_view_if_needed()


def _invalid(page: Any) -> None:
    _generate(page)
    page.fill("#field-shift", "500")
    page.locator("#field-shift[aria-invalid]").wait_for()


def _running(page: Any) -> None:
    _generate(page)
    page.fill("#field-num_inference_steps", "400")
    for _ in range(3):
        page.click("#generate-button")
        page.wait_for_timeout(200)
    page.locator("#result[src*='/preview']").wait_for()
    page.wait_for_timeout(1200)


def _viewer(page: Any) -> None:
    _open(page, "/history")
    page.locator(".card[data-state=done] .card-image").nth(2).click()  # the sailboat
    page.locator("#viewer[open]").wait_for()
    page.wait_for_timeout(500)


def _viewer_zoomed(page: Any) -> None:
    _viewer(page)
    for _ in range(5):
        page.keyboard.press("+")


def _history(page: Any) -> None:
    _open(page, "/history")


def _history_help(page: Any) -> None:
    _open(page, "/history?search=a seed<=3")
    page.click(".search-help summary")


def _history_problem(page: Any) -> None:
    _open(page, "/history?search=shfit=3")


def _selected(page: Any) -> None:
    _open(page, "/history")
    for place in (0, 2):
        page.locator(".card-image").nth(place).click(modifiers=["Control"])


def _image(page: Any) -> None:
    _open(page, f"/history/{_newest(page)[0]}")


def _failed(page: Any) -> None:
    _open(page, "/history?search=is:interrupted")


def _compare(page: Any) -> None:
    ids = _newest(page)
    _open(page, f"/history/compare?left={ids[1]}&right={ids[0]}")


def _rewriter(page: Any) -> None:
    _open(page, "/rewriter")
    page.fill("#rewriter-prompt", "a red fox")


def _rewritten(page: Any) -> None:
    _rewriter(page)
    page.click("#rewrite-button")
    page.locator("#stop-button").wait_for(state="hidden")
    page.wait_for_timeout(300)


def _experiments(page: Any) -> None:
    _open(page, "/experiments")
    page.locator("#plan .totals").wait_for()


def _own_axes(page: Any) -> None:
    _experiments(page)
    page.check("[name=kind][value=own]", force=True)
    page.fill("#lab-sweeps", "shift=1..6\nnum_inference_steps=6,9")
    page.locator("#plan .totals").wait_for()
    page.wait_for_timeout(1500)


def _report(page: Any) -> None:
    page.goto("/results/open/shift_sweep/report.html")
    page.wait_for_timeout(800)


def _docs(page: Any) -> None:
    _open(page, "/docs")


def _docs_open(page: Any) -> None:
    _open(page, "/docs")
    page.click("summary:has-text('/api/history/star')")
    page.locator("summary:has-text('/api/history/star')").scroll_into_view_if_needed()


def _not_there(page: Any) -> None:
    page.goto("/nothing")


State = Callable[[Any], None]
EMPTY_STATES: dict[str, State] = {
    "generate_empty": lambda page: _open(page, "/"),
    "history_empty": _history,
    "experiments_empty": _experiments,
}
"""Of a server that has made nothing yet."""
STATES: dict[str, State] = {
    "generate": _generate,
    "parameters": _parameters,
    "invalid": _invalid,
    "running": _running,
    "viewer": _viewer,
    "viewer_zoomed": _viewer_zoomed,
    "history": _history,
    "history_help": _history_help,
    "history_problem": _history_problem,
    "selected": _selected,
    "interrupted": _failed,
    "image": _image,
    "compare": _compare,
    "rewriter": _rewriter,
    "rewritten": _rewritten,
    "experiments": _experiments,
    "own_axes": _own_axes,
    "report": _report,
    "docs": _docs,
    "docs_open": _docs_open,
    "not_there": _not_there,
}
LOCKED_STATES: dict[str, State] = {"login": lambda page: page.goto("/login")}
"""Of a server with a key."""
IN_DOCS = {
    "generate": ("generate", "light"),
    "generate_wide": ("generate", "wide"),
    "running": ("running", "light"),
    "viewer": ("viewer", "light"),
    "selected": ("selected", "light"),
    "compare": ("compare", "light"),
    "rewriter": ("rewritten", "light"),
    "experiments": ("experiments", "light"),
}
"""File to state and view."""


@click.command()
@click.option("--model-path", default="mini", show_default=True, help="Model that makes the images.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=ROOT / "docs" / "web", help="Folder of the documentation's."
)
@click.option(
    "--every", type=click.Path(path_type=Path), help="Write every state in every view to this folder instead."
)
@click.option("--only", default="", help="States to take, separated by commas; all by default.")
@click.option("--port", default=8902, show_default=True, help="Port of the server.")
def main(model_path: str, output: Path, every: Path | None, only: str, port: int) -> None:
    """Take all pictures."""
    wanted = set(filter(None, only.split(",")))
    folder = every or output
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {name: place for name, place in IN_DOCS.items() if not wanted or place[0] in wanted}
    if every is not None:
        pictures = {
            f"{state}_{view}": (state, view)
            for state in (EMPTY_STATES | STATES | LOCKED_STATES)
            for view in VIEWS
            if not wanted or state in wanted
        }
    keep_colours = every is not None
    with _browser() as browser:
        with _server(model_path, port) as address:
            _take(browser, address, folder, pictures, EMPTY_STATES, keep_colours)
            if any(state in STATES for state, _ in pictures.values()):
                _make_something(browser, address)
            _take(browser, address, folder, pictures, STATES, keep_colours)
        if any(state in LOCKED_STATES for state, _ in pictures.values()):
            with _server(model_path, port, "--api-key", KEY) as address:
                _take(browser, address, folder, pictures, LOCKED_STATES, keep_colours)


def _take(
    browser: Any,
    address: str,
    folder: Path,
    pictures: dict[str, tuple[str, str]],
    states: dict[str, State],
    keep_colours: bool,
) -> None:
    for name, (state, view) in pictures.items():
        if state not in states:
            continue
        with _page(browser, address, **VIEWS[view]) as page:
            states[state](page)
            path = folder / f"{name}.png"
            page.screenshot(path=str(path))
            if not keep_colours and view != "wide":  # whose picture fills the page, and would show bands
                _reduce(path)
            click.echo(path)
            for job in reversed(page.request.get("/api/jobs").json() if state == "running" else []):
                page.request.delete(f"/api/jobs/{job['id']}")


def _reduce(path: Path) -> None:
    """Write a picture of the documentation's in 256 colours, those of small parts too: a third as large."""
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
    reduced.save(path, optimize=True)


@contextmanager
def _page(browser: Any, address: str, **view: Any) -> Iterator[Any]:
    """Open a page and close it, so that no stream of events is open when the server is told to end."""
    context = browser.new_context(base_url=address, **view)
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        yield page
    finally:
        context.close()


def _make_something(browser: Any, address: str) -> None:
    """Make images, star some, and run an experiment, from the page as a user would."""
    for values in MADE:
        _checked(httpx.post(f"{address}/api/generate?wait=true", json=values, timeout=WAIT_MS / 1000))
    with _page(browser, address) as page:
        starred = {"ids": _newest(page)[1:3], "is_starred": True}
        _checked(httpx.post(f"{address}/api/history/star", json=starred))
        _experiments(page)
        page.fill("#lab-max", "1")
        page.uncheck("[name=compute_metrics]")
        page.locator("#start-button").click()
        page.locator("[data-name=shift_sweep] .report-link").wait_for()


def _checked(answer: httpx.Response) -> None:
    if answer.is_error:
        raise LlmDitError(f"The server answered {answer.status_code}: {answer.text[:200]}")


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def _server(model_path: str, port: int, *flags: str) -> Iterator[str]:
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        places = ["--data-dir", f"{folder}/data", "--results-dir", f"{folder}/results"]
        command = [sys.executable, "web/server.py", "--model-path", model_path, "--port", str(port), *places, *flags]
        server = subprocess.Popen(command, cwd=ROOT)
        try:
            _wait_for(address, server)
            yield address
        finally:
            server.terminate()
            server.wait(WAIT_MS / 1000)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise LlmDitError("The server ended at once; see its message above.")
        try:
            if httpx.get(f"{address}/healthz", timeout=5).json()["model"] == "ready":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise LlmDitError("The server's model did not become ready within two minutes.")


if __name__ == "__main__":
    main()
