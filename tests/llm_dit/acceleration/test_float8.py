"""Float8 layers and kernels, on the CPU: closed forms, and Triton's interpreter against plain PyTorch."""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_dit.acceleration.float8 import ROWS_AT_ONCE, quantize_rows, quantize_weight
from llm_dit.acceleration.float8_format import RANGE
from llm_dit.acceleration.operators import register_operators

CHECK = Path(__file__).with_name("float8_block_check.py")
PLAIN_CALLS = """
import sys, types
import torch
from llm_dit.acceleration import flash3
from llm_dit.acceleration.float8_kernels import swiglu_to_float8

values, scales = swiglu_to_float8(torch.ones(1, 2, 32).bfloat16())
print(values.float().unique().item(), scales.unique().item())
sys.modules["fa3_fwd_interface"] = types.ModuleType("fa3_fwd_interface")
torch.ops.fa3_fwd.fwd = lambda query, key, value, num_splits: [value]
assert flash3.flash3(values, values, scales) is scales
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""
WIDTH = 48
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not on this platform")


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
@needs_triton
def test_fused_kernels_and_blocks_equal_plain_ones_but_for_rounding():
    result = interpreted(str(CHECK))
    assert result.returncode == 0, result.stdout + result.stderr


@needs_triton
def test_outside_of_compiled_blocks_kernels_run_without_the_compiler():
    result = interpreted("-c", PLAIN_CALLS)
    assert result.returncode == 0, result.stderr
    numbers, imported = result.stdout.splitlines()
    value, scale = map(float, numbers.split())
    assert value == RANGE
    assert scale == pytest.approx(1 / (1 + math.exp(-1)) / RANGE, rel=1e-6)
    assert imported == "[]"


def interpreted(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where Triton's kernels are interpreted."""
    paths = [str(CHECK.parent), *sys.path]
    environment = dict(os.environ, TRITON_INTERPRET="1", PYTHONPATH=os.pathsep.join(filter(None, paths)))
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def kernel_calls(tokens: int) -> dict[str, tuple[Callable[..., Any], list[tuple[torch.Tensor, int | None]]]]:
    """A call of every kernel, and its tensors with the dimension that differs from length to length."""
    from llm_dit.acceleration import float8_kernels, rotation_kernels

    stream, rows, gains = torch.zeros(1, tokens, WIDTH), torch.zeros(1, tokens, 1), torch.zeros(1, 1, WIDTH)
    change = [(stream, 1), (rows, 1), (gains[0], None), (gains[0, 0], None), (gains, None)]
    turned = [(rows[0], 0), (torch.zeros(1, 3 * WIDTH), None), (torch.zeros(2, 1, tokens, 1, 16), 2)]
    turned += [(torch.ones(16), None)] * 2
    return {
        "advance": (partial(float8_kernels.advance, eps=1e-5), [(stream.clone(), 1), *change]),
        "advance_norm_to_float8": (
            partial(float8_kernels.advance_norm_to_float8, eps=1e-5, is_bound=True),
            [(stream.clone(), 1), *change, (gains[0, 0], None), (gains.clone(), None)],
        ),
        "rows_to_float8": (
            partial(float8_kernels.rows_to_float8, factor=1.0),
            [(stream, 1), (rows[0], 0), (gains[0], None)],
        ),
        "swiglu_to_float8": (float8_kernels.swiglu_to_float8, [(stream, 1)]),
        "rotate_normed": (
            partial(rotation_kernels.rotate_normed, eps=1e-5),
            [(torch.zeros(1, tokens, 3 * WIDTH), 1), *turned],
        ),
        "rotate_to_float8": (
            partial(rotation_kernels.rotate_to_float8, eps=1e-5),
            [(torch.zeros(1, tokens, 2 * WIDTH), 1), *turned],
        ),
    }


@needs_triton
@pytest.mark.parametrize(
    "kernel",
    ["advance", "advance_norm_to_float8", "rows_to_float8", "swiglu_to_float8", "rotate_normed", "rotate_to_float8"],
)
def test_a_kernel_in_a_compiled_block_compiles_once_for_all_lengths(kernel):
    graphs = []

    def only_traced(graph: torch.fx.GraphModule, _: object) -> Callable[..., list[torch.Tensor]]:
        graphs.append(graph)
        return lambda *_: [torch.zeros(()) for output in graph.graph.output_node().args[0]]

    kernels = kernel_calls(32)
    register_operators()
    torch._dynamo.reset()
    compiled = torch.compile(kernels[kernel][0], backend=only_traced, fullgraph=True)
    for tokens in (64, 96, 160):
        arguments = kernel_calls(tokens)[kernel][1]
        for tensor, dimension in arguments:
            if dimension is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, dimension)
        compiled(*(tensor for tensor, _ in arguments))
    assert len(graphs) == 1
