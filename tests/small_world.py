"""Things of a small world of training, their sprites, and a scene of them on a plain ground."""

from PIL import Image, ImageDraw

from training.pictures.sprites import render_sprite
from training.world.scene import Scene, SceneObject, Setting

NAMES = {
    "cat": ("animal-mammal", "meadow"), "dog": ("animal-mammal", "meadow"), "fox": ("animal-mammal", "meadow"),
    "apple": ("food-fruit", "table"), "pear": ("food-fruit", "table"), "lemon": ("food-fruit", "table"),
    "car": ("transport-ground", "road"), "bus": ("transport-ground", "road"), "ship": ("transport-water", "water"),
    "shark": ("animal-marine", "water"), "rocket": ("transport-air", "sky"), "kite": ("game", "sky"),
    "violin": ("musical-instrument", "floor"), "chair": ("household", "floor"), "heart": ("heart", "none"),
    "farmer": ("person-role", "meadow"),
}  # fmt: skip


def sprite(color: tuple[int, int, int], shape: str = "ellipse") -> bytes:
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    getattr(ImageDraw.Draw(picture), shape)((4, 4, 60, 60), fill=(*color, 255))
    encoded = render_sprite(picture)
    assert encoded is not None
    return encoded


def plain(*objects: SceneObject, color: str = "white", **facts: object) -> Scene:
    return Scene(objects, Setting("plain", (color,)), **facts)  # type: ignore[arg-type]
