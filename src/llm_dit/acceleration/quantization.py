"""Quantization of large matrices, block by block: what it needs, and the layers that take the place of linear ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llm_dit.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from llm_dit.networks.qwen3 import Qwen3Encoder

FLOAT8_CAPABILITY = (8, 9)
FLOAT8_MULTIPLE = 16
"""Of the rows and columns that float8 products take; torchao leaves other layers as they are."""


def check_quantization(quantization: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise `DeviceError` where `quantization` is not available on `device` for a model in `dtype`."""
    import torch

    if find_spec("torchao") is None:
        raise DeviceError(
            f"quantization {quantization} needs torchao, which is not installed; run `uv sync --extra float8`, or use "
            "quantization none.",
            field="quantization",
        )
    if quantization == "float8" and (
        device.type != "cuda" or torch.cuda.get_device_capability(device) < FLOAT8_CAPABILITY
    ):
        raise DeviceError(
            f"quantization float8 needs a CUDA device of capability 8.9 (Ada, Hopper) or later, not {device}; use int8 "
            "or none.",
            field="quantization",
        )
    if quantization == "float8" and find_spec("triton") is None:
        raise DeviceError(
            "quantization float8 needs triton, which is not installed; use int8 or none.", field="quantization"
        )
    if quantization == "float8" and dtype != torch.bfloat16:  # products of rows have no other result
        raise DeviceError(
            f"quantization float8 computes in bfloat16, not {str(dtype).removeprefix('torch.')}; set dtype to "
            "bfloat16, or use int8 or none.",
            field="quantization",
        )


def check_widths(blocks: Iterable[nn.Module]) -> None:
    """Raise `DeviceError` if a linear layer of `blocks` has a width that float8 products don't take."""
    from torch import nn

    linears = [module for block in blocks for module in block.modules() if isinstance(module, nn.Linear)]
    for linear in linears:
        if linear.in_features % FLOAT8_MULTIPLE or linear.out_features % FLOAT8_MULTIPLE:
            raise DeviceError(
                f"quantization float8 needs widths that are multiples of {FLOAT8_MULTIPLE}, but a layer of this model "
                f"maps {linear.in_features} features to {linear.out_features}; use int8 or none.",
                field="quantization",
            )


def quantize_text_encoder(model: Qwen3Encoder, quantization: str, device: torch.device) -> None:
    """Quantize the projections of the text encoder, in place; its embeddings and norms stay as they are.

    Raises:
        DeviceError: If `quantization` is not available on `device`.
    """
    if quantization != "none":
        check_quantization(quantization, device, next(model.parameters()).dtype)
        if quantization == "float8":
            check_widths(model.layers)
        quantize(model.layers, ("self_attn.", "mlp."), quantization, device)


def quantize(blocks: Iterable[nn.Module], names: tuple[str, ...], quantization: str, device: torch.device) -> None:
    """Quantize the linear layers of `blocks` whose names start with `names`: the large matrices."""
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
        quantize_,
    )

    from llm_dit.acceleration.float8 import ScaledLinear
    from llm_dit.acceleration.int8 import Int8Linear

    config: Any = (
        Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)
        if quantization == "float8"
        else Int8WeightOnlyConfig(set_inductor_config=False)
    )  # the inductor settings would search tiles by measuring them, for 75 s
    layer = ScaledLinear if quantization == "float8" else Int8Linear
    for block in blocks:
        home = next(block.parameters()).device
        # One block at a time on the device, so that a small card never holds the whole model in full precision.
        block.to(device)
        quantize_(block, config, filter_fn=lambda module, name: _is_linear(module) and name.startswith(names))
        replace_linears(block, layer.from_quantized)
        block.to(home)


def replace_linears(block: nn.Module, layer: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what `layer` makes of it in the place of every linear layer of `block` whose weight torchao has quantized."""
    from torch import nn

    for parent in list(block.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and type(child.weight) is not nn.Parameter:
                setattr(parent, name, layer(child))
                del child.weight  # torchao lets a layer refer to itself, which would keep its weight on the device


def _is_linear(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear)
