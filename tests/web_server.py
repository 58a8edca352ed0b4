"""The application for tests: behind a test client, or on a real port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from web_fakes import FakeEngine, Halt, HaltingEngine

from llm_dit import ZImagePipeline
from llm_dit.config import Config
from llm_dit.parameters import EngineSettings
from web.app import create_app

ADDRESS = "http://127.0.0.1"
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
"""For plain requests: `httpx.get` reads all certificates anew, which takes a hundred times as long as the request."""


def make_app(folder: Path, engine: FakeEngine | None = None, *, halt: Halt | None = None, **values: Any) -> FastAPI:
    """Return an application that keeps everything in `folder`; with no engine it loads the configured model."""
    places = {"data_dir": str(folder / "data"), "results_dir": str(folder / "results")}

    def load(settings: EngineSettings) -> Any:
        return engine or HaltingEngine(ZImagePipeline.from_pretrained(settings=settings), halt or Halt())

    return create_app(Config({**places, **values}), engine_factory=load)


@contextmanager
def client_of(app: FastAPI) -> Iterator[TestClient]:
    """Start the application and wait for its model."""
    with TestClient(app, base_url=ADDRESS) as client:
        wait_until(lambda: client.get("/healthz").json()["model"] != "loading")
        yield client


@contextmanager
def live_server(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Serve the application on a port, a free one by default; yields its address."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        yield f"{ADDRESS}:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def wait_for_model(address: str) -> None:
    """Wait until the served model is ready, however busy the machine is."""
    wait_until(lambda: HTTP.get(f"{address}/healthz", timeout=60).json()["model"] == "ready", 120)


def wait_until(is_true: Any, timeout_s: float = 60.0) -> None:
    """Wait for a condition, failing loudly after `timeout_s`.

    For pages too: Playwright's own `wait_for_function` evaluates text within the page, which its policy forbids.
    """
    end = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
