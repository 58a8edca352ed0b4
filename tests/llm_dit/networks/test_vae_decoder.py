"""The decoder gives diffusers' pixels, in one piece and in bands."""

import pytest
import torch
from diffusers import AutoencoderKL

from llm_dit.errors import LlmDitError
from llm_dit.networks.banded_decoder import decode_in_bands
from llm_dit.networks.vae_decoder import (
    AttentionInParts,
    Autoencoder,
    DecoderConfig,
    NormByRows,
    SpatialAttention,
    query_parts,
)
from llm_dit.stages.latent_decoder import LatentDecoder

CONFIG = {
    "block_out_channels": (8, 8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 16,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "sample_size": 64,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
}


def make_pair(**changes: object) -> tuple[Autoencoder, AutoencoderKL]:
    """Ours and diffusers' with equal weights, norms away from the identity."""
    torch.manual_seed(0)
    reference = AutoencoderKL(**CONFIG | changes)
    for module in reference.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.normal_(module.weight, 1.0, 0.3)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    ours = Autoencoder(DecoderConfig.from_dict(reference.config))
    weights = {name: value for name, value in reference.state_dict().items() if name in ours.state_dict()}
    ours.load_state_dict(weights, strict=True)
    return ours.eval().requires_grad_(False), reference.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return make_pair()[0]


@pytest.mark.parametrize(
    "changes", [{}, {"mid_block_add_attention": False}, {"layers_per_block": 2}, {"norm_num_groups": 8}]
)
def test_pixels_equal_diffusers(changes: dict[str, object]) -> None:
    ours, reference = make_pair(**changes)
    latents = torch.randn(2, 16, 5, 3)
    torch.testing.assert_close(ours.decoder(latents), reference.decode(latents).sample, rtol=1e-5, atol=1e-5)


def test_an_image_equals_diffusers_with_a_quantization_convolution() -> None:
    ours, reference = make_pair(use_post_quant_conv=True)
    latents = torch.randn(1, 16, 4, 6)
    expected = reference.decode(latents / 0.3611 + 0.1159).sample
    levels = ((expected[0] / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().tobytes()
    image = LatentDecoder(ours, torch.device("cpu")).decode(latents)[0].tobytes()
    assert max(abs(one - other) for one, other in zip(image, levels, strict=True)) <= 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"scaling_factor": None}, "lacks scaling_factor"),
        ({"act_fn": "gelu"}, "not Flux's decoder"),
        ({"up_block_types": ["AttnUpDecoderBlock2D"] * 4}, "AttnUpDecoderBlock2D"),
    ],
)
def test_what_it_cannot_compute_is_refused(entry: dict[str, object], message: str) -> None:
    with pytest.raises(LlmDitError, match=message):
        DecoderConfig.from_dict(CONFIG | entry)


@pytest.mark.parametrize("band_pixels", [1, 100, 300, 100_000])
@pytest.mark.parametrize("shape", [(1, 16, 6, 4), (2, 16, 3, 5), (1, 16, 1, 1)])
def test_bands_of_any_height_give_the_same_pixels(
    autoencoder: Autoencoder, shape: tuple[int, ...], band_pixels: int
) -> None:
    # A gradient from top to bottom: statistics of one band are not those of the map.
    latents = torch.randn(shape) + torch.linspace(-3, 3, shape[2])[:, None]
    expected = autoencoder.decoder(latents)
    torch.testing.assert_close(
        decode_in_bands(autoencoder.decoder, latents, band_pixels=band_pixels), expected, rtol=1e-4, atol=1e-4
    )


def test_a_decoder_with_tiling_returns_the_same_image(autoencoder: Autoencoder) -> None:
    latents = torch.randn(1, 16, 6, 4)
    whole, tiled = (
        LatentDecoder(autoencoder, torch.device("cpu"), tiling=tiling).decode(latents)[0].tobytes()
        for tiling in (False, True)
    )
    assert max(abs(one - other) for one, other in zip(whole, tiled, strict=True)) <= 1


def test_attention_in_parts_is_attention() -> None:
    attention = SpatialAttention(12, 4)
    x = 3 * torch.randn(2, 12, 5, 7)  # 35 queries: the last part is shorter
    with torch.no_grad():
        expected = attention(x)
        attention.__class__ = AttentionInParts
        torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "parts"), [(64, 8), (1024, 8), (2048, 8), (2064, 16), (2432, 16), (2896, 32), (4096, 128)]
)
def test_the_scores_of_a_part_have_two_gigabytes_at_most(side: int, parts: int) -> None:
    tokens = (side // 8) ** 2
    assert query_parts(1, tokens) == parts
    assert tokens * tokens * 4 / parts <= 2 << 30


def test_a_norm_by_rows_is_the_group_norm() -> None:
    norm = torch.nn.GroupNorm(4, 12)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    # groups and rows far apart: their moments must be put together with their distances
    x = torch.randn(2, 12, 5, 7) + 100 * torch.randn(2, 12, 1, 1) + 10 * torch.randn(2, 1, 5, 1)
    expected = norm(x)
    norm.__class__ = NormByRows
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-4)
    assert norm(x.bfloat16()).dtype == torch.bfloat16
