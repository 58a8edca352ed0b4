"""JSON in and out: one error shape, bodies read strictly, answers that survive any text.

Every error of this server is `{"error": sentence, "field": parameter or null}`. The routes under /v1 speak OpenAI's
shape instead, `{"error": {"message", "type", "param", "code"}}`, since its clients (Open WebUI among them) read
`error.message` and fail on a plain sentence.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llm_dit.errors import LlmDitError
from web.history.image_history import StorageError
from web.jobs.queue import QueueFull

OPENAI_PREFIX = "/v1/"
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_IMAGE_BYTES = 64 * 1024 * 1024


class AsciiJSONResponse(JSONResponse):
    """JSON in pure ASCII, so that no text (lone surrogates included) can fail to be encoded."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of `content`."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


class HttpError(Exception):
    """A request that is answered with one sentence.

    Attributes:
        status: HTTP status.
        message: The sentence.
        field: Parameter at fault, if one is.
        headers: Extra headers.
    """

    def __init__(
        self, status: int, message: str, *, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = headers


def not_found(what: str) -> HttpError:
    """Return the error for something that is not there (any more)."""
    return HttpError(404, f"There is no such {what}; it may have been deleted.")


def error_response(
    path: str, status: int, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return one error in the shape that the clients of `path` read."""
    body: dict[str, Any] = {"error": message, "field": field}
    if path.startswith(OPENAI_PREFIX):
        status = 400 if status == 422 else status  # as OpenAI has it
        kinds = {401: "authentication_error", 429: "rate_limit_error", 503: "server_error", 500: "server_error"}
        code = {404: "not_found", 429: "queue_full", 401: "invalid_api_key"}.get(status)
        kind = kinds.get(status, "invalid_request_error")
        body = {"error": {"message": message, "type": kind, "param": field, "code": code}}
    return AsciiJSONResponse(body, status, headers)


def error_from_exception(request: Request, error: Exception) -> Response:
    """Answer with an `HttpError`, `QueueFull` or `LlmDitError`."""
    path = request.url.path
    if isinstance(error, HttpError):
        return error_response(path, error.status, error.message, error.field, error.headers)
    if isinstance(error, QueueFull):
        return error_response(path, 429, str(error), headers={"Retry-After": str(error.retry_after_s)})
    assert isinstance(error, LlmDitError)
    status = 507 if isinstance(error, StorageError) else 422
    return error_response(path, status, str(error), error.field)


async def read_json(request: Request) -> dict[str, Any]:
    """Read the body as a JSON object.

    Raises:
        HttpError: If it is not JSON, not an object, or holds NaN or Infinity.
    """
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HttpError(415, "The body has to be JSON; send it with Content-Type: application/json.")
    try:
        body = json.loads(await request.body(), parse_constant=_refuse_constant)
    except RecursionError:
        raise HttpError(400, "The body is nested too deeply.") from None
    except ValueError as error:
        raise HttpError(400, f"The body is not valid JSON: {_short(str(error))}.") from None
    if not isinstance(body, dict):
        raise HttpError(400, "The body has to be a JSON object of parameters.")
    if any("\ud800" <= character <= "\udfff" for name in body for character in name):
        raise HttpError(400, "The name of a field is not valid Unicode.")
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
