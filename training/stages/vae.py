"""Stage 2: the VAE, Flux's architecture in small, on rendered pictures of all sizes.

The loss is L1, gradients at three scales, squared error and a little Kullback-Leibler; a quarter of each batch also
asks that a halved latent decodes to the halved picture, which makes latents easier to model.

Source of the last term: Kouzelis et al. 2025 (EQ-VAE).

Usage: `python -m training.stages.vae --world training/build/sprites.npz --data training/build/data/train0
--output training/build/vae.safetensors --seconds 180`
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Tensor, nn

from training.learning.time_budget import TimeBudget, cosine_fall, warm_up
from training.learning.weights import Average, load_weights, save_weights
from training.pictures.render import Renderer
from training.stages.dataset import Samples
from training.world.world import World

PEAK_LEARNING_RATE = 1.5e-3
PIXELS = 128 * 128 * 128
"""Pixels of a batch at full size."""
HELD_OUT = 2000
"""Samples at the start of the data that only measure."""
POOL_BATCHES = 800
"""Batches' worth of pictures rendered of each size; training sees them several times."""
SIZES = ((128, 128), (128, 128), (192, 192), (96, 160), (128, 128), (160, 96))
"""Height and width of the batches, in turn."""
FULL_SIZE = (32, 64, 96, 96)

RENDER_PIXELS = 4096 * 128 * 128
"""Pixels rendered at a time: rendering is bound by launches, so many at a time cost as much as few."""

Render = Callable[[Tensor, int, int], Tensor]


class NormInPlaceType(nn.GroupNorm):
    """Group norm in the type of its input; autocast would widen it, and every large tensor after it."""

    def forward(self, value: Tensor) -> Tensor:
        """[B, C, H, W] -> same shape and type; statistics are float32 inside."""
        with torch.autocast(value.device.type, enabled=False):
            weight, bias = self.weight.to(value.dtype), self.bias.to(value.dtype)
            normed: Tensor = F.group_norm(value, self.num_groups, weight, bias, self.eps)
            return normed


def build_vae(channels: tuple[int, ...] = FULL_SIZE, scaling: float = 1.0, shift: float = 0.0) -> AutoencoderKL:
    """Make an untrained VAE with Flux's shape: 16 latent channels, factor 8, no convolutions around the latent."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=scaling,
        shift_factor=shift,
        force_upcast=False,
        sample_size=128,
    )
    for module in vae.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = NormInPlaceType
    return vae


def load_vae(path: Path, device: torch.device, channels: tuple[int, ...] = FULL_SIZE) -> AutoencoderKL:
    """Read trained weights and the latents' scale beside them; the model is frozen."""
    scale = json.loads(path.with_suffix(".json").read_text())
    vae = load_weights(build_vae(channels, scale["scaling_factor"], scale["shift_factor"]), path)
    return vae.eval().requires_grad_(False).to(device)


def gradient_loss(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical differences at three scales."""
    difference = first - second
    total = difference.new_zeros(())
    for _ in range(3):
        total = total + (difference[..., 1:] - difference[..., :-1]).abs().mean()
        total = total + (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
        difference = F.avg_pool2d(difference, 2)
    return total


def _mosaic(pictures: Tensor) -> Tensor:
    """Halve pictures and join four to one of the original size, so that shapes stay the same."""
    return rearrange(F.avg_pool2d(pictures, 2), "(b p q) c h w -> b c (p h) (q w)", p=2, q=2)


def vae_loss(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Training loss and the mean squared error of the plain reconstruction.

    Args:
        vae: The VAE.
        pictures: [B, 3, H, W] in [-1, 1], B divisible by 4.
    """
    count = len(pictures)
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        mean, log_variance = vae.encoder(pictures).float().chunk(2, 1)
        log_variance = log_variance.clamp(-12.0, 8.0)
        latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        decoded = vae.decoder(torch.cat([latents, _mosaic(latents)])).float()
    plain, mosaic, target = decoded[:count], decoded[count:], _mosaic(pictures)
    squared = F.mse_loss(plain, pictures)
    loss = (plain - pictures).abs().mean() + 0.8 * gradient_loss(plain, pictures) + 2.0 * squared
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
    halved = (mosaic - target).abs().mean() + 0.5 * gradient_loss(mosaic, target)
    return loss + 1e-3 * divergence + 0.15 * halved, squared.detach()


def to_signed(pictures: Tensor) -> Tensor:
    """Map uint8 pictures to [-1, 1], float32."""
    return pictures.float() / 127.5 - 1.0


@torch.no_grad()
def render_pools(render: Render, rows: Tensor, pixels: int) -> dict[tuple[int, int], Tensor]:
    """Render pictures at each of `SIZES`, uint8, `pixels` pixels of each size in all; rendering in bulk is quicker."""
    pools = {}
    for height, width in dict.fromkeys(SIZES):
        chosen = rows[: max(4, pixels // (height * width))]
        pools[height, width] = torch.cat(
            [render(part, height, width) for part in chosen.split(RENDER_PIXELS // (height * width))]
        )
    return pools


def pooled_batches(pools: dict[tuple[int, int], Tensor], pixels: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of pictures in [-1, 1], `pixels` pixels each, sizes in turn."""
    device = next(iter(pools.values())).device
    generator = torch.Generator(device).manual_seed(seed)
    while True:
        for height, width in SIZES:
            pool = pools[height, width]
            count = max(4, pixels // (height * width) // 4 * 4)
            yield to_signed(pool[torch.randint(len(pool), (count,), device=device, generator=generator)])


def train_vae(vae: AutoencoderKL, batches: Iterator[Tensor], budget: TimeBudget) -> None:
    """Train in place; ends with the averaged weights."""
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    average = Average(vae, 0.998)
    step = 0
    while (fraction := budget.fraction(step)) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * warm_up(step, 200) * (cosine_fall(fraction) + 0.01)
        loss, squared = vae_loss(vae, next(batches))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update()
        step += 1
        if step % 200 == 0:
            decibel = -10.0 * np.log10(squared.item() / 4.0)
            print(f"vae {step}: {decibel:.2f} dB, {budget.elapsed_s / step * 1e3:.1f} ms", flush=True)
    average.swap()
    print(f"vae done: {step} steps", flush=True)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Return unscaled latent means [B, 16, H/8, W/8], float32, of uint8 pictures [B, 3, H, W]."""
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        moments: Tensor = vae.encoder(to_signed(pictures))
    return moments.float().chunk(2, 1)[0]


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Return uint8 pictures of scaled latents, as the pipeline decodes them."""
    unscaled = latents / vae.config.scaling_factor + vae.config.shift_factor
    with torch.autocast(latents.device.type, dtype=torch.bfloat16, enabled=latents.is_cuda):
        signed: Tensor = vae.decoder(unscaled)
    return ((signed.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)


def latent_scale(vae: AutoencoderKL, render: Render, rows: Tensor) -> dict[str, float]:
    """Compute scaling and shift from latents, and the fidelity on pictures not trained on (dB, mean over pictures)."""
    latents, decibels = [], []
    for part in rows.split(256):
        pictures = render(part, 128, 128)
        latents.append(encode(vae, pictures))
        back = decode_unscaled(vae, latents[-1])
        squared = (to_signed(pictures) - back).square().mean((1, 2, 3)) / 4.0
        decibels.append(-10.0 * squared.clamp_min(1e-6).log10())
    joined = torch.cat(latents)
    return {
        "scaling_factor": round(1.0 / joined.std().item(), 4),
        "shift_factor": round(joined.mean().item(), 4),
        "psnr_db": torch.cat(decibels).mean().item(),
    }


@torch.no_grad()
def decode_unscaled(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode raw latent means in float32 to [-1, 1]."""
    signed: Tensor = vae.decoder(latents)
    return signed.clamp(-1.0, 1.0)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of training.stages.dataset.")
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=180.0)
@click.option("--pixels", type=int, default=PIXELS, help="Pixels of a batch.")
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(world: Path, data: Path, output: Path, seconds: float, pixels: int, device: torch.device) -> None:
    """Train the VAE and write its weights and the scale of its latents."""
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    vae = build_vae().to(device)
    render = Renderer(World.load(world), device).render
    rows = torch.from_numpy(Samples.load(data).rows).to(device)
    held_out = min(HELD_OUT, len(rows) // 5)
    pools = render_pools(render, rows[held_out:], POOL_BATCHES * pixels)
    train_vae(vae, pooled_batches(pools, pixels, 0), TimeBudget(seconds))
    scale = latent_scale(vae.eval(), render, rows[:held_out])
    output.with_suffix(".json").write_text(json.dumps(scale))
    save_weights(vae.state_dict(), output)
    print(f"vae {scale}", flush=True)


if __name__ == "__main__":
    main()
