"""What a design can find, in sentences before a picture is made: from a spread that is known, or in its units.

Pure: where a spread comes from is not known here. The power is `experiments.stats.power`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.stats import power
from experiments.stats.numbers_as_text import format_number
from experiments.stats.paired_statistics import ALPHA, at_least, least_prompts


@dataclass(frozen=True)
class Spread:
    """How far the paired differences of a measure spread between prompts.

    Attributes:
        column: The measure.
        deviation: Standard deviation, in the measure's unit.
        estimated_from: Prompts that it was estimated from, at least 2; None where somebody gave it.
        source: Where it comes from, as the rest of `spread by 0.2`.
    """

    column: str
    deviation: float
    estimated_from: int | None
    source: str


@dataclass(frozen=True)
class Size:
    """A design as far as its tests know it.

    Attributes:
        prompts: Independent prompts.
        comparisons: Levels but the baseline.
    """

    prompts: int
    comparisons: int

    @property
    def alpha(self) -> float:
        """Level of the strictest test."""
        return ALPHA / max(self.comparisons, 1)

    def __str__(self) -> str:
        """Name it, such as `12 prompts and 3 comparisons`."""
        return f"{_counted(self.prompts, 'prompt')} and {_counted(self.comparisons, 'comparison')}"


def size_sentences(size: Size, spreads: Sequence[Spread], detect: float | None) -> list[str]:
    """Return what a design can find, one sentence per measure, and how many prompts a difference takes.

    Args:
        size: The design.
        spreads: Of the measures that are known.
        detect: A difference in the unit of each of them; None to leave it out.
    """
    if not size.comparisons:
        return []
    if math.isinf(power.detectable_effect(size.prompts, alpha=size.alpha)):
        needed = at_least(least_prompts(size.comparisons), " prompts")
        found = [f"No difference can be shown with {size}, however large: it takes {needed}."]
    elif not spreads:
        effect = power.detectable_effect(size.prompts, alpha=size.alpha)
        found = [
            f"With {size}, 4 in 5 such experiments find a difference of {effect:.2f} standard deviations of the paired "
            "differences."
        ]
    else:
        found = [_can_find(size, spread) for spread in spreads]
    return found if detect is None else [*found, *(_takes(size, spread, detect) for spread in spreads)]


def _can_find(size: Size, spread: Spread) -> str:
    effect = power.detectable_effect(size.prompts, alpha=size.alpha, estimated_from=spread.estimated_from)
    found, deviation = _amount(effect * spread.deviation), _amount(spread.deviation)
    return (
        f"{spread.column}: with {size}, 4 in 5 such experiments find a difference of {found}; "
        f"paired differences spread by {deviation} {spread.source}."
    )


def _takes(size: Size, spread: Spread, detect: float) -> str:
    prompts = power.prompts_for_effect(
        detect / spread.deviation, alpha=size.alpha, estimated_from=spread.estimated_from
    )
    takes = f"more than {power.MOST_PROMPTS_PLANNED:,} prompts" if prompts is None else _counted(prompts, "prompt")
    return f"{spread.column}: 4 in 5 such experiments find a difference of {detect:g} with {takes}."


def _amount(value: float) -> str:
    """Return two digits of a number above 0."""
    return format_number(value, max(1 - math.floor(math.log10(value)), 0))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
