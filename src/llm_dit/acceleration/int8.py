"""Linear layers whose weights wait in int8: half the memory of bfloat16, for devices without float8 products.

A weight gets its scales before the product. The other order is a form that inductor turns into a kernel for few tokens
(`_weight_int8pack_mm`), which takes minutes over an image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llm_dit.networks.linear import linear

HALF_RANGE = 127.5
"""Half the steps from -128 to 127."""
ROWS_AT_ONCE = 1024
"""Of a weight that is quantized, so that copies of it stay small."""


class Int8Linear(nn.Module):
    """A linear layer without bias: int8 weights with one scale for each output.

    Attributes:
        weight: Int8, [N, K].
        scale: In the dtype of the model, [N, 1].
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """Quantize a linear layer without bias."""
        return cls(*quantize_weight(linear.weight.detach()))

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        return linear(x, self.weight.to(x.dtype) * self.scale)


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize a weight by rows, computed in its own number format.

    Args:
        weight: [N, K].

    Returns:
        Int8 [N, K], and scales in the format of the weight, [N, 1]: each row's largest magnitude over 127.5.

    Source: torchao 0.17 and 0.18, `Int8WeightOnlyConfig` (symmetric `choose_qparams_affine`), whose bits these are.
    """
    values = torch.empty_like(weight, dtype=torch.int8)
    scales = weight.new_empty(len(weight), 1)
    smallest = max(torch.finfo(torch.float32).eps, 2 / torch.finfo(weight.dtype).max)  # 1 / scale is finite
    parts = zip(*(tensor.split(ROWS_AT_ONCE) for tensor in (weight, values, scales)), strict=True)
    for rows, own_values, own_scales in parts:
        own_scales.copy_((rows.abs().amax(-1, keepdim=True) / HALF_RANGE).clamp(min=smallest))
        own_values.copy_((rows * (1.0 / own_scales)).round().clamp(-128, 127))
    return values, scales
