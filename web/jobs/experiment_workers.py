"""Experiments of the page that run on workers: what may be asked for, and how a job shows what they do.

The address of a cluster is the server's to name: whoever is connected to one runs its code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from llm_dit.config import Config
from llm_dit.errors import InvalidParameter
from llm_dit.parameters import ClusterSettings, EngineSettings
from web.jobs.queue import JobHandle

if TYPE_CHECKING:
    from experiments.cluster.watching import WorkerState
    from experiments.cluster.workers_model import WorkersModel
    from experiments.running.experiment_run import Judges

WORKERS_SHOWN: Final = 64


def check_wishes(wishes: ClusterSettings, settings: EngineSettings, config: Config) -> None:
    """Refuse workers that the page may not have, or that can't be here.

    Args:
        wishes: What an experiment of the page asks for.
        settings: Its devices.
        config: The server's.

    Raises:
        LlmDitError: If the address is not the server's, there are more workers than processors here, devices are named
            by number, or Ray is not installed.
    """
    if not wishes.is_wanted:
        return
    address, processors = wishes.ray_address, os.cpu_count() or 1
    if address != config.cluster.ray_address:
        raise InvalidParameter(
            "ray_address",
            f"{address!r} is not the server's; leave it out, or start the server with [PROFILE.cluster] ray_address in "
            "its configuration.",
        )
    if address is None and (wishes.workers or 0) > processors:
        raise InvalidParameter(
            "workers", f"{wishes.workers} is more than the {processors} processors of this machine; use fewer."
        )
    from experiments.cluster.placing import check_devices
    from experiments.cluster.ray_environment import require_ray

    check_devices(settings)
    require_ray()


def workers_of_job(wishes: ClusterSettings, resources: ExitStack, handle: JobHandle) -> WorkersModel:
    """Return workers in the place of the page's model, which tell a job what they do.

    Args:
        wishes: How many, where.
        resources: Ends them.
        handle: Of the job.
    """
    from experiments.cluster.watching import foremost
    from experiments.cluster.workers_model import WorkersModel

    def watch(states: Sequence[WorkerState]) -> None:
        shown, others = foremost(states, WORKERS_SHOWN)
        handle.show_workers([asdict(state) for state in shown], others)

    return WorkersModel(
        wishes,
        resources,
        handle.tell_fault,
        watch=watch,
        should_stop=lambda: handle.job.is_cancel_requested,
    )


def judges_of_job(config: Config, handle: JobHandle) -> Judges | None:
    """Return how workers get the scorers of a job; None where it wants none and this process scores."""
    if not config.cluster.is_wanted:
        return None
    from experiments.cluster.workers_model import judges_on_workers

    return judges_on_workers(config.cluster, config.metrics, handle.tell_fault)


def may_share_device(wishes: ClusterSettings) -> bool:
    """Return whether workers may need the device that the page's own model holds."""
    return not (wishes.ray_address or "").startswith("ray://")
