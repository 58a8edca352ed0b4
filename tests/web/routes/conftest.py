"""The API over a model that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from web_fakes import FakeEngine
from web_server import client_of, make_app


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(tmp_path: Path, engine: FakeEngine) -> Iterator[TestClient]:
    with client_of(make_app(tmp_path, engine, history_size=5, queue_size=4)) as client:
        yield client
        engine.gate.set()
