"""Float8 layers and kernels, on the CPU: closed forms, and Triton's interpreter against plain PyTorch."""

import gc
import importlib.util
import os
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from llm_dit.acceleration.float8 import ScaledLinear, quantize_rows
from llm_dit.acceleration.float8_format import RANGE
from llm_dit.acceleration.quantization import replace_linears

CHECK = Path(__file__).with_name("float8_block_check.py")


def test_rows_are_scaled_to_the_range_of_float8():
    x = torch.tensor([[[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]])
    values, scales = quantize_rows(x)
    assert values.dtype == torch.float8_e4m3fn
    assert scales[0].item() == pytest.approx(2.0 / RANGE)
    assert values[0].float().tolist() == [224.0, -448.0, 112.0]
    assert values[1].float().tolist() == [0.0, 0.0, 0.0]


def test_a_linear_layer_that_torchao_quantized_is_replaced_with_its_numbers():
    class Quantized(nn.Parameter):  # as much of torchao's Float8Tensor as is read
        qdata = torch.ones(4, 3).to(torch.float8_e4m3fn)
        scale = torch.arange(1.0, 5.0)[:, None]

    block = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2))
    block[0].weight = Quantized(torch.zeros(4, 3, dtype=torch.bfloat16))
    replace_linears(block, ScaledLinear.from_quantized)
    assert isinstance(block[0], ScaledLinear)
    assert block[0].scale.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert block[0].dtype == torch.bfloat16
    assert type(block[1]) is nn.Linear


def test_a_replaced_layer_keeps_no_weight_on_the_device():
    class Quantized(nn.Parameter):
        qdata = torch.ones(4, 3).to(torch.float8_e4m3fn)
        scale = torch.ones(4, 1)

    layer = nn.Linear(3, 4, bias=False)
    layer.weight = Quantized(torch.zeros(4, 3, dtype=torch.bfloat16))
    layer.extra_repr = partial(nn.Linear.extra_repr, layer)  # a cycle, as torchao ties one
    weight = weakref.ref(layer.weight)
    block = nn.Sequential(layer)
    del layer
    gc.disable()
    try:
        replace_linears(block, ScaledLinear.from_quantized)
        assert weight() is None
    finally:
        gc.enable()


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not on this platform")
def test_fused_kernels_and_blocks_equal_plain_ones_but_for_rounding():
    paths = [str(CHECK.parent), *sys.path]
    environment = dict(os.environ, TRITON_INTERPRET="1", PYTHONPATH=os.pathsep.join(filter(None, paths)))
    result = subprocess.run([sys.executable, str(CHECK)], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
