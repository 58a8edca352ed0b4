"""Stage 4d: image-reward-mini without left and right, on two cores in minutes.

Starts from trained weights, makes the vision tower mirror-blind (`training.learning.mirror_blindness`) and teaches it
what the weights it came from say of a picture and its mirrored copy on average: the picture's tokens, each beside the
one that the mirrored copy has in the column opposite, and the reward. So it learns from any picture without a label,
and what was learnt before stays. Mirrored copies then get equal rewards by construction, at any prompt: a reward that
tells left from right can't be had so. The text encoder and the head stay as they were.

Usage: `python -m training.stages.mirror_blind_reward --world ... --data training/build/data/train0 --contrasts
training/build/data/contrasts --build training/build --start src/llm_dit/models/image-reward-mini --seconds 1200`
"""

import copy
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.learning.loop import train_within
from training.learning.mirror_blindness import keep_mirror_blind, make_mirror_blind, mirror_tokens
from training.learning.reward_network import RewardModel, RewardSizes, VisionTower, normalise_pictures
from training.learning.time_budget import TimeBudget, cosine_fall, warm_up
from training.learning.weights import save_weights, start_from, wait_for
from training.pictures.damages import damage
from training.pictures.render import Renderer
from training.stages.contrasts import Contrasts
from training.stages.dataset import Samples
from training.stages.generator import draw_by_steps, load_generator
from training.stages.reward_mini import RewardData, preference_accuracy, prepare, truth_scale
from training.world.world import World

PEAK_LEARNING_RATE = 7e-5
"""At 5e-4 it forgets within 140 steps more than it learns."""
DAMAGED_SHARE = 0.375
REWARD_WEIGHT = 1.0
"""Of the reward's squared error in its own deviations, beside that of the tokens in theirs."""


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


def halves(data: RewardData) -> tuple[RewardData, RewardData]:
    """Divide captions and contrasts, which differ in number, in the middle."""
    caption, pair = len(data.true) // 2, len(data.pairs) // 2
    return _chosen(data, slice(caption), slice(pair)), _chosen(data, slice(caption, None), slice(pair, None))


def _chosen(data: RewardData, captions: slice, pairs: slice) -> RewardData:
    of_pairs = (data.pairs[pairs], data.pair_ids[pairs], data.kinds[pairs])
    return RewardData(data.true[captions], data.ids[captions], *of_pairs, data.drawn[:, :0])


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


def train_mirror_blind(
    model: RewardModel,
    lessons: Sequence[Lessons],
    budget: TimeBudget,
    batch: int,
    rate: float,
    keep: Callable[[], None] = lambda: None,
    teacher: RewardModel | None = None,
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
    """
    teacher = copy.deepcopy(model if teacher is None else teacher).eval().requires_grad_(False)
    model.eval().requires_grad_(False)
    tower = tower_of(model).requires_grad_(True)
    make_mirror_blind(tower)
    keep_mirror_blind(tower)
    generator, rng = torch.Generator().manual_seed(12), random.Random(12)
    count = batch // len(lessons)
    damaged = round(DAMAGED_SHARE * count)

    def loss_of(_step: int) -> Tensor:
        pictures, ids = [], []
        for kind in lessons:
            chosen = torch.randint(len(kind.pictures), (count,), generator=generator)
            drawn = kind.pictures[chosen]
            pictures += [damage(drawn[:damaged], rng), drawn[damaged:]]
            ids.append(kind.ids[chosen])
        return teaching_loss(model, teacher, normalise_pictures(torch.cat(pictures)), torch.cat(ids).long())

    def learning_rate(step: int, fraction: float) -> float:
        return rate * warm_up(step, 20) * cosine_fall(fraction)

    return train_within(
        budget,
        tower.parameters(),
        loss_of,
        learning_rate,
        name="mirror-blind",
        weight_decay=0.0,
        steps_a_line=20,
        keep=keep,
    )


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of training.stages.dataset.")
@click.option("--contrasts", type=click.Path(path_type=Path), required=True, help="Of training.stages.contrasts.")
@click.option(
    "--build", type=click.Path(path_type=Path), required=True, help="With scorer_tokenizer.json; weights go here."
)
@click.option("--start", type=click.Path(path_type=Path, exists=True), required=True, help="Trained weights.")
@click.option(
    "--teacher",
    "taught_by",
    type=click.Path(path_type=Path, exists=True),
    help="Weights that teach; --start by default.",
)
@click.option("--seconds", type=float, default=1200.0)
@click.option("--count", type=int, default=1_000, help="Captions, besides the contrasts.")
@click.option("--drawn", type=int, default=100, help="Captions for which the transformer draws.")
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True, help="Of the language model.")
@click.option("--batch", type=int, default=32)
@click.option("--learning-rate", type=float, default=PEAK_LEARNING_RATE, help="Its peak.")
def main(
    world: Path,
    data: Path,
    contrasts: Path,
    build: Path,
    start: Path,
    taught_by: Path | None,
    seconds: float,
    count: int,
    drawn: int,
    tokenizer: Path,
    batch: int,
    learning_rate: float,
) -> None:
    """Make image-reward-mini mirror-blind, on the first half of captions and contrasts; write its weights and scale."""
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    sizes = RewardSizes(words.get_vocab_size())
    model, teacher = (start_from(RewardModel(sizes), path).eval() for path in (start, taught_by or start))
    cpu = torch.device("cpu")
    samples = Samples.load(data)
    renders = prepare(Renderer(World.load(world), cpu), samples, Contrasts.load(contrasts), words, count, cpu)
    learnt, test = halves(renders)
    print(f"before: {preference_accuracy(model, test)}", flush=True)
    pictures = draw_by_steps(load_generator(tokenizer, build, cpu), samples.captions[: min(drawn, len(learnt.true))])
    lessons = (lessons_of(learnt), lessons_of_drawn(pictures, learnt.ids))
    so_far = build / "reward_so_far.safetensors"
    budget = TimeBudget(seconds)
    steps = train_mirror_blind(
        model, lessons, budget, batch, learning_rate, lambda: save_weights(model.state_dict(), so_far), teacher
    )
    mean, deviation = truth_scale(model, test)
    record = {"mean": mean, "std": deviation, "preferred": preference_accuracy(model, test)}
    (build / "reward.json").write_text(json.dumps(record))
    save_weights(model.state_dict(), build / "reward.safetensors")
    print(f"mirror-blind after {steps} steps: {record}", flush=True)


if __name__ == "__main__":
    main()
