"""Scripts and styles, at addresses that change with their content: a browser keeps them, and never runs old ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from experiments.voting.router import PALETTE

STATIC_FOLDER = Path(__file__).parents[1] / "static"
FOREVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


@cache
def build() -> str:
    """Return a name for the content of all static files."""
    digest = hashlib.sha256()
    for path in sorted([PALETTE, *(path for path in STATIC_FOLDER.rglob("*") if path.is_file())]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def static_address() -> str:
    """Return where this server's scripts are; they import each other by relative addresses."""
    return f"/static/{build()}"


class _Kept(StaticFiles):
    """Files with a `Cache-Control`."""

    def __init__(self, cache_control: str) -> None:
        super().__init__(directory=STATIC_FOLDER)
        self._cache_control = cache_control

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file; the palette is the lab's, which must not need the page."""
        return (str(PALETTE), PALETTE.stat()) if path == PALETTE.name else super().lookup_path(path)

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """Return a file, marked."""
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = self._cache_control
        return answer


def add_static_files(app: FastAPI) -> None:
    """Serve the files at `static_address()`, and for those who know no version at /static."""
    app.mount(static_address(), _Kept(FOREVER), name="static")
    app.mount("/static", _Kept(ASK_AGAIN), name="static-unversioned")
