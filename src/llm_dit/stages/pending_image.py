"""An image under way: its work is with the device, and the host is free to prepare the next one.

On CUDA all work of an image is queued at once, so that the device goes from one image to the next without waiting for
the host, which meanwhile copies, encodes and writes the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_dit.sampling.euler import check_finite
from llm_dit.sampling.stage_clock import StageClock
from llm_dit.stages.latent_decoder import images_from_levels

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PendingImage:
    """What is on its way from the device.

    Attributes:
        clock: Marked before and after denoising, and after decoding and copying.
        levels: [1, H, W, 3], uint8, on the CPU.
        step_is_finite: Of the latents after each step, bool, [N], on the CPU.
        is_finite: Of the pixels, bool, a scalar, on the CPU.
        dtype: Number format of the denoising.
        vae_dtype: Number format of the decoding.
        spared: Clocks of the denoising's work that was done for an earlier image.
    """

    clock: StageClock
    levels: Tensor
    step_is_finite: Tensor
    is_finite: Tensor
    spared: tuple[StageClock, ...] = ()
    dtype: str = "float32"
    vae_dtype: str = "float32"

    def wait(self) -> tuple[Image.Image, dict[str, float]]:
        """Return the image when it is there, and the seconds that denoising and decoding would have taken it alone.

        Raises:
            NonFiniteLatents: If sampling or decoding left the range of the number format.
        """
        denoise, decode = self.clock.stage_times_s()
        check_finite(self.step_is_finite.tolist(), self.dtype)
        denoise += sum(sum(clock.stage_times_s()) for clock in self.spared)
        (image,) = images_from_levels(self.levels, self.is_finite, self.vae_dtype)
        return image, {"denoise": denoise, "decode": decode}
