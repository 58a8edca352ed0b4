"""How large a plan the page makes: counted in what was typed, before anything is built."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from llm_dit.errors import LlmDitError

MOST_LEVELS = 10_000
MOST_PAIRS = 50_000
"""Levels times prompts; a fifth of a millisecond each."""
MOST_SEEDS = 10_000
_RANGE = re.compile(r"\s*([-+.\deE]+?)\.\.([-+.\deE]+?)(?:\.\.([-+.\deE]+))?\s*")


def check_typed_size(arguments: Sequence[str]) -> None:
    """Refuse arguments of `run_ablation.py` that ask for too much.

    Raises:
        LlmDitError: Saying how much it would be and how much is allowed.
    """
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith("--sweep=")]
    counts = [count_values(sweep.partition("=")[2]) for sweep in values]
    levels = math.prod(counts)
    if levels > MOST_LEVELS:
        crossed = f"{' x '.join(f'{count:,}' for count in counts)} = " if len(counts) > 1 else ""
        raise LlmDitError(
            f"These axes have {crossed}{levels:,} levels, and the page plans at most {MOST_LEVELS:,}; use fewer values "
            "or longer steps, or run it in a terminal.",
            field="sweeps",
        )
    seeds = sum(count_values(argument.partition("=")[2]) for argument in arguments if argument.startswith("--seeds="))
    if seeds > MOST_SEEDS:
        raise LlmDitError(f"These are {seeds:,} seeds; the page plans at most {MOST_SEEDS:,}.", field="seeds")


def check_size(levels: int, prompts: int) -> None:
    """Refuse a question with too many levels and prompts.

    Raises:
        LlmDitError: Saying how much it would be and how much is allowed.
    """
    if levels * prompts > MOST_PAIRS:
        raise LlmDitError(
            f"{levels:,} levels of {prompts:,} prompts are {levels * prompts:,} pictures a seed, and the page plans at "
            f"most {MOST_PAIRS:,}; use fewer of either, or run it in a terminal.",
            field="max_prompts",
        )


def count_values(text: str) -> int:
    """Return how many values a list with ranges has; what is no range counts once and is left to the parser."""
    return sum(_count(part) for part in text.split(","))


def _count(part: str) -> int:
    match = _RANGE.fullmatch(part)
    if match is None:
        return 1
    try:
        first, last, step = Decimal(match[1]), Decimal(match[2]), abs(Decimal(match[3] or "1"))
        return int(abs(last - first) / step) + 1 if step else 1
    except (InvalidOperation, OverflowError, ValueError):
        return 1
