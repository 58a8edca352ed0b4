"""Qwen3's chat format: from a prompt and its companions to the text that the tokenizer reads.

Knows nothing of tokens or models. The strings are those that the chat template of the Qwen3 tokenizer yields for the
same messages (source: `tokenizer_config.json` of Qwen/Qwen3-4B); Z-Image was trained on the form without think block.
"""

from __future__ import annotations

from collections.abc import Iterable

from llm_dit.parameters import GenerationParams

MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
THINK_START = "<think>"
THINK_END = "</think>"


def format_prompt(
    prompt: str,
    *,
    system_prompt: str | None = None,
    thinking_content: str | None = None,
    force_think_block: bool = False,
    assistant_content: str | None = None,
) -> str:
    """Return the formatted prompt.

    Args:
        prompt: The user's text.
        system_prompt: System message in front; None leaves it out, "" gives an empty message.
        thinking_content: Text of the think block; None makes no block, "" an empty one. Newlines around it are dropped,
            as Qwen3's template does.
        force_think_block: Make an empty block where `thinking_content` is None.
        assistant_content: Beginning of the answer; leading newlines are dropped, as Qwen3's template does. It is closed
            with `<|im_end|>`; the newline that Qwen3's template puts behind it would only start a next message.

    Returns:
        Text with special tokens, ready for the tokenizer (which must add none of its own).
    """
    parts = []
    if system_prompt is not None:
        parts.append(f"{MESSAGE_START}system\n{system_prompt}{MESSAGE_END}\n")
    parts.append(f"{MESSAGE_START}user\n{prompt}{MESSAGE_END}\n{MESSAGE_START}assistant\n")
    if thinking_content is None and force_think_block:
        thinking_content = ""
    if thinking_content is not None:
        thinking = thinking_content.strip("\n")
        parts.append(f"{THINK_START}\n{thinking}\n{THINK_END}\n\n")
    if assistant_content is not None:
        answer = assistant_content.lstrip("\n")
        parts.append(f"{answer}{MESSAGE_END}")
    return "".join(parts)


def formatted_prompt_from_params(params: GenerationParams) -> str:
    """Return the formatted prompt of one image."""
    return format_prompt(
        params.prompt,
        system_prompt=params.system_prompt,
        thinking_content=params.thinking_content,
        force_think_block=params.force_think_block,
        assistant_content=params.assistant_content,
    )


def formatted_negative_prompt(params: GenerationParams) -> str:
    """Return the formatted negative prompt: the plain form, as diffusers' pipeline does."""
    return format_prompt(params.negative_prompt)


def user_texts(params: GenerationParams) -> list[str]:
    """Return every text of `params` that the user wrote into the formatted prompt."""
    texts = (params.prompt, params.system_prompt, params.thinking_content, params.assistant_content)
    return [text for text in texts if text is not None]


def special_tokens_in(texts: Iterable[str], special_tokens: Iterable[str]) -> list[str]:
    """Return the special tokens that stand as plain text in `texts`, sorted.

    The tokenizer reads them as control tokens, as the reference does, which can end a message in the middle.
    """
    joined = "\n".join(texts)
    return sorted(token for token in special_tokens if token in joined)


def special_tokens_sentence(found: Iterable[str]) -> str:
    """Say that the user's own texts contain special tokens; empty where they don't."""
    names = ", ".join(found)
    return f"The prompt contains {names}, which the tokenizer reads as control tokens." if names else ""
