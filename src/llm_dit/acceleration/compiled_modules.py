"""Networks whose forward is compiled; a module becomes one by its class, so that nothing refers back to it.

A compiled function gets the module as its first argument. Held by the module as a bound method, it would make a cycle,
and the memory of a model that is gone would wait for the collector.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config
from torch import Tensor
from torch._inductor.choices import InductorChoices
from torch._inductor.runtime.hints import ReductionHint
from torch._inductor.virtualized import V

from llm_dit.acceleration.float8 import Change, Float8Block
from llm_dit.acceleration.operators import register_operators
from llm_dit.networks.transformer import TransformerBlock
from llm_dit.networks.vae_decoder import Decoder

KEPT_FEATURES = 4096


class CompiledBlock(TransformerBlock):
    """A block compiled for any length; blocks of one kind share the result.

    The lengths are marked, nothing else: if every dimension were dynamic, a length that happens to equal the width of a
    head would be taken for it, and the next length would compile anew.

    Attributes:
        run: Compiled forward of the block that it was.
    """

    run: Callable[..., Any]

    def forward(
        self, x: Tensor, rope: Tensor, mask: Tensor | None, modulation: Tensor | None = None, *change: Change
    ) -> Any:
        """Do what the forward that was compiled does."""
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
        with _rows_kept():
            return self.run(self, x, rope, mask, modulation, *change)


class CompiledDecoder(Decoder):
    """A decoder compiled whole.

    Attributes:
        run: Compiled forward.
    """

    run: Callable[..., Tensor]

    def forward(self, latents: Tensor) -> Tensor:
        """Do what `Decoder.forward` does."""
        return self.run(self, latents)


def compile_block(block: TransformerBlock, *, is_whole: bool) -> None:
    """Compile one block in place.

    Args:
        block: A `TransformerBlock` or `Float8Block`.
        is_whole: The block is one graph; kernels of other packages may break it into several.
    """
    forward: Callable[..., Any] = TransformerBlock.forward
    if isinstance(block, Float8Block):
        from llm_dit.acceleration import float8_kernels, rotation_kernels  # noqa: F401 # their operators

        register_operators()
        forward = Float8Block.forward
    block.__class__ = CompiledBlock
    assert isinstance(block, CompiledBlock)
    block.run = torch.compile(forward, fullgraph=is_whole, options=_options())


def compile_whole_decoder(decoder: Decoder) -> None:
    """Compile a decoder in place: for the first size, and at the second one for any."""
    decoder.__class__ = CompiledDecoder
    assert isinstance(decoder, CompiledDecoder)
    decoder.run = torch.compile(Decoder.forward, fullgraph=True, options=_options())


def _options() -> dict[str, Any]:
    """Let inductor choose kernels by rule instead of by measuring them.

    What it measures on one card it may choose otherwise on another of the same kind, and a sum is then rounded in
    another order: pictures with the decoder on a second GPU differed by one level.
    """
    return {"deterministic": True} if hasattr(torch._inductor.config, "deterministic") else {}


def _mark_dynamic(tensor: Tensor, *dimensions: int) -> None:
    for dimension in dimensions:
        if tensor.shape[dimension] > 1:  # one image is a case of its own, compiled without the batch
            torch._dynamo.maybe_mark_dynamic(tensor, dimension)


class _RowsKept(InductorChoices):
    """Lets compiled norms and row-wise quantizations keep a token's features in registers, up to `KEPT_FEATURES`.

    Inductor reads rows longer than 1024 once for each reduction over them.
    """

    @staticmethod
    def should_use_persistent_reduction(features: Any, cooperative_reduction: bool) -> bool:
        """Add to Inductor's own choice."""
        is_row = features.get_reduction_hint() == ReductionHint.INNER
        if is_row and V.graph.sizevars.statically_known_leq(features.reduction_numel, KEPT_FEATURES):
            return True
        return InductorChoices.should_use_persistent_reduction(features, cooperative_reduction)


@cache
def _choices() -> _RowsKept:
    return _RowsKept()


def _rows_kept() -> AbstractContextManager[None]:
    handler: AbstractContextManager[None] = V.set_choices_handler(_choices())
    return handler
