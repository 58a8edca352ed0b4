"""Linear layers whose products the faster library multiplies.

On the CPU PyTorch gives float32 products to MKL, which uses half of what processors of another maker than Intel can do
(`onednn_multiplies`); oneDNN, which PyTorch brings along for its compiler and for convolutions, uses all of it and
takes weights as they lie. Which of the two multiplies follows from processor, number format and shape alone.

Source: PyTorch `aten/src/ATen/native/mkldnn/Linear.cpp`, `mkldnn_linear_pointwise`.

Legend: N outputs, K inputs.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_dit.errors import DeviceError
from llm_dit.placement.machine import onednn_multiplies

FEWEST_ROWS = 8
"""Below, as for the embedding of a time, MKL is as fast."""
SMALLEST_WEIGHT = 1 << 15
"""Numbers in a weight; with fewer, the call takes longer than the product."""


class Linear(nn.Linear):
    """`nn.Linear` with the product of `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what `F.linear` does up to rounding; [..., K], [N, K] and [N] to [..., N]."""
    if torch.compiler.is_compiling() or not _is_for_onednn(x, weight):
        return F.linear(x, weight, bias)
    product: Tensor = _onednn_product()(x, weight, bias, "none", [], "")
    return product


def check_onednn() -> None:
    """Raise `DeviceError` if this PyTorch lacks the products that `linear` takes on this processor."""
    if onednn_multiplies() and not (torch.backends.mkldnn.is_available() and _has_product()):
        raise DeviceError(
            f"PyTorch {torch.__version__} was built without oneDNN, by which float32 is computed on this processor; "
            "install PyTorch as its website says, or set dtype and text_encoder_dtype to bfloat16."
        )


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    is_float32_on_cpu = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    is_large = x.numel() >= FEWEST_ROWS * weight.shape[1] and weight.numel() >= SMALLEST_WEIGHT
    needs_gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return is_float32_on_cpu and is_large and not needs_gradient and onednn_multiplies()


def _has_product() -> bool:
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


@cache
def _onednn_product() -> Any:
    return torch.ops.mkldnn._linear_pointwise.default
