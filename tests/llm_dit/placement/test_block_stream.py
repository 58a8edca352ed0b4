"""Streamed blocks compute what resident ones compute, to the bit, and each crosses the bus once a pass."""

import gc
import weakref

import pytest
import torch
from torch import nn

from llm_dit.placement.block_stream import PLACES, BlockStream, padded

CPU = torch.device("cpu")
WIDTH = 8


class Block(nn.Module):
    """A matrix, a vector, and a packed matrix in a buffer."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, rows)
        self.down = nn.Linear(rows, WIDTH, bias=False)
        self.norm = nn.RMSNorm(WIDTH)
        self.register_buffer("packed", torch.randint(256, (3, WIDTH), dtype=torch.uint8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.up(self.norm(x)).relu()) + self.packed.float().mean(0) / 256


def blocks_of(count: int) -> list[Block]:
    torch.manual_seed(0)
    return [Block(5 + index).requires_grad_(False) for index in range(count)]


def streamed(blocks: list[Block], indices: range | list[int], guests: int = 0) -> BlockStream:
    stream = BlockStream(CPU, indices, guests=guests)
    for index in reversed(stream.streamed):  # threads take them in any order
        stream.take(index, blocks[index])
    stream.start()
    return stream


def counted(stream: BlockStream, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    fetched: list[int] = []
    fetch = stream._fetch
    monkeypatch.setattr(stream, "_fetch", lambda turn: (fetched.append(turn), fetch(turn)))
    return fetched


def run(blocks: list[Block], x: torch.Tensor) -> torch.Tensor:
    for block in blocks:
        x = block(x)
    return x


@pytest.mark.parametrize("indices", [[0], [2], [0, 1], [1, 3, 4], list(range(5)), list(range(6))])
def test_the_bits_are_those_of_blocks_that_stay(indices: list[int]) -> None:
    x = torch.randn(4, WIDTH)
    expected = run(blocks_of(6), x)
    blocks = blocks_of(6)
    streamed(blocks, indices)
    for _ in range(3):
        assert torch.equal(run(blocks, x), expected)


def test_any_order_gives_the_same_bits() -> None:
    x, order = torch.randn(4, WIDTH), [3, 0, 0, 2, 4, 1, 3, 3, 2]
    alone = blocks_of(5)
    expected = run([alone[index] for index in order], x)
    blocks = blocks_of(5)
    streamed(blocks, range(5))
    assert torch.equal(run([blocks[index] for index in order], x), expected)


@pytest.mark.parametrize("count", [4, 5, 32])
def test_each_block_crosses_once_a_pass(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    blocks = blocks_of(count)
    fetched = counted(streamed(blocks, range(count)), monkeypatch)
    x = torch.randn(1, WIDTH)
    run(blocks, x)
    del fetched[:]
    run(blocks, x)
    assert sorted(fetched) == list(range(count))


def test_what_fits_in_the_places_crosses_once_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(PLACES)
    fetched = counted(streamed(blocks, range(PLACES)), monkeypatch)
    for _ in range(3):
        run(blocks, torch.randn(1, WIDTH))
    assert sorted(fetched) == list(range(PLACES))


def test_guests_come_once_an_image_and_cost_two_copies_more(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(8)
    stream = streamed(blocks, range(8), guests=2)
    fetched = counted(stream, monkeypatch)
    x, steps = torch.randn(1, WIDTH), 3
    expected = run(blocks_of(8), x)
    for _ in range(2):
        y = run(blocks[:2], x)
        for _ in range(steps):
            z = run(blocks[2:], y)
        assert torch.equal(z, expected)
    assert [fetched.count(turn) for turn in (0, 1)] == [2, 2]
    assert len(fetched) <= 2 * (2 + 6 * steps + 2)


def test_only_matrices_wait_and_their_bytes_are_padded() -> None:
    blocks = blocks_of(3)
    vectors = [block.norm.weight.data_ptr() for block in blocks]
    stream = streamed(blocks, range(3))
    rows = [5, 6, 7]
    assert stream.nbytes == sum(2 * padded(WIDTH * count * 4) + padded(3 * WIDTH) for count in rows)
    assert [block.norm.weight.data_ptr() for block in blocks] == vectors
    assert (padded(0), padded(1), padded(256), padded(257)) == (0, 256, 256, 512)


def test_a_weight_is_changed_where_it_waits() -> None:
    x = torch.randn(2, WIDTH)
    plain, blocks = blocks_of(4), blocks_of(4)
    stream = streamed(blocks, range(4))
    run(blocks, x)
    plain[1].down.weight.mul_(2)
    stream.forget()
    stream.home(blocks[1].down.weight).mul_(2)
    assert torch.equal(run(blocks, x), run(plain, x))
    assert stream.home(x) is x
    assert stream.home(blocks[1].norm.weight) is blocks[1].norm.weight


def test_another_network_with_the_same_weights_is_followed() -> None:
    x = torch.randn(2, WIDTH)
    blocks, others = blocks_of(5), blocks_of(5)
    stream = streamed(blocks, [1, 2, 4])
    for own, other in zip(blocks, others, strict=True):
        for name in ("up", "down"):
            getattr(other, name).weight = getattr(own, name).weight
        other.packed = own.packed
    stream.follow(others)
    expected = run(blocks_of(5), x)
    assert torch.equal(run(others, x), expected)
    assert torch.equal(run(blocks, x), expected)


def test_blocks_that_are_gone_free_their_memory_at_once() -> None:
    blocks = blocks_of(3)
    stream = streamed(blocks, range(3))
    run(blocks, torch.randn(1, WIDTH))
    watched = [weakref.ref(block) for block in blocks] + [weakref.ref(waiting) for waiting in stream._waiting.values()]
    gc.collect()
    gc.disable()
    try:
        del blocks, stream
        assert [reference() for reference in watched] == [None] * 6
    finally:
        gc.enable()
