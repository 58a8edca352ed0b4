"""The HTTP API of the experiments."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from web.jobs.experiment_jobs import lab_choices
from web.jobs.lab_request import FIELDS, SWITCHES, lab_request
from web.jobs.results_folders import ExperimentCard
from web.jobs.snapshots import job_snapshot
from web.responses import AsciiJSONResponse, not_found, read_json
from web.routes.images_api import unless_gone
from web.security import results_token
from web.services import Services, ServicesOf

router = APIRouter(prefix="/api/experiments", default_response_class=AsciiJSONResponse)

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$", description="Name of an experiment.")]
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,200}$", description="Name of a run.")]
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        **{name: {"type": ["string", "null"]} for name in FIELDS},
                        "max_prompts": {"type": ["integer", "null"], "minimum": 1},
                        "workers": {"type": ["integer", "null"], "minimum": 0},
                        **{name: {"type": "boolean"} for name in SWITCHES},
                    },
                    "additionalProperties": False,
                },
                "example": {"experiment": "shift_sweep", "categories": "animals", "max_prompts": 3, "seeds": "42"},
            }
        },
    }
}


@router.get("", summary="The experiments found")
def list_experiments(services: ServicesOf) -> list[dict[str, Any]]:
    """Return every results folder with its progress, the latest first."""
    return [card_snapshot(services, card) for card in services.lab.experiments()]


@router.get("/choices", summary="What may be started")
def choices(services: ServicesOf) -> dict[str, Any]:
    """Return the predefined experiments, the categories of prompts, and the judges with their weights."""
    return lab_choices(services.config)


@router.post("/plan", openapi_extra=BODY, summary="Dry run")
async def plan(request: Request, services: ServicesOf) -> dict[str, Any]:
    """Return what an experiment would cost, and levels that are secretly equal; nothing is done."""
    asked = lab_request(await read_json(request))
    return asdict(await unless_gone(request, services.lab.preview_aside(asked)))


@router.post("", openapi_extra=BODY, summary="Start an experiment", status_code=202)
async def start(request: Request, services: ServicesOf) -> Response:
    """Queue an experiment; only what is missing in its folder is made. The answer is the job."""
    asked = lab_request(await read_json(request))
    job = await unless_gone(request, services.lab.start_checked(asked))
    return AsciiJSONResponse(job_snapshot(services.queue, job), 202, {"Location": f"/api/jobs/{job.id}"})


@router.get("/{name}", summary="One experiment")
def get_experiment(name: Name, services: ServicesOf) -> dict[str, Any]:
    """Return one results folder with its progress."""
    card = services.lab.experiment(name)
    if card is None:
        raise not_found("experiment")
    return card_snapshot(services, card)


@router.delete("/{name}", summary="Delete an experiment")
def delete_experiment(name: Name, services: ServicesOf) -> dict[str, Any]:
    """Delete what the lab wrote in a results folder. `left` are files that it did not write, which stay there.

    Refused while the experiment runs or waits, here or elsewhere.
    """
    left = services.lab.delete(name)
    if left is None:
        raise not_found("experiment")
    return {"deleted": name, "left": left}


@router.post("/{name}/resume", summary="Go on with an experiment", status_code=202)
def resume(name: Name, services: ServicesOf) -> Response:
    """Queue an experiment again as it was last started from here."""
    job = services.lab.resume(name)
    return AsciiJSONResponse(job_snapshot(services.queue, job), 202, {"Location": f"/api/jobs/{job.id}"})


@router.get("/{name}/runs/{run_id}", summary="Parameters of a run")
def run_params(name: Name, run_id: RunId, services: ServicesOf) -> dict[str, Any]:
    """Return the generation parameters of one run."""
    return {"params": services.lab.folders.run_params(name, run_id)}


def card_snapshot(services: Services, card: ExperimentCard) -> dict[str, Any]:
    """Return a results folder as JSON."""
    values = {name: value for name, value in vars(card).items() if name != "job"}
    job = None if card.job is None else job_snapshot(services.queue, card.job)
    report = report_path(services, card.name) if card.has_report else None
    thumbnails = [results_path(services, card.name, path) for path in card.thumbnails]
    return {**values, "job": job, "report": report, "thumbnails": thumbnails}


def report_path(services: Services, name: str) -> str:
    """Return where a report is served."""
    return results_path(services, name, "report.html")


def results_path(services: Services, name: str, path: str) -> str:
    """Return where a file of a results folder is served."""
    return f"/results/{results_token(services.config.server.api_key)}/{name}/{path}"
