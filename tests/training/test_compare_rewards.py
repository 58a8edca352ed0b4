"""Two rewards on the same pairs: shares, and the paired standard error of their difference."""

import copy
import math

import pytest
import torch

from training.checks.compare_rewards import compare, compared
from training.learning.reward_network import RewardModel, RewardSizes
from training.stages.contrasts import KINDS
from training.stages.reward_mini import RewardData


def test_the_error_is_that_of_paired_differences() -> None:
    before, after = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, True])
    line = compared("noisy", before, after)  # differences 0, -1, 1, 1: mean 1/4, variance 11/12
    assert (line.pairs, line.before, line.after) == (4, 0.5, 0.75)
    assert line.error == pytest.approx((11 / 12 / 4) ** 0.5)


def test_equal_weights_differ_in_no_kind_and_no_place_counts_twice() -> None:
    torch.manual_seed(1)
    model = RewardModel(RewardSizes(40, 32, 2, 1, 1)).eval()
    pictures = torch.randint(0, 256, (10, 2, 3, 128, 128), dtype=torch.uint8)
    ids = torch.randint(1, 40, (10, 2, 6))
    drawn = pictures[None, :6, 0].repeat(3, 1, 1, 1, 1) // torch.tensor([3, 2, 1])[:, None, None, None, None]
    kinds = torch.tensor([0, 0, 1, 1, 1, 2, 3, 4, -1, -1])
    data = RewardData(pictures[:8, 0], ids[:8, 0], pictures, ids, kinds, drawn.to(torch.uint8))
    lines = {line.kind: line for line in compare(model, copy.deepcopy(model), data, 7)}
    assert [lines[kind].pairs for kind in KINDS] == [2, 3, 1, 1, 1]
    assert (lines["noisy"].pairs, lines["few steps"].pairs) == (7, 6)
    assert all(line.before == line.after for line in lines.values())
    assert all(lines[kind].error == 0 for kind in (*KINDS[:2], "noisy", "few steps"))
    assert math.isnan(lines[KINDS[2]].error)
