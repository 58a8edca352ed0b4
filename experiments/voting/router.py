"""The voting page over HTTP: one router, for `vote.py` alone and for the web page under each experiment.

Pages and answers tell a voter nothing of a picture but the picture; all else stays behind `Booth`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from experiments.voting.booth import Booth
from llm_dit.errors import LlmDitError

ASSETS = Path(__file__).parent / "assets"
PALETTE = ASSETS / "palette.css"
ASSET_TYPES = {"vote.js": "text/javascript", "vote.css": "text/css", PALETTE.name: "text/css"}
PAGE_PATH = "/experiments/{name}/vote/"
MAX_BODY_BYTES = 10_000
NOT_KEPT = {"Cache-Control": "no-store"}


def voting_router(booth_of: Callable[[Request, str], Booth], *, way_back: str | None) -> APIRouter:
    """Return the routes of the page.

    Args:
        booth_of: Finds the booth of an experiment by the request and the experiment's name; raises where there is none.
        way_back: Address of the page that leads here; None where there is none.
    """
    router = APIRouter(include_in_schema=False)

    @router.get(PAGE_PATH[:-1])
    def without_slash() -> Response:
        return RedirectResponse("vote/", 308)  # from the page's own folder, whatever is before it

    @router.get(PAGE_PATH)
    def page(request: Request, name: str) -> Response:
        booth = booth_of(request, name)
        template = _environment().get_template("vote.html.j2")
        return HTMLResponse(
            template.render(name=booth.name, build=_build(), way_back=way_back).encode("utf-8", "replace"),
            headers=NOT_KEPT,
        )

    @router.get(f"{PAGE_PATH}assets/{{build}}/{{file}}")
    def asset(file: str) -> Response:
        if file not in ASSET_TYPES:
            return JSONResponse({"error": "There is no such file.", "field": None}, 404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response((ASSETS / file).read_bytes(), media_type=ASSET_TYPES[file], headers=headers)

    @router.get(f"{PAGE_PATH}pictures/{{picture}}")
    def picture(request: Request, name: str, picture: str) -> Response:
        return Response(booth_of(request, name).picture(picture), media_type="image/png", headers=NOT_KEPT)

    @router.post(f"{PAGE_PATH}next")
    async def next_ballot(request: Request, name: str) -> Response:
        values = await _body(request)
        return await _answer(request, name, lambda booth: booth.next_ballot(values["voter"]))

    @router.post(f"{PAGE_PATH}vote")
    async def vote(request: Request, name: str) -> Response:
        values = await _body(request)
        seconds = values.get("seconds")
        return await _answer(
            request, name, lambda booth: booth.vote(values["voter"], values["ballot"], values["choice"], seconds)
        )

    @router.post(f"{PAGE_PATH}undo")
    async def undo(request: Request, name: str) -> Response:
        values = await _body(request)
        return await _answer(request, name, lambda booth: booth.undo(values["voter"]))

    async def _answer(request: Request, name: str, ask: Callable[[Booth], dict[str, Any]]) -> Response:
        from fastapi.concurrency import run_in_threadpool

        return JSONResponse(await run_in_threadpool(lambda: ask(booth_of(request, name))), headers=NOT_KEPT)

    return router


async def _body(request: Request) -> dict[str, Any]:
    """Read a small JSON object; its type keeps pages of other sites from sending one unasked.

    Raises:
        LlmDitError: If it is something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise LlmDitError("The body has to be JSON; send it with Content-Type: application/json.")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY_BYTES:
            raise LlmDitError(f"The body is larger than {MAX_BODY_BYTES} bytes; send less.")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise LlmDitError("The body is not valid JSON.") from None
    if not isinstance(values, dict):
        raise LlmDitError("The body has to be a JSON object.")
    return {"voter": "", "ballot": "", "choice": "", **values}


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _build() -> str:
    """Return a name for the content of scripts and styles, so that a browser never runs old ones."""
    digest = hashlib.sha256()
    for file in sorted(ASSET_TYPES):
        digest.update((ASSETS / file).read_bytes())
    return digest.hexdigest()[:12]
