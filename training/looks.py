"""What a picture of the world can look like: colours, places, skies, moods, media and patterns, with their words.

Plain tables. The renderer reads the numbers, the captions read the words; neither is known here. Colours are sRGB in
0..255. A place is where a scene plays, a sky its time of day and weather, a mood a colour grade over all of it, a
medium a filter that turns the picture into a drawing or a painting.
"""

import string
from dataclasses import dataclass, field

Rgb = tuple[int, int, int]

COLORS: dict[str, Rgb] = {
    "white": (250, 250, 250), "black": (18, 18, 20), "gray": (132, 134, 138), "light gray": (210, 212, 216),
    "dark gray": (66, 68, 74), "red": (222, 44, 50), "dark red": (132, 20, 30), "pink": (246, 130, 182),
    "pale pink": (252, 214, 226), "orange": (248, 138, 34), "peach": (254, 208, 170), "yellow": (252, 216, 50),
    "pale yellow": (254, 244, 190), "cream": (250, 240, 220), "lime": (164, 222, 50), "green": (54, 164, 76),
    "pale green": (204, 238, 204), "mint": (158, 230, 200), "dark green": (22, 90, 54), "teal": (24, 144, 146),
    "turquoise": (64, 210, 214), "pale blue": (204, 226, 250), "sky blue": (124, 194, 246), "blue": (44, 104, 226),
    "navy": (22, 34, 92), "purple": (132, 66, 196), "lavender": (212, 200, 246), "magenta": (220, 40, 158),
    "brown": (124, 80, 48), "beige": (228, 212, 186),
}  # fmt: skip
TINTS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "teal", "brown", "white", "black", "gray")
"""Colours that an object can be painted in."""
PALE = (
    "white", "light gray", "pale pink", "peach", "pale yellow", "cream", "pale green", "mint", "pale blue", "sky blue",
    "lavender", "beige",
)  # fmt: skip
"""Backgrounds that a picture gets when nothing is said of them."""

STYLES = ("3d", "flat", "cartoon", "sticker")
GLYPHS = string.ascii_uppercase + string.digits
"""Letters that signs are written with."""
STYLE_WORDS = {
    "3d": [
        "3D render",
        "close-up photograph",
        "studio photograph",
        "3D model",
        "glossy 3D icon",
        "photorealistic picture",
        "photograph",
        "realistic 3D image",
    ],
    "flat": [
        "flat illustration",
        "minimalist illustration",
        "vector graphic",
        "flat vector illustration",
        "flat design",
        "minimalist flat graphic",
    ],
    "cartoon": [
        "cartoon",
        "anime style drawing",
        "comic drawing",
        "cartoon drawing",
        "colorful cartoon",
        "children's book illustration",
    ],
    "sticker": ["sticker", "sticker with a white border", "die-cut sticker", "paper sticker"],
}


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
        ("in a green meadow", "in tall green grass", "on a green hill", "on a lawn of fresh grass", "on the grass", "on a grassy field", "in a field of green grass"),
        ("A green meadow stretches to the hills.", "Soft green grass covers the ground.", "Rolling green hills rise behind."),
        ("meadow", "sky", "floor"), Ground("rough", (132, 184, 84), (84, 152, 56), 0.5), (0.5, 0.6), True, "hills", (116, 166, 96),
    ),
    "forest": Place(
        ("in a forest", "in a clearing of the forest", "among tall pines", "in front of a pine forest", "in front of a dark green forest", "in the woods", "at the edge of a forest"),
        ("Tall pine trees fill the background.", "A dense forest stands behind.", "Dark green trees close the view."),
        ("meadow", "sky"), Ground("rough", (92, 130, 62), (70, 106, 44), 0.6), (0.52, 0.6), True, "forest", (44, 88, 58),
    ),
    "desert": Place(
        ("in the desert", "on an orange dune", "on desert sand", "among sand dunes", "in a sandy desert"),
        ("Golden sand dunes roll into the distance.", "Dry sand covers the ground.", "The desert lies empty and hot."),
        ("meadow", "road", "sky"), Ground("rough", (232, 196, 132), (220, 176, 104), 0.25), (0.5, 0.6), True, "dunes", (226, 180, 110),
        skies=("clear", "sunset", "night"),
    ),
    "beach": Place(
        ("on a sandy beach", "on a pale sandy beach by the waves", "on the beach by the sea", "at the seaside", "on the sand by the ocean"),
        ("The blue sea glitters behind the sand.", "Gentle waves reach the sandy shore.", "The ocean lies behind the beach."),
        ("meadow", "sky", "floor"), Ground("rough", (244, 222, 172), (236, 206, 148), 0.25), (0.56, 0.64), True, "sea", (52, 140, 200),
        skies=("clear", "cloudy", "sunset", "night"),
    ),
    "snow": Place(
        ("in the snow", "in deep fresh snow", "in a white winter landscape", "on a snowy field", "in a snowy landscape", "on fresh snow"),
        ("Fresh white snow covers the ground.", "Snowy mountains rise in the background.", "Everything is white with snow."),
        ("meadow", "road", "sky"), Ground("rough", (236, 242, 250), (224, 234, 246), 0.2), (0.5, 0.6), True, "mountains", (190, 206, 228),
        skies=("clear", "cloudy", "snowfall", "night", "sunset"),
    ),
    "mountains": Place(
        ("in the mountains", "in front of tall mountains", "with mountains in the background", "on a rocky mountain path"),
        ("Tall mountains rise in the background.", "Gray peaks stand against the sky.", "A mountain range closes the horizon."),
        ("meadow", "road", "sky"), Ground("rough", (158, 148, 116), (132, 120, 88), 0.6), (0.55, 0.63), True, "mountains", (112, 124, 146),
    ),
    "sea": Place(
        ("on the sea", "on a calm bay", "on the waves of the ocean", "on calm blue water", "floating on the ocean", "on the open water"),
        ("Small waves ripple across the water.", "The calm sea reaches to the horizon.", "Blue water surrounds it."),
        ("water",), Ground("water", (96, 170, 216), (34, 104, 176), 0.6), (0.46, 0.54), True,
    ),
    "lake": Place(
        ("on a lake", "on a still alpine lake", "on a mountain lake", "on a quiet lake in front of mountains", "on still lake water"),
        ("Mountains rise behind the quiet lake.", "The lake lies still below the mountains.", "Still water mirrors the sky."),
        ("water",), Ground("water", (118, 178, 196), (48, 118, 140), 0.4), (0.48, 0.54), True, "mountains", (106, 128, 140),
    ),
    "underwater": Place(
        ("under water", "in clear blue water", "over a reef under water", "in the deep sea", "under the sea", "deep under water"),
        ("Bubbles rise through the blue water.", "Deep blue water fills the picture.", "Light fades into the deep blue."),
        ("water",), None, (1.0, 1.0), False, walls=("underwater",),
    ),
    "street": Place(
        ("on a city street", "in a street of the city", "on gray asphalt between tall buildings", "on the street", "in the city", "on a road in front of tall buildings"),
        ("Tall buildings line the street.", "A city skyline stands in the background.", "Gray asphalt runs through the city."),
        ("road", "meadow", "sky"), Ground("road", (122, 124, 130), (86, 88, 94), 0.3), (0.56, 0.64), True, "skyline", (136, 146, 168),
    ),
    "road": Place(
        ("on a country road", "on a road through green hills", "on an open road"),
        ("Green hills line the empty road.", "The road leads through the countryside.", "Hills roll along the road."),
        ("road",), Ground("road", (140, 140, 140), (98, 98, 100), 0.3), (0.52, 0.6), True, "hills", (112, 158, 90),
    ),
    "table": Place(
        ("on a wooden table", "on a worn wooden table", "on a weathered table", "on dark wooden boards", "on a table", "on a rustic wooden table", "on a brown wooden tabletop"),
        ("The wood of the table has a warm grain.", "A wooden table fills the foreground.", "The tabletop is made of brown planks."),
        SMALL, WOOD, (0.56, 0.64), False, walls=("cream", "beige", "pale blue", "pale green", "light gray", "peach", "dark gray"),
    ),
    "white table": Place(
        ("on a white table", "on a white tablecloth", "on a white tabletop", "on a clean white table"),
        ("The table is plain white.", "A clean white table fills the foreground.", "The white tabletop is empty."),
        SMALL, Ground("smooth", (240, 240, 242), (250, 250, 250), 0.05), (0.58, 0.66), False,
        walls=("sky blue", "pale pink", "mint", "lavender", "beige", "gray", "teal"),
    ),
    "room": Place(
        ("in a room", "on the floorboards of a quiet room", "in a corner of a room with a wooden floor", "on a wooden floor", "on the floor of a room", "indoors on a wooden floor"),
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
        ("The studio backdrop is plain.", "A soft shadow falls on the studio floor.", "The backdrop is smooth and simple."),
        ("meadow", "road", "floor", "table"), Ground("smooth", (-1, -1, -1), (-1, -1, -1), 0.0), (0.6, 0.7), False,
        walls=("light gray", "beige", "pale blue", "pale pink", "gray", "cream", "teal", "dark gray"),
    ),
    "sky": Place(
        ("in the sky", "high in the sky", "in the air", "among the clouds"),
        ("White clouds drift by.", "The sky is wide and open.", "Nothing but sky surrounds it."),
        ("sky",), None, (1.0, 1.0), True,
    ),
    "space": Place(
        ("in outer space", "in black space", "under countless stars in space", "in space", "among the stars", "in the dark of space"),
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
        ("under a clear blue sky", "on a sunny day", "under a blue sky", "in bright sunshine"),
        ("The sky is clear and blue.", "The sun shines in a blue sky.", "It is a bright sunny day."),
        (74, 154, 238), (196, 228, 252), disc="sun",
    ),
    "cloudy": Sky(
        ("under a cloudy sky", "on a cloudy day", "under white clouds", "beneath drifting clouds"),
        ("White clouds drift across the sky.", "The sky is full of clouds.", "Soft clouds hang in the sky."),
        (108, 166, 226), (206, 224, 240), (0.95, 0.96, 0.98), clouds=0.75,
    ),
    "sunset": Sky(
        ("at sunset", "during a glowing sunset", "in the light of the setting sun", "under an orange evening sky"),
        ("The setting sun paints the sky orange.", "The evening sky glows orange and pink.", "The sun sets at the horizon."),
        (112, 76, 150), (255, 158, 76), (1.0, 0.8, 0.68), clouds=0.25, disc="sun",
    ),
    "night": Sky(
        ("at night", "under a starry night sky", "at night under the moon", "under the stars"),
        ("Stars glitter in the dark night sky.", "The moon hangs in the night sky.", "The night is dark and full of stars."),
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


@dataclass(frozen=True)
class Mood:
    """A colour grade: `out = vignette(fog(contrast(saturation(pixel * gain))))`.

    Attributes:
        gain: Factor per channel.
        saturation: 0 is black and white, 1 leaves it.
        contrast: Slope around mid gray.
        lift: Added to every channel, -1..1.
        vignette: Darkening of the corners, 0..1.
        fog: Share of `fog_color` mixed in, stronger towards the horizon.
        split: Strength of a magenta-to-cyan split of the light from left to right.
        blur: Radius of the blur of what lies behind the objects, in 128ths of the shorter side.
    """

    phrases: tuple[str, ...]
    sentences: tuple[str, ...]
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    contrast: float = 1.0
    lift: float = 0.0
    vignette: float = 0.0
    fog: float = 0.0
    split: float = 0.0
    blur: float = 0.0


MOODS: dict[str, Mood] = {
    "none": Mood((), ()),
    "warm": Mood(
        ("in warm light", "with warm lighting", "in warm colors", "bathed in warm light"),
        ("Warm light fills the scene.", "The colors are warm and inviting.", "The mood is warm and peaceful.", "A cozy warm glow lies over everything."),
        (1.12, 0.97, 0.74), 1.05, 1.0, 0.02, 0.2,
    ),
    "golden": Mood(
        ("in golden hour light", "backlit by the low sun", "at golden hour", "in golden evening light", "glowing in golden sunlight"),
        ("Golden hour light makes everything glow.", "Golden sunlight bathes the scene.", "Low golden sun casts a warm glow."),
        (1.28, 0.98, 0.52), 1.1, 1.05, 0.03, 0.3,
    ),
    "cool": Mood(
        ("in cool light", "with cool blue tones", "in cold blue light", "in cool colors"),
        ("Cool blue light lies over the scene.", "The colors are cold and blue.", "The mood is cool and calm."),
        (0.74, 0.94, 1.14), 0.9,
    ),
    "moonlit": Mood(
        ("in moonlight", "lit by the moon", "in pale moonlight", "by moonlight"),
        ("Pale moonlight falls on the scene.", "Moonlight turns everything blue.", "It is dark but for the moonlight."),
        (0.4, 0.5, 0.86), 0.7, 1.1, -0.01, 0.5,
    ),
    "foggy": Mood(
        ("in thick fog", "in a misty atmosphere", "in the fog", "in morning mist", "shrouded in fog"),
        ("Thick fog hides the distance.", "A pale mist hangs in the air.", "Fog softens every shape.", "The mood is quiet and misty."),
        saturation=0.6, contrast=0.85, fog=0.62,
    ),
    "neon": Mood(
        ("in neon light", "in cyberpunk neon light", "with neon lighting", "lit by pink and blue neon", "in glowing neon colors"),
        ("Neon light in pink and cyan glows from both sides.", "Bright neon colors light the dark.", "Neon signs cast pink and blue light."),
        (0.78, 0.72, 0.9), 1.3, 1.2, -0.04, 0.4, split=0.85,
    ),
    "noir": Mood(
        ("in black and white", "in film noir style", "in high contrast black and white", "as a black and white photograph"),
        ("The picture is black and white.", "Deep black shadows give it a film noir mood.", "High contrast black and white makes it dramatic."),
        saturation=0.0, contrast=1.45, lift=-0.04, vignette=0.65,
    ),
    "soft": Mood(
        ("in soft light", "with soft lighting", "in soft diffused light", "with a soft gentle glow"),
        ("Soft light falls evenly on everything.", "The lighting is soft and gentle.", "Gentle diffused light softens the shadows."),
        (1.02, 1.0, 0.97), 0.75, 0.72, 0.1, 0.12,
    ),
    "dramatic": Mood(
        ("with dramatic lighting", "lit by a single spotlight", "with chiaroscuro lighting", "in candlelight", "in dramatic light", "with strong contrast and dark corners", "in a dark dramatic mood"),
        ("Dramatic lighting leaves the corners dark.", "Strong light and deep shadows create drama.", "The dark corners draw the eye to the middle."),
        (1.0, 0.97, 0.92), 1.05, 1.35, -0.05, 0.95,
    ),
    "vintage": Mood(
        ("in sepia tones", "as an old faded photograph", "with a vintage look", "in faded vintage colors"),
        ("The picture has faded sepia tones.", "It looks like an old photograph.", "Vintage brown tones give it age."),
        (1.1, 0.92, 0.68), 0.25, 0.9, 0.04, 0.4,
    ),
    "vivid": Mood(
        ("in vivid colors", "with vibrant saturated colors", "in bright vivid colors"),
        ("The colors are vivid and bright.", "Vibrant colors make it lively.", "Everything is bright and saturated."),
        saturation=1.7, contrast=1.12,
    ),
    "photo": Mood(
        ("as a professional photograph", "in natural light", "photographed with shallow depth of field", "with a blurred background"),
        ("The background is softly blurred.", "Natural light gives it the look of a photograph.", "A shallow depth of field blurs the background."),
        (1.03, 1.0, 0.95), 1.0, 1.12, 0.0, 0.4, blur=4.0,
    ),
    "pastel": Mood(
        ("in pastel colors", "in soft pastel tones", "with pale pastel colors"),
        ("The colors are soft pastels.", "Pale pastel tones make it dreamy.", "Everything is painted in pastel shades."),
        saturation=0.6, contrast=0.6, lift=0.22,
    ),
}  # fmt: skip

MEDIA: dict[str, tuple[str, ...]] = {
    "none": (),
    "line drawing": ("line drawing", "pen and ink drawing", "coloring book page", "black and white line drawing", "ink drawing", "simple line art drawing", "outline drawing"),
    "pixel art": ("pixel art picture", "8-bit pixel art image", "pixel art", "retro pixel art"),
    "watercolor": ("watercolor painting", "delicate watercolor", "watercolor", "loose watercolor painting", "soft watercolor"),
    "oil painting": ("oil painting", "painting in the style of van Gogh", "impressionist oil painting", "classical painting", "oil painting with thick brush strokes", "impressionist painting", "painting on canvas"),
    "pencil sketch": ("pencil sketch", "charcoal drawing", "pencil drawing", "graphite sketch", "hand-drawn pencil sketch"),
    "blueprint": ("blueprint", "schematic", "technical diagram", "architectural drawing", "technical illustration", "technical drawing", "blueprint drawing", "technical blueprint", "engineering diagram"),
    "silhouette": ("silhouette", "black silhouette", "dark silhouette"),
}  # fmt: skip

PATTERNS: dict[str, tuple[str, ...]] = {
    "horizontal stripes": ("horizontal stripes",),
    "vertical stripes": ("vertical stripes",),
    "diagonal stripes": ("diagonal stripes",),
    "polka dots": ("polka dots", "dots"),
    "checks": ("checks", "a checkerboard pattern", "squares in a checkerboard"),
    "waves": ("waves", "wavy lines", "flowing waves"),
    "circles": ("concentric circles", "circles", "rings"),
    "blobs": ("soft blobs", "fluid shapes", "swirling colors", "flowing color clouds", "smooth swirling shapes"),
    "spiral": ("a spiral", "a swirling spiral"),
    "rays": ("rays", "sun rays", "radiating lines"),
    "triangles": ("triangles", "geometric shapes", "geometric triangles"),
}
GRADIENTS = ("vertical", "horizontal", "diagonal", "radial")


@dataclass(frozen=True)
class Lettering:
    """Words that signs carry."""

    words: tuple[str, ...] = field(
        default=(
            "OPEN", "CLOSED", "HELLO", "WELCOME", "CAFE", "STOP", "EXIT", "SALE", "LOVE", "HOME", "COFFEE", "BAKERY", "HOTEL", "MUSIC",
            "ZOO", "PARK", "TAXI", "BUS", "FIRE", "FREE", "YES", "NO", "GO", "HI", "BOOKS", "PIZZA", "TEA", "BAR", "ART", "DREAM", "HOPE",
            "PEACE", "HAPPY", "SMILE", "THANKS", "PARTY", "SPRING", "SUMMER", "WINTER", "AUTUMN", "MARKET", "SCHOOL", "LIBRARY", "MUSEUM",
            "NEW", "HOT", "COLD", "FRESH", "FISH", "BREAD", "MILK", "GARDEN", "OCEAN", "STAR", "MOON", "SUN", "2026", "24", "100", "DANGER",
            "PUSH", "PULL", "HELP", "START", "GAME", "QUIET", "DIT", "Z", "ABC", "WORLD", "GOOD", "BEACH", "TRAIN", "DINER", "SHOP",
        )
    )  # fmt: skip


SIGN_COLORS = ("white", "red", "blue", "green", "yellow", "black", "brown", "orange", "teal", "navy", "pink", "purple")
