"""The HTML pages. Each is rendered whole from the services' state; scripts in `static/` bring them to life."""

from __future__ import annotations

import asyncio
import json
import time
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from llm_dit.checkpoints.lora_folder import loras_in
from llm_dit.commands import command_words
from llm_dit.errors import CheckpointError
from llm_dit.parameters import PARAMETERS, RewriterSettings
from llm_dit.prompting.templates import DEFAULT_REWRITER
from web.history.entry import Entry
from web.history.search import parse_search
from web.jobs.experiment_jobs import lab_choices
from web.responses import HttpError, not_found
from web.routes.form import SHAPES, allowed_in_schema, control, label_of, sections
from web.routes.static_files import build, static_address
from web.security import COOKIE, KeyAttempts, cookie_value, is_same_text
from web.services import Services, ServicesOf

router = APIRouter(include_in_schema=False)

COOKIE_AGE_S = 30 * 24 * 3600
RECENT_SHOWN = 16
WRONG_KEY_PAUSE_S = 0.5


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["command_words"] = command_words
    environment.filters["ago"] = _ago
    environment.filters["label"] = label_of
    environment.filters["pretty_json"] = lambda value: json.dumps(value, ensure_ascii=False, indent=2)
    environment.filters["compact_json"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["allowed"] = allowed_in_schema
    environment.filters["with_code"] = _with_code
    return environment


def render(services: Services, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page made of a file in `templates/`.

    Args:
        services: What is shown.
        template: Name of the file.
        status: HTTP status.
        context: Values for the template; `since` is the queue's version, taken before what of it stands on the page was
            read.
    """
    common = {
        "model": services.engine.card,
        "has_key": services.config.server.api_key is not None,
        "since": services.queue.version,
        "static": static_address(),
        "build": build(),
    }
    text = _environment().get_template(template).render(common | context)
    return HTMLResponse(text.encode("utf-8", "replace"), status, headers={"Cache-Control": "no-store"})


def is_for_people(request: Request) -> bool:
    """Say whether a browser asks for a page, rather than a client for data."""
    is_data = request.url.path.startswith(("/api/", "/v1/", "/static/"))
    return not is_data and "text/html" in request.headers.get("accept", "")


def error_page(request: Request, status: int, message: str) -> HTMLResponse:
    """Return an error as a page."""
    return render(request.app.state.services, "error.html", status, page="error", status_code=status, message=message)


@router.get("/")
def generate_page(
    services: ServicesOf,
    edit: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
    run: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,200}$")] = None,
    only: Annotated[str | None, Query(pattern="^[a-z_]{1,50}$")] = None,
) -> Response:
    """Show the form, with the parameters of an image of the history (`edit`) or of an experiment (`run`).

    With `only` a single one of them is put into the form as it was left.
    """
    version = services.history.changes.version  # before the rows are read: what comes between is told again
    values = services.config.values
    initial = None
    if edit is not None:
        initial = entry_of(services, edit).params
    elif run is not None:
        initial = services.lab.folders.run_params(*run.split("/"))
    if initial is not None and only is not None:
        if only not in initial:
            raise HttpError(404, f"The image has no parameter {only}; it was made without.")
        initial = {only: initial[only]}
    controls = sections(values)
    recent = services.history.newest(RECENT_SHOWN, parse_search("is:done"))
    return render(
        services,
        "generate.html",
        page="generate",
        since=services.queue.version,
        prompt=controls.pop("Prompt")[0],
        size=controls.pop("Size"),
        shapes=SHAPES,
        sections=controls.items(),
        templates=services.templates.of_kind("prompt"),
        initial=None if initial is None else json.dumps(initial),
        is_only_one=only is not None,
        recent=[(entry, json.dumps(entry.params)) for entry in recent],
        history_version=version,
    )


@router.get("/rewriter")
def rewriter_page(services: ServicesOf) -> Response:
    """Show the prompt rewriter."""
    values = services.config.values
    names = [item.name for item in PARAMETERS.values() if item.group is RewriterSettings]
    return render(
        services,
        "rewriter.html",
        page="rewriter",
        templates=services.templates.of_kind("rewriter"),
        default_template=DEFAULT_REWRITER,
        problems=services.templates.read()[1],
        controls=[control(name, values) for name in names],
    )


@router.get("/docs")
def api_page(request: Request, services: ServicesOf) -> Response:
    """Show the OpenAPI document, readable without any script."""
    document = request.app.openapi()
    routes = [
        (method.upper(), path, route) for path, item in document["paths"].items() for method, route in item.items()
    ]
    address = str(request.base_url).rstrip("/")
    return render(services, "docs.html", page="docs", document=document, routes=routes, address=address)


@router.get("/model")
def model_page(services: ServicesOf) -> Response:
    """Show what is loaded, from which files, and what there is beside it."""
    folder, problem = services.config.engine.loras_folder, None
    try:
        loras = None if folder is None else loras_in(folder)
    except CheckpointError as error:
        loras, problem = None, str(error)
    judges = lab_choices(services.config)["judges"]
    return render(services, "model.html", page="model", loras=loras, problem=problem, judges=judges)


@router.get("/login")
def login_page(services: ServicesOf, next: str = "/") -> Response:
    """Ask for the API key."""
    return render(services, "login.html", page="login", next=_own_path(next), error=None)


@router.post("/login")
async def login(
    services: ServicesOf,
    request: Request,
    key: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Set the cookie if the key is right."""
    api_key = services.config.server.api_key
    if api_key is None:
        return RedirectResponse(_own_path(next), 303)
    if not is_same_text(key, api_key):
        attempts: KeyAttempts = request.app.state.key_attempts
        problem, status = attempts.note_wrong(request.scope), 429
        if problem is None:
            await asyncio.sleep(WRONG_KEY_PAUSE_S)  # slows guessing down
            problem, status = "That key is not right.", 401
        return render(services, "login.html", status, page="login", next=_own_path(next), error=problem)
    answer = RedirectResponse(_own_path(next), 303)
    answer.set_cookie(
        COOKIE,
        cookie_value(api_key),
        max_age=COOKIE_AGE_S,
        httponly=True,
        samesite="lax",  # strict would keep it from links in reports, which are pages of a stranger
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
async def logout() -> Response:
    """Forget the cookie."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/favicon.ico")
def favicon() -> Response:
    """Point browsers that ask for it to the icon."""
    return RedirectResponse("/static/icon.svg", 308)


def entry_of(services: Services, entry_id: str) -> Entry:
    """Return a row of the history that is over.

    Raises:
        HttpError: If there is none.
    """
    entry = services.history.get(entry_id)
    if entry is None or entry.state == "waiting":
        raise not_found("image")
    return entry


def _own_path(path: str) -> str:
    """Return `path` if it leads to a page of ours, else the start page."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_own else "/"


def _with_code(text: str) -> Markup:
    """Return a text whose parts between backticks are marked as code, everything escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a lone one is a character
        return escape(text)
    marked = (Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts))
    return Markup("").join(marked)


def _ago(when: float) -> str:
    """Say how long ago a Unix time was."""
    seconds = max(0, time.time() - when)
    for length_s, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length_s:
            count = int(seconds // length_s)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
