"""The History page, its cards, one image, and two beside each other."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from llm_dit.errors import LlmDitError
from llm_dit.parameters import PARAMETERS
from web.history.entry import Entry
from web.history.search import parse_search
from web.responses import HttpError
from web.routes.history_api import ID_PATTERN, Before, Id
from web.routes.pages import entry_of, render
from web.services import Services, ServicesOf

router = APIRouter(include_in_schema=False)

CARDS_A_PAGE = 60
MOST_CARDS_ASKED = 200


@router.get("/history")
def history_page(services: ServicesOf, search: str = "") -> Response:
    """Show the images that the search finds, newest first."""
    version = services.history.changes.version  # before the rows are read: what comes between is told again
    context: dict[str, Any] = {"entries": [], "count": 0, "more": None, "problem": None}
    try:
        context |= _page(services, search, None)
    except LlmDitError as error:
        context["problem"] = str(error)
    whole = services.history.count()
    return render(
        services, "history.html", page="history", search=search, version=version, whole=whole,
        size=services.history.size, **context,
    )  # fmt: skip


@router.get("/history/cards")
def history_cards(
    services: ServicesOf,
    search: str = "",
    before: Before = None,
    ids: Annotated[str | None, Query(description="Only these, separated by commas.")] = None,
) -> Response:
    """Show the cards of a page, or those of some images that the search finds."""
    if ids is None:
        context = _page(services, search, before)
    else:
        asked = ids.split(",")
        if len(asked) > MOST_CARDS_ASKED or not all(re.fullmatch(ID_PATTERN, item) for item in asked):
            raise HttpError(422, f"ids has to be up to {MOST_CARDS_ASKED} images, each 32 hexadecimal digits.")
        wanted = parse_search(search)
        context = {"entries": services.history.among(asked, wanted), "count": services.history.count(wanted)}
        context["more"] = None
    answer = render(services, "history_cards.html", **context)
    answer.headers["X-Total-Count"] = str(context["count"])
    return answer


@router.get("/history/compare")
def compare_page(services: ServicesOf, left: str, right: str) -> Response:
    """Show two images under a slider, and what differs."""
    first, second = entry_of(services, left), entry_of(services, right)
    return render(
        services, "compare.html", page="history", left=first, right=second, differences=_differences(first, second)
    )


@router.get("/history/{image_id}")
def image_page(image_id: Id, services: ServicesOf) -> Response:
    """Show one image with everything that is known of it."""
    entry = entry_of(services, image_id)
    newer, older = services.history.neighbours(entry)
    return render(
        services,
        "image.html",
        page="history",
        entry=entry,
        parameters=[(name, entry.params[name]) for name in PARAMETERS if name in entry.params],
        newer=newer,
        older=older,
    )


def _page(services: Services, search: str, before: int | None) -> dict[str, Any]:
    """Return a page of entries, how many there are on all pages, and where the next one begins."""
    wanted = parse_search(search)
    entries = services.history.newest(CARDS_A_PAGE + 1, wanted, before)
    shown = entries[:CARDS_A_PAGE]
    more = shown[-1].number if len(entries) > CARDS_A_PAGE else None
    count = services.history.count(wanted)
    return {"entries": shown, "count": count, "more": more}


def _differences(left: Entry, right: Entry) -> list[tuple[str, Any, Any]]:
    """Return name and both values of every parameter that differs."""
    names = [name for name in PARAMETERS if name in left.params or name in right.params]
    pairs = [(name, left.params.get(name), right.params.get(name)) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]
