"""An image under way: its work is with the device, and the host is free to prepare the next one.

On CUDA all work of an image is queued at once, so that the device goes from one image to the next without waiting for
the host, which meanwhile copies, encodes and writes the one before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_dit.sampling.euler import check_finite
from llm_dit.stages.latent_decoder import images_from_levels

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor


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


@dataclass(frozen=True, eq=False)
class Drawing:
    """What is on its way from the device.

    Attributes:
        clock: Marked before and after denoising, and after decoding and copying.
        levels: [1, H, W, 3], uint8, on the CPU.
        step_is_finite: Of the latents after each step, bool, [N], on the CPU.
        is_finite: Of the pixels, bool, a scalar, on the CPU.
        spared: Clocks of the denoising's work that was done for an earlier image.
    """

    clock: StageClock
    levels: Tensor
    step_is_finite: Tensor
    is_finite: Tensor
    spared: tuple[StageClock, ...] = ()

    def wait(self) -> tuple[Image.Image, dict[str, float]]:
        """Return the image when it is there, and the seconds that denoising and decoding would have taken it alone.

        Raises:
            NonFiniteLatents: If sampling or decoding left the range of the number format.
        """
        denoise, decode = self.clock.stage_times_s()
        check_finite(self.step_is_finite.tolist())
        denoise += sum(sum(clock.stage_times_s()) for clock in self.spared)
        (image,) = images_from_levels(self.levels, self.is_finite)
        return image, {"denoise": denoise, "decode": decode}
