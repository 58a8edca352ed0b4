"""Levels that are secretly equal: different settings that reach the model as the same inputs.

A negative prompt without guidance, a shift with a single step, a token limit that no prompt reaches: such levels make
equal images, and comparing them says nothing. What counts here is what the transformer gets.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.planning.design import Plan
from experiments.planning.model_facts import ModelFacts
from llm_dit.errors import listed
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.prompting.chat_template import formatted_negative_prompt, formatted_prompt_from_params
from llm_dit.sampling.guidance import guided_steps

TokenCounter = Callable[[str], int]
SEEN_OTHERWISE = frozenset(
    (
        # in the formatted texts
        *("prompt", "negative_prompt", "system_prompt", "thinking_content", "force_think_block", "assistant_content"),
        # in how a long text is handled; extend_rope only permits
        *("long_prompt_mode", "max_text_tokens", "extend_rope"),
        # in the layers that are mixed
        *("hidden_layer", "hidden_layer_blend"),
        # in the number of guided steps
        "cfg_truncation",
    )
)
"""Parameters that act through something else that is compared. All others are compared as they are."""
NAMED_LEVELS = 6


@dataclass(frozen=True)
class EqualLevels:
    """Levels that make equal images.

    Attributes:
        levels: Their names.
        prompts: For so many prompts.
        of_prompts: Out of so many.
    """

    levels: tuple[str, ...]
    prompts: int
    of_prompts: int

    def sentence(self) -> str:
        """Say it."""
        names = listed(self.levels, NAMED_LEVELS)
        if self.prompts == self.of_prompts:
            return f"The levels {names} are secretly equal: they reach the model as the same inputs for every prompt."
        return (
            f"The levels {names} are equal for {self.prompts} of {self.of_prompts} prompts, where they reach the model "
            "as the same inputs; these prompts only dilute the comparison."
        )


def equal_levels(
    plan: Plan,
    facts: Mapping[EngineSettings, ModelFacts],
    models: Mapping[EngineSettings, Hashable] | None = None,
) -> list[EqualLevels]:
    """Find the levels of a plan that are equal, for all prompts first.

    Args:
        plan: At least one prompt.
        facts: Of the model of each setting of the engine. Without a tokenizer token limits and long-prompt modes are
            taken as different.
        models: What of each setting of the engine changes an image, the same where that is the same; all are taken as
            different if None.
    """
    models = {settings: settings for settings in plan.loading_order} if models is None else models
    together: list[Any] = [hashlib.sha256() for _ in plan.cells]
    partly: Counter[tuple[int, ...]] = Counter()
    for prompt in plan.prompts:
        groups: dict[Any, list[int]] = defaultdict(list)
        for index, digest in enumerate(together):
            settings = plan.settings[index]
            params = facts[settings].resolved(plan.params(index, prompt, 0))
            key = (models[settings], effective_inputs(params, facts[settings].count_tokens))
            groups[key].append(index)
            digest.update(repr(key).encode())  # where half a pair of UTF-16 is escaped
        partly.update(tuple(group) for group in groups.values() if len(group) > 1)
    always: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(together):
        always[digest.digest()].append(index)
    full = {tuple(group) for group in always.values() if len(group) > 1}
    count = len(plan.prompts)
    found = [EqualLevels(_names(plan, group), count, count) for group in sorted(full)]
    rest = [group for group in partly if group not in full]  # a prompt's group holds a full one whole, or none of it
    return found + [EqualLevels(_names(plan, group), partly[group], count) for group in sorted(rest)]


def effective_inputs(params: GenerationParams, count_tokens: TokenCounter | None) -> tuple[Any, ...]:
    """Return what reaches the model: parameters that have no effect here are left out.

    Args:
        params: Of one run, with size, shift, steps and guidance filled in.
        count_tokens: The model's tokenizer; None without it.
    """
    is_guided = bool(params.guidance_scale)
    texts = [formatted_prompt_from_params(params), *([formatted_negative_prompt(params)] if is_guided else ())]
    acting = {name: value for name, value in params.model_dump().items() if name not in SEEN_OTHERWISE}
    acting["layers"] = params.layer_shares  # one layer of weight 1 is that layer
    if is_guided:
        acting["guided_steps"] = guided_steps(params)
    else:
        del acting["cfg_normalization"]
    if not params.loras:
        del acting["lora_strength"], acting["lora_ignore_unknown"]
    if params.num_inference_steps == 1:
        del acting["shift"]  # 1 and 0 are fixed points of the shift
    handled = tuple((text, _long_prompt_handling(params, text, count_tokens)) for text in texts)
    return (*handled, repr(acting))


def _long_prompt_handling(params: GenerationParams, text: str, count_tokens: TokenCounter | None) -> Any:
    """Return how a text is brought to the limit; None where it fits. `extend_rope` only permits, it changes nothing."""
    if count_tokens is not None and count_tokens(text) <= params.max_text_tokens:
        return None
    return params.long_prompt_mode, params.max_text_tokens


def _names(plan: Plan, indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(plan.cells[index].name for index in indices)
