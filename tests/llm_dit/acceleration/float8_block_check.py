"""Run by test_float8.py with Triton's interpreter: fused kernels and a fused block against plain PyTorch on the CPU."""

import copy
import sys
import types

import numpy as np
import torch
import torch.nn.functional as F
import triton.language as tl
from test_accelerate import CONFIG
from triton.runtime import interpreter

from llm_dit.acceleration import flash3, float8, float8_kernels, rotation_kernels
from llm_dit.acceleration.float8 import ScaledLinear, quantize_rows
from llm_dit.acceleration.float8_format import FLOAT8, RANGE
from llm_dit.networks import transformer
from llm_dit.networks.rope import PositionTables, rotate
from llm_dit.networks.transformer import TransformerBlock

ROPE = PositionTables(CONFIG.axes_dims, CONFIG.rope_theta)


def fwd(query, key, value, num_splits, q_descale, k_descale, v_descale=None):
    """What the package's operator computes, but for the softmax's weights, which it rounds to float8."""
    assert {part.dtype for part in (query, key, value)} == {FLOAT8}
    scales = q_descale, k_descale, torch.ones_like(q_descale) if v_descale is None else v_descale
    parts = [x.float() * scale[:, None, :, None] for x, scale in zip((query, key, value), scales, strict=True)]
    return [transformer.scaled_dot_product(*parts, None).bfloat16()]


sys.modules["fa3_fwd_interface"] = types.ModuleType("fa3_fwd_interface")
torch.ops.fa3_fwd.fwd = fwd


ROUNDED = {tl.float8e4nv: (FLOAT8, torch.uint8), tl.bfloat16: (torch.bfloat16, torch.uint16)}
"""Format of Triton to the same of torch, and to integers of its width."""


def converted(given, input_dtype, output_dtype, rounding_mode):
    """Round as the compiler's code does; the interpreter loses the carry where the exponent before it is odd.

    There 7.9 becomes 4 instead of 8 in float8: it joins carry and exponent by "or".
    """
    if input_dtype != tl.float32 or output_dtype not in ROUNDED:
        return CONVERT(given, input_dtype, output_dtype, rounding_mode)
    numbers = torch.from_numpy(np.frombuffer(given.tobytes(), dtype=np.float32).copy())
    dtype, bits = ROUNDED[output_dtype]
    if dtype == FLOAT8:
        numbers = numbers.clamp(-RANGE, RANGE)
    return numbers.to(dtype).view(bits).numpy().reshape(given.shape)


CONVERT, interpreter._convert_float = interpreter._convert_float, converted


def rounded_rows(x, scales=None):
    """What `quantize_rows` does, or the same by given scales."""
    return quantize_rows(x) if scales is None else ((x.flatten(0, -2) / scales).to(FLOAT8), scales)


def error(values, scales, expected, expected_scales=None):
    """Relative error of a quantized tensor, and the largest one of its scales."""
    right, right_scales = rounded_rows(expected, expected_scales)
    difference = values.float() * scales - right.float() * right_scales
    return float(difference.norm() / expected.norm()), float(((scales - right_scales) / right_scales).abs().max())


def norm(x, weight):
    return F.rms_norm(x.float(), (x.shape[-1],), weight.float(), 1e-5)


def kernels():
    images, tokens, width = 2, 5, 48
    x, values, wide = (torch.randn(images, tokens, size).bfloat16() for size in (width, width, 2 * width))
    weight, change_weight = torch.rand(width).bfloat16(), torch.rand(width).bfloat16()
    gate, modulation = torch.randn(images, 1, width).bfloat16(), torch.randn(images, 1, width).bfloat16()
    rows, columns = torch.rand(images, tokens, 1) + 0.1, torch.rand(1, width) + 0.1
    values[0, 0] = wide[0, 0] = 0  # rows of zeros
    change = values, rows, columns, change_weight, gate
    expected = x.float() + gate.float().tanh() * norm(values * rows * columns, change_weight)
    advanced, *quantized = float8_kernels.advance_norm_to_float8(x, *change, weight, modulation, 1e-5, False)
    assert (advanced.float() - expected).abs().max() < 0.02, (advanced.float() - expected).abs().max()
    assert torch.equal(float8_kernels.advance(x, *change, 1e-5), advanced)
    assert torch.equal(advanced[0, 0], x[0, 0])
    normed = norm(advanced, weight) * (1 + modulation.float())
    yield error(*quantized, normed)
    _, *by_bound = float8_kernels.advance_norm_to_float8(x, *change, weight, modulation, 1e-5, True)
    bounds = width**0.5 * (weight.float() * (1 + modulation.float())).abs().amax(-1) / RANGE  # [B, 1]
    yield error(*by_bound, normed, bounds.repeat_interleave(tokens, dim=0))
    rows, columns = torch.rand(images * tokens, 1) + 0.1, torch.rand(1, 2 * width) + 0.1
    scaled = wide.float() * rows.unflatten(0, (images, tokens)) * columns
    yield error(*float8_kernels.rows_to_float8(wide, rows, columns, 3.0), 3 * scaled)
    first, second = wide.float().chunk(2, dim=-1)
    yield error(*float8_kernels.swiglu_to_float8(wide), F.silu(first) * second)


def check_rotation():
    """Queries and keys of three heads, with one table for all images and with one for each."""
    heads, tokens = 3, 5
    width = sum(CONFIG.axes_dims)
    qkv, rows, columns = (
        torch.randn(2, tokens, 3 * heads * width),
        torch.rand(2 * tokens, 1),
        torch.rand(1, 3 * heads * width),
    )
    weights = [torch.rand(width) for _ in range(2)]
    shared = ROPE.text(tokens, torch.device("cpu"))
    for table in (shared, torch.cat([shared, shared.flip(2)], dim=1).contiguous()):
        turned = rotation_kernels.rotate_normed(qkv, rows, columns, table, *weights, 1e-5)
        scaled = qkv * rows.unflatten(0, (2, tokens)) * columns
        for part, weight, result in zip(scaled.chunk(3, dim=-1), weights, turned, strict=False):
            features = part.unflatten(-1, (heads, width))
            expected = rotate(F.rms_norm(features, (width,), weight, 1e-5), table)
            torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def check_quantized_rotation():
    """Queries and keys for attention in float8."""
    images, heads, tokens, width = 2, 3, 5, sum(CONFIG.axes_dims)
    qkv = torch.randn(images, tokens, 3 * heads * width)
    rows, columns = torch.rand(images * tokens, 1), torch.rand(1, 3 * heads * width)
    weights = [torch.rand(width) + 0.5 for _ in range(2)]
    table = ROPE.text(tokens, torch.device("cpu"))
    expected = rotation_kernels.rotate_normed(qkv, rows, columns, table, *weights, 1e-5)
    joined = qkv[..., : 2 * heads * width].contiguous()
    *quantized, scales = rotation_kernels.rotate_to_float8(joined, rows, columns, table, *weights, 1e-5)
    bounds = [width**0.5 * gain.max() / RANGE for gain in weights]
    torch.testing.assert_close(scales, torch.stack(bounds)[:, None, None].expand(2, images, heads))
    for part, bound, right in zip(quantized, bounds, expected, strict=True):
        nearest, _ = rounded_rows(right / bound, torch.ones(()))
        difference = (part.flatten(0, -2).float() - nearest.float()).norm() / nearest.float().norm()
        assert difference < 0.01, difference


def check_float8_product():
    """The largest product that can be is 448, and others are rounded once; only the outputs asked for are made."""
    inputs, outputs, first = 64, 48, 16
    weight = torch.randn(outputs, inputs)
    weight[first + 2] = 0.7
    layer = ScaledLinear(*(part if part.dtype == FLOAT8 else part.T for part in quantize_rows(weight)), torch.bfloat16)
    x = torch.randn(4, inputs)
    x8 = (0.99 * RANGE * x / x.norm(dim=1, keepdim=True)).to(FLOAT8)
    x8[0] = RANGE / inputs**0.5
    values = layer.float8_product(x8, slice(first, None))
    assert (values.dtype, values.shape, values[0, 2]) == (FLOAT8, (4, outputs - first), RANGE)
    exact = x8.float() @ layer.weight[first:].float().T
    expected = (exact / (RANGE * inputs**0.5)).to(FLOAT8)
    assert torch.equal(values.float(), expected.float())
    assert torch.equal(layer.unscaled_product(x8, slice(first, None)), exact.bfloat16())


def check_heads():
    """A head of an image has its own scale, so that a small one keeps its digits beside a large one."""
    query, key, value = (torch.randn(2, 70, 3, 32) for _ in range(3))
    value[1, :, 2] *= 1e-6
    assert flash3.quantize_heads(value)[1][1, 2] == value[1, :, 2].abs().max() / RANGE
    expected = transformer.scaled_dot_product(query, key, value, None)
    got = flash3.attend_in_float8(query, key, value, None).float()
    errors = (got - expected).square().mean((1, 3)).sqrt() / expected.square().mean((1, 3)).sqrt()  # [B, H]
    print(errors.tolist())
    assert errors.min() > 0.01 and errors.max() < 0.08
    masked = flash3.attend_in_float8(query, key, value, torch.ones(1, 1, 1, 70, dtype=torch.bool))
    assert torch.equal(masked, transformer.scaled_dot_product(query, key, value, None))


def scaled_product(layer, values, scales):
    """What `ScaledLinear.product` computes, for devices without float8 products."""
    return ((values.float() * scales) @ (layer.weight.float() * layer.scale.T).T).to(layer.dtype)


def unscaled(layer, values, outputs, factor, dtype):
    """What `ScaledLinear.unscaled_product` and `float8_product` compute, for devices without float8 products."""
    return (factor * (values.float() @ layer.weight[outputs].float().T)).to(dtype)


class BoundedLinear(float8.ScaledLinear):
    """A layer whose input is quantized by the bound of the norm before it, as the fused blocks do."""

    def forward(self, x):
        return self.product(*rounded_rows(x, self.bounds)).unflatten(0, x.shape[:-1])


def bounded(layer, norm_weight, modulation, tokens):
    linear = BoundedLinear(layer.weight, layer.scale, layer.dtype)
    gains = norm_weight.float() * (1 + modulation.float())  # [B, 1, D]
    linear.bounds = (gains.shape[-1] ** 0.5 * gains.abs().amax(-1) / RANGE).repeat_interleave(tokens, dim=0)
    return linear


def block_errors():
    """Relative errors of two float8 blocks and of fused ones against the same blocks in float32."""
    blocks = [TransformerBlock(CONFIG, has_time=True).to(torch.bfloat16).eval() for _ in range(2)]
    for block in blocks:
        block.requires_grad_(False)
        block.attention.fuse()
        block.feed_forward.fuse()
    x = torch.randn(2, 32, CONFIG.dim).bfloat16()
    modulations = [torch.randn(4, 2, 1, CONFIG.dim).bfloat16() for _ in blocks]
    rope = ROPE.text(32, torch.device("cpu"))
    exact_blocks = [copy.deepcopy(block).float() for block in blocks]
    exact = transformer.run_blocks(exact_blocks, x.float(), rope, None, [item.float() for item in modulations])
    for parent in [part for block in blocks for part in (block.attention, block.attention.to_out, block.feed_forward)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Linear):
                weight, scale = quantize_rows(child.weight)
                setattr(parent, name, float8.ScaledLinear(weight, scale.T.contiguous(), torch.bfloat16))
    float8.ScaledLinear.product = scaled_product
    float8.ScaledLinear._unscaled = unscaled
    for block, modulation in zip(blocks, modulations, strict=True):
        norm_weight = block.attention_norm1.weight
        block.attention.to_qkv = bounded(block.attention.to_qkv, norm_weight, modulation[0], x.shape[1])
    plain = transformer.run_blocks(blocks, x, rope, None, modulations)
    for block in blocks:
        block.__class__ = float8.Float8Block
    assert torch.equal(float8.run_blocks([], x, rope, None, []), x)
    fused = float8.run_blocks(blocks, x, rope, None, modulations)
    for block in blocks:
        block.attention.attend = flash3.attend_in_float8
    attended = float8.run_blocks(blocks, x, rope, None, modulations)
    assert not torch.equal(attended, fused)
    return [float((output.float() - exact).norm() / (exact - x.float()).norm()) for output in (plain, fused, attended)]


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for values, scales in kernels():
        print(values, scales)
        assert values < 0.005 and scales < 1e-4  # a value between two neighbours may be rounded to either
    check_rotation()
    plain, fused, attended = block_errors()
    print(plain, fused, attended)
    assert 0.05 < plain < 0.1 and fused < 1.05 * plain and attended < 1.1 * plain
    check_quantized_rotation()
    check_float8_product()
    check_heads()
