"""Give a scene a medium or a mood: pencil, watercolour, blueprint, night, a photograph's light."""

import random
from dataclasses import replace

from training.world.looks import MOODS
from training.world.scene import Scene, SceneObject, Setting

MEDIUM_WEIGHTS = {
    "line drawing": 1.0, "pixel art": 2.0, "watercolor": 1.2, "oil painting": 1.6, "pencil sketch": 1.0,
    "blueprint": 1.4, "silhouette": 1.0,
}  # fmt: skip
GRADED_MEDIA = ("none", "watercolor", "oil painting", "pixel art")


def with_look(rng: random.Random, scene: Scene) -> Scene:
    """Add a medium or a mood to some scenes."""
    if scene.setting.kind != "place" and not scene.objects:
        return scene
    chance = rng.random()
    medium = "none"
    if chance < 0.16 and scene.sign is None and scene.size_word != "tiny":
        is_outlined = scene.setting.kind == "plain" and scene.count == 1
        medium = _medium(rng, is_outlined, bool(scene.objects))
    if medium in ("line drawing", "pencil sketch", "blueprint", "silhouette"):
        things = tuple(replace(thing, color=None) for thing in scene.objects)
        setting = scene.setting if scene.setting.kind == "place" and medium == "pencil sketch" else _sheet(rng, medium)
        if setting is not scene.setting:
            things = _lifted(things)
        return replace(scene, objects=things, setting=setting, medium=medium)
    mood = "none"
    if rng.random() < (0.3 if scene.setting.kind == "place" else 0.16):
        mood = rng.choice([*[name for name in MOODS if name != "none"], "photo", "photo", "warm"])
    return replace(scene, medium=medium, mood=mood)


def _medium(rng: random.Random, is_outlined: bool, has_objects: bool) -> str:
    weights = MEDIUM_WEIGHTS if has_objects else {name: MEDIUM_WEIGHTS[name] for name in GRADED_MEDIA[1:]}
    drawn = rng.choices(list(weights), list(weights.values()))[0]
    while drawn == "silhouette" and not is_outlined:
        drawn = rng.choices(list(weights), list(weights.values()))[0]
    return drawn


def _sheet(rng: random.Random, medium: str) -> Setting:
    if medium == "silhouette":
        return Setting(
            "plain",
            (rng.choice(("white", "orange", "peach", "yellow", "sky blue", "pale pink", "lavender", "red")),),
        )
    return Setting("plain", ("white",))


def _lifted(things: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
    """Take standing things off their ground to the middle of the picture, rows still apart."""
    if not any(thing.stands for thing in things):
        return things
    centers = [thing.y - 0.42 * thing.size if thing.stands else thing.y for thing in things]
    drop = 0.5 - (min(centers) + max(centers)) / 2
    return tuple(replace(thing, stands=False, y=y + drop) for thing, y in zip(things, centers, strict=True))
