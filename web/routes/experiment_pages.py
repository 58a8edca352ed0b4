"""The Experiments page, and the files of results folders."""

from __future__ import annotations

import mimetypes
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from llm_dit.errors import LlmDitError
from web.jobs.experiment_jobs import lab_choices, usual_judges
from web.jobs.lab_request import SWITCHES, LabRequest, lab_request
from web.responses import not_found
from web.routes.experiments_api import Name, report_path, results_path
from web.routes.form import Control, control
from web.routes.images_api import unless_gone
from web.routes.pages import render
from web.security import is_same_text, results_token
from web.services import Services, ServicesOf

router = APIRouter(include_in_schema=False)

SERVED_TYPES = (".html", ".png", ".webp", ".jpg", ".json", ".csv", ".svg")
REPORT_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads"
    ),
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Cache-Control": "no-cache",
}
"""A report's scripts run as a stranger's: without cookies, and without a way to this server's API."""


@router.get("/experiments")
def experiments_page(services: ServicesOf) -> Response:
    """Show the experiments and the form that starts one."""
    since = services.queue.version
    context = {**_list_context(services), "choices": lab_choices(services.config), "cluster": _cluster(services)}
    return render(services, "experiments.html", page="experiments", since=since, **context)


@router.get("/experiments/list")
def experiment_list(services: ServicesOf) -> Response:
    """Show the list alone; the page asks for it again and again."""
    return render(services, "experiment_list.html", **_list_context(services))


@router.get("/experiments/overview")
def experiments_overview(services: ServicesOf) -> Response:
    """Show all experiments in one table."""
    return render(services, "overview.html", page="experiments", **_list_context(services))


@router.post("/experiments/plan")
async def experiment_plan(request: Request, services: ServicesOf) -> Response:
    """Show the dry run, or what is wrong with the request."""
    try:
        preview = await unless_gone(request, services.lab.preview_aside(await _asked(request, services)))
    except LlmDitError as error:
        return render(services, "experiment_plan.html", preview=None, error=str(error))
    return render(services, "experiment_plan.html", preview=preview, error=None)


@router.post("/experiments/start")
async def experiment_start(request: Request, services: ServicesOf) -> Response:
    """Queue an experiment and tell the list, or say what is wrong."""
    try:
        await unless_gone(request, services.lab.start_checked(await _asked(request, services)))
    except LlmDitError as error:
        return render(services, "experiment_plan.html", preview=None, error=str(error))
    answer = render(services, "experiment_plan.html", preview=None, error=None)
    answer.headers["HX-Trigger"] = "experiments-changed"
    return answer


@router.get("/results/{token}/{name}/{path:path}")
def result_file(token: str, name: Name, path: str, services: ServicesOf) -> Response:
    """Return a file of a results folder: reports, images and tables only."""
    if not is_same_text(token, results_token(services.config.server.api_key)):
        raise not_found("file")
    file = services.lab.folders.file(name, path)
    if file is None or file.suffix.lower() not in SERVED_TYPES:
        raise not_found("file")
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return FileResponse(
        file, media_type=media_type, headers=REPORT_HEADERS | {"Cross-Origin-Resource-Policy": "cross-origin"}
    )


async def _asked(request: Request, services: Services) -> LabRequest:
    """Read the page's form; all judges that can score are the same as none named."""
    form = await request.form()
    values: dict[str, Any] = dict(form)
    values |= {name: values.get(name) == "on" for name in SWITCHES}
    chosen = [str(name) for name in form.getlist("metrics")]
    if values["compute_metrics"] and not chosen:
        raise LlmDitError("Choose a judge, or leave the images unscored.", field="metrics")
    is_all = set(chosen) == set(usual_judges(services.config))
    values["metrics"] = "" if is_all else ",".join(chosen)
    if values.pop("kind", "predefined") == "own":
        values.pop("experiment", None)
        if not str(values.get("sweeps") or "").strip():
            raise LlmDitError("Write an axis a line, such as shift=1..6.", field="sweeps")
    else:
        values.pop("sweeps", None)
    return lab_request(values)


def _cluster(services: Services) -> dict[str, Control]:
    """Return the form's fields for workers, by name, with the configuration's values."""
    values = services.config.cluster.model_dump()
    return {name: control(name, values) for name in ("workers", "ray_address")}


def _list_context(services: Services) -> dict[str, Any]:
    cards = services.lab.experiments()
    return {
        "cards": cards,
        "reports": {card.name: report_path(services, card.name) for card in cards},
        "thumbnails": {
            card.name: [results_path(services, card.name, path) for path in card.thumbnails] for card in cards
        },
        "is_busy": any(card.job is not None or card.is_held for card in cards),
    }
