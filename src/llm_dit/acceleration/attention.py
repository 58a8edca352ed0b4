"""Attention kernels: which there are on a device, which one `auto` takes, and the function a block calls.

Shapes: B images, L tokens, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, assert_never

from llm_dit.errors import DeviceError
from llm_dit.parameters import AttentionBackend
from llm_dit.placement.devices import HOPPER, capability_of, dtype_name

if TYPE_CHECKING:
    from torch import Tensor

    from llm_dit.networks.transformer import Attend
    from llm_dit.placement.devices import AnyDevice, AnyDtype

Backend = Literal["sdpa", "cudnn", "flash", "flash3", "flash3_float8", "sage"]
PACKAGES: dict[Backend, str] = {"flash": "flash_attn", "sage": "sageattention"}
"""Backends that are packages of their own, whose code compilation may not see through."""
FLASH3_MODULE = "fa3_fwd_interface"
CUDNN_CAPABILITY = HOPPER
"""Hopper and later, where cuDNN's attention is the fastest in PyTorch."""
FLASH3_CAPABILITY = HOPPER
"""Hopper alone, for whose instructions FlashAttention 3 is written."""
FLASH3_WIDEST = 256
"""Features of a head."""


def installed_attention_backends(device: AnyDevice, dtype: AnyDtype) -> list[Backend]:
    """Names of the attention backends that can compute on `device` in `dtype`, `sdpa` first."""
    if device.type != "cuda" or dtype_name(dtype) not in ("float16", "bfloat16"):
        return ["sdpa"]
    import torch

    packages = [name for name, package in PACKAGES.items() if find_spec(package) is not None]
    cudnn: Any = torch.backends.cudnn
    has_cudnn = bool(cudnn.is_available())
    own: list[Backend] = ["sdpa", "cudnn"] if has_cudnn else ["sdpa"]
    flash3: list[Backend] = ["flash3", "flash3_float8"] if flash3_lacks(device, dtype) is None else []
    return own + packages + flash3


def choose_attention(wanted: AttentionBackend, device: AnyDevice, dtype: AnyDtype) -> Backend:
    """Return the backend that `wanted` means.

    `auto` is FlashAttention 3 in bfloat16 on Hopper where its package is installed; else cuDNN in half precision on
    Hopper and later; else `sdpa`.

    Raises:
        DeviceError: If it can't compute on `device` in `dtype`, or its package is installed and can't be loaded.
    """
    if wanted in ("flash3", "flash3_float8") and (lacks := flash3_lacks(device, dtype)) is not None:
        raise DeviceError(f"attention_backend {wanted} {lacks}.", field="attention_backend")
    installed = installed_attention_backends(device, dtype)
    chosen = _fastest(installed, device) if wanted == "auto" else wanted
    if chosen not in installed:
        raise DeviceError(
            f"attention_backend {wanted} can't be used on {device.type} in {dtype_name(dtype)}; "
            f"available here: auto, {', '.join(installed)}.",
            field="attention_backend",
        )
    if chosen in ("flash3", "flash3_float8"):
        _check_flash3_loads(wanted)
    return chosen


def flash3_lacks(device: AnyDevice, dtype: AnyDtype) -> str | None:
    """Return what FlashAttention 3 lacks here and what to do about it, to follow its name; None if nothing."""
    if capability_of(device) != FLASH3_CAPABILITY:
        return f"needs an NVIDIA Hopper card (compute capability 9.0), which {device} is not; use auto"
    if dtype_name(dtype) != "bfloat16":
        return f"computes in bfloat16, not {dtype_name(dtype)}; set dtype to bfloat16, or use auto"
    if find_spec(FLASH3_MODULE) is None:
        return "needs the package fa3-fwd, which is not installed; install it (uv sync --extra flash3), or use auto"
    return None


def check_head_width(backend: Backend, width: int) -> None:
    """Raise `DeviceError` if FlashAttention 3 is chosen and does not take heads of `width` features."""
    multiple = {"flash3": 8, "flash3_float8": 16}.get(backend, 1)
    if multiple > 1 and (width % multiple or width > FLASH3_WIDEST):
        raise DeviceError(
            f"attention_backend {backend} takes heads of up to {FLASH3_WIDEST} features in multiples of {multiple}, "
            f"but this model's have {width}; use sdpa.",
            field="attention_backend",
        )


def _fastest(installed: list[Backend], device: AnyDevice) -> Backend:
    if "flash3" in installed:
        return "flash3"
    is_cudnn_best = "cudnn" in installed and capability_of(device) >= CUDNN_CAPABILITY
    return "cudnn" if is_cudnn_best else "sdpa"


def _check_flash3_loads(wanted: AttentionBackend) -> None:
    try:
        import_module(FLASH3_MODULE)
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"attention_backend {wanted} finds the package fa3-fwd, which can't be loaded ({error}): it needs PyTorch "
            "2.10 or later for CUDA 13; remove the package or use cudnn.",
            field="attention_backend",
        ) from error


def attention_function(backend: Backend) -> Attend:
    """Return the function of a backend; all but `sdpa` hand batches with a mask to `sdpa`."""
    from llm_dit.networks.transformer import scaled_dot_product

    match backend:
        case "sdpa":
            return scaled_dot_product
        case "cudnn":
            kernel = _cudnn_attention()
        case "flash":
            kernel = _flash_attention()
        case "flash3":
            kernel = _flash3_attention()
        case "flash3_float8":
            return _flash3_float8_attention()
        case "sage":
            kernel = _sage_attention()
        case _:
            assert_never(backend)

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return kernel(query, key, value) if mask is None else scaled_dot_product(query, key, value, mask)

    return attend


Kernel = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""Attention without a mask; all [B, L, H, K]."""


def _cudnn_attention() -> Kernel:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from llm_dit.networks.transformer import scaled_dot_product

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return scaled_dot_product(query, key, value, None)

    return attend


def _flash_attention() -> Kernel:
    from flash_attn import flash_attn_func

    return lambda query, key, value: flash_attn_func(query, key, value)


def _flash3_attention() -> Kernel:
    from llm_dit.acceleration.flash3 import flash3

    return lambda query, key, value: flash3(query, key, value)


def _flash3_float8_attention() -> Attend:
    from llm_dit.acceleration.flash3 import attend_in_float8

    return attend_in_float8


def _sage_attention() -> Kernel:
    from sageattention import sageattn

    return lambda query, key, value: sageattn(query, key, value, tensor_layout="NHD")
