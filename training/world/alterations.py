"""Ways in which a picture can be worse than the true render of its caption.

Two families: a scene that says something else (another object, count, colour or style, or one object less), and a
picture that looks worse (blur, noise, coarse pixels). Both scorers learn from them. Whether a caption speaks of what
was altered at all is asked of `tells`: nobody can prefer a picture for what was left unsaid.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from training.world.looks import STYLE_WORDS, STYLES, TINTS
from training.world.nouns import NUMBER_WORDS, plural
from training.world.scene import Scene, SceneObject
from training.world.world import World

Alteration = Callable[[Scene, World, Random], Scene | None]


def another_object(scene: Scene, world: World, random: Random) -> Scene | None:
    """Show another concept in the subject's place, as often as the subject stands there."""
    if not scene.objects:
        return None
    subject = scene.objects[0]
    choices = [index for index, concept in enumerate(world.concepts) if subject.style in concept.styles]
    other = random.choice(choices)
    if other == subject.concept:
        return None
    objects = tuple(
        replace(thing, concept=other) if thing.concept == subject.concept else thing for thing in scene.objects
    )
    return replace(scene, objects=objects)


def another_count(scene: Scene, world: World, random: Random) -> Scene | None:  # noqa: ARG001 - one signature for all
    """Take one of several identical objects away, or both of two."""
    if scene.count < 2:
        return None
    kept = random.randrange(1, scene.count)
    return replace(scene, objects=scene.objects[:kept], count=kept)


def another_color(scene: Scene, world: World, random: Random) -> Scene | None:  # noqa: ARG001 - one signature for all
    """Paint what has a said colour, or a plain background, in another one."""
    if any(thing.color for thing in scene.objects):
        color = random.choice(TINTS)
        painted = tuple(replace(thing, color=color) if thing.color else thing for thing in scene.objects)
        return None if painted == scene.objects else replace(scene, objects=painted)
    if scene.setting.kind == "plain":
        color = random.choice(TINTS)
        setting = replace(scene.setting, colors=(color,))
        return None if setting == scene.setting else replace(scene, setting=setting)
    return None


def another_style(scene: Scene, world: World, random: Random) -> Scene | None:
    """Draw all objects in another style."""
    if not scene.objects or scene.medium != "none":
        return None
    known = [set(world.concepts[thing.concept].styles) for thing in scene.objects]
    choices = [
        style for style in STYLES if style != scene.objects[0].style and all(style in styles for styles in known)
    ]
    if not choices:
        return None
    style = random.choice(choices)
    return replace(scene, objects=tuple(replace(thing, style=style) for thing in scene.objects))


def missing_object(scene: Scene, world: World, random: Random) -> Scene | None:  # noqa: ARG001 - one signature for all
    """Leave one of several different objects out, or the only one."""
    if not scene.objects or scene.count > 1:
        return None
    gone = random.randrange(len(scene.objects))
    left = tuple(thing for place, thing in enumerate(scene.objects) if place != gone)
    relation = "and" if len(left) > 1 else None
    return replace(scene, objects=left, relation=relation, count=len(left) % 2, size_word=None, position=None)


SCENE_ALTERATIONS: dict[str, Alteration] = {
    "another object": another_object,
    "another count": another_count,
    "another color": another_color,
    "another style": another_style,
    "missing object": missing_object,
}
"""Each returns None where it does not apply."""


def tells(kind: str, scene: Scene, other: Scene, text: str, world: World) -> bool:
    """Whether a text says of `scene` what an alteration of that kind made different in `other`.

    Args:
        kind: Key of `SCENE_ALTERATIONS`.
        scene: What the text was written for.
        other: The same scene but for the alteration, either way round.
        text: As much of the caption as a scorer reads.
        world: Gives the names.
    """
    read = text.lower().replace("grey", "gray")
    differing = [thing for thing in scene.objects if thing not in other.objects]
    if kind == "missing object":
        # What is there too much is never told; then it is enough that all the rest is.
        return all(_names(thing, read, world) for thing in differing or scene.objects)
    if kind == "another count":
        named = _names(scene.objects[0], read, world)
        return named and (scene.count == 1 or _says(read, NUMBER_WORDS[scene.count]))
    if kind == "another color":
        painted = [thing.color for thing in differing if thing.color]
        return any(_says(read, color) for color in painted or scene.setting.colors)
    if kind == "another style":
        return any(_says(read, words.lower()) for words in STYLE_WORDS[scene.objects[0].style])
    assert kind == "another object", kind
    return all(_names(thing, read, world) for thing in differing)


def _names(thing: SceneObject, text: str, world: World) -> bool:
    names = [name.lower() for name in world.concepts[thing.concept].names]
    return any(_says(text, form) for name in names for form in (name, plural(name)))


def _says(text: str, words: str) -> bool:
    return re.search(rf"\b{re.escape(words)}\b", text) is not None


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of uint8 pictures, `sigma` in pixels."""
    radius = max(1, int(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=pictures.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    value = F.pad(pictures.float(), (radius, radius, radius, radius), mode="replicate")
    value = F.conv2d(F.conv2d(value, kernel, groups=3), kernel.transpose(2, 3), groups=3)
    return value.clamp(0.0, 255.0).round().to(torch.uint8)


def add_noise(pictures: Tensor, deviation: float) -> Tensor:
    """Gaussian noise on uint8 pictures, `deviation` in steps of 255."""
    noisy = pictures.float() + deviation * torch.randn(pictures.shape, device=pictures.device)
    return noisy.clamp(0.0, 255.0).round().to(torch.uint8)


def coarsen(pictures: Tensor, factor: int) -> Tensor:
    """Keep one value of `factor` x `factor` pixels and scale up smoothly, as a failing decoder does."""
    small = F.avg_pool2d(pictures.float(), factor)
    scaled = F.interpolate(small, pictures.shape[-2:], mode="bilinear")
    return scaled.clamp(0.0, 255.0).round().to(torch.uint8)
