"""The HTTP API under /api: images to make, jobs, and what the form needs while one types."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from llm_dit.checkpoints.lora_folder import loras_in
from llm_dit.errors import LlmDitError
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.effects import without_effect
from llm_dit.parameters.loras import quoted_file
from llm_dit.prompting.chat_template import format_prompt
from llm_dit.prompting.long_prompt import cut_sentence
from web.jobs.job import Job, JobState
from web.jobs.snapshots import active_snapshots, entry_as_job, job_snapshot, queue_news
from web.responses import AsciiJSONResponse, HttpError, not_found, read_json
from web.routes.form import GENERATE_BODY, parameter_schema
from web.routes.history_api import Id
from web.routes.static_files import build
from web.services import Services, ServicesOf

Result = TypeVar("Result")

router = APIRouter(prefix="/api", default_response_class=AsciiJSONResponse)

CLIENT_HEADER = "x-client"
CLIENT_PATTERN = r"[0-9a-zA-Z-]{8,64}"
PICTURE_KINDS = ("image/png", "image/jpeg", "image/webp")
PROMPT_FIELDS = ("prompt", "system_prompt", "thinking_content", "force_think_block", "assistant_content")
BLANK = "-"
"""Stands in for the prompt while the field is still empty."""


@router.post("/generate", openapi_extra=GENERATE_BODY, summary="Make an image")
async def generate(
    request: Request,
    services: ServicesOf,
    wait: Annotated[bool, Query(description="Answer with the PNG itself, when it is done.")] = False,
) -> Response:
    """Queue one image. The answer is the job; with `wait=true` it is the PNG.

    `notices` of the job, and the header `X-Notices` of a PNG, say what was asked for without effect, and what was cut.
    """
    params = services.config.generation(**_with_prompt(await read_json(request)))
    client = request.headers.get(CLIENT_HEADER)
    if client is not None and not re.fullmatch(CLIENT_PATTERN, client):
        raise HttpError(422, "X-Client has to be 8 to 64 letters, digits and hyphens.")
    (job,) = await submit(services, [params], client=client, is_awaited=wait)
    if not wait:
        return AsciiJSONResponse(job_snapshot(services.queue, job), 202, {"Location": f"/api/jobs/{job.id}"})
    (png,) = await images_of(services, [job], request)
    headers = {"X-Job-Id": job.id, "X-Seed": str(job.request["seed"])}
    if job.notices:
        headers["X-Notices"] = " ".join(job.notices).encode("ascii", "replace").decode()
    return Response(png, media_type="image/png", headers=headers)


@router.get("/jobs", summary="The queue")
async def list_jobs(services: ServicesOf) -> list[dict[str, Any]]:
    """Return the running job and the waiting ones, in order."""
    return active_snapshots(services.queue)


@router.get("/jobs/{job_id}", summary="One job")
async def get_job(job_id: Id, services: ServicesOf) -> dict[str, Any]:
    """Return a job; after a restart, what the history knows of it."""
    job = services.queue.get(job_id)
    if job is not None:
        return job_snapshot(services.queue, job)
    entry = await run_in_threadpool(services.history.get, job_id)
    if entry is None:
        raise not_found("job")
    return entry_as_job(entry, services.queue.first_version)


@router.delete("/jobs/{job_id}", summary="Cancel a job")
async def cancel_job(job_id: Id, services: ServicesOf) -> dict[str, Any]:
    """Cancel a waiting job at once, a running one within its current step; a finished one stays as it is."""
    job = await run_in_threadpool(services.queue.cancel, job_id)
    if job is None:
        raise not_found("job")
    return job_snapshot(services.queue, job)


@router.get("/jobs/{job_id}/preview", summary="The image so far", responses={200: {"content": {"image/jpeg": {}}}})
async def preview(job_id: Id, services: ServicesOf) -> Response:
    """Return a small JPEG of the running job's current estimate; made only while someone follows its events."""
    job = services.queue.get(job_id)
    if job is None or job.preview is None:
        raise not_found("preview")
    return Response(job.preview, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


@router.get("/jobs/{job_id}/events", summary="Follow a job", responses={200: {"content": {"text/event-stream": {}}}})
async def job_events(job_id: Id, services: ServicesOf) -> Response:
    """Send the job after each change, as server-sent events named `job`, until it is over."""
    job = services.queue.get(job_id)
    if job is None:
        raise not_found("job")

    async def stream() -> AsyncIterator[ServerSentEvent]:
        sent = 0
        with services.hub.watching(job.client or job.id):
            async for _ in services.hub.ticks():
                told = job_snapshot(services.queue, job)
                if told["version"] > sent:
                    sent = told["version"]
                    yield _event("job", told)
                if JobState(told["state"]).is_final:
                    return

    return EventSourceResponse(stream())


@router.get("/events", include_in_schema=False)
async def page_events(
    services: ServicesOf,
    client: Annotated[str, Query(pattern=f"^{CLIENT_PATTERN}$")],
    since: Annotated[int, Query(ge=0, description="Version of the queue that the page shows already.")] = 0,
    last_event_id: Annotated[int | None, Header(description="The same, by a browser that connects again.")] = None,
) -> EventSourceResponse:
    """Send model and queue to a page as they change.

    The first event tells of the jobs that wait or run, and of what changed since the page knew; each further one of
    what changed since the last.
    """

    async def stream() -> AsyncIterator[ServerSentEvent]:
        seen, is_first = since if last_event_id is None else last_event_id, True
        with services.hub.watching(client):
            async for _ in services.hub.ticks():
                news = queue_news(services.queue, seen, with_active=is_first)
                seen, is_first = news["version"], False
                told = {
                    "model": vars(services.engine.card),
                    "build": build(),
                    "history": services.history.changes.version,
                }
                yield _event("news", {**told, **news}, seen)

    return EventSourceResponse(stream())


@router.post(
    "/image-parameters",
    summary="Read the settings inside a picture",
    openapi_extra={
        "requestBody": {
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURE_KINDS},
            "required": True,
        }
    },
)
async def image_parameters(request: Request) -> Response:
    """Return the record of a PNG of ours, or the settings that another tool put into a PNG, JPEG or WebP.

    `params` are all parameters, or of another tool those that were read; `notices` say what was not. The file is not
    kept.
    """
    from llm_dit.image_io import read_parameters

    record = await run_in_threadpool(read_parameters, io.BytesIO(await request.body()))
    values = record.get("parameters")
    if not isinstance(values, dict):
        raise LlmDitError("The image carries no llm-dit parameters.", field="image")
    is_foreign = "source" in record
    checked = GenerationParams.parse({**({"prompt": BLANK} if is_foreign else {}), **values}).model_dump()
    params = {name: checked[name] for name in GenerationParams.in_own_names(values)} if is_foreign else checked
    notices = record.get("notices") if is_foreign else []
    # as it is: a record may be nested deeply
    return AsciiJSONResponse(
        {"params": params, "notices": notices if isinstance(notices, list) else [], "metadata": record}
    )


@router.post("/format-prompt", openapi_extra=GENERATE_BODY, summary="The text that is tokenised")
async def format_prompt_route(request: Request, services: ServicesOf) -> dict[str, Any]:
    """Return the formatted prompt, split at its special tokens, with its number of tokens.

    Takes the same body as `/api/generate`; only the texts matter. `token_count` is null until the model is there.
    """
    body = await read_json(request)
    is_blank = not str(body.get("prompt", "")).strip()
    params = services.config.generation(**({**body, "prompt": BLANK} if is_blank else body))
    filled = services.engine.with_defaults(params)
    texts = {name: getattr(params, name) for name in PROMPT_FIELDS}
    formatted = format_prompt(**texts | ({"prompt": ""} if is_blank else {}))
    tokenized = await run_in_threadpool(services.engine.tokenize, formatted)
    count, limit = tokenized.token_count or 0, params.max_text_tokens
    cut = cut_sentence("The prompt", count, min(count, limit), params.long_prompt_mode)
    return {
        "formatted_prompt": formatted,
        "segments": [{"text": text, "is_special": is_special} for text, is_special in tokenized.segments],
        "token_count": tokenized.token_count,
        "token_limit": params.max_text_tokens,
        "long_prompt_mode": params.long_prompt_mode,
        "notices": [*(item.sentence() for item in without_effect(filled)), *([cut] if cut else [])],
    }


@router.get("/templates", summary="Prompt and rewriter templates")
def list_templates(services: ServicesOf) -> dict[str, Any]:
    """Return all templates, and one sentence for each file that can't be read."""
    templates, problems = services.templates.read()
    return {"templates": [vars(template) for template in templates], "problems": problems}


@router.get("/loras", summary="The LoRAs of loras_folder")
def list_loras(services: ServicesOf) -> dict[str, Any]:
    """Return the files of the folder; `entry` is what `loras` takes, to which `:STRENGTH` may be added."""
    folder = services.config.engine.loras_folder
    try:
        files = [] if folder is None else loras_in(folder)
    except LlmDitError as error:
        return {"loras": [], "problems": [str(error)]}
    return {"loras": [{"file": file, "entry": quoted_file(file)} for file in files], "problems": []}


@router.get("/parameters", summary="Every parameter")
async def list_parameters(services: ServicesOf) -> dict[str, Any]:
    """Return every parameter with kind, range, help and default here, and the model in use."""
    return {"parameters": parameter_schema(services.config.values), "model": vars(services.engine.card)}


async def submit(
    services: Services, requests: Sequence[GenerationParams], *, client: str | None = None, is_awaited: bool = False
) -> list[Job]:
    """Queue one job an image, off the event loop."""
    return await run_in_threadpool(services.studio.submit, requests, client, is_awaited=is_awaited)


async def images_of(services: Services, jobs: Sequence[Job], request: Request) -> list[bytes]:
    """Wait for all of `jobs` and return their PNGs; if the client goes away, cancel those that wait.

    Raises:
        HttpError: If one of them ended without an image.
    """
    try:
        await until_over(services, jobs, request)
        for job in jobs:
            if job.state is not JobState.DONE:
                raise failure(job)
        return [job.result for job in jobs]
    finally:
        for job in jobs:
            services.queue.let_go(job)


async def until_over(services: Services, jobs: Sequence[Job], request: Request, *, stop_running: bool = False) -> None:
    """Wait until all of `jobs` are over; if the client goes away, cancel those that wait, or all that are not over."""
    everything_over = asyncio.ensure_future(services.hub.until(lambda: all(job.state.is_final for job in jobs)))
    gone = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait({everything_over, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        everything_over.cancel()
        gone.cancel()
        given_up = [
            job.id for job in jobs if job.state is JobState.WAITING or (stop_running and not job.state.is_final)
        ]
        cancel_aside(services, given_up)


def cancel_aside(services: Services, job_ids: Sequence[str]) -> None:
    """Cancel jobs on another thread, since their rows and files go with them; the caller has no time to wait."""
    if job_ids:
        asyncio.get_running_loop().run_in_executor(None, services.queue.cancel_all, job_ids)


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns; if the client goes away, cancel it.

    Raises:
        HttpError: If the client has gone; nobody reads it.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
    if working.cancelled():
        raise HttpError(499, "The client went away.")
    return working.result()


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def failure(job: Job) -> HttpError:
    """Return the error that tells why a job has no result."""
    if job.state is JobState.CANCELLED:
        return HttpError(409, "The job was cancelled.")
    if job.state is JobState.FAILED:
        return HttpError(500 if job.is_defect else 422, job.error or "The job failed.", field=job.error_field)
    return HttpError(503, "The server is stopping.")


def _with_prompt(body: dict[str, Any]) -> dict[str, Any]:
    if "prompt" not in body:
        raise HttpError(422, "prompt is missing; it says what the image shows.", field="prompt")
    return body


def _event(name: str, content: dict[str, Any], number: int | None = None) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(content), event=name, id=None if number is None else str(number))
