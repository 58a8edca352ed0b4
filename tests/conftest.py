"""Fixtures shared by all tests: no network, two threads, a tiny random checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models lose more to waiting threads than they gain
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a thread that waits leaves its core to other tests

if sys.dont_write_bytecode:
    # Containers ask for it, and every process of the tests would compile torch anew, for longer than most of them work.
    # What is compiled stays out of the sources and the libraries, as asked.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def pytest_configure() -> None:
    """Let signals through that were ignored where the tests were started, in the background or by nohup.

    The commands under test go on ignoring them, as they should, and tests of Ctrl-C would wait for nothing.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start one process more than there are cores: a test often waits, for a browser, a server or a disk."""
    return 1 + (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small random checkpoint in the hub's layout, 64 x 64 native."""
    from tiny_checkpoint import write_tiny_checkpoint

    return write_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_checkpoint: Path):
    """The tiny checkpoint, loaded in float32 on the CPU."""
    from llm_dit import ZImagePipeline

    return ZImagePipeline.from_pretrained(str(tiny_checkpoint), dit_device="cpu", text_encoder_device="cpu")


@pytest.fixture(scope="session")
def reference(tiny_checkpoint: Path):
    """Diffusers' pipeline on the tiny checkpoint, without progress bars."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = diffusers.ZImagePipeline.from_pretrained(str(tiny_checkpoint), low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; closed with its module, since Playwright's event loop runs as long as it is open.

    The shell, Chromium without its windows, takes a new tab in half the work, and is taken where it is installed.
    """
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing; apt-get install chromium-headless-shell")
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
