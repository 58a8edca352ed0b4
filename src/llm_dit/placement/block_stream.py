"""Blocks that don't fit on a device: their matrices wait in pinned memory and come one after the other as it computes.

The matrices of a streamed block are views into one of two places on the device, for ever; what changes is whose bytes
lie there. While one block computes, the next one's bytes are on their way into the other place. Nothing is ever copied
back. Vectors (norms, scales) stay on the device: a block may leave them to the next one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llm_dit.placement.devices import on

PLACES = 2
ALIGNMENT = 256
"""Bytes that a tensor's address is a multiple of, as the allocator's are."""


def padded(count: int) -> int:
    """Return bytes rounded up to the alignment."""
    return -(-count // ALIGNMENT) * ALIGNMENT


class BlockStream:
    """Streamed blocks of one network, which run in a known order again and again.

    Blocks are taken in before the network computes, and `start` ends that. One thread at a time may compute with them.
    Where the order is another one, a block waits for its own bytes: the result is the same.

    Args:
        device: Where they compute.
        streamed: Their indices among all blocks of the network, in the order in which they run.
        guests: How many of the first ones do not run each time, so that nothing is fetched for them ahead.

    Attributes:
        device: Where they compute.
        streamed: Their indices among all blocks of the network.
    """

    def __init__(self, device: torch.device, streamed: Sequence[int], *, guests: int = 0) -> None:
        self.device = device
        self.streamed = tuple(streamed)
        self._guests = guests
        self._blocks: dict[int, nn.Module] = {}
        self._waiting: dict[int, Tensor] = {}
        self._homes: dict[int, Tensor] = {}
        self._places: list[Tensor] = []
        self._held: list[int | None] = [None] * PLACES
        self._copies: _Copies | None = None
        self._pinned: list[Tensor] = []
        weakref.finalize(self, _unpin, self._pinned).atexit = False

    @property
    def nbytes(self) -> int:
        """Bytes that wait in pinned memory."""
        return sum(waiting.nbytes for waiting in self._waiting.values())

    def take(self, index: int, block: nn.Module) -> None:
        """Move a block's matrices, wherever they are, to pinned memory, and its vectors to the device.

        Args:
            index: One of `streamed`.
            block: As it will compute: fused, quantized.
        """
        matrices = [(owner, name, tensor) for owner, name, tensor in _tensors(block) if _is_matrix(tensor)]
        with on(self.device), torch.inference_mode(False), torch.no_grad():
            size = sum(padded(tensor.nbytes) for _, _, tensor in matrices)
            waiting = torch.empty(size, dtype=torch.uint8)
            if self.device.type == "cuda":
                self._pinned.append(waiting)
                _pin(waiting)
            for (owner, name, tensor), piece in zip(matrices, _pieces(waiting, matrices), strict=True):
                piece.copy_(tensor)
                _point(owner, name, piece)
            for owner, name, tensor in _tensors(block):
                if not _is_matrix(tensor):
                    _point(owner, name, tensor.to(self.device))
        turn = self.streamed.index(index)
        self._blocks[turn] = block
        self._waiting[turn] = waiting

    def start(self) -> None:
        """Make the places and let blocks come there as they are called; to be called once, after the last `take`."""
        with on(self.device), torch.inference_mode(False):
            largest = max(waiting.nbytes for waiting in self._waiting.values())
            self._places = [torch.empty(largest, dtype=torch.uint8, device=self.device) for _ in range(PLACES)]
            for turn, block in self._blocks.items():
                matrices = [(owner, name, tensor) for owner, name, tensor in _tensors(block) if _is_matrix(tensor)]
                pieces = _pieces(self._places[turn % PLACES], matrices)
                for (owner, name, tensor), piece in zip(matrices, pieces, strict=True):
                    home = tensor.detach()
                    _point(owner, name, piece)
                    self._homes[id(getattr(owner, name))] = home
        self._next = _successors(len(self.streamed), self._guests)
        self._copies = _Copies(self.device) if self.device.type == "cuda" else None
        for turn, block in self._blocks.items():
            self._attend(turn, block)
        self._blocks = {}  # blocks refer to the stream, which must not refer back

    def follow(self, blocks: Sequence[nn.Module]) -> None:
        """Let the bytes come for another network's blocks too, which have the weights of this one's."""
        for turn, index in enumerate(self.streamed):
            self._attend(turn, blocks[index])

    def _attend(self, turn: int, block: nn.Module) -> None:
        block.register_forward_pre_hook(self._enter(turn))
        block.register_forward_hook(self._leave(turn))

    def home(self, tensor: Tensor) -> Tensor:
        """Return where a streamed weight waits, to be changed there after `forget`; another tensor itself."""
        return self._homes.get(id(tensor), tensor)

    def forget(self) -> None:
        """Wait for what is on its way, and fetch each block anew when it runs next."""
        if self._copies is not None:
            torch.cuda.synchronize(self.device)
        self._held = [None] * PLACES

    def _enter(self, turn: int) -> Callable[..., None]:
        place = turn % PLACES

        def enter(*_: Any) -> None:
            if self._held[place] != turn:
                self._fetch(turn)
            if self._copies is not None:
                self._copies.wait_for(place)

        return enter

    def _leave(self, turn: int) -> Callable[..., None]:
        place, following = turn % PLACES, self._next[turn]

        def leave(*_: Any) -> None:
            if self._copies is not None:
                self._copies.release(place)
            if following != turn:
                self._fetch(following)

        return leave

    def _fetch(self, turn: int) -> None:
        """Bring a block's bytes to its place, which is free once the block before has been computed."""
        place, waiting = turn % PLACES, self._waiting[turn]
        target = self._places[place][: waiting.nbytes]
        if self._copies is None:
            target.copy_(waiting)
        else:
            self._copies.bring(place, target, waiting)
        self._held[place] = turn


class _Copies:
    """Copies to the places of a CUDA device on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        with on(device):
            self._stream = torch.cuda.Stream(device)
            self._arrived = [torch.cuda.Event() for _ in range(PLACES)]
            self._released = [torch.cuda.Event() for _ in range(PLACES)]
            torch.cuda.synchronize(device)  # the places are there, and the pinned memory is filled

    def bring(self, place: int, target: Tensor, waiting: Tensor) -> None:
        with torch.cuda.stream(self._stream), torch.inference_mode():
            self._stream.wait_event(self._released[place])
            target.copy_(waiting, non_blocking=True)
            self._arrived[place].record(self._stream)

    def wait_for(self, place: int) -> None:
        torch.cuda.current_stream().wait_event(self._arrived[place])

    def release(self, place: int) -> None:
        self._released[place].record(torch.cuda.current_stream())


def _successors(count: int, guests: int) -> list[int]:
    """Return, for each block, the one that needs its place next; guests come from outside the circle."""
    following = []
    for index in range(count):
        circle = [other for other in range(guests, count) if other % PLACES == index % PLACES]
        later = [other for other in circle if other > index]
        following.append((later or circle or [index])[0])
    return following


def _pin(memory: Tensor) -> None:
    """Pin memory of the CPU, after touching it on all threads: nine times as fast as allocating it pinned."""
    memory.zero_()
    result = torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)
    if int(result) != 0:
        raise MemoryError(f"{memory.nbytes / 2**30:.1f} GiB of memory could not be pinned (CUDA error {int(result)}).")


def _unpin(pinned: list[Tensor]) -> None:
    for memory in pinned:
        torch.cuda.cudart().cudaHostUnregister(memory.data_ptr())


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim > 1 and min(tensor.shape) > 1


def _pieces(memory: Tensor, tensors: Iterable[tuple[nn.Module, str, Tensor]]) -> list[Tensor]:
    """Divide memory into contiguous tensors of the formats and shapes of others."""
    pieces, start = [], 0
    for _, _, tensor in tensors:
        piece = memory[start : start + tensor.nbytes]
        pieces.append(piece.view(tensor.dtype).view(tensor.shape))
        start += padded(tensor.nbytes)
    return pieces


def _point(owner: nn.Module, name: str, data: Tensor) -> None:
    """Let a parameter or buffer have other memory; a parameter stays the same object."""
    tensor = getattr(owner, name)
    if isinstance(tensor, nn.Parameter):
        tensor.data = data
    else:
        setattr(owner, name, data)


def _tensors(block: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    return [
        (module, name, tensor)
        for module in block.modules()
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    ]
