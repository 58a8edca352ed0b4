"""Linear layers whose weights wait in int8: half the memory of bfloat16, for devices without float8 products.

Torchao quantizes. Its own layers multiply the product by the scales, a form that inductor turns into a kernel for few
tokens (`_weight_int8pack_mm`), which takes minutes over an image. Here a weight gets its scales before the product.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


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
    def from_quantized(cls, linear: nn.Linear) -> Int8Linear:
        """Take over what torchao's `quantize_` made of a linear layer's weight, in its old form or its new one."""
        quantized: Any = linear.weight
        if hasattr(quantized, "qdata"):
            values, scale = quantized.qdata, quantized.scale
        else:
            values, scale, _ = quantized.tensor_impl.get_plain()
        return cls(values, rearrange(scale.flatten(), "N -> N 1").to(quantized.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        return F.linear(x, self.weight.to(x.dtype) * self.scale)
