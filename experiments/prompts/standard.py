"""The lab's own prompts, as Python sees them: sixty standard, thirty first, six long ones at three lengths.

The counts in `metadata` are computed from the prompts, so that they can't be wrong. Which prompts an experiment uses is
decided in `experiments.planning.design`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.prompts.project_file import FILE_VERSION
from experiments.prompts.prompt import Prompt
from experiments.prompts.reader import read_prompts
from llm_dit.errors import LlmDitError, nearest

STANDARD_PROMPTS = Path(__file__).parent / "standard_prompts.yaml"
LONG_PROMPTS = Path(__file__).parent / "long_prompts.yaml"
PROMPT_SETS = {
    "standard": STANDARD_PROMPTS,
    "first": Path(__file__).parent / "first_prompts.yaml",
    "long": LONG_PROMPTS,
    "long_1.1": Path(__file__).parent / "long_prompts_1.1.yaml",
    "long_2": Path(__file__).parent / "long_prompts_2.yaml",
}
"""What an experiment may name as its prompts. The first ones are of the embedded model's world. The long ones have 1.5,
1.1 and 2 times 1024 tokens of its tokenizer; they tell the same six scenes, so one set at a time has independent
prompts."""


def load_standard_prompts() -> dict[str, Any]:
    """Return the standard prompts with computed metadata.

    Returns:
        `metadata` (total_prompts, categories and difficulties with their counts) and `prompts`, a list of dicts with
        id, category, difficulty, prompt and must_show.
    """
    prompts = _standard_prompts()
    return {
        "metadata": {
            "version": FILE_VERSION,
            "total_prompts": len(prompts),
            "categories": dict(Counter(prompt.category for prompt in prompts)),
            "difficulties": dict(Counter(prompt.difficulty for prompt in prompts)),
        },
        "prompts": [prompt.as_dict() for prompt in prompts],
    }


def get_prompts_by_category(category: str) -> list[dict[str, Any]]:
    """Return the standard prompts of one category.

    Raises:
        LlmDitError: For an unknown category; the message names the nearest.
    """
    _check_known("category", category, get_categories())
    return [prompt.as_dict() for prompt in _standard_prompts() if prompt.category == category]


def get_prompt_by_id(prompt_id: str) -> dict[str, Any]:
    """Return one standard prompt.

    Raises:
        LlmDitError: For an unknown id; the message names the nearest.
    """
    by_id = {prompt.id: prompt for prompt in _standard_prompts()}
    _check_known("prompt id", prompt_id, by_id)
    return by_id[prompt_id].as_dict()


def get_all_prompt_texts() -> list[str]:
    """Return the texts of the standard prompts, in order."""
    return [prompt.text for prompt in _standard_prompts()]


def get_categories() -> list[str]:
    """Return the standard categories, in order."""
    return list(dict.fromkeys(prompt.category for prompt in _standard_prompts()))


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        raise LlmDitError(f"There is no {what} {name!r}{nearest(name, names)}", field=what.replace(" ", "_"))


@lru_cache(maxsize=1)
def _standard_prompts() -> tuple[Prompt, ...]:
    return read_prompts(STANDARD_PROMPTS)
