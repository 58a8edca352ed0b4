"""Settings that do nothing beside others: what was asked for, and will not be seen in the image.

What a model fills in where nothing is said (seed, size, shift) is not looked at: it was not asked for. Others hang
on guidance: where that is not filled in yet, nothing is said about them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llm_dit.parameters.generation import GenerationParams
from llm_dit.parameters.values import ROPE_TABLE_TOKENS


class NoEffect(NamedTuple):
    """A parameter that is set and does nothing.

    Attributes:
        field: The parameter's name.
        reason: The rest of the sentence: why, and the next step.
    """

    field: str
    reason: str

    def sentence(self, label: str | None = None) -> str:
        """Say it, with the parameter called `label` if one is given."""
        return f"{label or self.field} {self.reason}"


UNGUIDED = "does nothing while guidance_scale is 0; raise guidance_scale, or leave it out."
RULES: tuple[tuple[tuple[str, ...], Callable[[GenerationParams], bool], str], ...] = (
    (
        ("negative_prompt", "cfg_normalization", "cfg_truncation"),
        lambda params: params.guidance_scale == 0,
        UNGUIDED,
    ),
    (
        ("lora_strength", "lora_ignore_unknown"),
        lambda params: not params.loras,
        "does nothing without loras; give one, or leave it out.",
    ),
    (
        ("force_think_block",),
        lambda params: params.thinking_content is not None,
        "does nothing beside thinking_content, which makes the think block; leave it out.",
    ),
    (
        ("hidden_layer",),
        lambda params: bool(params.hidden_layer_blend),
        "does nothing beside hidden_layer_blend, which names its layers itself; leave it out.",
    ),
    (
        ("extend_rope",),
        lambda params: params.max_text_tokens <= ROPE_TABLE_TOKENS,
        f"does nothing where max_text_tokens is at most {ROPE_TABLE_TOKENS}; raise that, or leave it out.",
    ),
)
"""Parameters, when they do nothing, and the reason."""


def without_effect(params: GenerationParams) -> list[NoEffect]:
    """Return the parameters that are not at their defaults and change nothing of this image."""
    return [
        NoEffect(name, reason)
        for names, is_idle, reason in RULES
        if is_idle(params)
        for name in names
        if getattr(params, name) != GenerationParams.model_fields[name].default
    ]
