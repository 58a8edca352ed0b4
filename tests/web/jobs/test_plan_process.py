"""Plans of the page: counted before they are built, made aside, given up at once."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from planner_calls import fail, priority_and_number
from web_fakes import FakeEngine
from web_server import HTTP, client_of, live_server, make_app, wait_until

from llm_dit.errors import LlmDitError
from web.jobs import plan_process
from web.jobs.plan_limits import check_size, check_typed_size, count_values
from web.jobs.plan_process import PlanProcess


@pytest.mark.parametrize(
    ("text", "count"),
    [("1..6", 6), ("0.5..10..0.0001", 95_001), ("6,9,12", 3), ("3..1", 3), ("1..2..0", 1), ("a..b", 1), ("1,2..4", 4)],
)
def test_values_are_counted_without_making_them(text: str, count: int) -> None:
    assert count_values(text) == count


def test_a_plan_that_is_too_large_is_refused_before_it_is_built() -> None:
    sweeps = ["--sweep=shift=0.5..10..0.0001", "--sweep=num_inference_steps=1..1000"]
    with pytest.raises(LlmDitError, match="95,001 x 1,000 = 95,001,000 levels, and the page plans at most 10,000"):
        check_typed_size(sweeps)
    with pytest.raises(LlmDitError, match="1,000,000 seeds"):
        check_typed_size(["--sweep=shift=1..6", "--seeds=1..1000000"])
    with pytest.raises(LlmDitError, match="100,000 pictures a seed"):
        check_size(1000, 100)


def sleep_for_ever(*_: Any) -> None:
    time.sleep(1000)


def test_a_plan_is_made_in_a_kept_process_of_low_priority_and_given_up_with_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_process, "PATIENCE_S", 0.0)

    async def plans() -> None:
        planner = PlanProcess()
        niceness, number = await planner.call(priority_and_number)
        assert niceness >= min(19, os.nice(0) + 10)
        assert await planner.call(priority_and_number) == (niceness, number)
        with pytest.raises(LlmDitError, match=r"It is wrong\.") as error:
            await planner.call(fail)
        assert error.value.field == "name"
        endless = asyncio.ensure_future(planner.call(time.sleep, 1000))
        await asyncio.sleep(0)
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        assert planner.pid is None
        assert (await planner.call(priority_and_number))[1] != number
        planner.close()

    asyncio.run(plans())


def test_the_api_refuses_a_plan_that_is_too_large_at_once(tmp_path: Path) -> None:
    with client_of(make_app(tmp_path, FakeEngine())) as client:
        body = {"sweeps": "shift=0.5..10..0.0001\nnum_inference_steps=1..1000"}
        for path in ("/api/experiments/plan", "/api/experiments"):
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()["field"]) == (422, "sweeps")
        assert client.app.state.services.lab.planner.pid is None, "nothing was begun for it"


def test_a_plan_is_given_up_when_the_page_that_asked_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_process, "PATIENCE_S", 0.0)
    monkeypatch.setattr("web.jobs.experiment_jobs.make_preview", sleep_for_ever)
    app = make_app(tmp_path, FakeEngine())
    planner = app.state.services.lab.planner
    with live_server(app) as address:
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(f"{address}/api/experiments/plan", json={"experiment": "shift_sweep"}, timeout=0.5)
        wait_until(lambda: planner.pid is None)
