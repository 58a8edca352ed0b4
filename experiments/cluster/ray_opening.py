"""Ray, opened for one command: on this machine alone, or a cluster that is there already.

Nothing listens beyond this machine unless a cluster is named. A process may open one after the other, in any order.
"""

from __future__ import annotations

import logging
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from experiments.cluster.joining import code_folders
from experiments.cluster.ray_environment import environment_of_session, ray_in_use
from llm_dit.errors import LlmDitError

STORE_BYTES: Final = 256 << 20
"""Of Ray's object store on this machine: two batches of 32 MiB for each of four workers that wait for the driver."""
STORE_BYTES_PER_WORKER: Final = 64 << 20
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - Ray's objects are there, on Linux

LISTENING_S: Final = 10.0
"""So long an address is tried before Ray is asked to join it."""
STARTS: Final = 3
TOO_SLOW: Final = "timed out during startup"
"""In what Ray says where it gives up too early."""


@dataclass(frozen=True)
class OpenCluster:
    """A cluster that this process is connected to.

    Attributes:
        is_local: True if it was started by this command on this machine, and ends with it.
        gpus: GPUs of all its nodes.
        cpus: Processors of all its nodes, as Ray counts them.
    """

    is_local: bool
    gpus: int
    cpus: int


@contextmanager
def opened(address: str | None, *, cpus: int | None, workers: int | None) -> Iterator[OpenCluster]:
    """Connect to a cluster, or start one on this machine; it is left, or ended, at the end.

    Args:
        address: `auto`, `host:port` or `ray://host:port`; None starts one here.
        cpus: Processors of a cluster that is started here; None takes all.
        workers: How many are expected in it; None is one for each GPU.

    Raises:
        LlmDitError: If Ray is not installed, there is no such cluster, or it can't be joined.
    """
    in_use = ray_in_use()
    if in_use is not None:  # by whoever called this process
        yield _described(in_use, is_local=False)
        return
    with environment_of_session(is_on_this_machine=is_on_this_machine(address)) as ray:
        try:
            _connect(ray, address, cpus, workers)
            yield _described(ray, is_local=address is None)
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str | None, cpus: int | None, workers: int | None) -> None:
    """Start a cluster or join one; see `opened`.

    Raises:
        LlmDitError: If there is none to join, or it can't be joined.
    """
    is_main = threading.current_thread() is threading.main_thread()  # others may not set signals, nor does Ray there
    before = signal.getsignal(signal.SIGTERM)
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        if address is None:
            store = store_bytes(workers)
            _start_here(ray, include_dashboard=False, num_cpus=cpus, object_store_memory=store, **options)
        else:
            _check_somebody_listens(ray, address)
            ray.init(address=address, runtime_env=code_that_travels(), **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise LlmDitError(_problem(address, error), field="ray_address" if address else "workers") from error
    if (
        is_main and signal.getsignal(signal.SIGTERM) is not before
    ):  # Ray's handler would end the command in the middle of a write
        signal.signal(signal.SIGTERM, before)


def store_bytes(workers: int | None) -> int:
    """Return the size of the object store of a cluster that is started here for so many workers."""
    return max(STORE_BYTES, STORE_BYTES_PER_WORKER * (workers or 1))


def store_problem(workers: int | None) -> str | None:
    """Return what is to be known of this machine's shared memory before so many workers use it; None if nothing."""
    if not SHARED_MEMORY.is_dir():
        return None  # no Linux
    free, wanted = shutil.disk_usage(SHARED_MEMORY).free, store_bytes(workers)
    if free >= wanted:
        return None
    return (
        f"{SHARED_MEMORY} has {free >> 20} MiB free, and pictures wait for the driver in {wanted >> 20} MiB; Ray takes "
        "a folder on a disk for them, which may be slow or full. In a container, start it with --shm-size=2g."
    )


def is_on_this_machine(address: str | None) -> bool:
    """Return whether a cluster listens on this machine alone: none is named, or its address says so."""
    return address is None or address.removeprefix("ray://").rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


def _check_somebody_listens(ray: Any, address: str) -> None:
    """Refuse an address at once where nothing listens; Ray would ask it for minutes.

    Raises:
        LlmDitError: If nothing does.
        ConnectionError: If `auto` finds no cluster.
        ValueError: If it is no address.
    """
    client = address.removeprefix("ray://")
    found = client if client != address else ray._private.services.canonicalize_bootstrap_address(address)
    host, _, port = (found or "").rpartition(":")
    if not (host and port.isdigit()):
        return  # Ray has words for it
    try:
        socket.create_connection((host.strip("[]"), int(port)), LISTENING_S).close()
    except OSError as error:
        raise LlmDitError(
            f"--ray-address {address}: nothing listens at {found} ({error.strerror or error}); start a cluster there "
            "by `ray start --head`, or give another address, or `auto`.",
            field="ray_address",
        ) from None


def _start_here(ray: Any, **options: Any) -> None:
    """Start a cluster on this machine; Ray gives itself 30 s for that, which a busy machine may exceed.

    Raises:
        RuntimeError: If it does not come up.
    """
    for _ in range(STARTS):
        try:
            ray.init(address="local", **options)  # never one that somebody else runs here
            return
        except Exception as error:
            if TOO_SLOW not in str(error):
                raise
            ray.shutdown()
    raise RuntimeError(f"it did not come up in {STARTS} times 30 s; this machine is too busy")


def code_that_travels() -> dict[str, Any]:
    """Return the runtime environment by which code travels: a checkout, or of a wheel the lab, which is on no path."""
    engine, lab = code_folders()
    is_checkout = (lab.parent / "pyproject.toml").is_file()
    return {"py_modules": [*([str(engine)] if is_checkout else []), str(lab)], "excludes": ["results", "__pycache__"]}


def _described(ray: Any, *, is_local: bool) -> OpenCluster:
    resources = ray.cluster_resources()
    return OpenCluster(is_local, int(resources.get("GPU", 0)), int(resources.get("CPU", 0)))


def _problem(address: str | None, error: Exception) -> str:
    """Say what to do about what Ray says."""
    told = " ".join(str(error).split())
    if address is None:
        return f"Ray could not be started on this machine: {told}"
    if "ersion mismatch" in told:
        here = ".".join(map(str, sys.version_info[:3]))
        return (
            f"--ray-address {address}: the cluster was started with another version of Ray or Python than this process "
            f"(Python {here}); start its nodes from an environment with the same ones, to the last digit. Ray says: "
            f"{told:.300}"
        )
    return (
        f"--ray-address {address}: there is no cluster to join; start one by `ray start --head`, and give its address "
        f"or `auto`. Ray says: {told:.300}"
    )
