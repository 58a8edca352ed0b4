"""How long the stages of an image take on a device, without making the host wait for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class StageClock:
    """Times stages on a device: by its own events on CUDA, else by the host's clock, which must wait for each stage."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[torch.cuda.Event] = []
        self._seconds: list[float] = []
        self.mark()

    def mark(self) -> None:
        """End one stage and begin the next."""
        import torch

        if self._device.type != "cuda":
            self._seconds.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._marks.append(event)

    def stage_times_s(self) -> list[float]:
        """Wait for the last mark; seconds of each stage."""
        if self._marks:
            self._marks[-1].synchronize()
            pairs = zip(self._marks, self._marks[1:], strict=False)
            return [first.elapsed_time(second) / 1e3 for first, second in pairs]
        return [second - first for first, second in zip(self._seconds, self._seconds[1:], strict=False)]
