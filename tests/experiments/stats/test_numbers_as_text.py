"""How numbers are rounded, at the borders."""

from __future__ import annotations

import math

import pytest

from experiments.stats.numbers_as_text import (
    decimals_for,
    format_amount,
    format_number,
    format_p_value,
    format_share,
    least_shown,
)


@pytest.mark.parametrize(
    ("half_width", "decimals"),
    [
        (1.0, 1), (2.9, 1), (3.0, 0), (9.9, 0), (10.0, 0), (31.0, 0), (0.29, 2), (0.31, 1), (0.01, 3), (0.031, 2),
        (1e-5, 6), (1e-9, 6), (5e-6, 6), (-1.0, 3), (math.inf, 3), (math.nan, 3),
    ],
)  # fmt: skip
def test_a_value_gets_one_or_two_digits_of_its_uncertainty(half_width: float, decimals: int) -> None:
    assert decimals_for(half_width) == decimals


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(-0.5, 1, "-0.5"), (-0.04, 1, "0.0"), (-0.0, 0, "0"), (-0.6, 0, "-1"), (2.345, 2, "2.35")],
)
def test_only_what_is_shown_below_zero_has_a_minus_sign(value: float, decimals: int, text: str) -> None:
    assert format_number(value, decimals) == text


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.000999, "<0.001"), (0.001, "0.001"), (0.0994, "0.099"), (0.1, "0.10"), (0.104, "0.10"), (0.996, "1.00")],
)
def test_p_values_change_their_form_at_a_thousandth_and_a_tenth(p_value: float, text: str) -> None:
    assert format_p_value(p_value) == text


def test_the_smallest_amount_is_named_by_its_digits() -> None:
    assert [least_shown(decimals) for decimals in (0, 1, 3, 6)] == ["1", "0.1", "0.001", "0.000001"]
    assert format_amount(0.0006, 3) == "0.001"
    assert format_amount(-0.0004, 3) == "less than 0.001"


def test_shares_are_whole_percents() -> None:
    assert [format_share(share) for share in (0.0, 0.049, 0.5, 1.0)] == ["0 %", "5 %", "50 %", "100 %"]
