"""schemathesis against the OpenAPI document: whatever is sent, no answer is the server's fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from web_fakes import FakeEngine
from web_server import live_server, make_app

from llm_dit.stages.rewriter import Rewrite

pytestmark = pytest.mark.slow  # thousands of requests

PATIENCE_S = 120
"""The first plan imports what planning needs at low priority, on a machine that may be busy."""
EXAMPLES = 30
"""Requests to each operation, valid and invalid ones each."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    app = make_app(tmp_path_factory.mktemp("fuzz"), FakeEngine(), queue_size=10_000)
    with pytest.MonkeyPatch.context() as patches, live_server(app) as address:
        patches.setattr("llm_dit.stages.rewriter.rewrite", lambda *_, **__: Rewrite("A fox.", ""))
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_no_request_is_answered_with_a_server_error(schema: Any, mode: GenerationMode) -> None:
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20
    tested = 0
    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            response = case.call(timeout=PATIENCE_S)
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                assert "error" in response.json(), response.text

        try:
            check()
            tested += 1
        except Unsatisfiable:  # there is no invalid request to an operation that takes anything, or nothing
            assert mode is GenerationMode.NEGATIVE
    assert tested >= 12
