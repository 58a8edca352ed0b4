"""The voting page as an application of its own, for one folder on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from experiments.voting.booth import Booth
from experiments.voting.router import PAGE_PATH, voting_router
from llm_dit.errors import LlmDitError

HOST = "127.0.0.1"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Handler = Callable[[Request], Awaitable[Response]]


def create_voting_app(booth: Booth) -> FastAPI:
    """Return the application; it answers to this machine's names only, so that no foreign one can be pointed at it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(voting_router(lambda _request, _name: booth, way_back=None))

    @app.get("/")
    def start() -> Response:
        return RedirectResponse(page_path(booth), 307)

    @app.exception_handler(LlmDitError)
    async def told(_request: Request, error: Exception) -> Response:
        field = error.field if isinstance(error, LlmDitError) else None
        return JSONResponse({"error": str(error), "field": field}, 422)

    @app.middleware("http")
    async def marked(request: Request, answer: Handler) -> Response:
        response = await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return app


def page_path(booth: Booth) -> str:
    """Return where the page of an experiment is."""
    return PAGE_PATH.replace("{name}", quote(booth.name, safe=""))
