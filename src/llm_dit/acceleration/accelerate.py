"""Kernels, compilation and quantization of the transformer: what was asked for, and what was applied.

Nothing here is measured at run time: the same settings on the same kind of device always give the same numerics. What
cannot be had is an error; the only choices made silently are those of `auto`, which the returned record names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from llm_dit.acceleration.attention import ATTENTION_PACKAGES, attention_function, choose_attention
from llm_dit.acceleration.compilation import check_compiler, compile_block
from llm_dit.acceleration.quantization import check_quantization, check_widths, quantize

if TYPE_CHECKING:
    import torch

    from llm_dit.networks.transformer import TransformerBlock, ZImageTransformer

EVALUATIONS_WORTH_COMPILING = 1000
"""Compiling takes tens of seconds and saves tens of milliseconds an evaluation, on CUDA at 1024 x 1024."""


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
    backend = choose_attention(attention_backend, device, transformer.dtype)
    is_compiled = compile == "on" or (
        compile == "auto" and device.type == "cuda" and planned_evaluations >= EVALUATIONS_WORTH_COMPILING
    )
    if is_compiled:
        check_compiler(device)
    if quantization != "none":
        check_quantization(quantization, device, transformer.dtype)
    if quantization == "float8":
        check_widths(_blocks(transformer))
    transformer.fuse_projections()
    if quantization != "none":
        quantize(_blocks(transformer), ("attention.", "feed_forward."), quantization, device)
    is_float8_fused = quantization == "float8" and transformer.config.qk_norm
    if is_float8_fused:
        from llm_dit.acceleration import float8

        transformer.run_blocks = float8.run_blocks
    attend = attention_function(backend)  # one for all blocks, which share compiled code
    for block in _blocks(transformer):
        block.attention.attend = attend
        if is_float8_fused and block.has_time:
            float8.fuse_block(block)
        if is_compiled:
            compile_block(block, is_whole=backend not in ATTENTION_PACKAGES)
    if device.type == "cuda" and stays:
        from llm_dit.acceleration.evaluation_graphs import EvaluationGraphs

        transformer.forward = EvaluationGraphs(transformer)  # type: ignore[method-assign]
    return Acceleration(backend, "on" if is_compiled else "off", quantization)


def _blocks(transformer: ZImageTransformer) -> list[TransformerBlock]:
    from llm_dit.networks.transformer import TransformerBlock

    return [module for module in transformer.modules() if isinstance(module, TransformerBlock)]
