"""Where a stage runs and in which number format; the one place that knows devices.

A CUDA device has its index from the beginning. Whoever computes on one makes it the current one (`on`): streams, graphs
and Triton's launches go to the current device, whatever device their tensors are on.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from ctypes import CDLL
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from llm_dit.collector import collector_paused
from llm_dit.errors import InvalidParameter
from llm_dit.parameters.values import DTYPE_NAMES, NOT_A_DEVICE, is_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.parameters import EngineSettings

    AnyDevice: TypeAlias = "torch.device | Processor"
    AnyDtype: TypeAlias = torch.dtype | str

CUDA_DRIVER = "libcuda.so.1"
HOPPER = (9, 0)
"""Compute capability of the H100 and its kin."""


@dataclass(frozen=True)
class Processor:
    """The CPU as `torch.device("cpu")` tells it, for what follows from settings alone and needs no torch."""

    type: str = "cpu"

    def __str__(self) -> str:
        """Return its name."""
        return self.type


def require_devices(settings: EngineSettings) -> None:
    """Check that this machine has the devices that `settings` name, before anything is loaded or written.

    Imports torch only where an accelerator is named.

    Raises:
        InvalidParameter: If one is missing.
    """
    for field in ("text_encoder_device", "dit_device", "vae_device"):
        name = getattr(settings, field)
        if name not in (None, "auto", "cpu"):
            resolve_device(name, field)


def resolve_device(device: str | torch.device, field: str) -> torch.device:
    """Return the device that is meant, a CUDA device with its index; `auto` prefers cuda, then mps, then cpu.

    Raises:
        InvalidParameter: If this is not a device, or this machine does not have it.
    """
    with collector_paused():  # a command imports torch here
        import torch

    name = str(device)
    if not is_device(name):
        raise InvalidParameter(field, f"{name!r} {NOT_A_DEVICE}.")
    _let_segments_grow()
    if name == "auto":
        if torch.cuda.is_available():
            return _without_workspaces(torch.device("cuda", torch.cuda.current_device()))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    resolved = torch.device(name)
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= count:
            raise InvalidParameter(
                field, f"{name} is not on this machine, which has {count} CUDA devices; use auto or cpu."
            )
        return _without_workspaces(
            torch.device("cuda", torch.cuda.current_device()) if resolved.index is None else resolved
        )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidParameter(field, "mps is not on this machine; use auto or cpu.")
    return resolved


def is_cpu_meant(device: str) -> bool:
    """Return True if `resolve_device` gives the CPU for a name, as far as that is sure without importing torch.

    `auto` is, on Linux, where the installed torch computes on CUDA or nothing and CUDA's driver is missing. A torch
    that is imported already is asked itself.
    """
    if device == "auto" and sys.platform == "linux" and "torch" not in sys.modules:
        return _is_for_cuda_alone() and not _has_cuda_driver()
    return device == "cpu"


def _is_for_cuda_alone() -> bool:
    """Return True if the installed torch was built for no other accelerator."""
    package = find_spec("torch")
    if package is None or package.origin is None:
        return False
    told = spec_from_file_location("version_of_torch", Path(package.origin).with_name("version.py"))
    if told is None or told.loader is None:
        return False
    version = module_from_spec(told)
    told.loader.exec_module(version)
    return version.hip is None


def _has_cuda_driver() -> bool:
    try:
        CDLL(CUDA_DRIVER)
    except OSError:
        return False
    return True


def _let_segments_grow() -> None:
    """Have PyTorch's allocator join pieces of a CUDA device's memory, unless the user has configured it.

    Without it, decoding at 1024 x 1024 takes 4.2 GiB for the 2.4 that it fills. Read when a device is first used.
    """
    if sys.platform == "linux" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")


def _without_workspaces(device: torch.device) -> torch.device:
    """Have cuBLASLt, which multiplies in float8, do without a workspace on Hopper, unless the user has given it one.

    There it takes the same kernels without, but with one clears some bytes of it before each of them, 160 times an
    evaluation, and then waits. Read when it multiplies first. AMD's hipBLASLt reads the variable too, before its own,
    and has kernels that need a workspace.
    """
    import torch

    if torch.version.hip is None and capability_of(device) == HOPPER:
        os.environ.setdefault("CUBLASLT_WORKSPACE_SIZE", "0")
    return device


def resolve_dtype(dtype: str | torch.dtype, device: torch.device, field: str) -> torch.dtype:
    """Return the number format that is meant; `auto` is bfloat16 on cuda and mps, float32 on the CPU.

    Raises:
        InvalidParameter: If the engine does not compute in it.
    """
    import torch

    resolved = getattr(torch, resolve_dtype_name(dtype, device, field))
    assert isinstance(resolved, torch.dtype)
    return resolved


def resolve_dtype_name(dtype: AnyDtype, device: AnyDevice, field: str) -> str:
    """Return the name of the number format that is meant, without importing torch; see `resolve_dtype`."""
    name = dtype_name(dtype)
    if name not in DTYPE_NAMES:
        raise InvalidParameter(field, f"{name!r} is not allowed; use one of {', '.join(DTYPE_NAMES)}.")
    if name == "auto":
        return "float32" if device.type == "cpu" else "bfloat16"
    return name


def dtype_name(dtype: AnyDtype) -> str:
    """Return a number format's name as settings and records have it."""
    return str(dtype).removeprefix("torch.")


def capability_of(device: AnyDevice) -> tuple[int, int]:
    """Return the compute capability of a CUDA device, (0, 0) of what is none, for which torch is not imported."""
    if device.type != "cuda":
        return 0, 0
    import torch

    return torch.cuda.get_device_capability(str(device))


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make `device` the current one of its kind inside the block, on this thread."""
    if device.type != "cuda":
        return nullcontext()
    import torch

    return torch.cuda.device(device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a copy of `tensor` on `device`, or itself; never waits for what a CUDA device is doing."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        with on(device):  # pinning is done in the context of the current device
            return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def give_back_memory(device: torch.device) -> None:
    """Return what the allocator keeps of `device` for later, so that others on the machine can have it."""
    import torch

    if device.type == "cuda":
        with on(device):
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
