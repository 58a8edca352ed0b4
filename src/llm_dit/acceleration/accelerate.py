"""Kernels, compilation and quantization of the transformer: what was asked for, and what was applied.

Nothing here is measured at run time: the same settings on the same kind of device always give the same numerics. What
cannot be had is an error; the only choices made silently are those of `auto`, which the returned record names.

Shapes: B images, L tokens, H heads, K head width.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

from llm_dit.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from llm_dit.acceleration.float8 import Change
    from llm_dit.networks.qwen3 import Qwen3Encoder
    from llm_dit.networks.transformer import Attend, TransformerBlock, ZImageTransformer
    from llm_dit.networks.vae_decoder import Autoencoder

EVALUATIONS_WORTH_COMPILING = 1000
"""Compiling takes tens of seconds and saves tens of milliseconds an evaluation, on CUDA at 1024 x 1024."""
ATTENTION_PACKAGES = {"flash": "flash_attn", "sage": "sageattention"}
CUDNN_CAPABILITY = (9, 0)
"""Hopper and later, where cuDNN's attention is the fastest in PyTorch."""
FLOAT8_CAPABILITY = (8, 9)
FLOAT8_MULTIPLE = 16
"""Of the rows and columns that float8 products take; torchao leaves other layers as they are."""
KEPT_FEATURES = 4096
CPP_COMPILERS = ("c++", "g++", "clang++", "cl")


@dataclass(frozen=True)
class Acceleration:
    """What was applied; part of an image's numerics.

    Attributes:
        attention_backend: Kernel in use: `sdpa`, `cudnn`, `flash` or `sage`.
        compile: `on` or `off`.
        quantization: `none`, `float8` or `int8`.
    """

    attention_backend: str
    compile: str
    quantization: str

    def as_numerics(self) -> dict[str, str]:
        """Return the fields as they stand in an image's record."""
        return asdict(self)


def accelerate(
    transformer: ZImageTransformer,
    *,
    device: torch.device,
    compile: str,
    attention_backend: str,
    quantization: str,
    planned_evaluations: int,
    stays: bool = True,
) -> Acceleration:
    """Apply kernels, compilation and quantization to `transformer`, in place. To be called once, after loading.

    On CUDA, evaluations that are bound by their launches are replayed as graphs, which changes no number.

    Args:
        transformer: With its weights, on `device` or waiting on the CPU to be moved there.
        device: Where it will compute.
        compile: `on`, `off`, or `auto`, which compiles on CUDA from `EVALUATIONS_WORTH_COMPILING` on.
        attention_backend: `sdpa`, `cudnn`, `flash`, `sage`, or `auto`: cuDNN in half precision on Hopper and later,
            else PyTorch's own choice. Batches of captions of unequal length always take PyTorch's own.
        quantization: `float8` (weights and activations, row-wise), `int8` (weights only) or `none`.
        planned_evaluations: Transformer evaluations ahead; 0 for unknown.
        stays: The weights stay on `device`; False where they wait on the CPU between images.

    Raises:
        DeviceError: If something is asked for that this machine does not have.
    """
    backend = _choose_attention(attention_backend, device, transformer.dtype)
    is_compiled = compile == "on" or (
        compile == "auto" and device.type == "cuda" and planned_evaluations >= EVALUATIONS_WORTH_COMPILING
    )
    if is_compiled:
        _check_compiler(device)
    if quantization != "none":
        _check_quantization(quantization, device, transformer.dtype)
    if quantization == "float8":
        _check_widths(_blocks(transformer))
    transformer.fuse_projections()
    if quantization != "none":
        _quantize(_blocks(transformer), ("attention.", "feed_forward."), quantization, device)
    is_float8_fused = quantization == "float8" and transformer.config.qk_norm
    if is_float8_fused:
        from llm_dit.acceleration import float8

        transformer.run_blocks = float8.run_blocks
    attend = _attention_function(backend)  # one for all blocks, which share compiled code
    for block in _blocks(transformer):
        block.attention.attend = attend
        if is_float8_fused and block.has_time:
            float8.fuse_block(block)
        if is_compiled:
            _compile_block(block, is_whole=backend not in ATTENTION_PACKAGES)
    if device.type == "cuda" and stays:
        from llm_dit.acceleration.evaluation_graphs import EvaluationGraphs

        transformer.forward = EvaluationGraphs(transformer)  # type: ignore[method-assign]
    return Acceleration(backend, "on" if is_compiled else "off", quantization)


def installed_attention_backends(device: torch.device, dtype: torch.dtype) -> list[str]:
    """Names of the attention backends that can compute on `device` in `dtype`, `sdpa` first."""
    import torch

    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return ["sdpa"]
    packages = [name for name, package in ATTENTION_PACKAGES.items() if find_spec(package) is not None]
    cudnn: Any = torch.backends.cudnn
    has_cudnn = bool(cudnn.is_available())
    return ["sdpa", *(["cudnn"] if has_cudnn else []), *packages]


def _choose_attention(wanted: str, device: torch.device, dtype: torch.dtype) -> str:
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


def _attention_function(backend: str) -> Attend:
    """Return the function of a backend; all but `sdpa` hand batches with a mask to `sdpa`."""
    from llm_dit.networks.transformer import scaled_dot_product

    if backend == "sdpa":
        return scaled_dot_product
    kernel = {"cudnn": _cudnn_attention, "flash": _flash_attention, "sage": _sage_attention}[backend]()

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


def _blocks(transformer: ZImageTransformer) -> list[TransformerBlock]:
    from llm_dit.networks.transformer import TransformerBlock

    return [module for module in transformer.modules() if isinstance(module, TransformerBlock)]


def _check_compiler(device: torch.device) -> None:
    if device.type == "cuda" and find_spec("triton") is None:
        raise DeviceError("compile = on needs triton, which is not installed; use compile = off.", field="compile")
    compilers = [name for name in (os.environ.get("CXX"), *CPP_COMPILERS) if name]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise DeviceError(
            "compile = on needs a C++ compiler, which is not installed; use compile = off.", field="compile"
        )


def _compile_block(block: TransformerBlock, *, is_whole: bool) -> None:
    """Compile one block for any length; blocks of one kind share the result.

    The lengths are marked, nothing else: if every dimension were dynamic, a length that happens to equal the width of
    a head would be taken for it, and the next length would compile anew.

    Args:
        block: Its `forward` is replaced.
        is_whole: The block is one graph; kernels of other packages may break it into several.
    """
    import torch

    _keep_compile_cache()
    run = torch.compile(block.forward, fullgraph=is_whole)
    keeps_rows = _kernel_choices()

    def forward(x: Tensor, rope: Tensor, mask: Tensor | None, modulation: Tensor | None = None, *change: Change) -> Any:
        _mark_dynamic(x, 0, 1)
        _mark_dynamic(rope, 1, 2)
        if mask is not None:
            _mark_dynamic(mask, 0, 3)
        if modulation is not None:
            _mark_dynamic(modulation, 1)
        for values, rows, _, _, gate in change:
            _mark_dynamic(values, 0, 1)
            _mark_dynamic(rows, 0, 1)
            _mark_dynamic(gate, 0)
        with keeps_rows():
            return run(x, rope, mask, modulation, *change)

    block.forward = forward  # type: ignore[method-assign]


def _kernel_choices() -> Callable[[], AbstractContextManager[None]]:
    """Let compiled norms and row-wise quantizations keep a token's features in registers, up to `KEPT_FEATURES`.

    Inductor reads rows longer than 1024 once for each reduction over them.
    """
    from torch._inductor.choices import InductorChoices
    from torch._inductor.runtime.hints import ReductionHint
    from torch._inductor.virtualized import V

    class Choices(InductorChoices):
        @staticmethod
        def should_use_persistent_reduction(features: Any, cooperative_reduction: bool) -> bool:
            is_row = features.get_reduction_hint() == ReductionHint.INNER
            if is_row and V.graph.sizevars.statically_known_leq(features.reduction_numel, KEPT_FEATURES):
                return True
            return InductorChoices.should_use_persistent_reduction(features, cooperative_reduction)

    choices = Choices()
    return lambda: V.set_choices_handler(choices)


def compile_decoder(vae: Autoencoder) -> None:
    """Compile the decoder in place: for the first size, and at the second one for any.

    It fuses the normalisations and activations between the convolutions.
    """
    import torch
    from torch import nn

    from llm_dit.networks.vae_decoder import SpatialAttention, attend_in_parts, norm_by_rows

    _keep_compile_cache()
    vae.to(memory_format=torch.channels_last)
    for module in vae.decoder.modules():
        if isinstance(module, nn.GroupNorm):
            module.forward = MethodType(norm_by_rows, module)  # type: ignore[method-assign]
        elif isinstance(module, SpatialAttention) and next(module.parameters()).is_cuda:
            module.forward = MethodType(attend_in_parts, module)  # type: ignore[method-assign]
    vae.decoder.compile(fullgraph=True)


def _mark_dynamic(tensor: Tensor, *dimensions: int) -> None:
    import torch._dynamo

    for dimension in dimensions:
        if tensor.shape[dimension] > 1:  # one image is a case of its own, compiled without the batch
            torch._dynamo.maybe_mark_dynamic(tensor, dimension)


def _keep_compile_cache() -> None:
    """Let compiled kernels outlive the process, unless the user has chosen a place for them."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_home / "llm-dit" / "inductor"))


def _check_quantization(quantization: str, device: torch.device, dtype: torch.dtype) -> None:
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


def _check_widths(blocks: Iterable[nn.Module]) -> None:
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
        _check_quantization(quantization, device, next(model.parameters()).dtype)
        if quantization == "float8":
            _check_widths(model.layers)
        _quantize(model.layers, ("self_attn.", "mlp."), quantization, device)


def _quantize(blocks: Iterable[nn.Module], names: tuple[str, ...], quantization: str, device: torch.device) -> None:
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
