"""llm-dit: Z-Image from a prompt to an image, for people who compare settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_dit.pipeline import ZImagePipeline
    from llm_dit.stages.text_encoder import ZImageTextEncoder

__all__ = ["ZImagePipeline", "ZImageTextEncoder"]


def __getattr__(name: str) -> Any:
    """Import the heavy classes when they are first asked for."""
    if name == "ZImagePipeline":
        from llm_dit.pipeline import ZImagePipeline

        return ZImagePipeline
    if name == "ZImageTextEncoder":
        from llm_dit.stages.text_encoder import ZImageTextEncoder

        return ZImageTextEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
