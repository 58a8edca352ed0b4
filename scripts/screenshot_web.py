"""Pictures of the web page for docs/web.md, taken from a server that this script starts.

`uv run scripts/screenshot_web.py` needs Chromium at /usr/bin/chromium (`apt-get install chromium`). It keeps its data
in a temporary folder and writes `docs/web/*.png`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx

from llm_dit.errors import LlmDitError

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
WAIT_MS = 120_000
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
PROMPTS = (
    "A red fox sits in fresh snow at the edge of a quiet forest, its breath a small cloud in the cold morning light.",
    "A yellow banana lies on a blue table. Soft light comes from the left.",
    "A small wooden house stands on a green hill under a wide evening sky.",
    "A tabby cat lies curled in a pool of sunlight on a worn wooden floor.",
)


@click.command()
@click.option("--model-path", default="mini", show_default=True, help="Model that makes the images.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=ROOT / "docs" / "web", help="Folder of the pictures."
)
@click.option("--port", default=8902, show_default=True, help="Port of the server.")
def main(model_path: str, output: Path, port: int) -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    output.mkdir(parents=True, exist_ok=True)
    with _server(model_path, port) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        light = browser.new_context(base_url=address, viewport=DESKTOP, color_scheme="light").new_page()
        _take_generate(light, output)
        _take_history(light, output)
        _take_rewriter(light, output)
        _take_experiments(light, output)
        dark = browser.new_context(base_url=address, viewport=DESKTOP, color_scheme="dark").new_page()
        dark.goto("/history")
        _shoot(dark, output / "history_dark.png")
        phone = browser.new_context(base_url=address, viewport=PHONE, color_scheme="light").new_page()
        _fill(phone, PROMPTS[0])
        _shoot(phone, output / "generate_phone.png")
        browser.close()


@contextmanager
def _server(model_path: str, port: int) -> Iterator[str]:
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        places = ["--data-dir", f"{folder}/data", "--results-dir", f"{folder}/results"]
        command = [sys.executable, "web/server.py", "--model-path", model_path, "--port", str(port), *places]
        server = subprocess.Popen(command, cwd=ROOT)
        try:
            _wait_for(address, server)
            yield address
        finally:
            server.terminate()
            server.wait(30)


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


def _fill(page: Any, prompt: str, **values: str) -> None:
    page.goto("/")
    page.set_default_timeout(WAIT_MS)
    page.locator("#model-pill[data-state=ready]").wait_for()
    page.fill("#field-prompt", prompt)
    for name, value in values.items():
        page.fill(f"#field-{name}", value)
    page.wait_for_timeout(600)


def _take_generate(page: Any, output: Path) -> None:
    for number, prompt in enumerate(PROMPTS):
        _fill(page, prompt, seed=str(number + 1))
        page.keyboard.press("Control+Enter")
        page.locator("#result-bar").wait_for()
    page.click("#reset-button")
    page.fill("#field-prompt", PROMPTS[0])
    page.fill("#field-seed", "1")
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(500)
    page.locator("#result-bar").wait_for()
    page.wait_for_timeout(500)
    _shoot(page, output / "generate.png")
    page.fill("#field-num_inference_steps", "200")
    for _ in range(3):
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(150)
    page.locator("#result[src*='/preview']").wait_for()
    page.wait_for_timeout(1500)
    _shoot(page, output / "running.png")
    for job in reversed(page.request.get("/api/jobs").json()):
        page.request.delete(f"/api/jobs/{job['id']}")
    page.fill("#field-num_inference_steps", "9")


def _take_history(page: Any, output: Path) -> None:
    page.goto("/history")
    page.wait_for_load_state("networkidle")
    _shoot(page, output / "history.png")
    ids = [card.get_attribute("data-id") for card in page.locator(".card[data-state=done]").all()]
    page.goto(f"/history/{ids[0]}")
    _shoot(page, output / "image.png")
    page.goto(f"/history/compare?left={ids[1]}&right={ids[0]}")
    page.wait_for_timeout(300)
    _shoot(page, output / "compare.png")


def _take_rewriter(page: Any, output: Path) -> None:
    page.goto("/rewriter")
    page.fill("#rewriter-prompt", "a red fox")
    page.click("#rewrite-button")
    page.locator("#stop-button").wait_for(state="hidden")
    page.wait_for_timeout(300)
    _shoot(page, output / "rewriter.png")


def _take_experiments(page: Any, output: Path) -> None:
    page.goto("/experiments")
    page.fill("#lab-max", "1")
    page.uncheck("[name=compute_metrics]")
    page.locator("#start-button").click()
    page.locator("[data-name=shift_sweep] .report-link").wait_for(timeout=3 * WAIT_MS)
    page.locator("#plan button").click()
    page.locator("#start-button").wait_for()
    _shoot(page, output / "experiments.png")


def _shoot(page: Any, path: Path) -> None:
    page.screenshot(path=str(path))
    click.echo(path)


if __name__ == "__main__":
    main()
