"""What a scene shows, as numbers: the judge's targets and the answers it is asked for."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.looks import MEDIA, MOODS, STYLES, TINTS
from training.places import PLACES
from training.scene import MAX_OBJECTS, Scene, SceneObject

OBJECT_FACTS = ("concept", "style", "x", "y", "size", "color")
FACTS = MAX_OBJECTS * len(OBJECT_FACTS) + 3
PLACE_NAMES = ("none", *PLACES)
COLOR_NAMES = ("own", *TINTS)
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


def _object_facts(thing: SceneObject) -> tuple[float, ...]:
    center = thing.y + thing.size * (0.5 - FOOT) if thing.stands else thing.y
    color = COLOR_NAMES.index(thing.color) if thing.color in COLOR_NAMES else 0
    return (thing.concept, STYLES.index(thing.style), thing.x, center, thing.size, color)
