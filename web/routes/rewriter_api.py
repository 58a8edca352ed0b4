"""POST /api/rewrite: a job in the same queue as the images, since it uses the same model on the same device."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from llm_dit.errors import InvalidParameter
from llm_dit.parameters import MAX_SEED, GenerationParams, RewriterSettings
from llm_dit.prompting.templates import DEFAULT_REWRITER, Template
from web.jobs.image_jobs import TITLE_CHARACTERS
from web.jobs.job import Job, JobState
from web.jobs.queue import JobHandle
from web.responses import AsciiJSONResponse, read_json
from web.routes.form import json_schema
from web.routes.images_api import cancel_aside, failure, until_over
from web.services import Services, ServicesOf

router = APIRouter(prefix="/api", default_response_class=AsciiJSONResponse)

REWRITE_KIND = "rewrite"
OWN_PROPERTIES: dict[str, Any] = {
    "prompt": {"type": "string", "description": "The text to rewrite."},
    "template": {"type": ["string", "null"], "description": f"Name of a rewriter template; {DEFAULT_REWRITER}."},
    "instruction": {"type": ["string", "null"], "description": "An instruction of your own instead of a template."},
    "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_SEED},
}
_FIELDS = json_schema(RewriterSettings)
BODY_SCHEMA = {**_FIELDS, "properties": {**OWN_PROPERTIES, **_FIELDS["properties"]}, "required": ["prompt"]}
BODY_EXAMPLE = {"prompt": "a fox in snow", "template": DEFAULT_REWRITER, "temperature": 0.7}


@router.post(
    "/rewrite",
    summary="Rewrite a prompt",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BODY_SCHEMA, "example": BODY_EXAMPLE}},
        }
    },
)
async def rewrite_prompt(request: Request, services: ServicesOf) -> Response:
    """Rewrite a prompt with the text encoder's language model.

    With `Accept: text/event-stream` the answer streams: events `waiting`, `partial`, then `done` or `error`. Going away
    stops the writing.
    """
    job = _job(services, await read_json(request))
    services.queue.submit([job])
    if "text/event-stream" in request.headers.get("accept", ""):
        return EventSourceResponse(_stream(services, job))
    await until_over(services, [job], request, stop_running=True)
    if job.state is not JobState.DONE:
        raise failure(job)
    return AsciiJSONResponse(asdict(job.result))


def _job(services: Services, body: dict[str, Any]) -> Job:
    """Check a request and return its job.

    Raises:
        InvalidParameter: Naming the field at fault.
    """
    own = {name: body.pop(name, None) for name in OWN_PROPERTIES}
    settings = services.config.rewriter.replaced(**body)
    if own["prompt"] is None:
        raise InvalidParameter("prompt", "is missing; it is the text to rewrite.")
    prompt = _text("prompt", own["prompt"])
    seed = GenerationParams.parse({"prompt": "-", "seed": own["seed"]}).seed
    template = _template(services, own["template"], own["instruction"])

    def work(handle: JobHandle) -> Any:
        from llm_dit.stages.rewriter import rewrite

        return rewrite(
            services.engine.get().text_encoder, prompt, template, settings, seed=seed, on_text=handle.publish
        )

    return Job(kind=REWRITE_KIND, title=prompt[:TITLE_CHARACTERS], work=work)


def _template(services: Services, name: Any, instruction: Any) -> Template | str:
    if instruction is not None:
        return _text("instruction", instruction)
    name = DEFAULT_REWRITER if name is None else name
    if not isinstance(name, str):
        raise InvalidParameter("template", "has to be the name of a rewriter template.")
    return services.templates.get("rewriter", name)


def _text(name: str, value: Any) -> str:
    """Check that `value` would be a valid prompt; call it `name` if it is not."""
    try:
        return GenerationParams.parse({"prompt": value}).prompt
    except InvalidParameter as error:
        raise InvalidParameter(name, error.problem) from None


async def _stream(services: Services, job: Job) -> AsyncIterator[ServerSentEvent]:
    sent: tuple[str, dict[str, Any]] | None = None
    try:
        async for _ in services.hub.ticks():
            event = _event_of(services, job)
            if event != sent:
                sent = event
                yield ServerSentEvent(json.dumps(event[1]), event=event[0])
            if event[0] in ("done", "error"):
                return
    finally:
        if not job.state.is_final:
            cancel_aside(services, [job.id])


def _event_of(services: Services, job: Job) -> tuple[str, dict[str, Any]]:
    with services.queue.held():  # or a job that ends between two of these lines would be told as neither
        if job.state is JobState.DONE:
            return "done", asdict(job.result)
        if job.state.is_final:
            problem = failure(job)
            return "error", {"error": problem.message, "field": problem.field}
        if job.result is not None:
            return "partial", asdict(job.result)
        return "waiting", {"position": services.queue.position(job)}
