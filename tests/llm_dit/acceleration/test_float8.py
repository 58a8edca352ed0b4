"""Float8 layers and kernels, on the CPU: closed forms, and Triton's interpreter against plain PyTorch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llm_dit.acceleration.float8 import ROWS_AT_ONCE, quantize_rows, quantize_weight
from llm_dit.acceleration.float8_format import RANGE

CHECK = Path(__file__).with_name("float8_block_check.py")


def test_rows_are_scaled_to_the_range_of_float8():
    x = torch.tensor([[[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]])
    values, scales = quantize_rows(x)
    assert values.dtype == torch.float8_e4m3fn
    assert scales[0].item() == pytest.approx(2.0 / RANGE)
    assert values[0].float().tolist() == [224.0, -448.0, 112.0]
    assert values[1].float().tolist() == [0.0, 0.0, 0.0]


def test_a_weight_has_scales_in_its_own_format_and_the_nearest_values_to_them():
    weight = torch.tensor([[1.0, -3.0, 0.5], [0.0, 0.0, 0.0], [1e-3, 2e-3, 7e-3]], dtype=torch.bfloat16)
    values, scales = quantize_weight(weight)
    expected = [float((weight[row].abs().max() / 448).to(torch.bfloat16)) for row in range(3)]
    assert scales.dtype == torch.float32
    assert scales[:, 0].tolist() == [expected[0], pytest.approx(1e-12), expected[2]]
    assert values.dtype == torch.float8_e4m3fn
    assert values[0, 1].item() == -448
    assert values[1].float().tolist() == [0, 0, 0]
    nearest = (weight.float() / scales).clamp(-448, 448).to(torch.float8_e4m3fn)
    assert torch.equal(values.float(), nearest.float())


def test_a_large_weight_is_quantized_as_its_rows_are_alone():
    weight = torch.randn(2 * ROWS_AT_ONCE + 3, 16, dtype=torch.bfloat16)
    values, scales = quantize_weight(weight)
    for row in (0, ROWS_AT_ONCE, len(weight) - 1):
        alone, scale = quantize_weight(weight[row : row + 1])
        assert torch.equal(values[row].float(), alone[0].float())
        assert scales[row] == scale[0]


def test_scales_are_those_that_torchao_made():
    weight = (torch.arange(-16, 16, dtype=torch.float32).reshape(2, 16) / 7).bfloat16()
    # recorded of torchao 0.17, `Float8Tensor.from_hp(weight, granularity=PerRow())`
    assert quantize_weight(weight)[1][:, 0].tolist() == [0.005096435546875, 0.004791259765625]


@pytest.mark.slow  # Triton's interpreter
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not on this platform")
def test_fused_kernels_and_blocks_equal_plain_ones_but_for_rounding():
    paths = [str(CHECK.parent), *sys.path]
    environment = dict(os.environ, TRITON_INTERPRET="1", PYTHONPATH=os.pathsep.join(filter(None, paths)))
    result = subprocess.run([sys.executable, str(CHECK)], env=environment, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stdout + result.stderr
