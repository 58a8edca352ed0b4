"""Decoding in bands gives the image of the untiled decoder."""

import pytest
import torch
from diffusers import AutoencoderKL

from llm_dit.banded_decoder import decode_in_bands
from llm_dit.vae import LatentDecoder


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=16,
        layers_per_block=1,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.normal_(module.weight, 1.0, 0.3)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("band_pixels", [1, 100, 300, 100_000])
@pytest.mark.parametrize("shape", [(1, 16, 6, 4), (2, 16, 3, 5), (1, 16, 1, 1)])
def test_bands_of_any_height_give_the_untiled_pixels(
    vae: AutoencoderKL, shape: tuple[int, ...], band_pixels: int
) -> None:
    # A gradient from top to bottom: statistics of one band are not those of the map.
    latents = torch.randn(shape) + torch.linspace(-3, 3, shape[2])[:, None]
    expected = vae.decoder(latents)
    torch.testing.assert_close(
        decode_in_bands(vae.decoder, latents, band_pixels=band_pixels), expected, rtol=1e-4, atol=1e-4
    )


def test_a_decoder_with_tiling_returns_the_same_image(vae: AutoencoderKL) -> None:
    latents = torch.randn(1, 16, 6, 4)
    whole, tiled = (
        LatentDecoder(vae, torch.device("cpu"), tiling=tiling).decode(latents)[0].tobytes() for tiling in (False, True)
    )
    assert max(abs(one - other) for one, other in zip(whole, tiled, strict=True)) <= 1
