"""What an experiment would take and could show, before it is asked for; and the lab's request that the page's means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_dit.config import Config
from web.jobs.experiment_workers import check_wishes
from web.jobs.lab_request import LabRequest
from web.jobs.plan_limits import check_size, check_typed_size

if TYPE_CHECKING:
    from experiments.planning.command_flags import Request
    from experiments.running.dry_run import DryRun
    from experiments.running.forecast import Totals


@dataclass(frozen=True)
class Preview:
    """A dry run.

    Attributes:
        name: The experiment's folder.
        totals: What it costs.
        warnings: Levels that are secretly equal.
        sizes: What the design can find.
        command: The same in a terminal.
        loading: Which networks are loaded how often, and how long that takes, for people.
        spread: How long workers would take, and what limits them; empty without them.
    """

    name: str
    totals: Totals
    warnings: list[str]
    sizes: list[str]
    command: str
    loading: str
    spread: str = ""


def make_preview(config: Config, asked: LabRequest) -> Preview:
    """Plan without doing anything.

    Raises:
        LlmDitError: For whatever is wrong with the request.
    """
    from experiments.running.console import loading_text
    from experiments.running.dry_run import dry_run

    request = request_of(config, asked)
    found = dry_run(request)
    return Preview(
        request.experiment.name,
        found.totals,
        list(found.warnings),
        list(found.sizes),
        command_of(request, asked),
        loading_text(found.totals),
        _spread(request, found),
    )


def _spread(request: Request, found: DryRun) -> str:
    """Say how a plan would be spread over as many workers as it asks for."""
    workers, totals = request.config.cluster.workers, found.totals
    if not workers or not totals.to_do:
        return ""
    from experiments.cluster.spreading import spread
    from experiments.running.plan_models import facts_of

    return spread(found.plan, facts_of(found.plan), totals.to_do, totals.seconds, workers).sentence()


def request_of(config: Config, asked: LabRequest) -> Request:
    """Read a request with the lab's parser, under the server's configuration, counted before it is built.

    Raises:
        LlmDitError: For whatever is wrong with it.
    """
    from experiments.planning.command_flags import request_from_arguments

    check_typed_size(asked.arguments)
    request = request_from_arguments([*asked.arguments, f"--output-dir={config.server.results_dir}"], config)
    check_wishes(request.config.cluster, request.config.engine, config)
    check_size(math.prod(len(axis.levels) or 1 for axis in request.experiment.axes), len(request.prompts))
    return request


def command_of(request: Request, asked: LabRequest) -> str:
    """Return how to run the same in a terminal."""
    from experiments.planning import command_flags

    return command_flags.command_of(
        request, asked.arguments, compute_metrics=asked.compute_metrics, metrics=asked.metrics
    )
