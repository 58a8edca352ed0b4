"""Sensory details that change nothing in the picture, made from small tables.

Prose prompts are full of them; the miniature must learn to hear the thing among them. No word here names a concept of
the world, a colour or a light that would be visible.
"""

import random

PARTS = {
    "animal-bird": ("feathers", "beak", "plumage", "tail feathers", "claws"),
    "animal-marine": ("skin", "fins", "scales", "body"),
    "animal-bug": ("legs", "feelers", "body", "shell"),
    "animal": ("fur", "coat", "ears", "tail", "paws", "whiskers", "back"),
    "person": ("face", "hair", "hands", "shoulders", "clothes", "sleeves"),
    "food": ("skin", "surface", "crust", "flesh", "rind"),
    "drink": ("surface", "rim", "glaze"),
    "plant": ("petals", "stem", "stalk", "veins"),
    "transport": ("bodywork", "paint", "metal", "windows", "frame"),
    "place": ("walls", "roof", "stones", "windows"),
    "musical": ("varnish", "body", "frame"),
    "clothing": ("fabric", "seams", "folds", "stitches"),
    "": ("surface", "edges", "outline", "material", "finish"),
}
"""Start of a concept's group -> what a detail speaks of; the first that fits is used."""
QUALITIES = (
    "smooth", "soft", "glossy", "worn", "finely textured", "warm to the touch", "still", "cool", "slightly creased",
    "freckled",
    "polished by use", "rough", "delicate", "crisp", "damp", "taut", "thick", "gently curved", "clean", "weathered",
    "silky",
)  # fmt: skip
DOINGS = (
    "catch the light", "hold a trace of warmth", "tell of long use", "look close enough to touch",
    "stand out clearly", "are full of detail",
    "seem to breathe", "reflect a faint glow", "are drawn with care",
)  # fmt: skip
SURROUNDINGS = (
    "One side lies in soft shadow.", "The light comes from the left.", "A light wind moves the air.",
    "Dust drifts slowly by.",
    "Everything beyond is quiet.", "The air is hazy with warmth.", "Somewhere far away it is loud, but not here.",
    "It is early in the day.",
    "The afternoon passes slowly.", "No one else is near.", "The view is from the side.",
    "Seen close up, every detail counts.",
    "The lines are even and sure.", "Fine shadows give it depth.", "A long shadow stretches away from it.",
    "A faint shimmer hangs in the air.",
    "Thin lines mark its outline.", "There are no hard edges anywhere.", "The perspective is simple and direct.",
    "The colors are chosen with care.",
    "It fills most of the frame.", "It has just arrived.", "It has been there for years.", "Nothing moves.",
    "A hush lies over everything.",
)  # fmt: skip
ADJECTIVES = (
    "beautiful", "cute", "lovely", "pretty", "simple", "charming", "single", "wonderful", "majestic", "detailed",
    "old", "new", "young",
    "quiet", "lone", "well-kept", "weathered", "handsome", "ordinary", "proud", "elegant", "curious", "perfect",
    "familiar", "strange",
    "delicate", "sturdy", "graceful", "worn", "fine",
)  # fmt: skip
"""Adjectives that change nothing in the picture."""
TAILS = (
    "seen from the side", "in the centre of the picture", "in full view", "close up", "all alone", "at rest",
    "in quiet beauty",
    "with every detail visible", "turned slightly to one side", "just as one imagines it", "caught in a still moment",
)  # fmt: skip


def detail_sentence(group: str, rng: random.Random) -> str:
    """A sentence about a part of a thing of this group, or about what surrounds it."""
    if rng.random() < 0.35:
        return rng.choice(SURROUNDINGS)
    part, is_many = _part(group, rng)
    if is_many and rng.random() < 0.4:
        return f"Its {part} {rng.choice(DOINGS)}."
    return f"Its {part} {'are' if is_many else 'is'} {_qualities(rng)}."


def detail_tail(group: str, rng: random.Random) -> str:
    """The same as a tail of a sentence: "its fur soft and still"."""
    if rng.random() < 0.4:
        return rng.choice(TAILS)
    part, _ = _part(group, rng)
    if rng.random() < 0.5:
        return f"its {part} {_qualities(rng)}"
    return f"with {rng.choice(QUALITIES)} {part}"


def _part(group: str, rng: random.Random) -> tuple[str, bool]:
    key = next(key for key in PARTS if group.startswith(key))
    part = rng.choice(PARTS[key])
    return part, part.endswith("s")


def _qualities(rng: random.Random) -> str:
    first, second = rng.sample(QUALITIES, 2)
    return first if rng.random() < 0.5 else f"{first} and {second}"
