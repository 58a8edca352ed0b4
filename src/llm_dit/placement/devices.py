"""Where a stage runs and in which number format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llm_dit.errors import InvalidParameter
from llm_dit.parameters.values import NOT_A_DEVICE, is_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from llm_dit.parameters import EngineSettings


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


def resolve_device(name: str, field: str) -> torch.device:
    """Return the device called `name`; `auto` prefers cuda, then mps, then cpu.

    Raises:
        InvalidParameter: If there is no such device, or this machine does not have it.
    """
    import torch

    if not is_device(name):
        raise InvalidParameter(field, f"{name!r} {NOT_A_DEVICE}.")
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise InvalidParameter(
                field, f"{name} is not on this machine, which has {count} CUDA devices; use auto or cpu."
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidParameter(field, "mps is not on this machine; use auto or cpu.")
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number format called `name`; `auto` is bfloat16 on cuda and mps, float32 on the CPU."""
    import torch

    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a copy of `tensor` on `device`, or itself; never waits for what a CUDA device is doing."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@contextmanager
def resident(module: nn.Module, device: torch.device, *, offload: bool) -> Iterator[None]:
    """Keep `module` on `device` inside the block; with `offload` it waits on the CPU outside of it."""
    if not offload or device.type == "cpu":
        yield
        return
    import torch

    module.to(device)
    try:
        yield
    finally:
        module.to("cpu")
        if device.type == "cuda":
            torch.cuda.empty_cache()
