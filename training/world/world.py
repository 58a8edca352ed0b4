"""The world of the miniature: its concepts and their art. Nothing here needs torch."""

import json
import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from training.world.looks import GLYPHS, STYLES
from training.world.scene import Scene, SpriteIndex, scene_to_row

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

    def row(self, scene: Scene) -> np.ndarray:
        """Pack one scene for the renderer, float32 [ROW_SIZE]."""
        return scene_to_row(scene, self.index)


def _concept(number: int, entry: dict[str, object], pairs: dict[tuple[int, str], int]) -> Concept:
    styles = tuple(style for style in STYLES if (number, style) in pairs)
    texts = {name: str(entry[name]) for name in ("label", "group", "home")}
    names = entry["names"]
    assert isinstance(names, list)
    scale, weight = float(str(entry["scale"])), float(str(entry["weight"]))
    color = str(entry["color"]) if entry.get("color") else None
    return Concept(color=color, names=tuple(names), scale=scale, weight=weight, styles=styles, **texts)
