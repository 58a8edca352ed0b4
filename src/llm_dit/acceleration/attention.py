"""Attention kernels: which there are on a device, which one `auto` takes, and the function a block calls.

Shapes: B images, L tokens, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, assert_never

from llm_dit.errors import DeviceError
from llm_dit.parameters import AttentionBackend

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.networks.transformer import Attend

Backend = Literal["sdpa", "cudnn", "flash", "sage"]
PACKAGES: dict[Backend, str] = {"flash": "flash_attn", "sage": "sageattention"}
"""Backends that are packages of their own."""
CUDNN_CAPABILITY = (9, 0)
"""Hopper and later, where cuDNN's attention is the fastest in PyTorch."""


def installed_attention_backends(device: torch.device, dtype: torch.dtype) -> list[Backend]:
    """Names of the attention backends that can compute on `device` in `dtype`, `sdpa` first."""
    import torch

    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return ["sdpa"]
    packages = [name for name, package in PACKAGES.items() if find_spec(package) is not None]
    cudnn: Any = torch.backends.cudnn
    has_cudnn = bool(cudnn.is_available())
    own: list[Backend] = ["sdpa", "cudnn"] if has_cudnn else ["sdpa"]
    return own + packages


def choose_attention(wanted: AttentionBackend, device: torch.device, dtype: torch.dtype) -> Backend:
    """Return the backend that `wanted` means; `auto` is cuDNN in half precision on Hopper and later, else `sdpa`.

    Raises:
        DeviceError: If it can't compute on `device` in `dtype`.
    """
    import torch

    installed = installed_attention_backends(device, dtype)
    if wanted == "auto":
        is_cudnn_best = "cudnn" in installed and torch.cuda.get_device_capability(device) >= CUDNN_CAPABILITY
        return "cudnn" if is_cudnn_best else "sdpa"
    if wanted not in installed:
        raise DeviceError(
            f"attention_backend {wanted} can't be used on {device.type} in {str(dtype).removeprefix('torch.')}; "
            f"available here: auto, {', '.join(installed)}.",
            field="attention_backend",
        )
    return wanted


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


def _sage_attention() -> Kernel:
    from sageattention import sageattn

    return lambda query, key, value: sageattn(query, key, value, tensor_layout="NHD")
