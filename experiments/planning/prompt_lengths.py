"""Prompts that the model can't read whole: beyond the text encoder's limit, or beyond `max_text_tokens`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from experiments.planning.design import Plan
from experiments.planning.model_facts import ModelFacts
from llm_dit.errors import listed
from llm_dit.parameters import EngineSettings
from llm_dit.prompting.chat_template import formatted_negative_prompt, formatted_prompt_from_params

NAMED_PROMPTS = 5


def length_warnings(plan: Plan, facts: Mapping[EngineSettings, ModelFacts]) -> Iterator[str]:
    """Yield a sentence for the prompts that can't be read, and one for those that are brought down to the limit.

    Args:
        plan: At least one prompt.
        facts: Of the model of each setting of the engine; without its tokenizer nothing is said.
    """
    unreadable: dict[str, int] = {}
    shortened: dict[str, int] = {}
    limits: list[int] = []
    for prompt in plan.prompts:
        for index, template in enumerate(plan.templates):
            model = facts[plan.settings[index]]
            if model.count_tokens is None:
                continue
            params = plan.params(index, prompt, 0)
            texts = [formatted_prompt_from_params(params)]
            if model.scheduler.guidance_for(template) > 0:
                texts.append(formatted_negative_prompt(params))
            longest = max(model.count_tokens(text) for text in texts)
            if longest > model.encoder_token_limit:
                limits.append(model.encoder_token_limit)
                unreadable[prompt.id] = max(longest, unreadable.get(prompt.id, 0))
            elif longest > params.max_text_tokens:
                shortened[prompt.id] = max(longest, shortened.get(prompt.id, 0))
    if unreadable:
        yield (
            f"{_named(unreadable, f'the {min(limits):,} tokens that the text encoder reads')}; runs with "
            "them fail, so shorten them."
        )
    if shortened:
        yield f"{_named(shortened, 'max_text_tokens at some level')}; long_prompt_mode brings them down to it."


def _named(tokens: Mapping[str, int], limit: str) -> str:
    names = [f"{name} ({count:,} tokens)" for name, count in tokens.items()]
    noun = "1 prompt is" if len(tokens) == 1 else f"{len(tokens)} prompts are"
    return f"{noun} longer than {limit}: {listed(names, NAMED_PROMPTS)}"
