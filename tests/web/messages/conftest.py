"""A page over a model that halts where a test says, and whose requests a test may hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from held_answers import CLIENT, Hold
from web_fakes import FakeEngine
from web_server import HTTP, live_server, make_app, wait_for_model, wait_until
from web_tab import open_tab


@pytest.fixture(scope="module")
def model() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, model: FakeEngine) -> Iterator[str]:
    with live_server(make_app(tmp_path_factory.mktemp("order"), model)) as address:
        wait_for_model(address)
        yield address


@pytest.fixture
def engine(model: FakeEngine, address: str) -> Iterator[FakeEngine]:
    """The engine behind the pages, idle before and after each test."""
    model.halt.may_pass.clear()
    yield model
    model.halt.at = 0
    model.halt.may_pass.set()
    model.gate.set()
    wait_until(lambda: HTTP.get(f"{address}/api/jobs").json() == [])


@pytest.fixture
def page(browser: Any, address: str, engine: FakeEngine) -> Iterator[Any]:
    with open_tab(browser, address) as page:
        page.add_init_script(f"sessionStorage.setItem('client', '{CLIENT}')")
        yield page


@pytest.fixture
def hold(page: Any) -> Iterator[Hold]:
    """Return a function that keeps requests from the server, in lists; what is left there was never answered.

    Chromium begins to ask here about requests when the first route is set, and of a page that is open already it misses
    one request in a hundred: so a route that nothing takes is set before any page.
    """
    held: list[list[Any]] = []
    page.route("**/nothing-takes-this", lambda route: route.continue_())

    def hold(pattern: str) -> list[Any]:
        routes: list[Any] = []
        held.append(routes)
        page.route(pattern, lambda route: routes.append(route))
        return routes

    yield hold
    page.goto("/healthz")
    for route in itertools.chain(*held):
        route.abort()
