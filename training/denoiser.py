"""Stage 3: the transformer, by flow matching on latents, on one or several devices.

`x = (1 - sigma) * data + sigma * noise`; the network sees `1 - sigma` and estimates `data - noise`. Conditioning is
exactly what the engine feeds: hidden state -2 of the formatted prompt, pads replaced by the learned token.

Usage: `torchrun --nproc-per-node 2 -m training.denoiser --world ... --data training/build/data/train
--tokenizer training/build/tokenizer --build training/build --seconds 800` (rank 0 reads train0, rank 1 train1)
"""

import os
import time
from pathlib import Path

import click
import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor, nn

from training.dataset import Samples
from training.flow_model import FlowModel, build_transformer
from training.language_model import load_language_model
from training.latents import LatentBatches, assign_sizes, encode_all, encode_captions, render_all
from training.muon import MuonAndAdamW
from training.render import Renderer
from training.time_budget import TimeBudget, late_fall, warm_up
from training.vae import load_vae
from training.weights import Average, save_weights, wait_for
from training.world import World

PEAK_LEARNING_RATE = 3e-3
TOKENS = 131_072
"""Tokens of a batch on one device, picture and caption together."""
AVERAGE_DECAY = 0.9995
REPORT_EVERY = 20
"""Steps between looks at the clock, which cost a wait for the device."""


def draw_sigmas(count: int, device: torch.device) -> Tensor:
    """Noise levels to train at: 70 % logit-normal(0.5, 1.2), 30 % uniform under shift 3, as sampling uses."""
    bell = torch.sigmoid(torch.randn(count, device=device) * 1.2 + 0.5)
    uniform = torch.rand(count, device=device)
    shifted = 3.0 * uniform / (1.0 + 2.0 * uniform)
    return torch.where(torch.rand(count, device=device) < 0.7, bell, shifted)


def flow_loss(model: FlowModel, latents: Tensor, captions: Tensor, lengths: Tensor, sigmas: Tensor) -> Tensor:
    """Mean squared error of the velocity at the given noise levels [B]."""
    noise = torch.randn_like(latents)
    level = sigmas[:, None, None, None]
    estimate = model((1.0 - level) * latents + level * noise, 1.0 - sigmas, captions, lengths)
    return (estimate - (latents - noise)).square().mean()


class Devices:
    """This process among those that train together; one process alone is fine."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(f"cuda:{local}" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)

    def join(self) -> None:
        """Meet the other processes."""
        if self.count > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    def average_gradients(self, parameters: list[nn.Parameter], fraction: float) -> Tensor:
        """Replace gradients by their mean over the processes.

        Returns:
            The mean of `fraction` (a scalar on the device), so that all agree on the learning rate and on the end.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([fraction])])
        if self.count > 1:
            dist.all_reduce(flat)
            flat /= self.count
            parts = flat[:-1].split([gradient.numel() for gradient in gradients])
            shaped = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
            torch._foreach_copy_(gradients, shaped)
        return flat[-1]


def train_denoiser(
    model: FlowModel, batches: LatentBatches, budget: TimeBudget, devices: Devices, checkpoint: Path | None = None
) -> list[tuple[int, float]]:
    """Train in place; ends with the averaged weights.

    Args:
        model: Its parameters must be equal on all devices.
        batches: This device's data.
        budget: Time to spend.
        devices: Who trains along.
        checkpoint: Where rank 0 writes averaged weights every minute.

    Returns:
        Steps and mean losses between them.
    """
    parameters = list(model.transformer.parameters())
    optimizer = MuonAndAdamW(model.transformer, PEAK_LEARNING_RATE)
    average = Average(model.transformer, AVERAGE_DECAY)
    torch.manual_seed(100 + devices.rank)
    total = torch.zeros((), device=parameters[0].device)
    history: list[tuple[int, float]] = []
    fraction, step, saved = 0.0, 0, time.time()
    while fraction < 1.0:
        latents, captions, lengths = batches.draw()
        loss = flow_loss(model, latents, captions, lengths, draw_sigmas(len(latents), latents.device))
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        _fill_missing(parameters)
        agreed = devices.average_gradients(parameters, budget.fraction(step))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step(warm_up(step, 200) * late_fall(fraction))
        average.update()
        total += loss.detach()
        step += 1
        if step % REPORT_EVERY == 0 or budget.max_steps:
            fraction = float(agreed)
        if step % 250 == 0:
            history.append((step, total.item() / 250))
            total.zero_()
            if devices.rank == 0:
                print(f"denoiser {step}: {history[-1][1]:.4f}, {budget.elapsed_s / step * 1e3:.1f} ms", flush=True)
        if checkpoint and devices.rank == 0 and time.time() > saved + 60:
            average.swap()
            save_weights(model.transformer.state_dict(), checkpoint)
            average.swap()
            saved = time.time()
    average.swap()
    return history


def _fill_missing(parameters: list[nn.Parameter]) -> None:
    """Give a zero gradient to what this batch did not use (the picture's pad token where nothing is padded)."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def warm_up_compiler(model: FlowModel, device: torch.device) -> None:
    """Compile forward and backward on random data of two shapes, while other stages still train."""
    for height, caption_tokens in ((16, 64), (24, 96)):
        latents = torch.randn(64, 16, height, 16, device=device)
        captions = torch.randn(64, caption_tokens, model.transformer.config.cap_feat_dim, device=device).half()
        lengths = torch.full((64,), 20, device=device)
        flow_loss(model, latents, captions, lengths, draw_sigmas(64, device)).backward()
    model.transformer.zero_grad(set_to_none=True)


def load_batches(
    world: Path, data: Path, tokenizer: Path, build: Path, device: torch.device, tokens: int
) -> LatentBatches:
    """Render, read captions and encode, each as soon as the stage before has written its weights."""
    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    wait_for(data / "captions.json")
    samples = Samples.load(data)
    sizes = assign_sizes(len(samples.captions), 3)
    pictures = render_all(Renderer(World.load(world), device).render, samples.rows, sizes, device)
    print(f"denoiser: rendered {len(sizes)} pictures at {time.time():.0f}", flush=True)
    language_model = load_language_model(vocabulary, wait_for(build / "language_model.safetensors"), device)
    captions, lengths = encode_captions(language_model, samples.prompts, device)
    print(f"denoiser: read captions at {time.time():.0f}", flush=True)
    vae = load_vae(wait_for(build / "vae.safetensors"), device)
    latents = encode_all(vae, pictures, sizes)
    print(f"denoiser: encoded pictures at {time.time():.0f}", flush=True)
    return LatentBatches(latents, captions, lengths, tokens, 4)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=str, required=True, help="Folders of training.dataset, without the number at the end.")
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True, help="Folder of the other stages' weights.")
@click.option("--seconds", type=float, default=800.0)
@click.option("--until", type=float, default=None, help="Clock time at which training ends at the latest.")
@click.option("--max-steps", type=int, default=None)
@click.option("--tokens", type=int, default=TOKENS, help="Tokens of a batch on one device.")
def main(
    world: Path,
    data: str,
    tokenizer: Path,
    build: Path,
    seconds: float,
    until: float | None,
    max_steps: int | None,
    tokens: int,
) -> None:
    """Train the transformer and write its averaged weights."""
    torch.set_float32_matmul_precision("high")
    devices = Devices()
    torch.manual_seed(2)
    on_cuda = devices.device.type == "cuda"
    model = FlowModel(
        build_transformer().to(devices.device), torch.bfloat16 if on_cuda else torch.float32, is_compiled=on_cuda
    )
    if on_cuda:
        warm_up_compiler(model, devices.device)
        print(f"denoiser: compiled at {time.time():.0f}", flush=True)
    batches = load_batches(world, Path(f"{data}{devices.rank}"), tokenizer, build, devices.device, tokens)
    devices.join()
    budget = TimeBudget(seconds, until, max_steps)
    target = build / "transformer.safetensors"
    train_denoiser(model, batches, budget, devices, build / "transformer_so_far.safetensors")
    if devices.rank == 0:
        save_weights(model.transformer.state_dict(), target)
        print("denoiser done", flush=True)
    if devices.count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
