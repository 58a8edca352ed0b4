"""The flags `--spread` and `--detect`: what they take, and when they would tell nothing."""

from __future__ import annotations

import pytest

from experiments.planning.design_size import WishedSizes, wished_sizes
from llm_dit.errors import LlmDitError


def test_nothing_is_wished_where_nobody_asks() -> None:
    for is_dry in (False, True):
        assert wished_sizes((), None, is_dry=is_dry) == WishedSizes({}, None)


def test_spreads_and_a_difference_are_read() -> None:
    wished = wished_sizes(("image_reward=0.3", " siglip_score = 2e-2 "), 1e-9, is_dry=True)
    assert wished == WishedSizes({"image_reward": 0.3, "siglip_score": 0.02}, 1e-9)


@pytest.mark.parametrize(
    ("spreads", "detect", "flag"), [(("a=1",), None, "spread"), (("a=1",), 0.1, "spread"), ((), 0.1, "detect")]
)
def test_a_command_that_draws_tells_of_no_sizes(spreads: tuple[str, ...], detect: float | None, flag: str) -> None:
    with pytest.raises(LlmDitError) as refused:
        wished_sizes(spreads, detect, is_dry=False)
    assert str(refused.value) == f"--{flag} is told by a plan; add --dry-run, or leave it out."
    assert refused.value.field == flag


@pytest.mark.parametrize(
    ("detect", "shown"), [(0.0, "0"), (-0.5, "-0.5"), (float("inf"), "inf"), (float("nan"), "nan")]
)
def test_what_is_no_difference_is_refused(detect: float, shown: str) -> None:
    with pytest.raises(LlmDitError) as refused:
        wished_sizes((), detect, is_dry=True)
    assert str(refused.value) == f"--detect {shown} is no difference; use a number above 0, such as 0.2."
    assert refused.value.field == "detect"


@pytest.mark.parametrize("text", ["a", "a=", "=1", " =1", "a=0", "a=-1", "a=nan", "a=inf", "a=b", "a=b=1"])
def test_what_is_no_spread_is_refused(text: str) -> None:
    with pytest.raises(LlmDitError) as refused:
        wished_sizes(("image_reward=0.3", text), None, is_dry=True)
    assert str(refused.value) == (
        f"--spread {text!r} is no measure with a standard deviation above 0; use for example image_reward=0.3."
    )
    assert refused.value.field == "spread"
