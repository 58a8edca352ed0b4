"""The typed description of one picture, and its packing into a row of numbers for the renderer.

A `Scene` holds what a caption may say and a judge may ask: objects with concept, style, place, size and colour; count
and relation; setting, mood, medium, pattern and sign. `scene_to_row` turns it into `ROW_SIZE` floats. How a scene is
chosen, told or drawn is not known here.
"""

from dataclasses import dataclass, field

import numpy as np

from training.world.looks import COLORS, GRADIENTS, MEDIA, MOODS, PATTERNS, Rgb
from training.world.places import BACKDROPS, DISCS, FALLS, GROUND_KINDS, PLACES, SKIES

MAX_OBJECTS = 6
MAX_LETTERS = 8
VARIANTS = 32
"""Random textures of each kind that the renderer has."""
BACKGROUNDS = ("plain", "gradient", "pattern", "place")
BOARDS = ("none", "board", "post")


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One thing in a scene.

    Attributes:
        concept: Index into `World.concepts`.
        style: One of `looks.STYLES`.
        x: Horizontal centre, 0..1 of the width.
        y: Vertical centre, or the foot if `stands`, 0..1 of the height from the top.
        size: Longer side, as a fraction of the picture's shorter side.
        stands: Whether it stands on a ground, with a shadow.
        color: Name in `looks.COLORS` that it is painted in; None leaves its own colours.
        is_flipped: Mirrored left to right.
        is_upside_down: Turned by half a turn.
    """

    concept: int
    style: str
    x: float
    y: float
    size: float
    stands: bool = False
    color: str | None = None
    is_flipped: bool = False
    is_upside_down: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """What lies behind the objects.

    Attributes:
        kind: One of `BACKGROUNDS`.
        colors: One colour name (plain, a wall) or two (gradient, pattern).
        gradient: One of `looks.GRADIENTS`, for that kind.
        pattern: Key of `looks.PATTERNS`, for that kind.
        repeats: How often the pattern repeats across the picture.
        place: Key of `looks.PLACES`, for that kind.
        sky: Key of `looks.SKIES`, for a place outdoors.
        horizon: Height of the horizon from the top, 0..1.
    """

    kind: str
    colors: tuple[str, ...] = ()
    gradient: str | None = None
    pattern: str | None = None
    repeats: float = 0.0
    place: str | None = None
    sky: str | None = None
    horizon: float = 1.0


@dataclass(frozen=True, slots=True)
class Sign:
    """A short word in the picture: `board` is one of `BOARDS`; `height` of the letters, of the shorter side."""

    text: str
    color: str
    board: str
    board_color: str
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Scene:
    """All that one picture shows; see the module's docstring.

    Attributes:
        objects: From back to front is the order of drawing, which is ascending foot; at most `MAX_OBJECTS`. The first
            is the subject.
        setting: What lies behind.
        relation: Of the first object to the second (or to both others, for "between"); None without one.
        count: Number of identical objects, 0 if they differ or there is none.
        size_word: "tiny", "small", "large" or None for the usual size of a single object.
        position: "top left" ... "bottom right" for an object off the centre.
        mood: Key of `looks.MOODS`.
        medium: Key of `looks.MEDIA`.
        sign: The word, if any.
        noise: Which of the renderer's random textures is used, and small jitter.
    """

    objects: tuple[SceneObject, ...]
    setting: Setting
    relation: str | None = None
    count: int = 0
    size_word: str | None = None
    position: str | None = None
    mood: str = "none"
    medium: str = "none"
    sign: Sign | None = None
    noise: int = 0


OBJECT_FIELDS = ("sprite", "x", "y", "size", "stands", "flip", "upside_down", "paint", "red", "green", "blue", "ring")
_WIDTHS = {
    "objects": MAX_OBJECTS * len(OBJECT_FIELDS),
    "background": 1,
    "color_a": 3,
    "color_b": 3,
    "gradient": 1,
    "pattern": 1,
    "repeats": 1,
    "ground": 1,
    "ground_far": 3,
    "ground_near": 3,
    "ground_texture": 1,
    "horizon": 1,
    "backdrop": 1,
    "backdrop_color": 3,
    "light": 3,
    "clouds": 1,
    "stars": 1,
    "disc": 1,
    "fall": 1,
    "mood": 1,
    "medium": 1,
    "letters": MAX_LETTERS,
    "sign_place": 3,
    "board": 1,
    "board_color": 3,
    "sign_color": 3,
    "noise": 1,
}


def _columns() -> dict[str, slice]:
    columns, start = {}, 0
    for name, width in _WIDTHS.items():
        columns[name] = slice(start, start + width)
        start += width
    return columns


COLUMNS = _columns()
"""Name of a part of the row -> its columns."""
ROW_SIZE = sum(_WIDTHS.values())
PAINTS = ("none", "tint", "silhouette")


@dataclass(frozen=True)
class SpriteIndex:
    """Where a concept's art is found: (concept, style) -> sprite, and letter -> glyph."""

    sprites: dict[tuple[int, str], int]
    glyphs: dict[str, int] = field(default_factory=dict)


def scene_to_row(scene: Scene, index: SpriteIndex) -> np.ndarray:
    """Pack a scene for the renderer.

    Args:
        scene: The picture.
        index: Sprites and glyphs by name.

    Returns:
        float32 [ROW_SIZE]; see `COLUMNS`. Absent sprites and letters are -1.
    """
    row = np.zeros(ROW_SIZE, np.float32)
    row[COLUMNS["objects"]] = _pack_objects(scene, index)
    _pack_setting(scene.setting, row)
    _put(row, mood=list(MOODS).index(scene.mood), medium=list(MEDIA).index(scene.medium), noise=scene.noise)
    row[COLUMNS["letters"]] = -1
    if scene.sign is not None:
        letters = [index.glyphs[letter] for letter in scene.sign.text]
        row[COLUMNS["letters"]][: len(letters)] = letters
        _put(row, sign_place=(scene.sign.x, scene.sign.y, scene.sign.height), board=BOARDS.index(scene.sign.board))
        _put(row, board_color=_unit(scene.sign.board_color), sign_color=_unit(scene.sign.color))
    return row


def _pack_objects(scene: Scene, index: SpriteIndex) -> np.ndarray:
    packed = np.zeros((MAX_OBJECTS, len(OBJECT_FIELDS)), np.float32)
    packed[:, 0] = -1
    in_drawing_order = sorted(scene.objects, key=lambda thing: thing.y if thing.stands else -1.0)
    for slot, thing in enumerate(in_drawing_order):
        paint = "silhouette" if scene.medium == "silhouette" else "tint" if thing.color else "none"
        color = _unit(thing.color or "black")
        sprite = index.sprites[thing.concept, thing.style]
        place = (sprite, thing.x, thing.y, thing.size, thing.stands, thing.is_flipped, thing.is_upside_down)
        ring = thing.style == "sticker" and scene.medium == "none"
        packed[slot] = (*place, PAINTS.index(paint), *color, ring)
    return packed.ravel()


def _pack_setting(setting: Setting, row: np.ndarray) -> None:
    _put(row, background=BACKGROUNDS.index(setting.kind), light=(1, 1, 1), horizon=setting.horizon)
    if setting.colors and setting.colors[0] in COLORS:
        _put(row, color_a=_unit(setting.colors[0]), color_b=_unit(setting.colors[-1]))
    if setting.gradient:
        _put(row, gradient=GRADIENTS.index(setting.gradient))
    if setting.pattern:
        _put(row, pattern=list(PATTERNS).index(setting.pattern), repeats=setting.repeats)
    if setting.place:
        _pack_place(setting, row)


def _pack_place(setting: Setting, row: np.ndarray) -> None:
    assert setting.place is not None
    place = PLACES[setting.place]
    if setting.sky:
        sky = SKIES[setting.sky]
        _put(row, color_a=_scaled(sky.top), color_b=_scaled(sky.bottom), light=sky.light, clouds=sky.clouds)
        _put(row, stars=sky.stars, disc=DISCS.index(sky.disc), fall=FALLS.index(sky.fall))
    elif setting.place == "underwater":
        _put(row, color_a=_scaled((46, 150, 206)), color_b=_scaled((8, 40, 104)), fall=FALLS.index("bubbles"))
    if place.ground is not None:
        wall = COLORS[setting.colors[0]] if setting.colors else (0, 0, 0)
        far, near = (place.ground.far, place.ground.near) if place.ground.far[0] >= 0 else (wall, wall)
        _put(row, ground=GROUND_KINDS.index(place.ground.kind), ground_far=_scaled(far), ground_near=_scaled(near))
        _put(row, ground_texture=place.ground.texture)
    _put(row, backdrop=BACKDROPS.index(place.backdrop), backdrop_color=_scaled(place.backdrop_color))


def _put(row: np.ndarray, **values: object) -> None:
    for name, value in values.items():
        row[COLUMNS[name]] = value


def _unit(color: str) -> tuple[float, ...]:
    return _scaled(COLORS[color])


def _scaled(color: Rgb) -> tuple[float, ...]:
    return tuple(channel / 255 for channel in color)
