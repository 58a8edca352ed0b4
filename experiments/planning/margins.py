"""Margins as a command names them: the largest difference of a measure that does not matter. Knows no measure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llm_dit.errors import LlmDitError


def margins_of(texts: Sequence[str]) -> dict[str, float]:
    """Read `MEASURE=X[,MEASURE=X]`, of one flag or several.

    Raises:
        LlmDitError: For what is no number above 0, or there twice.
    """
    margins: dict[str, float] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        measure, _, amount = (side.strip() for side in part.partition("="))
        margin = _number(amount)
        if not measure or not margin > 0 or math.isinf(margin):
            raise LlmDitError(
                f"--margin {part!r} is not MEASURE=X with X above 0, the largest difference that does not matter; "
                "write for example image_reward=0.05.",
                field="margin",
            )
        if margins.setdefault(measure, margin) != margin:
            raise LlmDitError(f"--margin gives {measure} two margins; leave one out.", field="margin")
    return margins


def margins_and_plain(texts: Sequence[str]) -> tuple[dict[str, float], float | None]:
    """Read margins of measures that are named, and the one of the measure that another flag names.

    Raises:
        LlmDitError: For what is neither, or there twice.
    """
    named, plain = [text for text in texts if "=" in text], {text.strip() for text in texts if "=" not in text}
    if len(plain) > 1:
        raise LlmDitError(f"--margin is given as {' and '.join(sorted(plain))}; leave one out.", field="margin")
    margins = margins_of(named)
    if not plain:
        return margins, None
    margin = _number(text := plain.pop())
    if not margin > 0 or math.isinf(margin):
        raise LlmDitError(
            f"--margin {text} is not above 0; use the largest difference of the measure that does not matter, or "
            "MEASURE=X for example image_reward=0.05.",
            field="margin",
        )
    return margins, margin


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
