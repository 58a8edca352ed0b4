"""Endless samples of the world: scenes with their captions, the same for the same seed, whatever the processes.

Pictures are drawn from `Batch.rows` by `render.Renderer`. Nothing here needs torch.
"""

import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.words.captions import tell
from training.world.composition import Composer
from training.world.scene import Scene
from training.world.world import World

Split = Literal["train", "held_out"]
CHUNK = 500
"""Scenes drawn from one random generator; fixed, so that samples don't depend on the number of processes."""


@dataclass(frozen=True)
class Batch:
    """Samples of the world; all lists have one entry a sample.

    Attributes:
        captions: What a user would type.
        system_prompts: None without one.
        thinking_contents: None without a think block, "" for an empty one.
        dialogues: Chat texts for the language model.
        rows: float32 [count, ROW_SIZE], for the renderer.
        scenes: What each picture shows.
    """

    captions: list[str]
    system_prompts: list[str | None]
    thinking_contents: list[str | None]
    dialogues: list[str]
    rows: np.ndarray
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.captions)

    @classmethod
    def concatenate(cls, batches: Sequence["Batch"]) -> "Batch":
        """Join batches in order."""
        return cls(
            [caption for batch in batches for caption in batch.captions],
            [prompt for batch in batches for prompt in batch.system_prompts],
            [content for batch in batches for content in batch.thinking_contents],
            [dialogue for batch in batches for dialogue in batch.dialogues],
            np.concatenate([batch.rows for batch in batches]),
            [scene for batch in batches for scene in batch.scenes],
        )


def sample_world(
    world: World, count: int, seed: int, *, split: Split = "train", held_out_share: float = 0.0, processes: int = 1
) -> Batch:
    """Draw scenes and tell them.

    Args:
        world: Of these concepts.
        count: Number of samples.
        seed: The same seed gives the same samples; a larger count only appends.
        split: "held_out" gives simple prompts on the pairs in `World.held_out`, "train" anything without them.
        held_out_share: Share of scenes about held-out pairs in the "train" split; anything but 0 is for the judge,
            never for the generator.
        processes: Forked workers.

    Returns:
        The samples.
    """
    chunks = [(seed, number, min(CHUNK, count - start)) for number, start in enumerate(range(0, count, CHUNK))]
    if processes == 1:
        return Batch.concatenate([_sample_chunk(world, split, held_out_share, *chunk) for chunk in chunks])
    # The world reaches the workers by fork, not through the pipe.
    _INHERITED[:] = [world]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        batches = pool.starmap(_sample_inherited, [(split, held_out_share, *chunk) for chunk in chunks], chunksize=4)
    return Batch.concatenate(batches)


_INHERITED: list[World] = []
"""The world that forked workers sample from."""


def _sample_inherited(split: Split, held_out_share: float, seed: int, chunk: int, count: int) -> Batch:
    return _sample_chunk(_INHERITED[0], split, held_out_share, seed, chunk, count)


def _sample_chunk(world: World, split: Split, held_out_share: float, seed: int, chunk: int, count: int) -> Batch:
    rng = random.Random(f"{split} {seed} {chunk}")
    composer = Composer(world, rng)
    scenes, told = [], []
    for _ in range(count):
        if split == "held_out":
            scene, manner = composer.held_out_scene()
        elif rng.random() < held_out_share:
            scene, manner = composer.scene_of_held_out()
        else:
            scene, manner = composer.scene()
        scenes.append(scene)
        told.append(tell(scene, manner, world, rng))
    return Batch(
        [telling.caption for telling in told],
        [telling.system_prompt for telling in told],
        [telling.thinking_content for telling in told],
        [telling.dialogue for telling in told],
        np.stack([world.row(scene) for scene in scenes]),
        scenes,
    )
