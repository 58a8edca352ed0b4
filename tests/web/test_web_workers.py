"""An experiment of the page on a real Ray cluster of this machine, in Chromium: asked for, watched, hurt, finished."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_fakes import FakeEngine
from web_server import live_server, make_app, wait_for_model, wait_until
from web_tab import open_tab

from experiments.store.result_store import ResultStore
from llm_dit.parameters import PARAMETERS

pytestmark = pytest.mark.slow  # a real cluster under a real page

RUNS = 24
SMALL = {"num_inference_steps": 8, "width": 128, "height": 128, "dit_device": "cpu", "text_encoder_device": "cpu"}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with live_server(make_app(folder, FakeEngine(), **SMALL)) as address:
        wait_for_model(address)
        yield address


def test_an_experiment_runs_on_workers_whose_states_and_faults_are_on_its_card(
    browser: Any, address: str, folder: Path
) -> None:
    with open_tab(browser, address) as page:
        page.goto("/experiments")
        field = page.locator("#lab-workers")
        assert [field.get_attribute(name) for name in ("min", "max", "value")] == ["0", "10000", ""]
        assert PARAMETERS["workers"].help in page.inner_text("#lab-workers-help")

        page.check("[name=kind][value=own]", force=True)
        page.uncheck("[name=compute_metrics]")
        for name, value in {"sweeps": "shift=1..4", "name": "spread", "seeds": "1,2", "workers": "2"}.items():
            page.fill(f"#lab-form [name={name}]", value)
        page.locator("#plan", has_text="2 workers").wait_for()
        page.click("#start-button:has-text('spread')")

        workers = page.locator("[data-name=spread] .workers li")
        wait_until(lambda: workers.count() == 2, 240)
        drawing = page.locator("[data-name=spread] .workers li[data-state=drawing]", has_text="/s")
        drawing.first.wait_for(timeout=240_000)
        keep_picture(page, "workers")
        [job] = httpx.get(f"{address}/api/jobs").json()
        told = {worker["name"]: worker for worker in job["workers"]}
        assert sorted(told) == ["worker 1", "worker 2"]
        hurt = next(worker for worker in told.values() if worker["doing"] == "drawing")
        assert hurt["images"] > 0
        assert hurt["images_per_second"] > 0
        os.kill(hurt["pid"], signal.SIGKILL)

        page.locator("[data-name=spread] .faults", has_text=f"{hurt['name']} is lost with").wait_for()
        keep_picture(page, "faults")
        page.locator("[data-name=spread] .pill", has_text="finished").wait_for(timeout=240_000)
        card = page.locator("[data-name=spread]")
        assert f"{RUNS} of {RUNS} runs" in card.locator(".experiment-facts").inner_text()
        assert f"{hurt['name']} is lost with" in card.locator(".faults").inner_text()
        assert workers.count() == 0
        keep_picture(page, "finished")
    store = ResultStore(folder / "results" / "spread")
    assert len(store.runs()) == len(list(store.images.glob("*.png"))) == RUNS
    manifest = store.manifest().raw
    assert manifest["config"]["cluster"]["workers"] == 2
    assert "--workers=2" in manifest["command"]


NOT_FOR_THE_PAGE = {
    "another's cluster": (
        {"ray_address": "ray://10.0.0.1:10001"},
        "is not the server's; leave it out, or start the server",
    ),
    "too many": ({"workers": 9999}, f"9999 is more than the {os.cpu_count()} processors of this machine"),
    "no number": ({"workers": "many"}, "workers"),
}


@pytest.mark.parametrize(("asked", "sentence"), NOT_FOR_THE_PAGE.values(), ids=NOT_FOR_THE_PAGE)
def test_workers_that_the_page_may_not_have_are_refused_before_anything_starts(
    address: str, asked: dict[str, Any], sentence: str
) -> None:
    body = {"experiment": "shift_sweep", "max_prompts": 1, **asked}
    answer = httpx.post(f"{address}/api/experiments", json=body, timeout=60)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]
    assert httpx.get(f"{address}/api/jobs").json() == []


def keep_picture(page: Any, name: str) -> None:
    """Save the page as pictures where `LLM_DIT_PICTURES` names a folder, for people to look at."""
    folder = os.environ.get("LLM_DIT_PICTURES")
    if folder is None:
        return
    before = page.viewport_size
    page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    page.set_viewport_size(PHONE)
    page.screenshot(path=f"{folder}/{name}-phone.png", full_page=True)
    page.set_viewport_size(before)
