"""How numbers are rounded in sentences and tables."""

from __future__ import annotations

import math


def decimals_for(half_width: float) -> int:
    """Return the number of decimals that a value with this uncertainty deserves: one or two of its digits."""
    if not math.isfinite(half_width) or half_width <= 0:
        return 3
    exponent = math.floor(math.log10(half_width))
    extra = 1 if half_width / 10**exponent < 3 else 0
    return min(max(extra - exponent, 0), 6)


def format_number(value: float, decimals: int) -> str:
    """Return `value` rounded, without a minus sign before zero."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def format_p_value(p_value: float) -> str:
    """Return a p-value with the digits that matter: `0.21`, `0.012`, `<0.001`."""
    if p_value < 0.001:
        return "<0.001"
    return f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"


def format_amount(value: float, decimals: int) -> str:
    """Return an amount rounded; in words where it is not 0 but would look like it."""
    text = format_number(value, decimals)
    return text if value == 0 or float(text) else f"less than {least_shown(decimals)}"


def least_shown(decimals: int) -> str:
    """Return the smallest amount with so many decimals: 0.001 for 3."""
    return format_number(10.0**-decimals, decimals)


def format_share(share: float) -> str:
    """Return a share of 1 in percent, such as `14 %`."""
    return f"{100 * share:.0f} %"
