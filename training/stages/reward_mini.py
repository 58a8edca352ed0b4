"""Stage 4c: image-reward-mini, which of two pictures is better for a text.

The better one is the true render of the caption; the worse one says something else, looks worse, or was drawn in too
few steps. What says something else comes from `contrasts`: either picture is the truth for its own caption, so that no
picture is bad in itself. A second loss, of matching pictures with the words of their captions among a whole batch,
teaches the vision tower a thousand things faster than pairs do; its head is thrown away. Every eighth render has passed
through the VAE, so that its traces decide nothing. Afterwards the reward is scaled to mean 0 and deviation 1 on true
renders that were not trained on.

Source: Xu et al. 2023 (ImageReward), the pairwise loss; Zhai et al. 2023 (SigLIP), the loss of matching.

Usage: `python -m training.stages.reward_mini --world ... --data training/build/data/train0 --contrasts
training/build/data/contrasts --tokenizer training/build/tokenizer --build training/build --seconds 120`
"""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from training.learning.loop import train_within
from training.learning.reward_network import MAX_TOKENS, RewardModel, RewardSizes, normalise_pictures
from training.learning.time_budget import TimeBudget, cosine_fall, warm_up
from training.learning.weights import load_weights, save_weights, start_from, wait_for
from training.pictures.render import Renderer
from training.stages.batched_euler import Generator
from training.stages.contrasts import KINDS, Contrasts
from training.stages.dataset import Samples
from training.stages.drawn_bank import Bank, Fourfold, draw_fourfold, fill_bank, steadiness, steadying_loss
from training.stages.generator import STEPS, draw_by_steps, load_generator
from training.stages.scorer_options import scorer_options
from training.stages.siglip_mini import pass_some_through_vae, render_pool, token_ids
from training.world.alterations import add_noise, blur, coarsen
from training.world.world import World

PEAK_LEARNING_RATE = 1e-3
MATCH_WEIGHT = 1.0
HELD_OUT = 2048
LEAST_DIFFERENCE = 0.5
"""Mean difference of two pictures, in steps of 255, below which nobody could tell them apart."""
SHARES = {
    "another object": 0.2,
    "another count": 0.1,
    "another color": 0.1,
    "another style": 0.14,
    "missing object": 0.14,
    "mismatched": 0.08,
    "blurred": 0.04,
    "noisy": 0.03,
    "coarse": 0.05,
    "few steps": 0.12,
}
"""Kinds of worse pictures in a batch."""


@dataclass(frozen=True)
class RewardData:
    """Pictures on the device, uint8 [..., 3, 128, 128].

    Attributes:
        true: Renders of the captions, [N, ...].
        ids: Tokens of the captions, int16 [N, MAX_TOKENS].
        pairs: Renders of scenes that differ in one told fact, [P, 2, ...].
        pair_ids: Tokens of a caption for either, int16 [P, 2, MAX_TOKENS].
        kinds: What differs, an index into `contrasts.KINDS`, int64 [P].
        drawn: For the first M samples, pictures drawn in each of `STEPS`, [len(STEPS), M, ...].
    """

    true: Tensor
    ids: Tensor
    pairs: Tensor
    pair_ids: Tensor
    kinds: Tensor
    drawn: Tensor

    def part(self, start: int | None, end: int | None) -> "RewardData":
        """Samples, pairs and drawn pictures from `start` to `end`; views, not copies."""
        chosen = slice(start, end)
        pairs = (self.pairs[chosen], self.pair_ids[chosen], self.kinds[chosen])
        return RewardData(self.true[chosen], self.ids[chosen], *pairs, self.drawn[:, chosen])

    @cached_property
    def members(self) -> dict[str, Tensor]:
        """Kind of contrast -> its places among the pairs."""
        return {kind: (self.kinds == number).nonzero()[:, 0] for number, kind in enumerate(KINDS)}


def spoilt(pictures: Tensor, kind: str) -> Tensor:
    """Make pictures look worse in one way, with a random strength."""
    strength = torch.rand((), device="cpu").item()
    if kind == "blurred":
        return blur(pictures, 0.7 + 2.5 * strength)
    if kind == "noisy":
        return add_noise(pictures, 8.0 + 50.0 * strength)
    assert kind == "coarse", kind
    return coarsen(pictures, 2 if strength < 0.5 else 4)


def draw_pair(data: RewardData, kind: str, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Draw better and worse pictures [count, 3, 128, 128] of one kind (see `SHARES`) and the caption's ids."""
    places = places_of(data, kind)
    chosen = places[torch.randint(len(places), (count,), device=places.device, generator=generator)]
    return pairs_at(data, kind, chosen, generator)


def places_of(data: RewardData, kind: str) -> Tensor:
    """Places that a kind of pairs can be taken from: of contrasts among the pairs, of all else among the captions."""
    if kind in KINDS:
        return data.members[kind]
    return torch.arange(data.drawn.shape[1] if kind == "few steps" else len(data.true), device=data.true.device)


def pairs_at(data: RewardData, kind: str, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Better and worse pictures of one kind at the chosen places, one pair a place, and the captions' ids."""
    if kind in KINDS:
        side = torch.randint(2, (len(chosen),), device=chosen.device, generator=generator)
        return data.pairs[chosen, side], data.pairs[chosen, 1 - side], data.pair_ids[chosen, side]
    if kind == "few steps":
        return _draw_steps(data, chosen, generator)
    better = data.true[chosen]
    return better, better.roll(1, 0) if kind == "mismatched" else spoilt(better, kind), data.ids[chosen]


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


class WordMatch(nn.Module):
    """Whether the mean of a picture's tokens belongs to the mean of a caption's word embeddings.

    Args:
        width: Of both.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.picture, self.text = nn.Linear(width, width), nn.Linear(width, width)
        self.scale, self.bias = nn.Parameter(torch.tensor(math.log(10.0))), nn.Parameter(torch.tensor(-10.0))

    def forward(self, picture: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Picture tokens [B, N, D], word embeddings [B, L, D] and mask [B, L] -> loss; pairs are in order."""
        bag = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        one, other = (
            F.normalize(value.float(), dim=-1) for value in (self.picture(picture.float().mean(1)), self.text(bag))
        )
        logits = one @ other.mT * self.scale.exp() + self.bias
        signs = 2.0 * torch.eye(len(logits), device=logits.device) - 1.0
        return -F.logsigmoid(signs * logits).sum() / len(logits)


def training_loss(model: RewardModel, match: WordMatch, better: Tensor, worse: Tensor, ids: Tensor) -> Tensor:
    """Pairwise loss and, weighed with `MATCH_WEIGHT`, the loss of matching the better pictures with their words."""
    ids, mask = ids.long(), ids != 0
    with torch.autocast(better.device.type, dtype=torch.bfloat16, enabled=better.is_cuda):
        picture = model.look(normalise_pictures(torch.cat([better, worse])))
        rewards = model.read(picture, ids.repeat(2, 1), mask.repeat(2, 1)).float().view(2, -1)
    preferring = -F.logsigmoid(rewards[0] - rewards[1]).mean() + 1e-3 * rewards.square().mean()
    matching: Tensor = match(picture[: len(better)], model.embed_words(ids), mask)
    return preferring + MATCH_WEIGHT * matching


def bank_loss(model: RewardModel, drawn: Fourfold) -> Tensor:
    """The loss of a batch of the bank; each text is read once for each of its four pictures."""
    return steadying_loss(reward_of(model, drawn.pictures, drawn.ids.repeat(4, 1)).view(4, -1), drawn.sided)


def train_reward(
    model: RewardModel,
    data: RewardData,
    budget: TimeBudget,
    batch: int,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
    bank: Bank | None = None,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Train in place on all of `data`; the bank's part is a quarter of the batch, fourfold."""
    generator = torch.Generator(data.true.device).manual_seed(8)
    match = WordMatch(model.sizes.hidden_size).to(data.true.device)
    trained = [*model.parameters(), *match.parameters()]
    shares = {kind: share for kind, share in SHARES.items() if _is_there(data, kind)}
    rng = random.Random(8)

    def loss_of(_step: int) -> Tensor:
        parts = [draw_pair(data, kind, max(2, round(share * batch)), generator) for kind, share in shares.items()]
        better, worse, ids = (torch.cat(column) for column in zip(*parts, strict=True))
        loss = training_loss(model, match, better, worse, ids)
        return loss if bank is None else loss + bank_loss(model, draw_fourfold(bank, batch // 4, generator, rng))

    def learning_rate(step: int, fraction: float) -> float:
        return peak_learning_rate * warm_up(step, 200) * cosine_fall(fraction)

    train_within(budget, trained, loss_of, learning_rate, name="reward", keep=keep)


@torch.no_grad()
def preference_accuracy(model: RewardModel, data: RewardData, tries: int = 2048) -> dict[str, float]:
    """Share of pairs of each kind in which the better picture gets the higher reward; kinds without pairs left out."""
    generator = torch.Generator(data.true.device).manual_seed(9)
    result = {}
    for kind in SHARES:
        if not _is_there(data, kind):
            continue
        better, worse, ids = draw_pair(data, kind, tries, generator)
        parts = zip(better.split(512), worse.split(512), ids.split(512), strict=True)
        wins = [reward_of(model, one, text) > reward_of(model, other, text) for one, other, text in parts]
        result[kind] = torch.cat(wins).float().mean().item()
    return result


def _is_there(data: RewardData, kind: str) -> bool:
    if kind in KINDS:
        return len(data.members[kind]) > 0
    return kind != "few steps" or data.drawn.shape[1] > 0


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


def prepare(
    renderer: Renderer, samples: Samples, contrasts: Contrasts, tokenizer: Tokenizer, count: int, device: torch.device
) -> RewardData:
    """Render the first `count` samples and all contrasts that can be seen; nothing is drawn yet."""
    ids = token_ids(tokenizer, samples.captions[:count], MAX_TOKENS).to(device)
    true = render_pool(renderer, torch.from_numpy(samples.rows[:count]).to(device), ((128, 128),))
    rows = torch.from_numpy(contrasts.rows).to(device)
    pairs = render_pool(renderer, rows.flatten(0, 1), ((128, 128),)).unflatten(0, (-1, 2))
    captions = [caption for pair in contrasts.captions for caption in pair]
    pair_ids = token_ids(tokenizer, captions, MAX_TOKENS).to(device).unflatten(0, (-1, 2))
    # A thing may be painted in the colour it has already, or hide behind another one.
    differs = torch.cat([_difference(part) > LEAST_DIFFERENCE for part in pairs.split(4096)])
    kinds = torch.where(differs, torch.from_numpy(contrasts.kinds).to(device), -1)
    return RewardData(true, ids, pairs, pair_ids, kinds, true[:0].expand(len(STEPS), -1, -1, -1, -1))


def _difference(pairs: Tensor) -> Tensor:
    return (pairs[:, 0].float() - pairs[:, 1].float()).abs().flatten(1).mean(1)


def draw_in_few_steps(data: RewardData, captions: list[str], generator: Generator) -> RewardData:
    """Add pictures that the transformer draws for the first captions, in each of `STEPS`."""
    return replace(data, drawn=draw_by_steps(generator, captions))


@click.command()
@click.option(
    "--contrasts", type=click.Path(path_type=Path), required=True, help="Folder of training.stages.contrasts."
)
@scorer_options(seconds=120.0, count=100_000, drawn=10_000, batch=1024, learning_rate=PEAK_LEARNING_RATE)
def main(
    world: Path,
    data: Path,
    contrasts: Path,
    tokenizer: Path,
    build: Path,
    seconds: float,
    until: float | None,
    count: int,
    drawn: int,
    elsewhere: int,
    batch: int,
    start: Path | None,
    learning_rate: float,
    device: torch.device,
) -> None:
    """Train image-reward-mini and write its weights and scale."""
    torch.manual_seed(8)
    torch.set_float32_matmul_precision("high")
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    model = RewardModel(RewardSizes(words.get_vocab_size()))
    if start is not None:
        start_from(model, start)
    samples = Samples.load(data)
    wait_for(contrasts / "captions.json")
    pictures = prepare(Renderer(World.load(world), device), samples, Contrasts.load(contrasts), words, count, device)
    generator = load_generator(tokenizer, build, device)
    for pool in (pictures.true, pictures.pairs):
        pass_some_through_vae(generator.vae, pool, 8)
    pictures = draw_in_few_steps(pictures, samples.captions[:drawn], generator)
    held_out = min(HELD_OUT, len(pictures.true) // 4)
    test, rest = pictures.part(None, held_out), pictures.part(held_out, None)
    bank, strange = fill_bank(
        generator,
        pictures.drawn[-1],
        pictures.true,
        samples.captions,
        lambda texts: token_ids(words, texts, MAX_TOKENS).to(device),
        elsewhere,
        held_out,
    )
    print(f"reward: {_record(model.to(device).eval(), test, strange)} at the start", flush=True)
    so_far = build / "reward_so_far.safetensors"
    budget = TimeBudget(seconds, until)
    train_reward(
        model.train(), rest, budget, batch, learning_rate, bank, lambda: save_weights(model.state_dict(), so_far)
    )
    record = _record(model.eval(), test, strange)
    (build / "reward.json").write_text(json.dumps(record))
    save_weights(model.state_dict(), build / "reward.safetensors")
    print(f"reward done: {record}", flush=True)


def _record(model: RewardModel, test: RewardData, bank: Bank) -> dict[str, Any]:
    mean, deviation = truth_scale(model, test)
    steady = steadiness(partial(reward_of, model), bank)
    return {"mean": mean, "std": deviation, "preferred": preference_accuracy(model, test), "steadiness": steady}


if __name__ == "__main__":
    main()
