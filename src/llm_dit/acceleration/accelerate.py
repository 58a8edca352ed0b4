"""Kernels, compilation and quantization of the transformer: what was asked for, and what was applied.

Nothing here is measured at run time: the same settings on the same kind of device always give the same numerics. What
cannot be had is an error, raised before a model is loaded; the only choices made silently are those of `auto`, which
the returned record names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from llm_dit.acceleration.attention import PACKAGES, Backend, attention_function, choose_attention
from llm_dit.acceleration.compilation import check_compiler, compile_blocks
from llm_dit.acceleration.quantization import check_quantization
from llm_dit.errors import DeviceError
from llm_dit.parameters import AttentionBackend, CompileMode, GraphMode, Quantization

if TYPE_CHECKING:
    import torch

    from llm_dit.networks.transformer import ZImageTransformer
    from llm_dit.placement.devices import AnyDevice, AnyDtype

FLOAT8_KERNELS = "2"
"""Which of the project's kernels, as they round; told from 2 on, where products write values in float8."""
EVALUATIONS_WORTH_COMPILING = 1000
"""Compiling takes tens of seconds and saves tens of milliseconds an evaluation, on CUDA at 1024 x 1024."""


@dataclass(frozen=True)
class Acceleration:
    """What is applied; part of an image's numerics.

    Attributes:
        attention_backend: Kernel in use.
        compile: Whether blocks, and where it can the decoder, are compiled.
        quantization: Of the transformer's blocks: `float8` (weights and activations, row-wise), `int8` (weights only).
    """

    attention_backend: Backend
    compile: Literal["on", "off"]
    quantization: Quantization

    def as_numerics(self) -> dict[str, str]:
        """Return the fields as they stand in an image's record, and which of our kernels compute in float8."""
        return asdict(self) | ({"float8_kernels": FLOAT8_KERNELS} if self.quantization == "float8" else {})


def choose_acceleration(
    device: AnyDevice,
    dtype: AnyDtype,
    *,
    compile: CompileMode = "off",
    attention_backend: AttentionBackend = "auto",
    quantization: Quantization = "none",
    planned_evaluations: int = 0,
) -> Acceleration:
    """Return what is to be applied to a transformer, which need not be loaded yet.

    Args:
        device: Where it will compute.
        dtype: Its number format.
        compile: `auto` compiles on CUDA from `EVALUATIONS_WORTH_COMPILING` on.
        attention_backend: See `choose_attention`. Batches of captions of unequal length always take PyTorch's own.
        quantization: See `Acceleration`.
        planned_evaluations: Transformer evaluations ahead; 0 for unknown.

    Raises:
        DeviceError: If something is asked for that this machine does not have.
    """
    backend = choose_attention(attention_backend, device, dtype)
    is_compiled = _is_compiled(compile, device, planned_evaluations)
    if is_compiled:
        check_compiler(device)
    check_quantization(quantization, device, dtype)
    return Acceleration(backend, "on" if is_compiled else "off", quantization)


def check_graphs(graphs: GraphMode, device: AnyDevice, *, stays: bool = True) -> None:
    """Raise `DeviceError` where CUDA graphs are asked for and the weights don't stay on a CUDA device."""
    if graphs == "on" and not (device.type == "cuda" and stays):
        where = (
            "all weights on the card, which is too small for them"
            if device.type == "cuda"
            else f"cuda, not {device.type}"
        )
        raise DeviceError(f"cuda_graphs = on needs {where}; use auto or off.", field="cuda_graphs")


def accelerate(
    transformer: ZImageTransformer,
    wanted: Acceleration,
    device: torch.device,
    *,
    stays: bool = True,
    graphs: GraphMode = "auto",
) -> None:
    """Give `transformer` kernels, compilation and graphs, in place. To be called once, after loading.

    Args:
        transformer: With its weights, wherever they are, quantized by `quantize_transformer` if that is wanted.
        wanted: From `choose_acceleration`.
        device: Where it will compute.
        stays: All weights stay on `device`, which has room for graphs; False where some are streamed.
        graphs: Whether evaluations are replayed as CUDA graphs, which changes no number; `auto` replays those that are
            bound by their launches.
    """
    blocks = transformer.blocks
    transformer.fuse_projections()
    if wanted.quantization == "float8" and transformer.config.qk_norm:
        _fuse_float8(transformer)
    _attend_by(transformer, wanted.attention_backend)
    if wanted.compile == "on":
        compile_blocks(blocks, is_whole=wanted.attention_backend not in PACKAGES)
    if device.type == "cuda" and stays:
        _replay(transformer, device, graphs)


def change_attention(transformer: ZImageTransformer, backend: Backend) -> None:
    """Give `transformer`, which is accelerated already and not compiled, another attention kernel, in place.

    Its weights stay as they are; evaluations that were captured with the kernel before are let go.
    """
    _attend_by(transformer, backend)
    graphs = getattr(transformer, "graphs", None)
    if graphs is not None:
        graphs.forget()


def _attend_by(transformer: ZImageTransformer, backend: Backend) -> None:
    attend = attention_function(backend)  # one for all blocks, which share compiled code
    for block in transformer.blocks:
        block.attention.attend = attend


def _is_compiled(compile: CompileMode, device: AnyDevice, planned_evaluations: int) -> bool:
    match compile:
        case "on":
            return True
        case "off":
            return False
        case "auto":
            return device.type == "cuda" and planned_evaluations >= EVALUATIONS_WORTH_COMPILING
        case _:
            assert_never(compile)


def _replay(transformer: ZImageTransformer, device: torch.device, graphs: GraphMode) -> None:
    from llm_dit.acceleration.evaluation_graphs import replay_evaluations

    match graphs:
        case "off":
            return
        case "auto":
            replay_evaluations(transformer, device, are_all_replayed=False)
        case "on":
            replay_evaluations(transformer, device, are_all_replayed=True)
        case _:
            assert_never(graphs)


def _fuse_float8(transformer: ZImageTransformer) -> None:
    from llm_dit.acceleration import float8

    transformer.run_blocks = float8.run_blocks
    for block in transformer.blocks:
        if block.has_time:
            block.__class__ = float8.Float8Block
