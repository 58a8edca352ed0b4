"""Stage 4b: siglip-mini, a small SigLIP that tells how well a picture and a text belong together.

Trained with the pairwise sigmoid loss on renders and their captions; part of the pictures pass through the VAE, so that
its traces do not count as a difference.

Source: Zhai et al. 2023 (SigLIP).

Usage: `python -m training.siglip --world ... --data training/build/data/train0 --build training/build --seconds 100`
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tokenizers import Tokenizer
from torch import Tensor
from transformers import SiglipConfig, SiglipModel

from training.dataset import Samples
from training.render import Renderer
from training.time_budget import TimeBudget, cosine_fall, warm_up
from training.vae import decode, encode, load_vae
from training.weights import load_weights, save_weights, wait_for
from training.world import World

PEAK_LEARNING_RATE = 1.5e-3
TEXT_TOKENS = 64
PICTURE_SIZE = 128
SOURCE_SIZES = ((128, 128), (192, 192), (96, 144), (144, 96), (96, 96))
"""Height and width at which the pictures are rendered before they are squashed to `PICTURE_SIZE`."""
HELD_OUT = 2048
POOL_STEP = 2048
"""Pictures rendered at a time."""


def build_siglip(vocabulary: int, width: int = 128, vision_layers: int = 6, text_layers: int = 4) -> SiglipModel:
    """Make an untrained SigLIP; towers of equal width, feed-forwards twice as wide."""
    shared = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": width // 32}
    text = {
        "vocab_size": vocabulary,
        "num_hidden_layers": text_layers,
        "max_position_embeddings": TEXT_TOKENS,
        "projection_size": width,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    vision = {"num_hidden_layers": vision_layers, "image_size": PICTURE_SIZE, "patch_size": 16}
    model = SiglipModel(SiglipConfig(text_config=shared | text, vision_config=shared | vision))
    with torch.no_grad():
        model.logit_scale.fill_(np.log(10.0))
        model.logit_bias.fill_(-10.0)
    return model


def load_siglip(path: Path, vocabulary: int, device: torch.device) -> SiglipModel:
    """Read trained weights; the model is frozen."""
    return load_weights(build_siglip(vocabulary), path).eval().requires_grad_(False).to(device)


def token_ids(tokenizer: Tokenizer, captions: list[str], length: int = TEXT_TOKENS) -> Tensor:
    """Ids of captions, int16 [N, length], cut and padded with 0 as the scorers do."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token="[PAD]")  # noqa: S106 - a token of text
    rows = [np.array([row.ids for row in tokenizer.encode_batch(part)], np.int16) for part in _parts(captions)]
    return torch.from_numpy(np.concatenate(rows))


def _parts(captions: list[str]) -> list[list[str]]:
    return [captions[start : start + 10_000] for start in range(0, len(captions), 10_000)]


def squash(pictures: Tensor, size: int = PICTURE_SIZE) -> Tensor:
    """Scale uint8 pictures to a square with an antialiased bicubic filter, as the scorers' processors do."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    scaled = F.interpolate(pictures.float(), (size, size), mode="bicubic", antialias=True)
    return scaled.clamp(0.0, 255.0).round().to(torch.uint8)


@torch.no_grad()
def render_pool(renderer: Renderer, rows: Tensor, sizes: tuple[tuple[int, int], ...] = SOURCE_SIZES) -> Tensor:
    """Render rows in turn at several sizes and squash them: uint8 [N, 3, 128, 128] on the device."""
    pool = torch.empty(len(rows), 3, PICTURE_SIZE, PICTURE_SIZE, dtype=torch.uint8, device=rows.device)
    weights = (0, 0, 0, 0, *range(len(sizes)))
    for turn, start in enumerate(range(0, len(rows), POOL_STEP)):
        height, width = sizes[weights[turn % len(weights)]]
        pool[start : start + POOL_STEP] = squash(renderer.render(rows[start : start + POOL_STEP], height, width))
    return pool


@torch.no_grad()
def through_vae(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Encode and decode pictures."""
    latents = (encode(vae, pictures) - vae.config.shift_factor) * vae.config.scaling_factor
    return decode(vae, latents)


def embed(model: SiglipModel, pictures: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Unit embeddings of uint8 pictures and of ids, each [B, D], float32."""
    pixels = pictures.float() / 127.5 - 1.0
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        picture = model.vision_model(pixel_values=pixels).pooler_output
        text = model.text_model(input_ids=ids.long()).pooler_output
    return F.normalize(picture.float(), dim=-1), F.normalize(text.float(), dim=-1)


def sigmoid_loss(model: SiglipModel, pictures: Tensor, ids: Tensor) -> Tensor:
    """Each of B x B pairs is judged on its own; only the diagonal belongs together. Mean over pictures."""
    picture, text = embed(model, pictures, ids)
    logits = picture @ text.mT * model.logit_scale.exp() + model.logit_bias
    signs = 2.0 * torch.eye(len(logits), device=logits.device) - 1.0
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def train_siglip(
    model: SiglipModel, pool: Tensor, ids: Tensor, vae: AutoencoderKL, budget: TimeBudget, batch: int
) -> None:
    """Train in place on a pool of pictures and the ids of their captions."""
    generator = torch.Generator(pool.device).manual_seed(7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    step = 0
    while (fraction := budget.fraction(step)) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * warm_up(step, 150) * cosine_fall(fraction)
        chosen = torch.randint(len(pool), (batch,), device=pool.device, generator=generator)
        pictures = pool[chosen]
        pictures[: batch // 16] = through_vae(vae, pictures[: batch // 16])
        loss = sigmoid_loss(model, pictures, ids[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"siglip {step}: {loss.item():.3f}, {budget.elapsed_s / step * 1e3:.1f} ms", flush=True)


@torch.no_grad()
def accuracy_of_64(model: SiglipModel, pictures: Tensor, ids: Tensor) -> float:
    """Share of pictures whose own caption scores highest among 64."""
    picture, text = embed(model, pictures, ids)
    hits = [
        (first @ second.mT).argmax(1) == torch.arange(len(first), device=first.device)
        for first, second in zip(picture.split(64), text.split(64), strict=True)
    ]
    return torch.cat(hits).float().mean().item()


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of training.dataset.")
@click.option("--build", type=click.Path(path_type=Path), required=True, help="Folder of the other stages' weights.")
@click.option("--seconds", type=float, default=100.0)
@click.option("--until", type=float, default=None, help="Clock time at which training ends at the latest.")
@click.option("--count", type=int, default=400_000, help="Pictures in the pool.")
@click.option("--batch", type=int, default=4096)
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(
    world: Path,
    data: Path,
    build: Path,
    seconds: float,
    until: float | None,
    count: int,
    batch: int,
    device: torch.device,
) -> None:
    """Train siglip-mini and write its weights."""
    torch.manual_seed(7)
    torch.set_float32_matmul_precision("high")
    tokenizer = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    samples = Samples.load(data)
    ids = token_ids(tokenizer, samples.captions[:count]).to(device)
    pool = render_pool(Renderer(World.load(world), device), torch.from_numpy(samples.rows[:count]).to(device))
    is_told = torch.tensor([bool(caption) for caption in samples.captions[:count]], device=device)
    pool, ids = pool[is_told], ids[is_told]
    vae = load_vae(wait_for(build / "vae.safetensors"), device)
    model = build_siglip(tokenizer.get_vocab_size()).to(device)
    held_out = min(HELD_OUT, len(pool) // 4)
    train_siglip(model, pool[held_out:], ids[held_out:], vae, TimeBudget(seconds, until), batch)
    save_weights(model.state_dict(), build / "siglip.safetensors")
    accuracy = accuracy_of_64(model.eval(), pool[:held_out], ids[:held_out])
    print(f"siglip done: right caption of 64 in {accuracy:.1%}", flush=True)


if __name__ == "__main__":
    main()
