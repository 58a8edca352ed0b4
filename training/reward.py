"""Stage 4c: image-reward-mini, which of two pictures is better for a text.

The better one is the true render of the caption; the worse one says something else, looks worse, or was drawn in too
few steps. Every eighth pair passes through the VAE, so that its traces decide nothing. Afterwards the reward is scaled
to mean 0 and deviation 1 on true renders that were not trained on.

Source: Xu et al. 2023 (ImageReward), the pairwise loss.

Usage: `python -m training.reward --world ... --data training/build/data/train0 --tokenizer training/build/tokenizer
--build training/build --seconds 120`
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from tokenizers import Tokenizer
from torch import Tensor

from llm_dit.chat_template import format_prompt
from training.alterations import add_noise, blur, coarsen
from training.dataset import Samples
from training.generator import load_generator
from training.render import Renderer
from training.reward_model import MAX_TOKENS, RewardModel, RewardSizes, normalise_pictures
from training.sampler import Generator, SampleSettings
from training.siglip import render_pool, through_vae, token_ids
from training.time_budget import TimeBudget, cosine_fall, warm_up
from training.weights import load_weights, save_weights, wait_for
from training.world import World

PEAK_LEARNING_RATE = 1e-3
HELD_OUT = 2048
STEPS = (2, 4, 9)
SHARES = {"altered": 0.45, "mismatched": 0.2, "blurred": 0.1, "noisy": 0.07, "coarse": 0.06, "few steps": 0.12}
"""Kinds of worse pictures in a batch."""


@dataclass(frozen=True)
class RewardData:
    """Pictures on the device, uint8 [N, 3, 128, 128].

    Attributes:
        true: Renders of the captions.
        altered: Renders of the altered scenes; those without an alteration are left out of `alterable`.
        alterable: Indices of samples with an altered scene.
        ids: Tokens of the captions, int16 [N, MAX_TOKENS].
        drawn: For the first M samples, pictures drawn in each of `STEPS`, [len(STEPS), M, 3, 128, 128].
    """

    true: Tensor
    altered: Tensor
    alterable: Tensor
    ids: Tensor
    drawn: Tensor

    def held_out(self, count: int) -> "RewardData":
        """The first `count` samples."""
        chosen = self.alterable[self.alterable < count]
        return RewardData(self.true[:count], self.altered[:count], chosen, self.ids[:count], self.drawn[:, :count])


def worse_pictures(data: RewardData, kind: str, indices: Tensor) -> Tensor:
    """Make a worse picture of one kind (see `SHARES`) for each index."""
    device = data.true.device
    if kind == "altered":
        return data.altered[indices]
    if kind == "mismatched":
        return data.true[indices.roll(1)]
    if kind == "few steps":
        return data.drawn[0, indices]
    strength = torch.rand((), device="cpu").item()
    if kind == "blurred":
        return blur(data.true[indices], 0.7 + 2.5 * strength)
    if kind == "noisy":
        return add_noise(data.true[indices], 8.0 + 50.0 * strength)
    assert kind == "coarse", kind
    return coarsen(data.true[indices].to(device), 2 if strength < 0.5 else 4)


def draw_pair(data: RewardData, kind: str, count: int, first: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Draw better and worse pictures [count, 3, 128, 128] of one kind and the caption's ids, from samples >= first."""
    device = data.true.device
    if kind == "altered":
        pool = data.alterable[data.alterable >= first]
        chosen = pool[torch.randint(len(pool), (count,), device=device, generator=generator)]
    else:
        last = data.drawn.shape[1] if kind == "few steps" else len(data.true)
        chosen = torch.randint(first, last, (count,), device=device, generator=generator)
    better = data.true[chosen]
    if kind == "few steps":
        return _draw_steps(data, chosen, generator)
    return better, worse_pictures(data, kind, chosen), data.ids[chosen]


def _draw_steps(data: RewardData, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Fewer steps lose against more, and against the truth (the last of `len(STEPS) + 1` ranks)."""
    device = data.true.device
    worse = torch.randint(len(STEPS), (len(chosen),), device=device, generator=generator)
    better = (
        worse + 1 + torch.randint(len(STEPS), (len(chosen),), device=device, generator=generator) % (len(STEPS) - worse)
    )
    ranks = torch.cat([data.drawn[:, chosen], data.true[chosen][None]])
    places = torch.arange(len(chosen), device=device)
    return ranks[better, places], ranks[worse, places], data.ids[chosen]


def reward_of(model: RewardModel, pictures: Tensor, ids: Tensor) -> Tensor:
    """Unscaled rewards [B] of uint8 pictures and padded ids."""
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16, enabled=pictures.is_cuda):
        rewards: Tensor = model(normalise_pictures(pictures), ids.long(), ids != 0)
    return rewards.float()


def train_reward(model: RewardModel, data: RewardData, vae: AutoencoderKL, budget: TimeBudget, batch: int) -> None:
    """Train in place, leaving the first `HELD_OUT` samples untouched."""
    first = min(HELD_OUT, len(data.true) // 4)
    generator = torch.Generator(data.true.device).manual_seed(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    step = 0
    while (fraction := budget.fraction(step)) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * warm_up(step, 200) * cosine_fall(fraction)
        parts = [
            draw_pair(data, kind, max(2, round(share * batch)), first, generator) for kind, share in SHARES.items()
        ]
        better, worse, ids = (torch.cat(column) for column in zip(*parts, strict=True))
        joined = torch.stack([better, worse], 1)
        traced = torch.arange(len(joined), device=joined.device) % 8 == 0
        joined[traced] = through_vae(vae, joined[traced].flatten(0, 1)).unflatten(0, (-1, 2))
        rewards = reward_of(model, joined.flatten(0, 1), ids.repeat_interleave(2, 0)).view(-1, 2)
        loss = -F.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean() + 1e-3 * rewards.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"reward {step}: {loss.item():.3f}, {budget.elapsed_s / step * 1e3:.1f} ms", flush=True)


@torch.no_grad()
def preference_accuracy(model: RewardModel, data: RewardData) -> dict[str, float]:
    """Share of pairs of each kind in which the better picture gets the higher reward."""
    generator = torch.Generator(data.true.device).manual_seed(9)
    result = {}
    for kind in SHARES:
        better, worse, ids = draw_pair(data, kind, min(1024, len(data.true)), 0, generator)
        result[kind] = (reward_of(model, better, ids) > reward_of(model, worse, ids)).float().mean().item()
    return result


@torch.no_grad()
def truth_scale(model: RewardModel, data: RewardData) -> tuple[float, float]:
    """Mean and deviation of the reward on true renders."""
    rewards = torch.cat(
        [reward_of(model, *part) for part in zip(data.true.split(512), data.ids.split(512), strict=True)]
    )
    return rewards.mean().item(), rewards.std().item()


def load_reward(path: Path, vocabulary: int, device: torch.device) -> tuple[RewardModel, dict[str, float]]:
    """Read trained weights and the scale beside them; the model is frozen."""
    model = load_weights(RewardModel(RewardSizes(vocabulary)), path).eval().requires_grad_(False).to(device)
    scale: dict[str, float] = json.loads(path.with_suffix(".json").read_text())
    return model, scale


def prepare(renderer: Renderer, samples: Samples, tokenizer: Tokenizer, count: int, device: torch.device) -> RewardData:
    """Render `count` samples and their altered twins; nothing is drawn yet."""
    captions = samples.captions[:count]
    ids = token_ids(tokenizer, captions, MAX_TOKENS).to(device)
    true = render_pool(renderer, torch.from_numpy(samples.rows[:count]).to(device), ((128, 128),))
    altered = render_pool(renderer, torch.from_numpy(samples.altered[:count]).to(device), ((128, 128),))
    has_words = torch.tensor([bool(caption) for caption in captions], device=device)
    differs = (true != altered).flatten(1).float().mean(1) > 0.003
    return RewardData(
        true, altered, (has_words & differs).nonzero()[:, 0], ids, true[:0].expand(len(STEPS), -1, -1, -1, -1)
    )


def draw_in_few_steps(data: RewardData, captions: list[str], generator: Generator) -> RewardData:
    """Add pictures that the transformer draws for the first captions, in each of `STEPS`."""
    prompts = [format_prompt(caption) for caption in captions]
    pictures = [generator.draw(prompts, range(len(prompts)), SampleSettings(steps=steps)) for steps in STEPS]
    return replace(data, drawn=torch.stack(pictures))


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of training.dataset --with-truth.")
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True, help="Folder of the other stages' weights.")
@click.option("--seconds", type=float, default=120.0)
@click.option("--until", type=float, default=None, help="Clock time at which training ends at the latest.")
@click.option("--count", type=int, default=200_000, help="Samples with their altered twins.")
@click.option("--drawn", type=int, default=10_000, help="Samples that the transformer draws as well.")
@click.option("--batch", type=int, default=1024)
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(
    world: Path,
    data: Path,
    tokenizer: Path,
    build: Path,
    seconds: float,
    until: float | None,
    count: int,
    drawn: int,
    batch: int,
    device: torch.device,
) -> None:
    """Train image-reward-mini and write its weights and scale."""
    torch.manual_seed(8)
    torch.set_float32_matmul_precision("high")
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    samples = Samples.load(data)
    pictures = prepare(Renderer(World.load(world), device), samples, words, count, device)
    generator = load_generator(tokenizer, build, device)
    pictures = draw_in_few_steps(pictures, samples.captions[:drawn], generator)
    model = RewardModel(RewardSizes(words.get_vocab_size())).to(device)
    train_reward(model, pictures, generator.vae, TimeBudget(seconds, until), batch)
    held_out = pictures.held_out(min(HELD_OUT, len(pictures.true) // 4))
    mean, deviation = truth_scale(model.eval(), held_out)
    record = {"mean": mean, "std": deviation, "preferred": preference_accuracy(model, held_out)}
    (build / "reward.json").write_text(json.dumps(record))
    save_weights(model.state_dict(), build / "reward.safetensors")
    print(f"reward done: {record}", flush=True)


if __name__ == "__main__":
    main()
