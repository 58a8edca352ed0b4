"""From latents to images: the decoder with its weights, on its device.

Legend: B images, H and W pixels, h = H / 8 and w = W / 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from llm_dit.checkpoints.lazy_tensor import LazyTensor
from llm_dit.checkpoints.model_file import StoredComponent
from llm_dit.checkpoints.weights import load_weights, without_weights
from llm_dit.errors import CheckpointError, not_finite
from llm_dit.placement.devices import on

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from llm_dit.networks.vae_decoder import Autoencoder

LATENT_SCALE = 8
"""Pixels a latent covers on each axis."""
PREVIEW_LATENT_SIDE = 32
"""Longest side of the latents behind a preview: a sixteenth of the decoder's work at 1024 x 1024."""
ENCODER_NAMES = ("encoder.", "quant_conv.")


class LatentDecoder:
    """The decoder half of a checkpoint's VAE.

    Attributes:
        vae: The decoder and its configuration.
        device: Where it computes.
        tiling: Whether it works on bands of rows, which needs less memory.
    """

    def __init__(self, vae: Autoencoder, device: torch.device, *, tiling: bool = False) -> None:
        self.vae = vae
        self.device = device
        self.tiling = tiling

    @classmethod
    def from_stored(
        cls,
        stored: StoredComponent,
        device: torch.device,
        dtype: torch.dtype,
        *,
        tiling: bool = False,
    ) -> Self:
        """Load the VAE of a model.

        Raises:
            CheckpointError: If the weights are damaged or the VAE does not have Z-Image's layout.
        """
        import torch

        from llm_dit.networks.vae_decoder import Autoencoder, DecoderConfig, lay_out_by_rows

        sizes = DecoderConfig.from_dict(stored.config)
        if 2 ** (len(sizes.block_out_channels) - 1) != LATENT_SCALE:
            raise CheckpointError(
                f"The config.json of {stored.path} describes no VAE of a factor of {LATENT_SCALE}, as Z-Image has.",
                field="model_path",
            )
        with without_weights():
            vae = Autoencoder(sizes)
        load_weights(vae, stored.path, drawn_with(stored.tensors), dtype=dtype, device=device)
        if device.type == "cpu" or tiling:
            vae.to(memory_format=torch.channels_last)  # saves a sixth of the time on the CPU
        elif device.type == "cuda":
            lay_out_by_rows(vae)
        vae.eval().requires_grad_(False)
        return cls(vae, device, tiling=tiling)

    @property
    def native_size(self) -> int:
        """Side of the square images the model was trained for, in pixels."""
        return self.vae.config.sample_size

    @property
    def dtype_name(self) -> str:
        """Number format of the weights, such as `bfloat16`."""
        return str(next(self.vae.parameters()).dtype).removeprefix("torch.")

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.vae.config.latent_channels

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return images of `latents`.

        Args:
            latents: [B, C, h, w], float32, as sampled (scaled by `vae_scaling_factor`, moved by `vae_shift_factor`).

        Returns:
            B images of mode RGB, [H, W] each.

        Raises:
            NonFiniteLatents: If the decoder left the range of its number format.
        """
        return images_from_levels(*self.levels(latents), self.dtype_name)

    def levels(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Decode [B, C, h, w] without waiting for the device; returns what `pixels_to_levels` does."""
        with on(self.device):
            return self._levels(latents)

    def preview(self, latents: Tensor) -> Image.Image:
        """Decode one small image.

        Args:
            latents: [1, C, h, w], of which the longest side is brought down to `PREVIEW_LATENT_SIDE`.
        """
        import torch
        from torch.nn.functional import interpolate

        sides = latents.shape[-2:]
        longest = max(sides)
        with on(self.vae.decoder.conv_in.weight.device), torch.inference_mode():
            if longest > PREVIEW_LATENT_SIDE:
                small = [max(1, side * PREVIEW_LATENT_SIDE // longest) for side in sides]
                latents = interpolate(latents, size=small, mode="area")
            return images_from_levels(*self._levels(latents), self.dtype_name)[0]

    def _levels(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        with torch.inference_mode():
            return pixels_to_levels(self._pixels(self._unscaled(latents)))

    def _pixels(self, unscaled: Tensor) -> Tensor:
        if self.vae.post_quant_conv is not None:
            unscaled = self.vae.post_quant_conv(unscaled)
        if not self.tiling:
            pixels: Tensor = self.vae.decoder(unscaled)
            return pixels
        from llm_dit.networks.banded_decoder import decode_in_bands

        return decode_in_bands(self.vae.decoder, unscaled)

    def _unscaled(self, latents: Tensor) -> Tensor:
        weight = self.vae.decoder.conv_in.weight
        moved = latents.to(weight.device, weight.dtype)
        return moved / self.vae.config.scaling_factor + self.vae.config.shift_factor


def drawn_with(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Leave out the encoder, which drawing does not need."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(ENCODER_NAMES)}


def pixels_to_levels(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Turn decoder output into 8-bit levels, rounded as diffusers' `VaeImageProcessor` does.

    Args:
        pixels: [B, 3, H, W], nominally in [-1, 1].

    Returns:
        [B, H, W, 3], uint8, meaningless unless all pixels are finite; whether they are, bool, a scalar. Both are on
        the device of `pixels`.
    """
    import torch
    from einops import rearrange

    unit = (pixels.float() / 2 + 0.5).clamp(0, 1)
    levels = rearrange((unit * 255).round().to(torch.uint8), "B C H W -> B H W C")
    return levels, torch.isfinite(pixels).all()


def images_from_levels(levels: Tensor, is_finite: Tensor, dtype: str) -> list[Image.Image]:
    """Return images of what `pixels_to_levels` made in the number format called `dtype`.

    Raises:
        NonFiniteLatents: If a pixel was not finite.
    """
    from PIL import Image

    if not bool(is_finite):
        raise not_finite("The decoded image is not finite", dtype)
    return [Image.fromarray(image) for image in levels.cpu().numpy()]
