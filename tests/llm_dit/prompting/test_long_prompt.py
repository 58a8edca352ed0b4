"""Long-prompt handling, against closed forms."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from llm_dit.parameters import LongPromptMode
from llm_dit.prompting.long_prompt import pool_regions, shorten

MODES = get_args(LongPromptMode)


def ramp(length: int) -> torch.Tensor:
    return torch.arange(length, dtype=torch.float32)[:, None].expand(length, 3).clone()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", [1, 5, 8])
def test_a_prompt_that_fits_passes_unchanged(mode, length):
    embeds = torch.randn(length, 4)
    assert shorten(embeds, 8, mode) is embeds


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("length", "count"), [(9, 8), (17, 5), (1000, 32), (7, 1)])
def test_every_mode_gives_exactly_the_allowed_number(mode, length, count):
    assert shorten(torch.randn(length, 4), count, mode).shape == (count, 4)


@pytest.mark.parametrize("mode", MODES)
def test_the_dtype_stays(mode):
    assert shorten(torch.randn(10, 4, dtype=torch.bfloat16), 4, mode).dtype == torch.bfloat16


@pytest.mark.parametrize("mode", MODES)
def test_the_documentation_says_what_every_mode_keeps(mode):
    page = (Path(__file__).parents[3] / "docs" / "research" / "long_prompts.md").read_text()
    assert f"\n- `{mode}`: " in page


def test_truncate_keeps_the_first_tokens():
    assert torch.equal(shorten(ramp(10), 4, "truncate"), ramp(4))


def test_interpolate_keeps_both_ends_and_is_linear_between():
    assert shorten(ramp(10), 4, "interpolate")[:, 0].tolist() == [0.0, 3.0, 6.0, 9.0]
    assert shorten(ramp(6), 3, "interpolate")[:, 0].tolist() == [0.0, 2.5, 5.0]


def test_interpolate_to_one_token_takes_the_middle():
    assert shorten(ramp(6), 1, "interpolate")[:, 0].tolist() == [2.5]


def test_pool_averages_adaptive_regions():
    # regions of 5 into 3: [0, 2), [1, 4), [3, 5)
    assert pool_regions(5, 3) == [(0, 2), (1, 4), (3, 5)]
    assert shorten(ramp(5), 3, "pool")[:, 0].tolist() == [0.5, 2.0, 3.5]


def test_attention_pool_of_identical_tokens_is_their_mean():
    embeds = torch.ones(12, 4) * torch.tensor([1.0, -2.0, 3.0, 0.5])
    assert torch.allclose(shorten(embeds, 3, "attention_pool"), embeds[:3], atol=1e-6)


def test_attention_pool_weights_by_a_softmax_of_distinctiveness():
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    embeds = torch.stack([east, east, north, east])
    # one minus the mean cosine to the neighbours: 0, 0.5, 1, 1
    weights = torch.softmax(torch.tensor([0.0, 0.5, 1.0, 1.0]), dim=0)
    expected = torch.stack([weights[0] + weights[1] + weights[3], weights[2]])
    assert torch.allclose(shorten(embeds, 1, "attention_pool")[0], expected, atol=1e-6)
    assert torch.allclose(shorten(embeds.flip(0), 1, "attention_pool")[0], expected, atol=1e-6), (
        "either end has one side"
    )


def test_attention_pool_leans_towards_the_token_that_stands_out():
    embeds = torch.ones(9, 2) * torch.tensor([1.0, 0.0])
    embeds[4] = torch.tensor([0.0, 1.0])
    share = shorten(embeds, 1, "attention_pool")[0, 1]
    assert share > shorten(embeds, 1, "pool")[0, 1]


def test_a_mode_that_is_none_of_them_is_a_defect_and_no_other_mode():
    with pytest.raises(AssertionError):
        shorten(torch.randn(10, 4), 4, "summarize")
