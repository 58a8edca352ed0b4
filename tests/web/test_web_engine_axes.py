"""Settings of the engine as axes of the page's experiments, on the embedded model in Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_server import HTTP, live_server, wait_for_model
from web_tab import open_tab

from experiments.store.result_store import ResultStore
from llm_dit import ZImagePipeline
from llm_dit.config import Config
from llm_dit.parameters import EngineSettings
from web.app import create_app

ON_CPU = {"dit_device": "cpu", "text_encoder_device": "cpu", "vae_device": "cpu"}
SMALL = {"width": 64, "height": 64, "num_inference_steps": 1}


@pytest.fixture
def int8_may_load() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def address(tmp_path: Path, int8_may_load: threading.Event) -> Iterator[str]:
    def load(settings: EngineSettings) -> ZImagePipeline:
        if settings.quantization == "int8":
            assert int8_may_load.wait(60)
        return ZImagePipeline.from_pretrained(settings=settings)

    places = {"data_dir": str(tmp_path / "data"), "results_dir": str(tmp_path / "results")}
    with live_server(create_app(Config({**places, **ON_CPU, **SMALL}), engine_factory=load)) as address:
        wait_for_model(address)
        yield address


def test_arms_of_the_engine_are_planned_started_and_shown(
    browser: Any, address: str, tmp_path: Path, int8_may_load: threading.Event
) -> None:
    with open_tab(browser, address) as page:
        page.goto("/experiments")
        page.locator("#plan .totals").wait_for()
        page.check("[name=kind][value=own]", force=True)
        page.uncheck("[name=compute_metrics]")
        page.fill("#lab-name", "arms")
        page.fill("#lab-max", "2")
        page.fill("#lab-sweeps", "quantization=none,int8,float8")
        page.locator("#plan-error", has_text="level float8: ").wait_for()
        assert "needs a CUDA device" in page.inner_text("#plan-error")
        assert page.locator("#start-button").is_disabled()

        page.check("[name=skip_unsupported]")
        page.locator("#plan .warning-text", has_text="The level float8 of quantization is left out: ").wait_for()
        assert "Loading: text encoder once, transformer twice, VAE once, about " in page.inner_text("#plan")
        assert "--skip-unsupported" in page.locator("#plan pre").text_content()
        page.click("#start-button")
        facts = page.locator("[data-name=arms] .experiment-facts")
        facts.get_by_text("loading quantization int8").wait_for()
        (job,) = HTTP.get(f"{address}/api/jobs").json()
        assert (job["state"], job["step"], job["loading"]) == ("running", 2, "quantization int8")
        int8_may_load.set()
        page.locator("[data-name=arms] .pill", has_text="finished").wait_for()
        assert "loading" not in facts.inner_text()

    store = ResultStore(tmp_path / "results" / "arms")
    assert [(found.axis, found.level) for found in store.manifest().left_out] == [("quantization", "float8")]
    assert sorted((run.level, run.numerics["quantization"]) for run in store.runs()) == [
        *[("int8", "int8")] * 2,
        *[("none", "none")] * 2,
    ]
    assert "The level float8 of quantization is left out: " in (store.folder / "report.html").read_text()
    assert HTTP.get(f"{address}/api/jobs/{job['id']}").json()["loading"] == ""
