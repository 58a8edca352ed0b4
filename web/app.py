"""The web application: services, routes, and what surrounds every request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from llm_dit.config import Config
from llm_dit.errors import LlmDitError
from web.jobs.loaded_model import EngineFactory
from web.responses import OPENAI_PREFIX, AsciiJSONResponse, HttpError, error_from_exception, error_response
from web.routes import experiment_pages as lab_pages
from web.routes import experiments_api as lab_api
from web.routes import history_api, history_pages, openai_api, pages, rewriter_api, voting
from web.routes import images_api as api
from web.routes.static_files import add_static_files
from web.security import ANSWER_HEADERS, Guard, KeyAttempts, allowed_hosts, check_exposure, names_in
from web.services import ServicesOf, assemble

logger = logging.getLogger(__name__)

DESCRIPTION = (
    'Images from text with every parameter in the open. Errors are `{"error": sentence, "field": parameter}`; '
    "the routes under /v1 answer in OpenAI's shape."
)


def create_app(config: Config, *, engine_factory: EngineFactory | None = None) -> FastAPI:
    """Return the application; the model begins to load when it starts.

    Args:
        config: Values of file and flags.
        engine_factory: Makes the engine from its settings; the real pipeline by default.

    Raises:
        LlmDitError: If it would be open to others without a key, or the data folder can't be used.
    """
    server = config.server
    check_exposure(server.host, server.api_key)
    services = assemble(config, engine_factory)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.hub.open()
        services.history.changes.add_listener(services.hub.announce)
        services.queue.start()
        yield
        services.hub.close()
        await run_in_threadpool(services.queue.close)
        services.lab.planner.close()
        services.history.close()

    app = FastAPI(
        title="llm-dit",
        description=DESCRIPTION,
        version=version("llm-dit"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=AsciiJSONResponse,
    )
    app.state.services = services
    for module in (api, history_api, rewriter_api, lab_api, openai_api, pages, history_pages, lab_pages, voting):
        app.include_router(module.router)
    _add_probes(app)
    add_static_files(app)
    app.exception_handler(HttpError)(_told)
    app.exception_handler(LlmDitError)(_told)
    app.exception_handler(RequestValidationError)(_told_of_validation)
    app.exception_handler(HTTPException)(_told_of_routing)
    app.exception_handler(Exception)(_told_of_defect)
    attempts = app.state.key_attempts = KeyAttempts()
    app.add_middleware(
        Guard,
        hosts=allowed_hosts(server.host, server.allowed_hosts),
        api_key=server.api_key,
        attempts=attempts,
        proxies=names_in(server.allowed_hosts),
    )
    return app


def _add_probes(app: FastAPI) -> None:
    @app.get("/healthz", summary="Is the server alive")
    async def healthz(services: ServicesOf) -> dict[str, Any]:
        """Answer at once, whatever the device does; `model` is loading, ready or failed."""
        return {"status": "ok", "model": services.engine.card.state, "waiting": services.queue.waiting_count}

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    def metrics(services: ServicesOf) -> Response:
        """Return the counters in Prometheus' text format."""
        return Response(services.monitoring.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _told(request: Request, error: Exception) -> Response:
    if pages.is_for_people(request):
        return pages.error_page(request, error.status if isinstance(error, HttpError) else 422, str(error))
    return error_from_exception(request, error)


async def _told_of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if pages.is_for_people(request):
        return pages.error_page(request, 404, "There is no such page.")
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return error_response(request.url.path, 422, f"{name}: {first['msg']}.", name)


async def _told_of_routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if pages.is_for_people(request):
        return pages.error_page(request, error.status_code, f"{error.detail}.")
    path, sentence = request.url.path, f"{error.detail}."
    if error.status_code == 404 and path.startswith(OPENAI_PREFIX):
        sentence = f"There is no {request.method} {path[:100]} here; {openai_api.WHAT_IS_HERE}."
    return error_response(path, error.status_code, sentence, headers=dict(error.headers or {}))


async def _told_of_defect(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "Something went wrong inside; the server's log has the details."
    return error_response(request.url.path, 500, message, headers=ANSWER_HEADERS)  # answered outside of `Guard`
