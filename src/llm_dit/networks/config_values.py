"""Values of a published config.json, checked one by one, so that a damaged file is a sentence and not a crash."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llm_dit.errors import LlmDitError

MAX_WHOLE = 1 << 24
"""Above every size that a network of this kind has."""
MAX_NUMBER = 1e12
ABSENT: Any = object()


def whole(config: Mapping[str, Any], name: str, what: str, default: Any = ABSENT) -> int:
    """Return a whole number of a configuration, from 1 to `MAX_WHOLE`.

    Args:
        config: The parsed file.
        name: Key.
        what: Whose configuration, for the message.
        default: Taken where there is no such key.

    Raises:
        LlmDitError: If the key is missing without a default, or the value is something else.
    """
    value = _given(config, name, what, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_WHOLE:
        raise _wrong(name, value, what, "a whole number >= 1")
    return value


def wholes(config: Mapping[str, Any], name: str, what: str) -> tuple[int, ...]:
    """Return a list of whole numbers above 0; see `whole`."""
    values = _given(config, name, what, ABSENT)
    if not isinstance(values, list | tuple) or not values:
        raise _wrong(name, values, what, "a list of whole numbers")
    return tuple(whole({name: value}, name, what) for value in values)


def number(config: Mapping[str, Any], name: str, what: str, default: Any = ABSENT) -> float:
    """Return a number; see `whole`."""
    value = _given(config, name, what, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (-MAX_NUMBER <= value <= MAX_NUMBER) or math.isnan(value):
        raise _wrong(name, value, what, "a number")
    return float(value)


def switch(config: Mapping[str, Any], name: str, what: str, default: Any = ABSENT) -> bool:
    """Return true or false; see `whole`."""
    value = _given(config, name, what, default)
    if not isinstance(value, bool):
        raise _wrong(name, value, what, "true or false")
    return value


def _given(config: Mapping[str, Any], name: str, what: str, default: Any) -> Any:
    value = config.get(name, default)
    if value is ABSENT or (value is None and default is ABSENT):
        raise LlmDitError(f"{what}'s config.json lacks {name}; use weights and config.json of the same model.")
    return value


def _wrong(name: str, value: Any, what: str, wanted: str) -> LlmDitError:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number of thousands of digits"
    text = text if len(text) <= 60 else text[:57] + "..."
    return LlmDitError(f"{name} = {text} in {what[:1].lower()}{what[1:]}'s config must be {wanted}; fetch it again.")
