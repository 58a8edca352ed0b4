"""Kernels, compilation and quantization of the transformer: what was asked for, and what was applied."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from llm_dit.errors import DeviceError

if TYPE_CHECKING:
    import torch

    from llm_dit.transformer import ZImageTransformer


@dataclass(frozen=True)
class Acceleration:
    """What was applied; part of an image's numerics.

    Attributes:
        attention_backend: Kernel in use.
        compile: `on` or `off`.
        quantization: `none`, `float8` or `int8`.
    """

    attention_backend: str
    compile: str
    quantization: str

    def as_numerics(self) -> dict[str, str]:
        """Return the fields as they stand in an image's record."""
        return asdict(self)


def accelerate(
    transformer: ZImageTransformer,
    *,
    device: torch.device,
    compile: str,
    attention_backend: str,
    quantization: str,
    planned_evaluations: int,
) -> Acceleration:
    """Apply kernels, compilation and quantization to `transformer`, in place.

    Raises:
        DeviceError: If something is asked for that is not available.
    """
    if attention_backend not in ("auto", "sdpa"):
        raise DeviceError(f"attention_backend {attention_backend} is not installed; use auto or sdpa.")
    if compile == "on":
        raise DeviceError("compile on is not available; use auto or off.")
    if quantization != "none":
        raise DeviceError(f"quantization {quantization} is not available; use none.")
    transformer.fuse_projections()
    return Acceleration("sdpa", "off", "none")
