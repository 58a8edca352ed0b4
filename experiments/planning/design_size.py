"""What somebody wants to know of a design's size before it runs: the flags `--spread` and `--detect`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_dit.errors import LlmDitError


@dataclass(frozen=True)
class WishedSizes:
    """Values of the two flags.

    Attributes:
        spreads: Measure to the standard deviation of its paired differences, above 0.
        detect: A difference above 0; None where nobody asked.
    """

    spreads: Mapping[str, float]
    detect: float | None


def wished_sizes(spreads: Sequence[str], detect: float | None, *, is_dry: bool) -> WishedSizes:
    """Read the two flags.

    Args:
        spreads: Each as `MEASURE=SD`.
        detect: The difference.
        is_dry: Whether anybody will be told.

    Raises:
        LlmDitError: If a value can't be one, or nothing would be told.
    """
    if not is_dry and (spreads or detect is not None):
        flag = "--spread" if spreads else "--detect"
        raise LlmDitError(f"{flag} is told by a plan; add --dry-run, or leave it out.", field=flag.lstrip("-"))
    if detect is not None and not (math.isfinite(detect) and detect > 0):
        raise LlmDitError(f"--detect {detect:g} is no difference; use a number above 0, such as 0.2.", field="detect")
    return WishedSizes(dict(_spread(text) for text in spreads), detect)


def _spread(text: str) -> tuple[str, float]:
    measure, _, number = text.partition("=")
    try:
        deviation = float(number)
    except ValueError:
        deviation = math.nan
    if not measure.strip() or not (math.isfinite(deviation) and deviation > 0):
        raise LlmDitError(
            f"--spread {text!r} is no measure with a standard deviation above 0; use for example image_reward=0.3.",
            field="spread",
        )
    return measure.strip(), deviation
