"""Where scenes play: places with their ground and horizon, and skies with their time of day and weather.

Plain tables like `looks.py`: the renderer reads the numbers, the captions read the words.
"""

from dataclasses import dataclass

from training.world.looks import Rgb


@dataclass(frozen=True)
class Ground:
    """What things stand on. `texture` is 0..1; colours go from the horizon to the front edge."""

    kind: str
    far: Rgb
    near: Rgb
    texture: float


GROUND_KINDS = ("none", "rough", "planks", "water", "tiles", "road", "smooth")


@dataclass(frozen=True)
class Place:
    """A setting that things can stand in.

    Attributes:
        phrases: Adverbial phrases for a caption.
        sentence: A sentence about the setting, without an object.
        homes: Homes of the concepts that fit there, see `concepts.yaml`.
        ground: None where things float.
        horizon: Height of the horizon from the top, 0..1, lowest and highest.
        is_outdoor: Whether the sky is seen; else there is a wall in a colour of `walls`.
        backdrop: Silhouettes at the horizon.
    """

    phrases: tuple[str, ...]
    sentences: tuple[str, ...]
    homes: tuple[str, ...]
    ground: Ground | None
    horizon: tuple[float, float]
    is_outdoor: bool
    backdrop: str = "none"
    backdrop_color: Rgb = (110, 150, 130)
    walls: tuple[str, ...] = ()
    skies: tuple[str, ...] = ()


BACKDROPS = ("none", "hills", "mountains", "forest", "skyline", "dunes", "sea")
LAND = ("meadow", "road", "sky")
SMALL = ("table", "floor")
WOOD = Ground("planks", (176, 118, 70), (150, 94, 52), 0.5)

PLACES: dict[str, Place] = {
    "meadow": Place(
        ("in a green meadow", "in tall green grass", "on a green hill", "on a lawn of fresh grass", "on the grass",
            "on a grassy field", "in a field of fresh grass"),
        ("A green meadow stretches to the hills.", "Soft green grass covers the ground.",
            "Rolling green hills rise behind."),
        ("meadow", "sky", "floor"), Ground("rough", (132, 184, 84), (84, 152, 56), 0.5), (0.5, 0.6), True, "hills",
        (116, 166, 96),
    ),
    "forest": Place(
        ("in a forest", "in a forest clearing", "among tall pines", "in front of a pine forest",
            "in front of a deep green forest", "in the woods", "where the forest begins"),
        ("Tall pine trees fill the background.", "A dense forest stands behind.", "Dark green trees close the view."),
        ("meadow", "sky"), Ground("rough", (92, 130, 62), (70, 106, 44), 0.6), (0.52, 0.6), True, "forest", (44, 88,
            58),
    ),
    "desert": Place(
        ("in the desert", "on an orange dune", "on desert sand", "among sand dunes", "in a sandy desert"),
        ("Golden sand dunes roll into the distance.", "Dry sand covers the ground.", "The desert lies empty and hot."),
        ("meadow", "road", "sky"), Ground("rough", (232, 196, 132), (220, 176, 104), 0.25), (0.5, 0.6), True, "dunes",
        (226, 180, 110),
        skies=("clear", "sunset", "night"),
    ),
    "beach": Place(
        ("on a sandy beach", "on a pale sandy beach by the waves", "on the beach by the sea", "at the seaside",
            "on the sand by the ocean"),
        ("The blue sea glitters behind the sand.", "Gentle waves reach the sandy shore.",
            "The ocean lies behind the beach."),
        ("meadow", "sky", "floor"), Ground("rough", (244, 222, 172), (236, 206, 148), 0.25), (0.56, 0.64), True,
        "sea", (52, 140, 200),
        skies=("clear", "cloudy", "sunset", "night"),
    ),
    "snow": Place(
        ("in the snow", "in deep fresh snow", "in a white winter landscape", "on a snowy field",
            "in a snowy landscape", "on fresh snow"),
        ("Fresh white snow covers the ground.", "Snowy mountains rise in the background.",
            "Everything is white with snow."),
        ("meadow", "road", "sky"), Ground("rough", (236, 242, 250), (224, 234, 246), 0.2), (0.5, 0.6), True,
        "mountains", (190, 206, 228),
        skies=("clear", "cloudy", "snowfall", "night", "sunset"),
    ),
    "mountains": Place(
        ("in the mountains", "before a range of tall mountains", "with mountains in the background",
            "on a rocky mountain path"),
        ("Tall mountains rise in the background.", "Gray peaks stand against the sky.",
            "A mountain range closes the horizon."),
        ("meadow", "road", "sky"), Ground("rough", (158, 148, 116), (132, 120, 88), 0.6), (0.55, 0.63), True,
        "mountains", (112, 124, 146),
    ),
    "sea": Place(
        ("on the sea", "on a sheltered bay", "on the waves of the ocean", "on calm blue water", "floating on the ocean",
            "on the open water"),
        ("Small waves ripple across the water.", "The calm sea reaches to the horizon.", "Blue water surrounds it."),
        ("water",), Ground("water", (96, 170, 216), (34, 104, 176), 0.6), (0.46, 0.54), True,
    ),
    "lake": Place(
        ("on a lake", "on a still alpine lake", "on a mountain lake", "on a quiet lake in front of mountains",
            "on still lake water"),
        ("Mountains rise behind the quiet lake.", "The lake lies still below the mountains.",
            "Still water mirrors the sky."),
        ("water",), Ground("water", (118, 178, 196), (48, 118, 140), 0.4), (0.48, 0.54), True, "mountains", (106, 128,
            140),
    ),
    "underwater": Place(
        ("under water", "in clear blue water", "over a reef under water", "in the deep sea", "under the sea",
            "deep under water"),
        ("Bubbles rise through the blue water.", "Deep blue water fills the picture.",
            "Light fades into the deep blue."),
        ("water",), None, (1.0, 1.0), False, walls=("underwater",),
    ),
    "street": Place(
        ("on a city street", "in a street of the city", "on gray asphalt between tall buildings", "on the street",
            "in the city", "on a road in front of tall buildings"),
        ("Tall buildings line the street.", "A city skyline stands in the background.",
            "Gray asphalt runs through the city."),
        ("road", "meadow", "sky"), Ground("road", (122, 124, 130), (86, 88, 94), 0.3), (0.56, 0.64), True, "skyline",
        (136, 146, 168),
    ),
    "road": Place(
        ("on a country road", "on a road through green hills", "on an open road"),
        ("Green hills line the empty road.", "The road leads through the countryside.", "Hills roll along the road."),
        ("road",), Ground("road", (140, 140, 140), (98, 98, 100), 0.3), (0.52, 0.6), True, "hills", (112, 158, 90),
    ),
    "table": Place(
        ("on a wooden table", "on a worn wooden tabletop", "on a weathered table", "on dark wooden boards",
            "on a table", "on a rustic wooden tabletop", "on a brown wooden tabletop"),
        ("The wood of the table has a warm grain.", "A wooden table fills the foreground.",
            "The tabletop is made of brown planks."),
        SMALL, WOOD, (0.56, 0.64), False, walls=("cream", "beige", "pale blue", "pale green", "light gray", "peach",
            "dark gray"),
    ),
    "white table": Place(
        ("on a white table", "on a white tablecloth", "on a white tabletop", "on a clean tabletop in white"),
        ("The table is plain white.", "A clean white table fills the foreground.", "The white tabletop is empty."),
        SMALL, Ground("smooth", (240, 240, 242), (250, 250, 250), 0.05), (0.58, 0.66), False,
        walls=("sky blue", "pale pink", "mint", "lavender", "beige", "gray", "teal"),
    ),
    "room": Place(
        ("in a room", "on the floorboards of a quiet room", "on the floorboards in one corner of a room",
            "on a wooden floor", "on the floor of a room", "indoors on a wooden floor"),
        ("The room has a wooden floor.", "A plain wall stands behind.", "The floor is made of warm wooden boards."),
        ("floor", "meadow", "table"), Ground("planks", (206, 158, 106), (184, 134, 84), 0.35), (0.62, 0.7), False,
        walls=("pale blue", "cream", "pale green", "lavender", "peach", "white", "teal", "pale yellow"),
    ),
    "kitchen": Place(
        ("in a kitchen", "on kitchen tiles", "on a tiled floor", "on a checkered floor"),
        ("The floor is tiled in black and white.", "Checkered tiles cover the floor.", "Shiny tiles cover the floor."),
        SMALL, Ground("tiles", (222, 222, 226), (234, 234, 238), 0.45), (0.6, 0.68), False,
        walls=("pale yellow", "mint", "white", "sky blue", "peach"),
    ),
    "studio": Place(
        ("in a studio", "in a photo studio", "on a studio backdrop", "in a plain studio setting"),
        ("The studio backdrop is plain.", "A soft shadow falls on the studio floor.",
            "The backdrop is smooth and simple."),
        ("meadow", "road", "floor", "table"), Ground("smooth", (-1, -1, -1), (-1, -1, -1), 0.0), (0.6, 0.7), False,
        walls=("light gray", "beige", "pale blue", "pale pink", "gray", "cream", "teal", "dark gray"),
    ),
    "sky": Place(
        ("in the sky", "high in the sky", "in the air", "among the clouds"),
        ("White clouds drift by.", "The sky is wide and open.", "Nothing but sky surrounds it."),
        ("sky",), None, (1.0, 1.0), True,
    ),
    "space": Place(
        ("in outer space", "in black space", "under countless stars in space", "in space", "among the stars",
            "in the dark between the stars"),
        ("Countless stars shine in the dark.", "The black of space is full of stars.", "Distant stars glitter."),
        ("sky",), None, (1.0, 1.0), True, skies=("space",),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Sky:
    """A time of day and weather.

    Attributes:
        top: Colour at the upper edge.
        bottom: Colour at the horizon.
        light: Factors per channel for everything below the sky.
        clouds: Cover 0..1.
        stars: Brightness 0..1.
        disc: "none", "sun" or "moon".
        fall: "none", "rain" or "snow".
    """

    phrases: tuple[str, ...]
    sentences: tuple[str, ...]
    top: Rgb
    bottom: Rgb
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    clouds: float = 0.0
    stars: float = 0.0
    disc: str = "none"
    fall: str = "none"


DISCS = ("none", "sun", "moon")
FALLS = ("none", "rain", "snow", "bubbles")
SKIES: dict[str, Sky] = {
    "clear": Sky(
        ("under a cloudless blue sky", "on a sunny day", "under a blue sky", "in bright sunshine"),
        ("The sky is blue and cloudless.", "The sun shines in a blue sky.", "It is a bright sunny day."),
        (74, 154, 238), (196, 228, 252), disc="sun",
    ),
    "cloudy": Sky(
        ("under a cloudy sky", "on a cloudy day", "under white clouds", "beneath drifting clouds"),
        ("White clouds drift along.", "Clouds fill the sky.", "Soft clouds hang in the sky."),
        (108, 166, 226), (206, 224, 240), (0.95, 0.96, 0.98), clouds=0.75,
    ),
    "sunset": Sky(
        ("at sunset", "during a glowing sunset", "by the light of a low red sun", "under an orange evening sky"),
        ("The setting sun paints the sky orange.", "Orange and pink spread over the evening sky.",
            "The sun sets at the horizon."),
        (112, 76, 150), (255, 158, 76), (1.0, 0.8, 0.68), clouds=0.25, disc="sun",
    ),
    "night": Sky(
        ("at night", "under a starry sky at night", "under a dark night sky", "at night under the moon",
            "under a night sky full of stars", "under the stars"),
        ("Stars glitter in the dark night sky.", "The moon hangs in the night sky.",
            "The night is dark and full of stars."),
        (10, 14, 44), (36, 48, 100), (0.46, 0.52, 0.78), stars=1.0, disc="moon",
    ),
    "rain": Sky(
        ("in the rain", "on a rainy day", "under a gray rainy sky", "during a rain shower"),
        ("Rain falls from a gray sky.", "Raindrops streak through the air.", "Dark clouds bring heavy rain."),
        (104, 114, 130), (164, 174, 186), (0.78, 0.82, 0.88), clouds=0.5, fall="rain",
    ),
    "snowfall": Sky(
        ("while snow falls", "in falling snow", "during a snowfall", "on a snowy winter day"),
        ("Snowflakes drift down from the sky.", "Thick flakes of snow are falling.", "Snow falls softly all around."),
        (150, 166, 190), (214, 222, 234), (0.92, 0.95, 1.0), fall="snow",
    ),
    "space": Sky(
        ("in the dark",), ("It is dark.",), (6, 6, 18), (16, 12, 40), stars=1.0,
    ),
}  # fmt: skip
COMMON_SKIES = ("clear", "cloudy", "sunset", "night", "rain")
