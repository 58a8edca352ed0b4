"""What Ray reads of a process's environment and leaves there: set for one session, and taken back after it.

Ray reads some of it once, when it is imported, and keeps some in its own memory; where it starts a cluster it writes
there that a token is asked for. So a process that had a cluster of its own would refuse the questions of one without a
token that it joins next, and listen beyond this machine, or not, as before. Here each session begins as the first
one does.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from llm_dit.errors import LlmDitError

QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else every worker would begin with a `uv run` of its own in a copied folder
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
BEYOND_THIS_MACHINE: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LOOPBACK: Final = {BEYOND_THIS_MACHINE: "0"}
"""Ray's own switch for machines without a cluster: every part of it listens on 127.0.0.1 alone."""


@contextmanager
def environment_of_session(*, is_on_this_machine: bool) -> Iterator[Any]:
    """Set what Ray reads, and yield its module; at the end the environment is what it was.

    Args:
        is_on_this_machine: Whether nothing may listen beyond it.

    Raises:
        LlmDitError: If Ray is not installed.
    """
    require_ray()
    before = _set_for_ray()
    os.environ.update({**QUIET, **LOOPBACK} if is_on_this_machine else QUIET)
    try:
        ray = imported_ray()
        _reread(ray)
        yield ray
    finally:
        for name in _set_for_ray().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def ray_in_use() -> Any | None:
    """Return Ray's module where this process is connected to a cluster already; else nothing is imported, and None."""
    ray = sys.modules.get("ray")
    return ray if ray is not None and ray.is_initialized() else None


def require_ray() -> None:
    """Refuse a process without Ray; nothing is imported, since Ray reads its environment then.

    Raises:
        LlmDitError: If it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise LlmDitError(
            "--workers needs Ray, which is not installed; run `uv sync --extra cluster`, or "
            "`pip install llm-dit[cluster]`.",
            field="workers",
        )


def imported_ray() -> Any:
    """Return the module; the environment that it reads is set by `environment_of_session`.

    Raises:
        LlmDitError: If it is not installed.
    """
    require_ray()
    import ray

    # Ray prints a paragraph for every lost process, which no setting of its own keeps off the bar; `tell` has a line
    ray._private.worker.print_to_stdstream = lambda *_lines, **_options: None
    return ray


def _set_for_ray() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def _reread(ray: Any) -> None:
    """Let Ray forget what it has kept of the environment of an earlier session."""
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = ray._private.ray_constants.env_bool(
        BEYOND_THIS_MACHINE, not ray._private.ray_constants.IS_WINDOWS_OR_OSX
    )
    ray._raylet.Config.initialize("")
    token = getattr(ray._raylet, "AuthenticationTokenLoader", None)  # Ray >= 2.52
    if token is not None:
        token.instance().reset_cache()
