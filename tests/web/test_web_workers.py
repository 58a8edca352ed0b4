"""An experiment of the page on a real Ray cluster of this machine, in Chromium: asked for, watched, hurt, finished."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import open_tab

from experiments.cluster.ray_environment import LOOPBACK, QUIET
from experiments.cluster.ray_opening import opened
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
        for name, value in {
            "sweeps": "shift=1..4",
            "name": "spread",
            "seeds": "1,2",
            "max_prompts": "3",
            "workers": "2",
        }.items():
            page.fill(f"#lab-form [name={name}]", value)
        page.locator("#plan", has_text="2 workers").wait_for()
        page.click("#start-button:has-text('spread')")

        workers = page.locator("[data-name=spread] .workers li")
        wait_until(lambda: workers.count() == 2, 240)
        drawing = page.locator("[data-name=spread] .workers li[data-state=drawing]", has_text="/s")
        drawing.first.wait_for(timeout=240_000)
        keep_picture(page, "workers")
        [job] = HTTP.get(f"{address}/api/jobs").json()
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


@contextmanager
def cluster_of_one_node(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start Ray as people do, on 127.0.0.1 alone; ended by its own process, since `ray stop` ends every Ray here."""
    words = f"ray start --head --block --node-ip-address=127.0.0.1 --port={port} --num-cpus=2 --include-dashboard=false"
    started = [str(Path(sys.executable).with_name("ray")), *words.split()[1:]]
    environment = {**os.environ, **QUIET, **LOOPBACK, "RAY_AUTH_MODE": "disabled"}
    head = subprocess.Popen([*started, f"--object-store-memory={80 << 20}"], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield head
    finally:
        head.terminate()
        head.wait(60)


def raylet_of(pid: int) -> str:
    """Return the command line of the process that started a worker."""
    parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
    return Path(f"/proc/{parent}/cmdline").read_text(encoding="utf-8")


def test_an_experiment_of_a_page_with_a_cluster_in_its_configuration_runs_there_and_leaves_it_up(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with opened(None, cpus=1, workers=1):
        pass  # an experiment before had workers of this process's own, for which Ray asks for a token
    port = free_port()
    with cluster_of_one_node(port) as head:
        wait_until(lambda: head.poll() is None and is_open(port), 120)
        app = make_app(tmp_path, FakeEngine(), ray_address=f"127.0.0.1:{port}", worker_threads=1, **SMALL)
        with live_server(app) as address, open_tab(browser, address) as page:
            wait_for_model(address)
            page.goto("/experiments")
            assert f"They are on the cluster 127.0.0.1:{port}." in page.inner_text("#lab-workers-help")
            page.check("[name=kind][value=own]", force=True)
            page.uncheck("[name=compute_metrics]")
            for name, value in {
                "sweeps": "shift=1..4",
                "name": "there",
                "seeds": "1,2",
                "max_prompts": "3",
                "workers": "2",
            }.items():
                page.fill(f"#lab-form [name={name}]", value)
            page.click("#start-button:has-text('there')")
            drawing = page.locator("[data-name=there] .workers li[data-state=drawing]", has_text="/s")
            drawing.first.wait_for(timeout=240_000)
            keep_picture(page, "cluster")
            [job] = HTTP.get(f"{address}/api/jobs").json()
            assert [worker["name"] for worker in job["workers"]] == ["worker 1", "worker 2"]
            pids = [worker["pid"] for worker in job["workers"] if worker["doing"] == "drawing"]
            assert f"--gcs-address=127.0.0.1:{port}" in raylet_of(pids[0])
            page.locator("[data-name=there] .pill", has_text="finished").wait_for(timeout=240_000)
        assert head.poll() is None, "the cluster was there before and stays"
    store = ResultStore(tmp_path / "results" / "there")
    assert len(store.runs()) == RUNS
    assert store.manifest().raw["config"]["cluster"]["ray_address"] == f"127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


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
    answer = HTTP.post(f"{address}/api/experiments", json=body, timeout=60)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]
    assert HTTP.get(f"{address}/api/jobs").json() == []


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
