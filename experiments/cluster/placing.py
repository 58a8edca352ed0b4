"""How many workers there are, on what, and with how many threads: from the settings and what the cluster has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from experiments.cluster.ray_opening import OpenCluster
from experiments.running.forecast import is_on_gpu
from llm_dit.errors import InvalidParameter, LlmDitError
from llm_dit.parameters import ClusterSettings, EngineSettings

DEVICE_FIELDS: Final = ("dit_device", "text_encoder_device", "vae_device")


@dataclass(frozen=True)
class Placing:
    """What each worker gets.

    Attributes:
        count: How many workers; None takes every device of the cluster, those added later as well.
        on_gpu: Whether each has a GPU.
        threads: Threads of each, which divide sums on a CPU.
    """

    count: int | None
    on_gpu: bool
    threads: int


def check_devices(settings: EngineSettings) -> None:
    """Refuse devices by number, since each worker sees one device.

    Raises:
        InvalidParameter: If one is named.
    """
    for name in DEVICE_FIELDS:
        device = getattr(settings, name)
        if device not in (None, "auto", "cpu", "cuda"):
            raise InvalidParameter(
                name, f"{device} can't be given to workers, which see one device each; use cuda or cpu."
            )


def local_cpus(settings: EngineSettings, wishes: ClusterSettings) -> int | None:
    """Return the processors that a cluster of this machine is given; None leaves all of them to it."""
    if is_on_gpu(settings):
        return None
    count = wishes.workers or 1
    return count * (wishes.worker_threads or _share(os.cpu_count(), count))


def place_workers(settings: EngineSettings, wishes: ClusterSettings, cluster: OpenCluster) -> Placing:
    """Return what each worker gets.

    Raises:
        LlmDitError: If this machine has fewer GPUs than workers are wanted. A cluster may still get more.
    """
    devices = (settings.dit_device, settings.text_encoder_device, settings.vae_device or "auto")
    on_gpu = "cuda" in devices or (settings.dit_device == "auto" and cluster.gpus > 0)
    wanted = wishes.workers or None
    if cluster.is_local and on_gpu and (wanted or 1) > cluster.gpus:
        raise LlmDitError(
            f"--workers {wanted or 1} is more than the {cluster.gpus} GPUs of this machine; use at most "
            f"{cluster.gpus}, or join machines by --ray-address.",
            field="workers",
        )
    if cluster.is_local and not on_gpu:
        wanted = wanted or 1
    return Placing(wanted, on_gpu, wishes.worker_threads or _share(cluster.cpus, wanted or cluster.gpus))


def _share(cpus: int | None, workers: int) -> int:
    return max(1, (cpus or 1) // max(1, workers))
