"""What a scene shows, as numbers: the judge's targets and the answers it is asked for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.world.looks import MEDIA, MOODS, STYLES
from training.world.places import PLACES
from training.world.scene import MAX_OBJECTS, Scene, SceneObject

OBJECT_FACTS = ("concept", "style", "x", "y", "size")
FACTS = MAX_OBJECTS * len(OBJECT_FACTS) + 3
PLACE_NAMES = ("none", *PLACES)
FOOT = 0.92
"""Where an average thing stands in its square, from the top; the renderer uses each sprite's own."""


class PictureFacts(NamedTuple):
    """The three facts about a whole picture, as indices into `PLACE_NAMES`, `looks.MOODS` and `looks.MEDIA`."""

    place: int
    mood: int
    medium: int


def facts_of(scene: Scene) -> NDArray[np.float32]:
    """Pack a scene: per object `OBJECT_FACTS` (concept -1 if absent), then `PictureFacts`; float32 [FACTS]."""
    facts = np.full((MAX_OBJECTS, len(OBJECT_FACTS)), -1.0, np.float32)
    for place, thing in enumerate(scene.objects[:MAX_OBJECTS]):
        facts[place] = _object_facts(thing)
    whole = PictureFacts(
        PLACE_NAMES.index(scene.setting.place or "none"), list(MOODS).index(scene.mood), list(MEDIA).index(scene.medium)
    )
    return np.concatenate([facts.ravel(), np.array(whole, np.float32)])


def middle_of(thing: SceneObject) -> tuple[float, float]:
    """Where the middle of a thing is, from the left and from the top, as shares of width and height."""
    return thing.x, thing.y + thing.size * (0.5 - FOOT) if thing.stands else thing.y


def _object_facts(thing: SceneObject) -> tuple[float, ...]:
    return (thing.concept, STYLES.index(thing.style), *middle_of(thing), thing.size)
