"""What a user reads where a device's memory does not suffice for an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llm_dit.errors import OutOfMemory


@contextmanager
def shortage_told() -> Iterator[None]:
    """Let a shortage of a device's memory be an error that says what helps.

    Raises:
        OutOfMemory: Instead of torch's own error, which it holds as its cause.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            "The device ran out of memory; give a lower vram_limit (more is streamed then), set vae_tiling or "
            "quantization, or make the image smaller."
        ) from error
