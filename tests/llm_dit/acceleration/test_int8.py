"""Int8 weights: closed forms, and torchao's recorded numbers."""

import pytest
import torch
from torch import nn

from llm_dit.acceleration.int8 import Int8Linear, quantize_weight

RAMP = (torch.arange(-16, 16, dtype=torch.float32).reshape(2, 16) / 7).bfloat16()


def test_a_row_reaches_from_minus_to_plus_127():
    values, scales = quantize_weight(torch.tensor([[0.5, -1.0, 0.25], [2.0, 0.0, 1.0]]))
    assert scales.tolist() == [[pytest.approx(1 / 127.5)], [pytest.approx(2 / 127.5)]]
    assert values.tolist() == [[64, -127, 32], [127, 0, 64]]


def test_numbers_are_those_that_torchao_made():
    values, scales = quantize_weight(RAMP)
    # recorded of torchao 0.17, `Int8WeightOnlyConfig`
    assert scales[:, 0].tolist() == [0.0179443359375, 0.016845703125]
    assert values[0].tolist() == [-127, -120, -112, -104, -96, -88, -80, -72, -64, -56, -48, -40, -32, -24, -16, -8]
    assert values[1].tolist() == [0, 8, 17, 25, 34, 42, 51, 59, 68, 76, 84, 93, 102, 110, 118, 127]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_of_zeros_stays_zeros(dtype):
    values, scales = quantize_weight(torch.zeros(2, 16, dtype=dtype))
    assert not values.any()
    assert torch.isfinite(scales).all()


def test_a_layer_applies_its_scales_before_the_product():
    linear, x = nn.Linear(32, 5, bias=False).requires_grad_(False), torch.randn(2, 3, 32)
    layer = Int8Linear.from_linear(linear)
    weight = layer.weight.float() * layer.scale
    assert (weight - linear.weight).abs().max() <= layer.scale.max() / 2 * 1.01
    torch.testing.assert_close(layer(x), x @ weight.T, rtol=1e-5, atol=1e-5)
