"""Votes on an experiment's pictures: the lab's voting page, under each experiment."""

from __future__ import annotations

from fastapi import Request

from experiments.voting.booth import Booth
from experiments.voting.router import voting_router
from web.responses import not_found
from web.services import Services


def _booth_of(request: Request, name: str) -> Booth:
    services: Services = request.app.state.services
    folder = services.lab.folders.results(name)
    if folder is None:
        raise not_found("experiment")
    return services.booths.booth(folder)


router = voting_router(_booth_of, way_back="/experiments")
