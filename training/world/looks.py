"""What a picture of the world can look like: colours, styles, moods, media and patterns, with their words.

Plain tables. The renderer reads the numbers, the captions read the words; neither is known here. Colours are sRGB in
0..255. A mood is a colour grade over the whole picture, a medium a filter that turns it into a drawing or a painting.
Places and skies stand in `places.py`.
"""

import string
from dataclasses import dataclass

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
        ("Warm light fills the scene.", "The colors are warm and inviting.", "The mood is warm and peaceful.",
            "A cozy warm glow lies over everything."),
        (1.12, 0.97, 0.74), 1.05, 1.0, 0.02, 0.2,
    ),
    "golden": Mood(
        ("in golden hour light", "backlit by the low sun", "at golden hour", "in golden evening light",
            "glowing in golden sunlight"),
        ("Golden hour light makes everything glow.", "Golden sunlight bathes the scene.",
            "Low golden sun casts a warm glow."),
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
        ("Thick fog hides the distance.", "A pale mist hangs in the air.", "Fog softens every shape.",
            "The mood is quiet and misty."),
        saturation=0.6, contrast=0.85, fog=0.62,
    ),
    "neon": Mood(
        ("in neon light", "in cyberpunk neon light", "with neon lighting", "lit by neon in pink and blue",
            "in glowing neon colors"),
        ("Neon light in pink and cyan glows from both sides.", "Bright neon colors light the dark.",
            "Neon signs cast pink and blue light."),
        (0.78, 0.72, 0.9), 1.3, 1.2, -0.04, 0.4, split=0.85,
    ),
    "noir": Mood(
        ("in black and white", "in film noir style", "in high contrast black and white",
            "as a black and white photograph"),
        ("All of it is black and white.", "Deep black shadows give it a film noir mood.",
            "High contrast black and white makes it dramatic."),
        saturation=0.0, contrast=1.45, lift=-0.04, vignette=0.65,
    ),
    "soft": Mood(
        ("in soft light", "with soft lighting", "in soft diffused light", "with a soft gentle glow"),
        ("Soft light falls evenly on everything.", "The lighting is soft and gentle.",
            "Gentle diffused light softens the shadows."),
        (1.02, 1.0, 0.97), 0.75, 0.72, 0.1, 0.12,
    ),
    "dramatic": Mood(
        ("with dramatic lighting", "lit by a single spotlight", "with chiaroscuro lighting", "in candlelight",
            "in dramatic light", "with strong contrast and dark corners", "in a dark dramatic mood"),
        ("Dramatic lighting leaves the corners dark.", "Strong light and deep shadows create drama.",
            "The dark corners lead the eye inward."),
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
        ("as a professional photograph", "in natural light", "photographed with shallow depth of field",
            "with a blurred background"),
        ("The background is softly blurred.", "Natural light gives it the look of a photograph.",
            "A shallow depth of field blurs the background."),
        (1.03, 1.0, 0.95), 1.0, 1.12, 0.0, 0.4, blur=4.0,
    ),
    "pastel": Mood(
        ("in pastel colors", "in soft pastel tones", "with pale pastel colors"),
        ("The colors are soft pastels.", "Pale pastel tones make it dreamy.",
            "Everything is painted in pastel shades."),
        saturation=0.6, contrast=0.6, lift=0.22,
    ),
}  # fmt: skip

MEDIA: dict[str, tuple[str, ...]] = {
    "none": (),
    "line drawing": ("line drawing", "pen and ink drawing", "coloring book page", "black and white line drawing",
        "ink drawing", "simple line art drawing", "outline drawing"),
    "pixel art": ("pixel art picture", "8-bit pixel art image", "pixel art", "retro pixel art"),
    "watercolor": ("watercolor painting", "delicate watercolor", "watercolor", "loose watercolor painting",
        "soft watercolor"),
    "oil painting": ("oil painting", "painting in the style of van Gogh", "impressionist oil painting",
        "classical painting", "oil painting with thick brush strokes", "impressionist painting", "painting on canvas"),
    "pencil sketch": ("pencil sketch", "charcoal drawing", "pencil drawing", "graphite sketch",
        "hand-drawn pencil sketch"),
    "blueprint": ("blueprint", "schematic", "technical diagram", "architectural drawing", "technical illustration",
        "technical drawing", "blueprint drawing", "technical blueprint", "engineering diagram"),
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


SIGN_WORDS = (
    "OPEN", "CLOSED", "HELLO", "WELCOME", "CAFE", "STOP", "EXIT", "SALE", "LOVE", "HOME", "COFFEE", "BAKERY",
    "HOTEL", "MUSIC",
    "ZOO", "PARK", "TAXI", "BUS", "FIRE", "FREE", "YES", "NO", "GO", "HI", "BOOKS", "PIZZA", "TEA", "BAR",
    "ART", "DREAM", "HOPE",
    "PEACE", "HAPPY", "SMILE", "THANKS", "PARTY", "SPRING", "SUMMER", "WINTER", "AUTUMN", "MARKET", "SCHOOL",
    "LIBRARY", "MUSEUM",
    "NEW", "HOT", "COLD", "FRESH", "FISH", "BREAD", "MILK", "GARDEN", "OCEAN", "STAR", "MOON", "SUN", "2026",
    "24", "100", "DANGER",
    "PUSH", "PULL", "HELP", "START", "GAME", "QUIET", "DIT", "Z", "ABC", "WORLD", "GOOD", "BEACH", "TRAIN",
    "DINER", "SHOP",
)  # fmt: skip
"""Words that signs carry, beside made-up ones."""
SIGN_COLORS = ("white", "red", "blue", "green", "yellow", "black", "brown", "orange", "teal", "navy", "pink", "purple")
