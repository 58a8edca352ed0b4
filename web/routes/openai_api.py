"""The part of OpenAI's HTTP API that image clients speak: /v1/images/generations and /v1/models.

Fields that steer OpenAI's own service and have no counterpart here (`quality`, `style`, `user`, ...) are accepted and
change nothing; every field of `GenerationParams` may stand beside them (`extra_body` of the Python client).
Source: https://platform.openai.com/docs/api-reference/images/create
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any

from fastapi import APIRouter, Request

from llm_dit.parameters import MAX_SEED, GenerationParams
from web.responses import AsciiJSONResponse, HttpError, read_json
from web.routes.form import json_schema
from web.routes.images_api import images_of, submit
from web.services import Services, ServicesOf

router = APIRouter(prefix="/v1", default_response_class=AsciiJSONResponse)

MOST_IMAGES = 10
OPENAI_MODELS = ("dall-e-", "gpt-image-", "chatgpt-image-")
MODELS_WITHOUT_ADDRESSES = ("gpt-image-", "chatgpt-image-")
"""OpenAI's answer with the image itself whatever is asked for, and clients of these read nothing else."""
WITHOUT_EFFECT = ("quality", "style", "user", "background", "moderation", "output_compression", "partial_images")
OWN_PROPERTIES: dict[str, Any] = {
    "model": {"type": ["string", "null"], "description": "Name from /v1/models; the loaded model by default."},
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_IMAGES, "default": 1},
    "size": {"type": ["string", "null"], "description": "`WIDTHxHEIGHT`, or `auto` for the native size."},
    "response_format": {
        "type": ["string", "null"],
        "enum": ["url", "b64_json", None],
        "default": "url",
        "description": "`b64_json` by default for `gpt-image-*`.",
    },
    "output_format": {"type": ["string", "null"], "enum": ["png", None]},
    "stream": {"type": ["boolean", "null"], "enum": [False, None]},
    **{name: {"description": "Accepted, without effect."} for name in WITHOUT_EFFECT},
}
_FIELDS = json_schema(GenerationParams)
BODY_SCHEMA = {**_FIELDS, "properties": {**_FIELDS["properties"], **OWN_PROPERTIES}}
BODY_EXAMPLE = {"prompt": "A red fox in fresh snow", "size": "128x128", "n": 2, "response_format": "b64_json"}


@router.post(
    "/images/generations",
    summary="Make images (OpenAI's form)",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BODY_SCHEMA, "example": BODY_EXAMPLE}},
        }
    },
)
async def generate_images(request: Request, services: ServicesOf) -> dict[str, Any]:
    """Make `n` images; with a seed, the n-th has `seed + n - 1`."""
    body = await read_json(request)
    model = body.pop("model", None) or None
    _check_model(services, model)
    count = _count(body.pop("n", None), services.config.server.queue_size)
    formats = ("url", "b64_json") if not str(model).startswith(MODELS_WITHOUT_ADDRESSES) else ("b64_json", "url")
    response_format = _choice(body, "response_format", formats)
    _choice(body, "output_format", ("png",))
    if body.pop("stream", None):
        raise HttpError(400, "stream is not supported; leave it out or set it to false.", field="stream")
    for name in WITHOUT_EFFECT:
        body.pop(name, None)
    params = _params(services, body)
    jobs = await submit(services, _with_seeds(params, count), is_awaited=True)
    pngs = await images_of(services, jobs, request)
    if response_format == "b64_json":
        data = [{"b64_json": base64.b64encode(png).decode("ascii")} for png in pngs]
    else:
        data = [{"url": str(request.url_for("get_image", image_id=job.id))} for job in jobs]
    notices = list(dict.fromkeys(notice for job in jobs for notice in job.notices))
    answer = {"created": int(time.time()), "data": data, "output_format": "png"}
    return {**answer, "notices": notices} if notices else answer


WHAT_IS_HERE = "POST /v1/images/generations makes images from text, GET /v1/models names the model"
NOT_HERE = {
    "images/edits": "Images can't be edited here",
    "images/variations": "Variations are not made here",
    "chat/completions": "There is no chat here",
    "completions": "There are no completions here",
    "responses": "There are no responses here",
    "embeddings": "There are no embeddings here",
    "audio/speech": "There is no speech here",
}
"""Routes of OpenAI's that clients of this server come upon."""


def _add_absent(path: str, what: str) -> None:
    @router.post(f"/{path}", include_in_schema=False)
    async def absent() -> None:  # 404: clients try again after a 501
        raise HttpError(404, f"{what}; {WHAT_IS_HERE}, and POST /api/rewrite rewrites a prompt.")


for _path, _what in NOT_HERE.items():
    _add_absent(_path, _what)


@router.get("/models", summary="The model (OpenAI's form)")
async def list_models(services: ServicesOf) -> dict[str, Any]:
    """Return the one model that is loaded."""
    return {"object": "list", "data": [_model(services)]}


@router.get("/models/{name:path}", summary="One model (OpenAI's form)")
async def get_model(name: str, services: ServicesOf) -> dict[str, Any]:
    """Return the model if it is the one that is loaded."""
    _check_model(services, name)
    return _model(services)


def _model(services: Services) -> dict[str, Any]:
    return {"id": services.engine.card.name, "object": "model", "created": 0, "owned_by": "llm-dit"}


def _check_model(services: Services, name: Any) -> None:
    loaded = services.engine.card.name
    if name is None or name == loaded:
        return
    is_openais = isinstance(name, str) and name.startswith(OPENAI_MODELS)
    if is_openais and services.config.server.openai_names:
        return
    hint = ", or start the server with --openai-names" if is_openais else ""
    raise HttpError(404, f"The model {str(name)[:100]!a} is not loaded; use {loaded!r}{hint}.", field="model")


def _count(value: Any, queue_size: int) -> int:
    if value is None:
        return 1
    if (isinstance(value, str) and value.strip().isdecimal()) or (
        isinstance(value, float) and value.is_integer()
    ):  # as forms send it
        value = int(value)
    if isinstance(value, int) and queue_size < value <= MOST_IMAGES:
        raise HttpError(
            400,
            f"n {value} is more than this server's queue ever holds; use 1 to {queue_size}, or start it with a larger "
            "--queue-size.",
            field="n",
        )
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_IMAGES:
        raise HttpError(400, f"n has to be a whole number from 1 to {MOST_IMAGES}.", field="n")
    return value


def _choice(body: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = body.pop(name, None)
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise HttpError(400, f"{name} has to be one of {', '.join(allowed)}.", field=name)
    return str(value)


def _params(services: Services, body: dict[str, Any]) -> GenerationParams:
    """Read the generation parameters; `size` stands for width and height."""
    size = body.pop("size", None)
    if size not in (None, "", "auto"):
        match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×*]\s*(\d{1,5})\s*", size) if isinstance(size, str) else None
        if match is None:
            raise HttpError(400, "size has to be WIDTHxHEIGHT such as 1024x1024, or auto.", field="size")
        body |= {"width": int(match[1]), "height": int(match[2])}
    if "prompt" not in body:
        raise HttpError(400, "prompt is missing; it says what the image shows.", field="prompt")
    return services.config.generation(**body)


def _with_seeds(params: GenerationParams, count: int) -> list[GenerationParams]:
    if params.seed is None:
        return [params] * count
    if params.seed + count - 1 > MAX_SEED:
        raise HttpError(400, f"seed has to be at most {MAX_SEED - count + 1} for {count} images.", field="seed")
    return [params.replaced(seed=params.seed + index) for index in range(count)]
