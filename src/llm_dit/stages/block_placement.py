"""Networks read block by block: each block is read, joined, quantized on its device, and stays there or waits.

At no time are more than `BLOCKS_AT_ONCE` on the device as they were read, so that a card that fits the result also fits
the way to it: what a block's parts leave behind when they are joined is where the next block's parts go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from llm_dit.acceleration.quantization import quantize_linears
from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.weights import assign_weights, check_tensors
from llm_dit.parameters import Quantization
from llm_dit.placement.devices import on
from llm_dit.stages.packed_weights import assign_packed, tell_unpacked

if TYPE_CHECKING:
    import torch
    from torch import nn

    from llm_dit.networks.qwen3 import Qwen3Encoder
    from llm_dit.networks.transformer import TransformerBlock, ZImageTransformer
    from llm_dit.placement.block_stream import BlockStream

Block = TypeVar("Block", bound="nn.Module")

BLOCKS_AT_ONCE = 2
"""While one is quantized, the next is read."""


@dataclass(frozen=True)
class Reader:
    """Reads the weights of a network, all at once or part by part.

    Attributes:
        network: On the meta device.
        path: Where its weights lie, for messages.
        tensors: Parameter name to tensor.
        dtype: Number format of what is read.
        keep_packed: Leave weights of linear layers packed that their file packs.
    """

    network: nn.Module
    path: Path
    tensors: Mapping[str, LazyTensor]
    dtype: torch.dtype
    keep_packed: bool = False

    def check(self) -> None:
        """Raise `CheckpointError` unless there is a tensor for each parameter of the network, and no other."""
        expected = {name: tuple(tensor.shape) for name, tensor in self.network.state_dict().items()}
        check_tensors(self.path, {name: tensor.shape for name, tensor in self.tensors.items()}, expected)
        if self.keep_packed:
            tell_unpacked(self.path, self.tensors)

    def fill(self, part: str, device: torch.device) -> None:
        """Read what is missing in the part of that name, the whole network where it is empty."""
        module = self.network.get_submodule(part)
        prefix = f"{part}." if part else ""
        missing = [name for name, tensor in module.state_dict().items() if tensor.is_meta]
        tensors = {name: self.tensors[prefix + name] for name in missing}
        assign = assign_packed if self.keep_packed else assign_weights
        assign(module, tensors, dtype=self.dtype, device=device)


def place_transformer(
    transformer: ZImageTransformer,
    reader: Reader,
    quantization: Quantization,
    device: torch.device,
    streamed: Sequence[int] = (),
) -> BlockStream | None:
    """Read the transformer, quantize its blocks' large matrices, and let some blocks wait.

    Args:
        transformer: On the meta device.
        reader: Of its weights.
        quantization: Checked before.
        device: Where it computes.
        streamed: Which of `stream_order` wait in pinned memory, in ascending order.

    Returns:
        What brings the streamed blocks; None where all stay.

    Raises:
        CheckpointError: If the tensors do not match, or a file is damaged.
    """
    reader.check()
    if quantization == "none" and not streamed and device.type != "cuda":
        reader.fill("", device)  # nothing is gained by joining projections block by block
        return None
    for name, block in transformer.named_modules():
        if name.endswith(".adaLN_modulation") and block is not transformer.all_final_layer["2-1"].adaLN_modulation:
            reader.fill(name, device)
    transformer.fuse_modulations()

    def prepare(block: TransformerBlock) -> None:
        block.fuse()
        quantize_linears(block, ("attention", "feed_forward"), quantization)

    guests = sum(index < len(transformer.context_refiner) for index in streamed)
    stream = _read_blocks(transformer.stream_order, reader, prepare, device, streamed, guests)
    reader.fill("", device)
    return stream


def place_text_encoder(
    model: Qwen3Encoder,
    reader: Reader,
    quantization: Quantization,
    device: torch.device,
    streamed: Sequence[int] = (),
) -> BlockStream | None:
    """Do as `place_transformer` does with the layers; embeddings wait on the CPU where a layer is streamed."""
    import torch

    reader.check()
    if quantization == "none" and not streamed:
        reader.fill("", device)
        return None

    def prepare(layer: nn.Module) -> None:
        quantize_linears(layer, ("self_attn", "mlp"), quantization)

    stream = _read_blocks(list(model.layers), reader, prepare, device, streamed)
    reader.fill("embed_tokens", torch.device("cpu") if streamed else device)
    reader.fill("", device)
    return stream


def _read_blocks(
    blocks: Sequence[Block],
    reader: Reader,
    prepare: Callable[[Block], None],
    device: torch.device,
    streamed: Sequence[int],
    guests: int = 0,
) -> BlockStream | None:
    """Read each block to `device` and change it there; those of `streamed` then wait in pinned memory."""
    import torch

    from llm_dit.placement.block_stream import BlockStream

    stream = BlockStream(device, streamed, guests=guests) if streamed else None
    is_block = {id(block) for block in blocks}  # nothing else may be kept: layers that are joined must go at once
    names = {id(module): name for name, module in reader.network.named_modules() if id(module) in is_block}

    def prepared(index: int) -> None:
        block = blocks[index]
        with on(device), torch.no_grad():
            reader.fill(names[id(block)], device)
            prepare(block)
            if stream is not None and index in stream.streamed:
                stream.take(index, block)

    with ThreadPoolExecutor(BLOCKS_AT_ONCE) as workers:
        for _ in workers.map(prepared, range(len(blocks))):
            pass
    if stream is not None:
        stream.start()
    return stream
