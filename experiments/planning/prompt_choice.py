"""Which prompts of a file an experiment takes; equal texts are one prompt, whatever they are called."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from experiments.prompts import Prompt
from llm_dit.errors import LlmDitError, nearest


def select_prompts(
    prompts: Sequence[Prompt],
    *,
    categories: Sequence[str] = (),
    ids: Sequence[str] = (),
    max_prompts: int | None = None,
) -> tuple[Prompt, ...]:
    """Pick prompts; of those with one text the first is taken.

    Args:
        prompts: Those of the file.
        categories: Keep these; all if empty.
        ids: Keep these; all if empty.
        max_prompts: Keep at most so many texts, taken in turn from each category, so that few still cover much; a
            larger number keeps all that a smaller one does.

    Raises:
        LlmDitError: For an unknown category or id; the message names the nearest.
    """
    _check_known("--prompt-category", categories, [prompt.category for prompt in prompts])
    _check_known("--prompt-ids", ids, [prompt.id for prompt in prompts])
    chosen = distinct_prompts(
        prompt
        for prompt in prompts
        if (not categories or prompt.category in categories) and (not ids or prompt.id in ids)
    )
    if not chosen:
        raise LlmDitError("No prompt has one of these ids and one of these categories; --list-prompts shows them.")
    if max_prompts is None or max_prompts >= len(chosen):
        return chosen
    kept = set(itertools.islice((prompt.id for prompt in _in_turn(chosen)), max_prompts))
    return tuple(prompt for prompt in chosen if prompt.id in kept)


def distinct_prompts(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """Return each text once, under its first id: two ids of one text are not two independent prompts."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.text, prompt)
    return tuple(first.values())


def _check_known(option: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise LlmDitError(f"{option} {name!r} does not exist{nearest(name, dict.fromkeys(known))}")


def _in_turn(prompts: Sequence[Prompt]) -> Iterator[Prompt]:
    """Yield the first prompt of each category, then the second of each, and so on."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.category, []).append(prompt)
    for row in itertools.zip_longest(*groups.values()):
        yield from (prompt for prompt in row if prompt is not None)
