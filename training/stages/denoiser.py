"""Stage 3: the transformer, by flow matching on latents, on one or several devices.

`x = (1 - sigma) * data + sigma * noise`; the network sees `1 - sigma` and estimates `data - noise`. Conditioning is
exactly what the engine feeds: hidden state -2 of the formatted prompt, pads replaced by the learned token. In the last
part of the time the target leads away from the network's own estimate without a caption, so that pictures need no
guidance, like those of the model that the miniature stands for.

Source: Tang et al. 2025 (Model-guidance) for that target.

Usage: `torchrun --nproc-per-node 2 -m training.stages.denoiser --world ... --data training/build/data/train
--tokenizer training/build/tokenizer --build training/build --seconds 800` (rank 0 reads train0, rank 1 train1; without
`torchrun`, one device trains alone)
"""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor, nn

from llm_dit.prompting.chat_template import format_prompt
from training.learning.flow_network import FlowModel, build_transformer
from training.learning.muon import MuonAndAdamW
from training.learning.step_graphs import StepGraphs
from training.learning.time_budget import TimeBudget, late_fall, warm_up
from training.learning.weights import Average, load_weights, save_weights, wait_for
from training.pictures.render import Renderer
from training.stages.dataset import Ragged, Samples
from training.stages.language_model import load_language_model
from training.stages.latents import LatentBatches, assign_sizes, encode_captions, encode_renders
from training.stages.vae import load_vae
from training.world.world import World

PEAK_LEARNING_RATE = 3e-3
TOKENS = 65_536
"""Tokens of a batch on one device, picture and caption together."""
AVERAGE_DECAY = 0.9995
GUIDANCE = 0.5
"""Share of the difference between the estimates with and without caption in the target: sampled with guidance 0, such a
network draws as one trained without would at 0.5 / (1 - 0.5) = 1."""
GUIDED_FROM = 0.55
"""Share of the time after which the target is guided."""
REPORT_EVERY = 20
"""Steps between looks at the clock, which cost a wait for the device."""


def draw_sigmas(count: int, device: torch.device) -> Tensor:
    """Noise levels to train at: 70 % logit-normal(0.5, 1.2), 30 % uniform under shift 3, as sampling uses."""
    bell = torch.sigmoid(torch.randn(count, device=device) * 1.2 + 0.5)
    uniform = torch.rand(count, device=device)
    shifted = 3.0 * uniform / (1.0 + 2.0 * uniform)
    return torch.where(torch.rand(count, device=device) < 0.7, bell, shifted)


@dataclass(frozen=True)
class EmptyCaption:
    """What the network sees of an empty prompt: hidden states [1, L, width] and its real tokens [1]."""

    states: Tensor
    length: Tensor


def flow_loss(
    model: FlowModel,
    latents: Tensor,
    captions: Tensor,
    lengths: Tensor,
    sigmas: Tensor,
    empty: EmptyCaption | None = None,
) -> Tensor:
    """Mean squared error of the velocity at the given noise levels [B]; with `empty`, against the guided target."""
    noise = torch.randn_like(latents)
    level = sigmas[:, None, None, None]
    noisy, model_time = (1.0 - level) * latents + level * noise, 1.0 - sigmas
    estimate = model(noisy, model_time, captions, lengths)
    target = latents - noise
    if empty is not None:
        with torch.no_grad():
            states, length = empty.states.expand(len(latents), -1, -1), empty.length.expand(len(latents))
            target = target + GUIDANCE * (estimate.detach() - model(noisy, model_time, states, length))
    return (estimate - target).square().mean()


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
            The mean of `fraction` (a scalar tensor), so that all agree on the learning rate and on the end.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.count == 1:
            return torch.tensor(fraction)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([fraction])])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat[:-1].split([gradient.numel() for gradient in gradients])
        shaped = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
        torch._foreach_copy_(gradients, shaped)
        return flat[-1]


class DenoiserSteps:
    """The two halves of a step: gradients of a batch, and their use; recorded on an accelerator.

    Args:
        model: Is trained in place.
        learning_rate: Peak.
        empty: For the guided target.
    """

    def __init__(self, model: FlowModel, learning_rate: float, empty: EmptyCaption) -> None:
        self.model = model
        self.parameters = list(model.transformer.parameters())
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.gradients = [parameter.grad for parameter in self.parameters]
        self.optimizer = MuonAndAdamW(model.transformer, learning_rate)
        device = self.parameters[0].device
        self.plain = StepGraphs(self._loss, device)
        self.guided = StepGraphs(partial(self._loss, empty=empty), device)
        self.update = StepGraphs(self._update, device)

    def _loss(self, latents: Tensor, captions: Tensor, lengths: Tensor, empty: EmptyCaption | None = None) -> Tensor:
        """Leave the gradients of a batch in the parameters; what it does not use keeps a gradient of zero."""
        torch._foreach_zero_(self.gradients)
        loss = flow_loss(self.model, latents, captions, lengths, draw_sigmas(len(latents), latents.device), empty)
        loss.backward()
        return loss.detach()

    def _update(self) -> Tensor:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return norm


@dataclass(frozen=True)
class Course:
    """How a run goes through its time.

    Attributes:
        learning_rate: Peak.
        falls_from: Share of the time after which the learning rate falls to zero; 1 keeps it, for a run that another
            one goes on with.
        guided_from: Share of the time after which the target is guided.
    """

    learning_rate: float = PEAK_LEARNING_RATE
    falls_from: float = 0.5
    guided_from: float = GUIDED_FROM


def train_denoiser(
    model: FlowModel,
    batches: LatentBatches,
    empty: EmptyCaption,
    budget: TimeBudget,
    devices: Devices,
    course: Course,
    checkpoint: Path | None = None,
) -> list[tuple[int, float]]:
    """Train in place; ends with the averaged weights.

    Args:
        model: Its parameters must be equal on all devices.
        batches: This device's data.
        empty: The empty prompt.
        budget: Time to spend.
        devices: Who trains along.
        course: Learning rate and target over the time.
        checkpoint: Where rank 0 writes averaged weights every minute.

    Returns:
        Steps and mean losses between them.
    """
    torch.manual_seed(100 + devices.rank)
    steps = DenoiserSteps(model, course.learning_rate, empty)
    average = Average(model.transformer, AVERAGE_DECAY)
    total = torch.zeros((), device=steps.parameters[0].device)
    history: list[tuple[int, float]] = []
    fraction, step, saved = 0.0, 0, time.time()
    while fraction < 1.0:
        work = steps.guided if fraction >= course.guided_from else steps.plain
        total += work(*batches.draw())
        agreed = devices.average_gradients(steps.parameters, budget.fraction(step))
        steps.optimizer.set_rate(warm_up(step, 200) * late_fall(fraction, course.falls_from))
        steps.update()
        average.update()
        step += 1
        if step % REPORT_EVERY == 0 or budget.max_steps:
            fraction = float(agreed)
        if step % 500 == 0:
            history.append((step, total.item() / 500))
            total.zero_()
            if devices.rank == 0:
                kinds = "guided" if work is steps.guided else "plain"
                print(
                    f"denoiser {step} ({kinds}): {history[-1][1]:.4f}, {budget.elapsed_s / step * 1e3:.1f} ms, "
                    f"{len(work.recorded)} graphs, {torch.cuda.max_memory_allocated() / 1e9:.0f} GB",
                    flush=True,
                )
        if checkpoint and devices.rank == 0 and time.time() > saved + 60:
            average.swap()
            save_weights(model.transformer.state_dict(), checkpoint)
            average.swap()
            saved = time.time()
    average.swap()
    return history


def warm_up_compiler(model: FlowModel, device: torch.device) -> None:
    """Compile forward and backward on random data of two shapes, while other stages still train."""
    for height, caption_tokens in ((16, 64), (24, 96)):
        latents = torch.randn(64, 16, height, 16, device=device)
        captions = torch.randn(64, caption_tokens, model.transformer.config.cap_feat_dim, device=device).half()
        lengths = torch.full((64,), 20, device=device)
        empty = EmptyCaption(captions[:1, :32], lengths[:1])
        flow_loss(model, latents, captions, lengths, draw_sigmas(64, device), empty).backward()
    model.transformer.zero_grad(set_to_none=True)


def load_batches(
    world: Path, data: Path, tokenizer: Tokenizer, build: Path, device: torch.device, tokens: int
) -> tuple[LatentBatches, EmptyCaption]:
    """Render and encode, then read captions, each as soon as the stage before has written its weights."""
    wait_for(data / "captions.json")
    samples = Samples.load(data)
    vae = load_vae(wait_for(build / "vae.safetensors"), device)
    sizes = assign_sizes(len(samples.captions), 3)
    latents = encode_renders(Renderer(World.load(world), device).render, vae, samples.rows, sizes, device)
    print(f"denoiser: encoded {len(sizes)} pictures at {time.time():.0f}", flush=True)
    language_model = load_language_model(tokenizer, wait_for(build / "language_model.safetensors"), device)
    captions, lengths = encode_captions(language_model, samples.prompts, device)
    empty, length = encode_captions(language_model, Ragged.from_rows([tokenizer.encode(format_prompt("")).ids]), device)
    print(f"denoiser: read captions at {time.time():.0f}", flush=True)
    (states,) = empty.tables.values()
    return LatentBatches(latents, captions, lengths, tokens, 4), EmptyCaption(states, length)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option(
    "--data", type=str, required=True, help="Folders of training.stages.dataset, without the number at the end."
)
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True, help="Folder of the other stages' weights.")
@click.option("--seconds", type=float, default=800.0)
@click.option("--until", type=float, default=None, help="Clock time at which training ends at the latest.")
@click.option("--max-steps", type=int, default=None)
@click.option("--tokens", type=int, default=TOKENS, help="Tokens of a batch on one device.")
@click.option("--start", type=click.Path(path_type=Path, exists=True), default=None, help="Weights to train on from.")
@click.option("--learning-rate", type=float, default=PEAK_LEARNING_RATE, show_default=True, help="Peak.")
@click.option("--falls-from", type=float, default=0.5, help="Share of the time with a constant learning rate.")
@click.option("--guided-from", type=float, default=GUIDED_FROM, help="Share of the time without a guided target.")
def main(
    world: Path,
    data: str,
    tokenizer: Path,
    build: Path,
    seconds: float,
    until: float | None,
    max_steps: int | None,
    tokens: int,
    start: Path | None,
    learning_rate: float,
    falls_from: float,
    guided_from: float,
) -> None:
    """Train the transformer and write its averaged weights."""
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 64
    devices = Devices()
    torch.manual_seed(2)
    on_cuda = devices.device.type == "cuda"
    transformer = build_transformer().to(devices.device)
    if start is not None:
        load_weights(transformer, start)
    model = FlowModel(transformer, torch.bfloat16 if on_cuda else torch.float32, is_compiled=on_cuda)
    stream = torch.cuda.Stream() if on_cuda else None  # steps can't be recorded on the default one
    with torch.cuda.stream(stream):
        if on_cuda:
            warm_up_compiler(model, devices.device)
            print(f"denoiser: compiled at {time.time():.0f}", flush=True)
        words = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        batches, empty = load_batches(world, Path(f"{data}{devices.rank}"), words, build, devices.device, tokens)
        devices.join()
        budget = TimeBudget(seconds, until, max_steps)
        course = Course(learning_rate, falls_from, guided_from)
        train_denoiser(model, batches, empty, budget, devices, course, build / "transformer_so_far.safetensors")
    if devices.rank == 0:
        save_weights(model.transformer.state_dict(), build / "transformer.safetensors")
        print("denoiser done", flush=True)
    if devices.count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
