"""The HTTP API of the history: search, stars, several at once, changes, and the pictures themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response, StreamingResponse

from web.history.archive import zip_stream
from web.history.entry import Entry
from web.history.image_history import History
from web.history.search import parse_search
from web.jobs.snapshots import entry_snapshot
from web.responses import AsciiJSONResponse, HttpError, not_found, read_json
from web.services import Services, ServicesOf

router = APIRouter(prefix="/api", default_response_class=AsciiJSONResponse)

ID_PATTERN = "[0-9a-f]{32}"
MOST_AT_ONCE = 100_000
MOST_A_PAGE = 1000
PNG_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "The image."}}
SEARCH_HELP = (
    'Words of the prompt and parameters: `fox -car "in the snow" shift=3 steps>=8 seed=1,2 shift=2..4 lora=detail '
    "model=mini is:starred`."
)

Id = Annotated[str, Path(pattern=f"^{ID_PATTERN}$", description="32 hexadecimal digits.")]
Before = Annotated[int | None, Query(ge=0, lt=2**63, description="Only those with a lower `number`: the next page.")]
SearchText = Annotated[str, Query(description=SEARCH_HELP)]


def _body(**further: Any) -> dict[str, Any]:
    """Return the schema of a body with `ids`."""
    ids = {
        "type": "array",
        "items": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
        "minItems": 1,
        "maxItems": MOST_AT_ONCE,
        "description": "Images, each by its 32 hexadecimal digits.",
    }
    schema = {"type": "object", "properties": {"ids": ids, **further}, "required": ["ids", *further]}
    return _json_body(schema | {"additionalProperties": False})


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


STAR = {"type": "boolean", "description": "True to star, false to take the star away."}


@router.get("/history", summary="The images made")
def list_history(
    services: ServicesOf,
    search: SearchText = "",
    limit: Annotated[int | None, Query(ge=1, le=MOST_A_PAGE, description="Images a page; all without it.")] = None,
    before: Before = None,
) -> Response:
    """Return the finished, failed and interrupted images that the search finds, newest first.

    `X-Total-Count` says how many there are on all pages, `Link` with `rel="next"` where the next page is.
    """
    wanted = parse_search(search)
    entries = services.history.newest(limit, wanted, before)
    headers = {"X-Total-Count": str(services.history.count(wanted))}
    if limit is not None and len(entries) == limit:
        query = urlencode({"search": search, "limit": limit, "before": entries[-1].number})
        headers["Link"] = f'</api/history?{query}>; rel="next"'
    return AsciiJSONResponse([entry_snapshot(entry) for entry in entries], headers=headers)


@router.get("/history/changes", summary="What changed in the history")
def history_changes(
    services: ServicesOf, since: Annotated[int, Query(ge=0, description="`version` of the answer before.")] = 0
) -> dict[str, Any]:
    """Return what is there of the images that were made, starred or deleted since, and the ids of those that are gone.

    Both are null if that is not known any more: the list is to be asked for anew.
    """
    version, changed = services.history.changes.since(since)
    if changed is None:
        return {"version": version, "images": None, "gone": None}
    there = {entry.id: entry for entry in services.history.among(changed)}
    images = [
        {"id": entry.id, "state": entry.state, "number": entry.number, "is_starred": entry.is_starred}
        for entry in there.values()
    ]
    return {"version": version, "images": images, "gone": [entry for entry in changed if entry not in there]}


@router.post("/history/star", summary="Star several images", openapi_extra=_body(is_starred=STAR))
async def star_images(request: Request, services: ServicesOf) -> dict[str, Any]:
    """Star images, or take their stars away; a starred image is kept however many come after it.

    Returns which of them there are.
    """
    body = await read_json(request)
    ids, is_starred = _ids(body, "is_starred"), _flag(body)
    return {"ids": await run_in_threadpool(services.history.set_starred, ids, is_starred=is_starred)}


@router.post("/history/delete", summary="Delete several images", openapi_extra=_body())
async def delete_images(request: Request, services: ServicesOf) -> dict[str, Any]:
    """Delete images with their records; the answer says which of them there were."""
    ids = _ids(await read_json(request))
    return {"deleted": await run_in_threadpool(_delete, services, ids)}


@router.post(
    "/history/zip",
    summary="Download several images",
    openapi_extra=_body(),
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}, "description": "The PNGs."}},
)
async def download_images(request: Request, services: ServicesOf) -> Response:
    """Return the PNGs of several images as one ZIP; a form's field `ids`, separated by commas, does as well."""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        text = (await request.form()).get("ids", "")
        body: dict[str, Any] = {"ids": str(text).split(",")}
    else:
        body = await read_json(request)
    entries = await run_in_threadpool(services.history.among, _ids(body))
    made = [entry for entry in entries if entry.state == "done"]
    if not made:
        raise not_found("image")
    headers = {"Content-Disposition": 'attachment; filename="llm-dit-images.zip"'}
    return StreamingResponse(zip_stream(_files(services.history, made)), media_type="application/zip", headers=headers)


@router.get("/history/{image_id}", summary="One image's record")
def get_history(image_id: Id, services: ServicesOf) -> dict[str, Any]:
    """Return all parameters and the whole record of one image."""
    entry = services.history.get(image_id)
    if entry is None:
        raise not_found("image")
    return {**entry_snapshot(entry), "metadata": entry.metadata}


@router.patch(
    "/history/{image_id}",
    summary="Star an image",
    openapi_extra=_json_body({"type": "object", "properties": {"is_starred": STAR}, "required": ["is_starred"]}),
)
async def change_history(image_id: Id, request: Request, services: ServicesOf) -> dict[str, Any]:
    """Star one image, or take its star away."""
    is_starred = _flag(await read_json(request))
    if not await run_in_threadpool(services.history.set_starred, [image_id], is_starred=is_starred):
        raise not_found("image")
    return {"id": image_id, "is_starred": is_starred}


@router.delete("/history/{image_id}", summary="Delete an image")
def delete_history(image_id: Id, services: ServicesOf) -> dict[str, Any]:
    """Delete an image with its record."""
    if not _delete(services, [image_id]):
        raise not_found("image")
    return {"deleted": image_id}


@router.get("/images/{image_id}", responses=PNG_ANSWER, response_class=Response, summary="The PNG")
def get_image(image_id: Id, services: ServicesOf, download: bool = False) -> Response:
    """Return the PNG with its parameters inside."""
    path = services.history.image_path(image_id)
    if not path.is_file():
        raise not_found("image")
    name = _file_name(image_id) if download else None
    return FileResponse(path, media_type="image/png", filename=name, headers=_cached())


@router.get("/images/{image_id}/thumbnail", response_class=Response, summary="A small copy")
def get_thumbnail(image_id: Id, services: ServicesOf) -> Response:
    """Return a small WebP."""
    path = services.history.thumbnail_path(image_id)
    if not path.is_file():
        raise not_found("image")
    return FileResponse(path, media_type="image/webp", headers=_cached())


def _delete(services: Services, ids: list[str]) -> list[str]:
    deleted = services.history.delete_over(ids)
    for image_id in deleted:
        services.queue.forget(image_id)
    return deleted


def _ids(body: Mapping[str, Any], *further: str) -> list[str]:
    """Return the ids of a body.

    Raises:
        HttpError: If they are none, or the body holds something else.
    """
    unknown = body.keys() - {"ids", *further}
    if unknown:
        raise HttpError(422, f"{min(unknown)} is not known here; send {' and '.join(['ids', *further])}.")
    ids = body.get("ids")
    is_list = isinstance(ids, list) and all(isinstance(item, str) and re.fullmatch(ID_PATTERN, item) for item in ids)
    if not is_list or not ids or len(ids) > MOST_AT_ONCE:
        raise HttpError(
            422, f"ids has to be a list of 1 to {MOST_AT_ONCE} images, each 32 hexadecimal digits.", field="ids"
        )
    return list(dict.fromkeys(ids))


def _flag(body: Mapping[str, Any]) -> bool:
    is_starred = body.get("is_starred")
    if not isinstance(is_starred, bool):
        raise HttpError(422, "is_starred has to be true or false.", field="is_starred")
    return is_starred


def _files(history: History, entries: Iterable[Entry]) -> list[tuple[str, Any]]:
    """Return a name in the archive for each image; where short ones meet, the whole id."""
    names: set[str] = set()
    files = []
    for entry in entries:
        name = _file_name(entry.id)
        name = f"llm-dit-{entry.id}.png" if name in names else name
        names.add(name)
        files.append((name, history.image_path(entry.id)))
    return files


def _file_name(image_id: str) -> str:
    return f"llm-dit-{image_id[:8]}.png"


def _cached() -> dict[str, str]:
    return {"Cache-Control": "private, max-age=31536000, immutable"}
