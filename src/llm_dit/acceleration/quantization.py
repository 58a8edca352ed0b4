"""Quantization of large matrices: what it needs, and the layers that take the place of linear ones."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, assert_never

from llm_dit.errors import DeviceError
from llm_dit.parameters import Quantization
from llm_dit.placement.devices import capability_of, dtype_name

if TYPE_CHECKING:
    from torch import nn

    from llm_dit.placement.devices import AnyDevice, AnyDtype

FLOAT8_CAPABILITY = (8, 9)
FLOAT8_MULTIPLE = 16
"""Of the rows and columns that float8 products take."""


def check_quantization(
    quantization: Quantization, device: AnyDevice, dtype: AnyDtype, field: str = "quantization"
) -> None:
    """Raise `DeviceError` where `quantization` is not available on `device` for a model in `dtype`.

    Args:
        quantization: What is asked for.
        device: Where the model will compute.
        dtype: Its number format.
        field: The setting's name, for the message.
    """
    match quantization:
        case "none" | "int8":
            return
        case "float8":
            _check_float8(device, dtype, field)
        case _:
            assert_never(quantization)


def _check_float8(device: AnyDevice, dtype: AnyDtype, field: str) -> None:
    if capability_of(device) < FLOAT8_CAPABILITY:
        raise DeviceError(
            f"{field} float8 needs a CUDA device of capability 8.9 (Ada, Hopper) or later, not {device}; use int8 "
            "or none.",
            field=field,
        )
    if find_spec("triton") is None:
        raise DeviceError(
            f"{field} float8 needs triton, which is not installed; use int8 or none, or install it (uv sync --extra "
            "float8).",
            field=field,
        )
    if dtype_name(dtype) != "bfloat16":  # products of rows have no other result
        raise DeviceError(
            f"{field} float8 computes in bfloat16, not {dtype_name(dtype)}; set dtype to "
            "bfloat16, or use int8 or none.",
            field=field,
        )


def check_widths(quantization: Quantization, blocks: Iterable[nn.Module]) -> None:
    """Raise `DeviceError` if a linear layer of `blocks` has a width that products of `quantization` don't take."""
    from torch import nn

    if quantization != "float8":
        return
    linears = [module for block in blocks for module in block.modules() if isinstance(module, nn.Linear)]
    for linear in linears:
        if linear.in_features % FLOAT8_MULTIPLE or linear.out_features % FLOAT8_MULTIPLE:
            raise DeviceError(
                f"quantization float8 needs widths that are multiples of {FLOAT8_MULTIPLE}, but a layer of this model "
                f"maps {linear.in_features} features to {linear.out_features}; use int8 or none.",
                field="quantization",
            )


def quantize_linears(block: nn.Module, parts: tuple[str, ...], quantization: Quantization) -> None:
    """Put quantized layers in the place of all linear layers in the named parts of `block`."""
    from torch import nn

    for part in parts:
        for parent in list(block.get_submodule(part).modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, _quantized(child, quantization))


def _quantized(linear: nn.Linear, quantization: Quantization) -> nn.Module:
    match quantization:
        case "none":
            return linear
        case "float8":
            from llm_dit.acceleration.float8 import ScaledLinear

            return ScaledLinear.from_linear(linear)
        case "int8":
            from llm_dit.acceleration.int8 import Int8Linear

            return Int8Linear.from_linear(linear)
        case _:
            assert_never(quantization)
