"""Compilation: the transformer's blocks one by one, for any length, and the decoder as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

from llm_dit.errors import DeviceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llm_dit.acceleration.float8 import Change
    from llm_dit.networks.transformer import TransformerBlock
    from llm_dit.networks.vae_decoder import Autoencoder

KEPT_FEATURES = 4096
CPP_COMPILERS = ("c++", "g++", "clang++", "cl")


def check_compiler(device: torch.device) -> None:
    """Raise `DeviceError` where torch.compile has no compiler for `device`."""
    if device.type == "cuda" and find_spec("triton") is None:
        raise DeviceError("compile = on needs triton, which is not installed; use compile = off.", field="compile")
    compilers = [name for name in (os.environ.get("CXX"), *CPP_COMPILERS) if name]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise DeviceError(
            "compile = on needs a C++ compiler, which is not installed; use compile = off.", field="compile"
        )


def compile_block(block: TransformerBlock, *, is_whole: bool) -> None:
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
