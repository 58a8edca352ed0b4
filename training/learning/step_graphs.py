"""Steps of training as CUDA graphs: recorded once for each shape of the batch, then replayed with one launch.

The miniature's step launches some thousand kernels, which takes the processor longer than they take the accelerator.
A graph replays the same kernels on the same memory; random numbers still advance. Shapes that are seldom drawn are not
worth recording and run plainly, as does everything on the CPU.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PLAIN_STEPS = 16
"""Steps of one shape before it is recorded: kernels are chosen in them, and recording costs as much as some twenty."""

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Recorded:
    """A graph with the tensors that it reads and the one that it returns."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class StepGraphs:
    """Calls `work`, by replaying it where that has been recorded.

    Args:
        work: Tensors on one device to a tensor; what else it reads or writes must stay where it is, and it may neither
            wait for the device nor depend on anything but shapes.
        device: Where it computes.
    """

    def __init__(self, work: Callable[..., Tensor], device: torch.device) -> None:
        self.work = work
        self.is_recording = device.type == "cuda"
        self.recorded: dict[tuple[Shape, ...], Recorded] = {}
        self.plain: Counter[tuple[Shape, ...]] = Counter()
        self.pool = torch.cuda.graph_pool_handle() if self.is_recording else None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Do what `work` does; the result is overwritten by the next call."""
        key = tuple(tuple(value.shape) for value in inputs)
        if not self.is_recording or (key not in self.recorded and self.plain[key] < PLAIN_STEPS):
            self.plain[key] += 1
            return self.work(*inputs)
        if key not in self.recorded:
            self.recorded[key] = self._record(inputs)
        recorded = self.recorded[key]
        for own, given in zip(recorded.inputs, inputs, strict=True):
            own.copy_(given)
        recorded.graph.replay()
        return recorded.output

    def _record(self, inputs: tuple[Tensor, ...]) -> Recorded:
        """Record on the present stream, which must not be the default one."""
        own = tuple(value.clone() for value in inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
            output = self.work(*own)
        return Recorded(graph, own, output)
