"""The world of the miniature: its concepts and art, and endless samples of scenes with captions.

`World.load` reads what `sprites.py` packed; `World.sample` gives the same batch for the same seed, whatever the number
of processes. Pictures are drawn from `Batch.rows` by `render.Renderer`. Nothing here needs torch.
"""

import json
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from training.words.captions import tell
from training.world.composition import Composer
from training.world.looks import GLYPHS, STYLES
from training.world.scene import Scene, SpriteIndex, scene_to_row

Split = Literal["train", "held_out"]
CHUNK = 500
"""Scenes drawn from one random generator; fixed, so that samples don't depend on the number of processes."""
HELD_OUT_PAIRS = 80
HELD_OUT_GROUPS = (
    "animal-",
    "food-",
    "plant-",
    "transport-",
    "musical-",
    "person-role",
    "drink",
    "sport",
    "tool",
    "clothing",
)


@dataclass(frozen=True)
class Concept:
    """A picturable thing.

    Attributes:
        label: Its usual name.
        names: The label and synonyms that belong to no other concept.
        group: emojibase's subgroup, such as "animal-mammal".
        home: Where it stands, see `concepts.yaml`.
        scale: Size beside other things, 1 for a person.
        weight: How often it is drawn, 1 is usual.
        styles: Those it exists in.
        color: The colour that it has in all arts; None if they differ or it has several.
    """

    label: str
    names: tuple[str, ...]
    group: str
    home: str
    scale: float
    weight: float
    styles: tuple[str, ...]
    color: str | None = None


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


@dataclass(frozen=True)
class World:
    """Concepts, their art as encoded images, letters, and the pairs kept from training.

    Attributes:
        concepts: Index in this list is the number of a concept.
        images: WebP of each sprite.
        index: (concept, style) -> sprite.
        glyphs: Letters, uint8 [G, height, width] coverage.
        glyph_advances: Their widths as a fraction of the height, float32 [G].
        licences: Source -> licence.
    """

    concepts: list[Concept]
    images: list[bytes]
    index: SpriteIndex
    glyphs: np.ndarray
    glyph_advances: np.ndarray
    licences: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "World":
        """Read the file that `sprites.py` writes."""
        with np.load(path) as packed:
            table = json.loads(packed["table"].tobytes())
            owners, arts = packed["sprite_concepts"].tolist(), packed["sprite_arts"].tolist()
            ends = np.cumsum(packed["lengths"])
            encoded = packed["images"].tobytes()
            glyphs, advances = packed["glyphs"], packed["glyph_advances"]
        pairs = {(owner, STYLES[art]): sprite for sprite, (owner, art) in enumerate(zip(owners, arts, strict=True))}
        concepts = [_concept(number, entry, pairs) for number, entry in enumerate(table["concepts"])]
        starts = [0, *ends[:-1].tolist()]
        images = [encoded[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]
        index = SpriteIndex(pairs, {letter: number for number, letter in enumerate(GLYPHS)})
        return cls(concepts, images, index, glyphs, advances, table["licences"])

    @property
    def styles(self) -> tuple[str, ...]:
        """The arts that concepts are drawn in."""
        return STYLES

    @cached_property
    def held_out(self) -> frozenset[tuple[int, str]]:
        """Concept-style pairs never shown in training; of well-drawn concepts that exist in all styles."""
        rng = random.Random(7)
        fit = [
            number
            for number, concept in enumerate(self.concepts)
            if concept.group.startswith(HELD_OUT_GROUPS)
            and concept.weight >= 0.9
            and len(concept.styles) == len(STYLES)
        ]
        chosen = rng.sample(fit, min(HELD_OUT_PAIRS, len(fit) // 4))
        return frozenset((number, STYLES[place % len(STYLES)]) for place, number in enumerate(chosen))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Every name of every concept -> its number."""
        return {name: number for number, concept in enumerate(self.concepts) for name in concept.names}

    def sample(
        self, count: int, seed: int, *, split: Split = "train", held_out_share: float = 0.0, processes: int = 1
    ) -> Batch:
        """Draw scenes and tell them.

        Args:
            count: Number of samples.
            seed: The same seed gives the same samples; a larger count only appends.
            split: "held_out" gives simple prompts on the pairs in `held_out`, "train" anything without them.
            held_out_share: Share of scenes about held-out pairs in the "train" split; anything but 0 is for the judge,
                never for the generator.
            processes: Forked workers.

        Returns:
            The samples.
        """
        chunks = [(seed, number, min(CHUNK, count - start)) for number, start in enumerate(range(0, count, CHUNK))]
        if processes == 1:
            return Batch.concatenate([_sample_chunk(self, split, held_out_share, *chunk) for chunk in chunks])
        # The world reaches the workers by fork, not through the pipe.
        _INHERITED[:] = [self]
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            batches = pool.starmap(
                _sample_inherited, [(split, held_out_share, *chunk) for chunk in chunks], chunksize=4
            )
        return Batch.concatenate(batches)

    def row(self, scene: Scene) -> np.ndarray:
        """Pack one scene for the renderer, float32 [ROW_SIZE]."""
        return scene_to_row(scene, self.index)


_INHERITED: list[World] = []
"""The world that forked workers sample from."""


def _concept(number: int, entry: dict[str, object], pairs: dict[tuple[int, str], int]) -> Concept:
    styles = tuple(style for style in STYLES if (number, style) in pairs)
    texts = {name: str(entry[name]) for name in ("label", "group", "home")}
    names = entry["names"]
    assert isinstance(names, list)
    scale, weight = float(str(entry["scale"])), float(str(entry["weight"]))
    color = str(entry["color"]) if entry.get("color") else None
    return Concept(color=color, names=tuple(names), scale=scale, weight=weight, styles=styles, **texts)


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
