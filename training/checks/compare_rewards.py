"""Stage 5f: did a reward lose anything on the way? Two sets of weights on the same new pairs.

For each kind of pairs (`reward_mini.SHARES`) how often either prefers the better picture, and the difference with its
standard error over the pairs, so that a fall is decided and not guessed. The samples must have seeds that neither was
trained with; captions that the samples of training hold, too, can be left out.

Usage: `python -m training.checks.compare_rewards --world training/build/sprites.npz --data training/build/data/new
--contrasts training/build/data/new_contrasts --tokenizer training/build/tokenizer --build training/build
--before OLD_FOLDER --after training/build/reward.safetensors`
"""

import math
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.learning.reward_network import RewardModel, RewardSizes
from training.learning.weights import start_from, wait_for
from training.pictures.render import Renderer
from training.stages.contrasts import Contrasts
from training.stages.dataset import Samples
from training.stages.generator import load_generator
from training.stages.reward_mini import SHARES, RewardData, draw_in_few_steps, pairs_at, places_of, prepare, reward_of
from training.world.world import World


class Comparison(NamedTuple):
    """One kind of pairs.

    Attributes:
        kind: See `SHARES`.
        pairs: How many.
        before: Share in which the weights before prefer the better one.
        after: The same of the weights after.
        error: Standard error of the difference, paired; not a number for a single pair.
    """

    kind: str
    pairs: int
    before: float
    after: float
    error: float


def compared(kind: str, before: Tensor, after: Tensor) -> Comparison:
    """Compare wins, bool [N], of both on the same pairs."""
    differences = after.double() - before.double()
    error = (differences.std() / len(differences) ** 0.5).item() if len(differences) > 1 else math.nan
    return Comparison(kind, len(before), before.double().mean().item(), after.double().mean().item(), error)


@torch.no_grad()
def wins(model: RewardModel, better: Tensor, worse: Tensor, ids: Tensor) -> Tensor:
    """Where the better one of pictures [N, 3, S, S] gets the higher reward, bool [N]."""
    parts = zip(better.split(512), worse.split(512), ids.split(512), strict=True)
    return torch.cat([reward_of(model, one, text) > reward_of(model, other, text) for one, other, text in parts])


def compare(before: RewardModel, after: RewardModel, data: RewardData, pairs: int) -> list[Comparison]:
    """Compare both on at most `pairs` pairs of each kind, no place twice."""
    found = []
    for kind in SHARES:
        generator = torch.Generator(data.true.device).manual_seed(13)
        torch.manual_seed(13)  # strengths and noise of what is spoilt
        places = places_of(data, kind)[:pairs]
        if len(places):
            told = pairs_at(data, kind, places, generator)
            found.append(compared(kind, wins(before, *told), wins(after, *told)))
    return found


def without(samples: Samples, told: set[str]) -> Samples:
    """Leave out samples whose caption is empty or was told before."""
    kept = np.array([place for place, caption in enumerate(samples.captions) if caption and caption not in told])
    captions = [samples.captions[place] for place in kept]
    return Samples(samples.prompts, samples.dialogues, samples.rows[kept], captions, samples.facts)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Of training.stages.dataset, a new seed.")
@click.option("--contrasts", type=click.Path(path_type=Path), required=True, help="Likewise.")
@click.option("--told-before", type=click.Path(path_type=Path), help="Samples whose captions are left out.")
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True, help="Of the language model.")
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option(
    "--before", type=click.Path(path_type=Path, exists=True), required=True, help="Folder or file of weights."
)
@click.option("--after", type=click.Path(path_type=Path, exists=True), required=True, help="Likewise.")
@click.option("--pairs", type=int, default=4_000, help="Of each kind at most.")
@click.option("--device", type=torch.device, default=torch.device("cuda"))
def main(
    world: Path,
    data: Path,
    contrasts: Path,
    told_before: Path | None,
    tokenizer: Path,
    build: Path,
    before: Path,
    after: Path,
    pairs: int,
    device: torch.device,
) -> None:
    """Print a line for each kind of pairs."""
    words = Tokenizer.from_file(str(wait_for(build / "scorer_tokenizer.json")))
    sizes = RewardSizes(words.get_vocab_size())
    old, new = (
        start_from(RewardModel(sizes), path).eval().requires_grad_(False).to(device) for path in (before, after)
    )
    told = set(Samples.load(told_before).captions) if told_before is not None else set()
    samples = without(Samples.load(data), told)
    rendered = prepare(Renderer(World.load(world), device), samples, Contrasts.load(contrasts), words, pairs, device)
    drawn = draw_in_few_steps(rendered, samples.captions[:pairs], load_generator(tokenizer, build, device))
    print_comparisons(compare(old, new, drawn, pairs))


def print_comparisons(comparisons: list[Comparison]) -> None:
    """Print kind, pairs, both shares and the difference in points with its standard error."""
    for line in comparisons:
        difference = 100 * (line.after - line.before)
        print(
            f"{line.kind:16} {line.pairs:6} {line.before:7.1%} {line.after:7.1%} "
            f"{difference:+5.1f} points ({100 * line.error:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
