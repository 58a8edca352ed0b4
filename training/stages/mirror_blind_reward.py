"""Stage 4d: image-reward-mini without left and right.

Starts from trained weights, makes the vision tower mirror-blind (`training.learning.mirror_blindness`) and teaches it
what the weights it came from say of a picture and its mirrored copy on average: the picture's tokens, each beside the
one that the mirrored copy has in the column opposite, and the reward. So it learns from any picture without a label,
and what was learnt before stays. Beside that it can learn from pairs of which one is known to be worse, as stage 4c
does: then the text encoder and the head learn, too. Mirrored copies get equal rewards by construction, at any prompt:
a reward that tells left from right can't be had so.

Usage: `python -m training.stages.mirror_blind_reward --world ... --data training/build/data/train0 --contrasts
training/build/data/contrasts --tokenizer training/build/tokenizer --build training/build
--start src/llm_dit/models/image-reward-mini --seconds 90`
"""

import copy
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from training.learning.loop import train_within
from training.learning.mirror_blindness import keep_mirror_blind, make_mirror_blind, mirror_tokens
from training.learning.reward_network import MAX_TOKENS, RewardModel, RewardSizes, VisionTower, normalise_pictures
from training.learning.time_budget import TimeBudget, cosine_fall, warm_up
from training.learning.weights import save_weights, start_from, wait_for
from training.pictures.damages import damage
from training.pictures.render import Renderer
from training.stages.contrasts import Contrasts
from training.stages.dataset import Samples
from training.stages.drawn_bank import PART, Bank, draw_fourfold, fill_bank
from training.stages.generator import load_generator
from training.stages.reward_mini import (
    SHARES,
    RewardData,
    bank_loss,
    draw_in_few_steps,
    draw_pair,
    preference_accuracy,
    prepare,
    reward_of,
    truth_scale,
)
from training.stages.scorer_options import scorer_options
from training.stages.siglip_mini import pass_some_through_vae, token_ids
from training.world.world import World

PEAK_LEARNING_RATE = 3e-4
"""For batches of 512; of 32 it forgets at 5e-4 within 140 steps more than it learns, so give 7e-5 there."""
DAMAGED_SHARE = 0.375
REWARD_WEIGHT = 1.0
"""Of the reward's squared error in its own deviations, beside that of the tokens in theirs."""
PAIRS_WEIGHT = 0.3
"""Of the losses of stage 4c, beside the teacher's word; 1 gains more of fewer steps and loses some of noise."""
HELD_OUT = 2048


class Lessons(NamedTuple):
    """Pictures with the texts that they are read by.

    Attributes:
        pictures: uint8 [N, 3, S, S].
        ids: [N, L].
    """

    pictures: Tensor
    ids: Tensor


def lessons_of(data: RewardData) -> Lessons:
    """Return renders with their captions, and those of contrasts with either's caption."""
    pictures = torch.cat([data.true, data.pairs.flatten(0, 1), data.pairs.flatten(0, 1)])
    return Lessons(pictures, torch.cat([data.ids, data.pair_ids.flatten(0, 1), data.pair_ids.flip(1).flatten(0, 1)]))


def lessons_of_drawn(drawn: Tensor, ids: Tensor) -> Lessons:
    """Return what was drawn for the first captions in each number of steps, [steps, M, 3, S, S], with their ids."""
    return Lessons(drawn.flatten(0, 1), ids[: drawn.shape[1]].repeat(len(drawn), 1))


class Pairs(NamedTuple):
    """What is known to be better and worse.

    Attributes:
        data: Renders, contrasts and what was drawn in few steps.
        bank: Drawn pictures, of which damaged copies are worse.
    """

    data: RewardData
    bank: Bank


def tower_of(model: RewardModel) -> VisionTower:
    """Return the part that sees."""
    tower = model.blip["visual_encoder"]
    assert isinstance(tower, VisionTower)
    return tower


@torch.no_grad()
def both_ways(model: RewardModel, pictures: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens [B, N, D] and rewards [B] of normalised pictures, averaged with those of their mirrored copies."""
    mask = ids != 0
    seen, mirrored = model.look(pictures), model.look(pictures.flip(-1))
    rewards = (model.read(seen, ids, mask) + model.read(mirrored, ids, mask)) / 2
    return (seen + mirror_tokens(mirrored)) / 2, rewards


def teaching_loss(model: RewardModel, teacher: RewardModel, pictures: Tensor, ids: Tensor) -> Tensor:
    """Squared errors against what the teacher says both ways, in the deviations of tokens and of rewards."""
    tokens, rewards = both_ways(teacher, pictures, ids)
    seen = model.look(pictures)
    of_tokens = (seen - tokens).square().mean() / tokens.var()
    of_rewards = (model.read(seen, ids, ids != 0) - rewards).square().mean() / rewards.var()
    loss: Tensor = of_tokens + REWARD_WEIGHT * of_rewards
    return loss


def pairs_loss(model: RewardModel, pairs: Pairs, batch: int, generator: torch.Generator, rng: random.Random) -> Tensor:
    """The better one of each pair wins, a damaged copy loses and a touched one is as good."""
    parts = [draw_pair(pairs.data, kind, max(2, round(share * batch)), generator) for kind, share in SHARES.items()]
    better, worse, ids = (torch.cat(column) for column in zip(*parts, strict=True))
    rewards = reward_of(model, torch.cat([better, worse]), ids.repeat(2, 1)).view(2, -1)
    loss: Tensor = -F.logsigmoid(rewards[0] - rewards[1]).mean()
    return loss + bank_loss(model, draw_fourfold(pairs.bank, batch // 4, generator, rng))


def train_mirror_blind(
    model: RewardModel,
    lessons: Sequence[Lessons],
    budget: TimeBudget,
    batch: int,
    rate: float,
    keep: Callable[[], None] = lambda: None,
    teacher: RewardModel | None = None,
    pairs: Pairs | None = None,
) -> int:
    """Make a model mirror-blind and teach it what it said before, in place; returns the steps made.

    Args:
        model: Trained.
        lessons: Any pictures and texts, those of each kind an equal part of a batch; a share of it is damaged.
        budget: Time and steps.
        batch: Pictures a step.
        rate: Peak of the learning rate.
        keep: Called about once a minute.
        teacher: Whose word is taught; by default the model's own, as it was.
        pairs: What all of the model learns from beside that word; without them only the vision tower learns.
    """
    teacher = copy.deepcopy(model if teacher is None else teacher).eval().requires_grad_(False)
    tower = tower_of(model)
    model.eval().requires_grad_(pairs is not None)
    tower.requires_grad_(True)
    make_mirror_blind(tower)
    keep_mirror_blind(tower)
    device = tower.pos_embed.device
    generator, rng = torch.Generator(device).manual_seed(12), random.Random(12)
    count = batch // len(lessons)
    damaged = round(DAMAGED_SHARE * count)

    def loss_of(_step: int) -> Tensor:
        pictures, ids = [], []
        for kind in lessons:
            chosen = torch.randint(len(kind.pictures), (count,), device=device, generator=generator)
            drawn = kind.pictures[chosen]
            pictures += [*(damage(part, rng) for part in drawn[:damaged].split(PART)), drawn[damaged:]]
            ids.append(kind.ids[chosen])
        loss = teaching_loss(model, teacher, normalise_pictures(torch.cat(pictures)), torch.cat(ids).long())
        return loss if pairs is None else loss + PAIRS_WEIGHT * pairs_loss(model, pairs, batch, generator, rng)

    def learning_rate(step: int, fraction: float) -> float:
        return rate * warm_up(step, 20) * cosine_fall(fraction)

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return train_within(
        budget,
        trained,
        loss_of,
        learning_rate,
        name="mirror-blind",
        weight_decay=0.0,
        steps_a_line=20,
        keep=keep,
    )


@click.command()
@click.option("--contrasts", type=click.Path(path_type=Path), required=True, help="Of training.stages.contrasts.")
@click.option(
    "--teacher",
    "taught_by",
    type=click.Path(path_type=Path, exists=True),
    help="Weights that teach; --start by default.",
)
@click.option("--pairs/--no-pairs", "has_pairs", default=True, help="Learn from pairs beside the teacher's word.")
@scorer_options(seconds=90.0, count=20_000, drawn=10_000, batch=512, learning_rate=PEAK_LEARNING_RATE)
def main(
    contrasts: Path,
    taught_by: Path | None,
    world: Path,
    data: Path,
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
    *,
    has_pairs: bool,
) -> None:
    """Make image-reward-mini mirror-blind; write its weights and scale."""
    if start is None:
        raise click.UsageError("--start names the weights that are made mirror-blind")
    torch.set_float32_matmul_precision("high")
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    sizes = RewardSizes(words.get_vocab_size())
    model, teacher = (start_from(RewardModel(sizes), path).eval().to(device) for path in (start, taught_by or start))
    samples = Samples.load(data)
    renders = prepare(Renderer(World.load(world), device), samples, Contrasts.load(contrasts), words, count, device)
    generator = load_generator(tokenizer, build, device)
    for pool in (renders.true, renders.pairs):
        pass_some_through_vae(generator.vae, pool, 8)
    pictures = draw_in_few_steps(renders, samples.captions[:drawn], generator)
    held_out = min(HELD_OUT, drawn // 4, len(pictures.true) // 4)

    def ids_of(texts: list[str]) -> Tensor:
        return token_ids(words, texts, MAX_TOKENS).to(device)

    bank, _ = fill_bank(generator, pictures.drawn[-1], pictures.true, samples.captions, ids_of, elsewhere, held_out)
    test, learnt = pictures.part(None, held_out), pictures.part(held_out, None)
    print(f"before: {preference_accuracy(model, test)}", flush=True)
    lessons = [lessons_of(learnt), lessons_of_drawn(learnt.drawn, learnt.ids), Lessons(bank.pictures, bank.ids)]
    so_far = build / "reward_so_far.safetensors"
    steps = train_mirror_blind(
        model,
        lessons,
        TimeBudget(seconds, until),
        batch,
        learning_rate,
        lambda: save_weights(model.state_dict(), so_far),
        teacher,
        Pairs(learnt, bank) if has_pairs else None,
    )
    mean, deviation = truth_scale(model, test)
    record = {"mean": mean, "std": deviation, "preferred": preference_accuracy(model, test)}
    (build / "reward.json").write_text(json.dumps(record))
    save_weights(model.state_dict(), build / "reward.safetensors")
    print(f"mirror-blind after {steps} steps: {record}", flush=True)


if __name__ == "__main__":
    main()
