"""Bring the embeddings of a long prompt down to as many tokens as the transformer may see.

Pure functions on one prompt's embeddings. Which mode keeps what is the subject of docs/research/long_prompts.md.
Legend: L tokens before, M tokens after, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams, LongPromptMode

if TYPE_CHECKING:
    from torch import Tensor


def check_text_tokens(params: GenerationParams, limit: int) -> None:
    """Refuse more text tokens than a model has positions for.

    Args:
        params: Of one image.
        limit: Longest caption that the model's position table holds, in tokens.

    Raises:
        InvalidParameter: If `max_text_tokens` is above it and `extend_rope` is off.
    """
    if params.max_text_tokens > limit and not params.extend_rope:
        raise InvalidParameter(
            "max_text_tokens",
            f"{params.max_text_tokens} is above {limit}, the longest caption this model's position table holds; lower "
            "it or set extend_rope (experimental).",
        )


def shorten(prompt_embeds: Tensor, max_text_tokens: int, mode: LongPromptMode) -> Tensor:
    """Return at most `max_text_tokens` embeddings; shorter prompts pass unchanged.

    Args:
        prompt_embeds: [L, D].
        max_text_tokens: Upper bound M >= 1.
        mode: `truncate` keeps the first M; the functions below say what each other mode makes.

    Returns:
        [min(L, M), D], in the dtype of the input.
    """
    if prompt_embeds.shape[0] <= max_text_tokens:
        return prompt_embeds
    match mode:
        case "truncate":
            return prompt_embeds[:max_text_tokens]
        case "interpolate":
            return _interpolate(prompt_embeds, max_text_tokens)
        case "pool":
            return _pool(prompt_embeds, max_text_tokens)
        case "attention_pool":
            return _attention_pool(prompt_embeds, max_text_tokens)
        case _:
            assert_never(mode)


def _interpolate(prompt_embeds: Tensor, count: int) -> Tensor:
    """Sample `count` positions evenly between the first and the last token (their middle where count is 1)."""
    import torch

    last = prompt_embeds.shape[0] - 1
    if count == 1:
        positions = torch.tensor([last / 2], dtype=torch.float64, device="cpu")
    else:
        positions = torch.linspace(0, last, count, dtype=torch.float64, device="cpu")
    lower = positions.floor().long().clamp(max=last)
    upper = (lower + 1).clamp(max=last)
    weight = (positions - lower).float().to(prompt_embeds.device)[:, None]  # [M, 1]
    wide = prompt_embeds.float()
    return torch.lerp(wide[lower], wide[upper], weight).to(prompt_embeds.dtype)


def _pool(prompt_embeds: Tensor, count: int) -> Tensor:
    """Adaptive average pooling over tokens."""
    from torch.nn.functional import adaptive_avg_pool1d

    pooled = adaptive_avg_pool1d(prompt_embeds.float().T[None], count)[0].T  # [M, D]
    return pooled.to(prompt_embeds.dtype)


def _attention_pool(prompt_embeds: Tensor, count: int) -> Tensor:
    """Pool regions with a softmax of each token's distinctiveness as weights."""
    import torch

    wide = prompt_embeds.float()
    scores = _distinctiveness(wide)
    pooled = []
    for start, end in pool_regions(wide.shape[0], count):
        weights = torch.softmax(scores[start:end], dim=0)
        pooled.append(weights @ wide[start:end])
    return torch.stack(pooled).to(prompt_embeds.dtype)


def pool_regions(length: int, count: int) -> list[tuple[int, int]]:
    """Return the [start, end) of each region, split as adaptive average pooling does: floor(iL/M) to ceil((i+1)L/M)."""
    return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def _distinctiveness(wide: Tensor) -> Tensor:
    """One minus the mean cosine similarity to the token before and the token after, [L]; 0 for a lone token."""
    import torch
    from torch.nn.functional import cosine_similarity

    if wide.shape[0] == 1:
        return wide.new_zeros(1)
    similarity = cosine_similarity(wide[:-1], wide[1:], dim=-1)  # [L - 1]
    neighbours = torch.zeros_like(wide[:, 0])
    neighbours[:-1] += similarity
    neighbours[1:] += similarity
    count = torch.full_like(neighbours, 2)
    count[0] = count[-1] = 1
    return 1 - neighbours / count


def cut_sentence(what: str, token_count: int, kept: int, mode: LongPromptMode) -> str:
    """Say that `what`, such as `The prompt`, was brought down to `kept` of its tokens; empty where it was not."""
    if kept >= token_count:
        return ""
    share = 100 * kept / token_count
    return f"{what} has {token_count} tokens; {mode} brought it to {kept} ({share:.0f} %)."
