"""Decoding latents: ours eager, compiled and in bands beside diffusers' decoder, with PSNR and peak memory.

    python -m benchmarks.bench_decoder --config tiny --device cpu --size 128x128
    python -m benchmarks.bench_decoder --device cuda --size 1024x1024 --size 2048x2048
    python -m benchmarks.bench_decoder --vae src/llm_dit/models/mini/vae --device cuda --size 512x512

All sides have the same weights and decode the same latents (random, as spread as sampled ones) in turns.
PSNR is that of the 8-bit pixels against ours eager, in one piece. "diffusers tiled" is diffusers' own tiling, with
tiles half as large as the image. Without `--vae` the weights are random. The last line of stdout is JSON.
"""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from benchmarks.bench_transformer import parse_size
from benchmarks.full_size import VAE_CONFIGS
from benchmarks.timing import elapsed_s, machine, median_times_s
from llm_dit.acceleration.compilation import compile_decoder
from llm_dit.networks.banded_decoder import decode_in_bands
from llm_dit.networks.vae_decoder import Autoencoder, DecoderConfig
from llm_dit.stages.latent_decoder import pixels_to_levels


def load_vae(folder: Path | None, config: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Read diffusers' `AutoencoderKL`, or make one with PyTorch's initial weights, whose pixels fill the range."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae = AutoencoderKL(**VAE_CONFIGS[config]) if folder is None else AutoencoderKL.from_pretrained(folder)
    return vae.to(device, dtype).eval().requires_grad_(False)


def our_decoder(vae: Any) -> Autoencoder:
    """Our decoder with the weights of diffusers' `AutoencoderKL`."""
    ours = Autoencoder(DecoderConfig.from_dict(vae.config))
    weights = {name: value for name, value in vae.state_dict().items() if name in ours.state_dict()}
    ours.load_state_dict(weights, strict=True)
    return ours.to(vae.device, vae.dtype).eval().requires_grad_(False)


def decoders(vae: Any) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways of decoding with the same weights; the first is the one that others are compared with."""
    banded = our_decoder(vae).to(memory_format=torch.channels_last)
    eager = banded if vae.device.type == "cpu" else our_decoder(vae)  # as `LatentDecoder` has them
    compiled = our_decoder(vae)
    compile_decoder(compiled)
    tiled = copy.deepcopy(vae)
    tiled.enable_tiling()

    def diffusers_tiled(latents: Tensor) -> Tensor:
        tiled.tile_latent_min_size = max(latents.shape[-2:]) // 2
        tiled.tile_sample_min_size = tiled.tile_latent_min_size * 8
        return _decoded(tiled, latents)

    return {
        "eager": eager.decoder,
        "diffusers": lambda latents: _decoded(vae, latents),
        "compiled": compiled.decoder,
        "bands": lambda latents: decode_in_bands(banded.decoder, latents),
        "diffusers tiled": diffusers_tiled,
    }


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents, return_dict=False)[0]
    return pixels


def decibels(pixels: Tensor, reference: Tensor) -> float | None:
    """PSNR of 8-bit levels; None if equal."""
    error = (pixels_to_levels(pixels)[0].double() - pixels_to_levels(reference)[0].double()).square().mean().item()
    return None if error == 0 else float(10 * torch.log10(torch.tensor(255.0**2 / error)))


def peak_gib(decode: Callable[[Tensor], Tensor], latents: Tensor) -> float | None:
    """Memory that one decoding adds to what is held already, GiB; None where it can't be measured."""
    if not latents.is_cuda:
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    decode(latents)
    torch.cuda.synchronize()
    return float((torch.cuda.max_memory_allocated() - before) / 1024**3)


def measure(
    ways: dict[str, Callable[[Tensor], Tensor]], latents: Tensor, height: int, width: int, iterations: int
) -> list[dict[str, Any]]:
    """Time all ways at one size; one row each."""
    first = {name: elapsed_s(partial(decode, latents), latents.device) for name, decode in ways.items()}
    reference = ways["eager"](latents)
    runs = {name: partial(decode, latents) for name, decode in ways.items()}
    times = median_times_s(runs, latents.device, warmup=1, iterations=iterations)
    return [
        {
            "decoder": name,
            "height": height,
            "width": width,
            "ms": times[name] * 1e3,
            "ratio": times[name] / times["diffusers"],
            "first_s": first[name],
            "added_gib": peak_gib(decode, latents),
            "psnr_db": None if name == "eager" else decibels(decode(latents), reference),
        }
        for name, decode in ways.items()
    ]


@click.command(help=__doc__)
@click.option("--vae", "folder", type=click.Path(path_type=Path, exists=True), default=None, help="Folder of a VAE.")
@click.option("--config", type=click.Choice(list(VAE_CONFIGS)), default="full", show_default=True)
@click.option("--size", "sizes", multiple=True, default=["1024x1024"], show_default=True, help="HEIGHTxWIDTH.")
@click.option("--without", multiple=True, help="Decoder to leave out; repeatable.")
@click.option("--device", "device_name", default="cuda", show_default=True)
@click.option("--iterations", default=5, show_default=True)
def main(
    folder: Path | None,
    config: str,
    sizes: tuple[str, ...],
    without: tuple[str, ...],
    device_name: str,
    iterations: int,
) -> None:
    """Run the benchmark."""
    device = torch.device(device_name)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    vae = load_vae(folder, config, device, dtype)
    print(f"{machine(device)}, torch {torch.__version__}, {dtype}, {folder or config}")
    print("size         decoder                ms  ratio  first s  added GiB    PSNR")
    ways, rows = {name: decode for name, decode in decoders(vae).items() if name not in without}, []
    generator = torch.Generator().manual_seed(0)
    for height, width in map(parse_size, sizes):
        shape = (1, vae.config.latent_channels, height // 8, width // 8)
        latents = torch.randn(shape, generator=generator) / vae.config.scaling_factor + vae.config.shift_factor
        with torch.inference_mode():
            found = measure(ways, latents.to(device, dtype), height, width, iterations)
        for row in found:
            memory = "-" if row["added_gib"] is None else f"{row['added_gib']:.2f}"
            psnr = "-" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}"
            print(
                f"{height}x{width:<7} {row['decoder']:16} {row['ms']:8.1f} {row['ratio']:6.2f} {row['first_s']:8.2f} "
                f"{memory:>10} {psnr:>7}",
                flush=True,
            )
        rows += found
    print(json.dumps({"benchmark": "decoder", "machine": machine(device), "rows": rows}))


if __name__ == "__main__":
    main()
