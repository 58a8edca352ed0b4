"""Pairs of scenes that differ in one fact, each with a caption that tells it: hard cases for both scorers.

Either picture is right for its own caption and wrong for the other's, so that nothing but the fact itself decides: a
number, a colour or an odd layout is as often the truth as not. A caption counts as far as a scorer reads it.

Usage: `python -m training.stages.contrasts --world training/build/sprites.npz --words
training/build/scorer_tokenizer.json --count 150000 --seed 5 --output training/build/data/contrasts`
"""

import json
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.learning.reward_network import MAX_TOKENS
from training.words.captions import tell
from training.words.phrases import LANDSCAPES
from training.world.alterations import SCENE_ALTERATIONS, tells
from training.world.composition import Composer
from training.world.scene import Scene
from training.world.world import World

KINDS = tuple(SCENE_ALTERATIONS)
CHUNK = 500
TELLINGS = 4
"""How often a caption is tried before the pair is given up."""
MANNERS = ("short", "short", "short", "full")


@dataclass(frozen=True)
class Contrasts:
    """Many pairs.

    Attributes:
        rows: For the renderer, float32 [N, 2, ROW_SIZE].
        captions: Two for each pair.
        kinds: Index into `KINDS`, int64 [N].
    """

    rows: NDArray[np.float32]
    captions: list[tuple[str, str]]
    kinds: NDArray[np.int64]

    @classmethod
    def concatenate(cls, parts: Sequence["Contrasts"]) -> "Contrasts":
        """Join several sets in order."""
        captions = [pair for part in parts for pair in part.captions]
        return cls(
            np.concatenate([part.rows for part in parts]), captions, np.concatenate([part.kinds for part in parts])
        )

    def save(self, folder: Path) -> None:
        """Write the arrays; the captions come last."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "rows.npy", self.rows)
        np.save(folder / "kinds.npy", self.kinds)
        part = folder / "captions.part"
        part.write_text(json.dumps(self.captions))
        part.replace(folder / "captions.json")

    @classmethod
    def load(cls, folder: Path) -> "Contrasts":
        """Read what `save` wrote."""
        captions = [(first, second) for first, second in json.loads((folder / "captions.json").read_text())]
        return cls(np.load(folder / "rows.npy"), captions, np.load(folder / "kinds.npy"))


class Contrast(NamedTuple):
    """One pair."""

    kind: str
    scenes: tuple[Scene, Scene]
    captions: tuple[str, str]


def contrast(scene: Scene, kinds: Sequence[str], world: World, words: Tokenizer, rng: random.Random) -> Contrast | None:
    """Alter a scene in the first way that applies and can be told of both; None if there is none."""
    for kind in kinds:
        other = SCENE_ALTERATIONS[kind](scene, world, rng)
        if other is None:
            continue
        captions = [_telling(kind, one, two, world, words, rng) for one, two in ((scene, other), (other, scene))]
        if captions[0] is not None and captions[1] is not None:
            return Contrast(kind, (scene, other), (captions[0], captions[1]))
    return None


def visible(text: str, words: Tokenizer, tokens: int = MAX_TOKENS) -> str:
    """The part of a text whose tokens, with the two that frame it, are read."""
    offsets = words.encode(text, add_special_tokens=False).offsets[: tokens - 2]
    return text[: offsets[-1][1]] if offsets else ""


def _telling(kind: str, scene: Scene, other: Scene, world: World, words: Tokenizer, rng: random.Random) -> str | None:
    place = scene.setting.place
    if not scene.objects and place is not None and place not in LANDSCAPES:
        return None
    for _ in range(TELLINGS):
        caption = tell(scene, rng.choice(MANNERS), world, rng).caption
        if tells(kind, scene, other, visible(caption, words), world):
            return caption
    return None


class Job(NamedTuple):
    """What one worker makes at a time."""

    pairs: int
    seed: int


def make_contrasts(world: World, words: Tokenizer, count: int, seed: int, processes: int) -> Contrasts:
    """Draw `count` pairs, as evenly over `KINDS` as the scenes allow; the result depends on the seed alone."""
    jobs = [Job(min(CHUNK, count - start), seed * 1_000_003 + start) for start in range(0, count, CHUNK)]
    # The world reaches the workers by fork, not through the pipe.
    _INHERITED[:] = [(world, words)]
    if processes == 1:
        return Contrasts.concatenate([_make_chunk(job) for job in jobs])
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return Contrasts.concatenate(pool.map(_make_chunk, jobs, chunksize=1))


_INHERITED: list[tuple[World, Tokenizer]] = []


def _make_chunk(job: Job) -> Contrasts:
    world, words = _INHERITED[0]
    words.no_truncation()
    words.no_padding()
    rng = random.Random(job.seed)
    composer = Composer(world, rng)
    found, made = Counter[str](dict.fromkeys(KINDS, 0)), list[Contrast]()
    while len(made) < job.pairs:
        # The rarest kind so far is tried first.
        kinds = sorted(KINDS, key=lambda kind: (found[kind], rng.random()))
        pair = contrast(composer.scene()[0], kinds[:3], world, words, rng)
        if pair is not None:
            found[pair.kind] += 1
            made.append(pair)
    rows = np.stack([np.stack([world.row(scene) for scene in pair.scenes]) for pair in made])
    kinds_made = np.array([KINDS.index(pair.kind) for pair in made])
    return Contrasts(rows.astype(np.float32), [pair.captions for pair in made], kinds_made)


@click.command()
@click.option("--world", type=click.Path(path_type=Path), required=True)
@click.option("--words", type=click.Path(path_type=Path), required=True, help="The scorers' tokenizer.")
@click.option("--count", type=int, default=150_000)
@click.option("--seed", type=int, default=5)
@click.option("--processes", type=int, default=os.cpu_count() or 1)
@click.option("--output", type=click.Path(path_type=Path), required=True)
def main(world: Path, words: Path, count: int, seed: int, processes: int, output: Path) -> None:
    """Sample pairs of scenes that differ in one told fact."""
    contrasts = make_contrasts(World.load(world), Tokenizer.from_file(str(words)), count, seed, processes)
    contrasts.save(output)
    shares = np.bincount(contrasts.kinds, minlength=len(KINDS)) / count
    print(f"contrasts: {count}, {dict(zip(KINDS, shares.round(3).tolist(), strict=True))}", flush=True)


if __name__ == "__main__":
    main()
