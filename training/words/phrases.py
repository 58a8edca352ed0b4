"""The words that captions are made of, by the fact that they tell. Plain tables; `captions.py` puts them together."""

SIZES = {
    "tiny": ("tiny", "very small", "tiny little"),
    "small": ("small", "little"),
    "large": ("large", "big", "huge"),
}
RELATIONS = {
    "left of": ("to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "underneath", "beneath"),
    "next to": ("next to", "beside", "by"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
RELATION_SENTENCES = {
    "left of": ("to the right of it is {}.", "on its right there is {}.", "on the right is {}."),
    "right of": ("to the left of it is {}.", "on its left there is {}.", "on the left is {}."),
    "above": ("below it is {}.", "underneath there is {}.", "under it is {}."),
    "below": ("above it is {}.", "over it there is {}."),
    "next to": ("beside it is {}.", "next to it there is {}.", "it is joined by {}."),
    "in front of": ("behind it is {}.", "in the background there is {}."),
    "behind": ("in front of it is {}.", "in the foreground there is {}."),
}
"""Sentences that add the second object of a relation, {} its noun."""
POSITIONS = ("at the {}", "in the {} of the picture", "at the {} of the image")
BACKGROUNDS = (
    "on a {} background", "on a {} background", "against a {} background", "with a {} background",
    "on a plain {} background",
    "in front of a {} background", "on {}",
)  # fmt: skip
BACKGROUND_SENTENCES = (
    "The background is {}.",
    "The background is plain {}.",
    "Behind it is a {} background.",
    "It stands out against {}.",
)
GRADIENT_BACKGROUNDS = ("on a {} to {} gradient", "on a gradient from {} to {}", "on a background fading from {} to {}")
GRADIENT_SENTENCES = ("The background fades from {} to {}.", "A gradient from {} to {} lies behind.")
PATTERN_BACKGROUNDS = ("on a background of {} in {} and {}", "in front of {} in {} and {}", "against {} in {} and {}")
PATTERN_SENTENCES = ("The background shows {} in {} and {}.", "Behind there are {} in {} and {}.")
WALLS = ("in front of a {} wall", "with a {} wall behind", "against a {} wall")
WALL_SENTENCES = ("The wall behind is {}.", "Behind is a {} wall.")
PLACE_SENTENCES_OF_MANY = ("The scene is set {}.", "They are {}.", "All of this is {}.", "The picture was taken {}.")
PLACE_SENTENCES = ("The scene is set {}.", "It is {}.", "All of this is {}.", "The picture was taken {}.")
STYLE_SENTENCES = ("The picture is {}.", "It is made as {}.", "The image is {}.", "It looks like {}.")
REQUESTS = (
    "draw ", "please draw ", "a picture of ", "an image of ", "show me ", "create an image of ", "generate ",
    "I would like to see ",
    "a beautiful picture of ", "imagine ",
)  # fmt: skip
QUALITY_TAGS = (
    "high quality", "highly detailed", "sharp focus", "beautiful", "clean design", "masterpiece", "4k", "8k",
    "professional",
    "centered composition", "crisp edges", "very detailed", "no text", "award winning", "fine details",
    "intricate details",
)  # fmt: skip
PATTERNS_ALONE = (
    "an abstract pattern of {} in {} and {}", "{} in {} and {}", "an abstract image of {} in {} and {}",
    "an abstract composition with {}, {} and {}", "a seamless pattern of {} in {} and {}",
    "geometric abstract art with {} in {} and {}",
)  # fmt: skip
GRADIENTS_ALONE = (
    "an abstract gradient from {} to {}",
    "a smooth gradient from {} to {}",
    "a {2} gradient from {0} to {1}",
    "{} fading into {}",
)
PLAIN_ALONE = ("a plain {} background", "an empty {} background", "nothing but {}", "a {} surface")
LANDSCAPES = {
    "meadow": (
        "a green meadow with rolling hills",
        "a landscape with green hills",
        "a grassy field",
        "a peaceful green meadow",
    ),
    "forest": ("a dark green forest", "a forest landscape", "a forest of tall pine trees", "a clearing in the woods"),
    "desert": ("a sandy desert", "a desert landscape with dunes", "endless sand dunes", "a vast desert"),
    "beach": ("a sandy beach by the sea", "a beach with the blue ocean", "an empty beach", "a tropical beach"),
    "snow": (
        "a snowy landscape with mountains",
        "a winter landscape",
        "a field of fresh snow",
        "snow-covered mountains",
    ),
    "mountains": (
        "a mountain landscape",
        "a mountain range",
        "tall gray mountains",
        "majestic mountains with snowy peaks",
    ),
    "sea": ("the open sea", "a calm blue ocean", "the sea", "waves on the open ocean"),
    "lake": ("a mountain lake", "a quiet lake before the mountains", "a still lake below tall mountains"),
    "street": ("a city street", "an empty street in front of tall buildings", "a city skyline behind a street"),
    "road": ("a country road through green hills", "an empty road", "a road that leads through the countryside"),
    "sky": ("the sky", "a wide open sky", "nothing but sky"),
    "space": ("outer space full of stars", "the stars in outer space", "a starry space scene", "deep space"),
}
WORD_ALONE = (
    "the word {0} in big letters on a {1} background", "the text {0} on a {1} background", "{0} written on {1}",
    "bold letters that say {0} on {1}", "{2} poster with the word {0}",
)  # fmt: skip
WORD_ON_SIGN = (
    "{2} sign that says {0}", "{2} sign with the word {0}", "{2} sign with the text {0}",
    "{2} wooden sign that reads {0}",
    "{2} street sign saying {0}", "{2} board with the word {0} on it",
)  # fmt: skip
SIGN_BESIDE = ("with", "below", "under", "and")
LETTERINGS = ("a sign that says {}", "a sign with the word {}", "a board that reads {}", "a sign with the text {}")
VERBS = {
    "animal-marine": (("swims", "swim", "swimming"), ("floats", "float", "floating")),
    "animal": (
        ("stands", "stand", "standing"), ("rests", "rest", "resting"), ("waits", "wait", "waiting"), ("sits", "sit",
            "sitting"),
        ("lies", "lie", "lying"), ("sleeps", "sleep", "sleeping"), ("walks", "walk", "walking"),
    ),
    "person": (("stands", "stand", "standing"), ("is seen", "are seen", "posing"), ("smiles", "smile", "smiling")),
    "face": (("stands", "stand", "standing"),),
    "plant": (("grows", "grow", "growing"), ("stands", "stand", "standing"), ("blooms", "bloom", "blooming")),
    "place": (("stands", "stand", "standing"), ("rises", "rise", "rising")),
    "transport-water": (("floats", "float", "floating"), ("drifts", "drift", "drifting")),
    "transport": (("stands", "stand", "standing"), ("is parked", "are parked", "parked"), ("drives", "drive",
        "driving")),
    "food": (("lies", "lie", "lying"), ("rests", "rest", "resting"), ("is placed", "are placed", "placed"), ("sits",
        "sit", "sitting")),
    "lies": (("rests", "rest", "resting"), ("stands", "stand", "standing"), ("is placed", "are placed", "placed"),
        ("sits", "sit", "sitting")),
    "floats": (("floats", "float", "floating"), ("hovers", "hover", "hovering"), ("hangs", "hang", "hanging"),
        ("drifts", "drift", "drifting")),
}  # fmt: skip
"""Start of a concept's group -> what it does: singular, plural, participle."""
FILLERS = {
    "any": (
        "The details are fine and crisp.", "The composition is simple and balanced.", "The shapes are clear and clean.",
        "Nothing competes with it.", "It draws the eye at once.", "The mood is quiet.",
        "The whole picture feels calm.",
        "Every detail is in its place.", "There is a sense of stillness.", "The textures seem close enough to touch.",
        "One could look at it for a long time.", "The edges are sharp.", "The air feels still.",
        "It is a small moment of beauty.",
        "The subject stands out clearly.", "It tells a little story.", "Nothing is out of place.",    ),
    "animal": (
        "It looks calm and curious.", "Its eyes are bright and alert.", "It seems to listen.",
        "It looks straight ahead.",
        "It seems at ease.",
    ),
    "food": ("It looks fresh and delicious.", "It smells sweet and ripe.", "It looks good enough to eat.",
        "The surface shines softly."),
    "drink": ("It looks refreshing.", "It is just right for a quiet moment."),
    "plant": ("It looks fresh and alive.", "Its leaves are full of life.", "A gentle breeze moves through it."),
    "transport": ("Its paint shines.", "It looks ready to go.", "It looks well kept.", "It promises a long journey."),
    "person": ("The pose is relaxed.", "There is a hint of a smile.", "The clothes are neat.",
        "The expression is friendly."),
    "place": ("It looks old and solid.", "It has stood there for a long time.", "Its walls catch the light."),
    "musical": ("It waits for a tune.", "One can almost hear the music."),
    "clothing": ("The fabric looks soft.", "It is neatly made."),
    "household": ("It looks tidy and useful.", "It belongs to everyday life."),
}  # fmt: skip
"""Start of a concept's group -> sentences that change nothing in the picture."""
SYSTEM_PROMPTS = {
    "3d": ("Create photorealistic images.", "Generate high quality images.", "You are a 3D artist.",
        "Render everything in 3D."),
    "flat": ("You are a graphic designer who makes flat illustrations.", "Create flat vector illustrations.",
        "You are a minimalist designer."),
    "cartoon": ("You are a cartoonist.", "You draw cartoons for children.", "Draw everything as a cartoon."),
    "sticker": ("You design stickers.", "Make every picture a sticker.", "You are a sticker designer."),
    "photo": (
        "You are a professional photographer.", "You are a professional photographer.",
        "You are an expert photographer.", "You are a photographer who works with natural light.",
        "Create professional photographs.",
    ),
    "oil painting": (
        "You are an artistic painter.", "You are an artistic painter.", "You are a classical painter.",
        "You are an oil painter.", "You paint in oil on canvas.",
        "You are an impressionist artist.",
    ),
    "watercolor": ("You are a watercolor artist.", "You paint soft watercolors.", "Create watercolor paintings."),
    "blueprint": ("You are a technical illustrator.", "You are a technical illustrator.",
        "You are an engineer who draws blueprints.", "You make technical drawings."),
    "line drawing": ("You draw simple line art.", "You are an ink artist.", "Draw everything as black lines on white."),
    "pencil sketch": ("You are a sketch artist.", "You draw with a pencil.", "You make pencil sketches."),
    "pixel art": ("You are a pixel artist.", "You make retro game graphics.", "Draw everything as pixel art."),
    "noir": ("You are a film noir director.", "You take black and white photographs.",
        "Create dramatic black and white images."),
    "dramatic": ("You are a cinematographer who loves dramatic light.", "Create dramatic, cinematic images."),
    "warm": ("You create warm and cozy images.", "You love warm colors."),
    "neon": ("You are a cyberpunk artist.", "You love neon light."),
    "vintage": ("You restore old photographs.", "You create vintage pictures."),
    "pastel": ("You love soft pastel colors.", "You illustrate dreams in pastel."),
    "vivid": ("You love vibrant colors.", "Create vivid and colorful images."),
    "soft": ("You prefer soft and gentle light.",),
    "cool": ("You prefer cold blue tones.",),
    "foggy": ("You love misty, quiet images.",),
    "golden": ("You photograph at golden hour.",),
    "moonlit": ("You paint moonlit nights.",),
}  # fmt: skip
"""Style, medium or mood -> system prompts that ask for it."""
NEUTRAL_SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are an assistant that generates images.",
    "Generate an image of the user's prompt.",
    "You are a creative assistant.", "Draw what the user asks for.", "You are an image generator.",
    "Follow the prompt exactly.",
)  # fmt: skip
THOUGHTS = {
    "3d": (
        "High quality, detailed, photorealistic.",
        "A realistic 3D look fits best.",
        "Photorealistic, sharp, detailed.",
    ),
    "flat": ("A flat, minimalist illustration fits.", "Simple flat shapes, few colors."),
    "cartoon": ("A playful cartoon look is best.", "Cartoon style, cheerful and simple."),
    "sticker": ("It should be a sticker with a white border.", "Sticker style."),
    "photo": (
        "Professional photography, natural light, blurred background.",
        "Shallow depth of field, a real photograph.",
    ),
    "oil painting": (
        "Thick brush strokes, like an oil painting.",
        "An expressive painting on canvas, visible brush strokes.",
    ),
    "watercolor": ("Soft washes of watercolor on paper.", "A delicate watercolor painting."),
    "blueprint": ("Technical drawing, white lines on blue.", "A precise blueprint with clean lines."),
    "line drawing": ("Black lines on white, no shading.", "Simple line art."),
    "pencil sketch": ("A loose pencil sketch on paper.", "Graphite shading, hand-drawn."),
    "pixel art": ("Blocky pixels, like an old video game.", "8-bit pixel art."),
    "noir": ("Black and white, high contrast, deep shadows.", "Film noir, dark and dramatic, black and white."),
    "dramatic": ("Dramatic lighting, strong contrast, dark mood.", "Cinematic, dramatic shadows."),
    "warm": (
        "Soft lighting, warm colors, peaceful atmosphere.",
        "Warm colors, a cozy atmosphere.",
        "Warm and inviting light.",
    ),
    "golden": ("Golden hour sunlight, a warm glow.", "The low sun makes it golden."),
    "cool": ("Cool blue tones, a calm mood.", "Cold light, blue colors."),
    "moonlit": ("It is night, only moonlight.", "Dark blue moonlight, quiet."),
    "foggy": ("Misty and quiet, thick fog.", "Fog hides the distance."),
    "neon": ("Neon lights, cyberpunk, pink and cyan.", "Glowing neon colors in the dark."),
    "soft": ("Soft, diffused light, gentle shadows.", "Gentle soft lighting."),
    "vintage": ("Old faded photograph, sepia.", "A nostalgic vintage look."),
    "vivid": ("Vibrant, saturated colors.", "Bright, vivid, full of color."),
    "pastel": ("Soft pastel colors, dreamy.", "Pale and gentle pastel tones."),
}
"""Style, medium or mood -> contents of think blocks that ask for it."""
NEUTRAL_THOUGHTS = (
    "The user wants a picture.", "Let me think about what to draw.", "I should follow the prompt.",
    "The prompt is clear.",
    "A clear composition with the subject in the middle.", "I will draw exactly what is asked.",
)  # fmt: skip
REWRITER_INSTRUCTIONS = (
    "Rewrite the user's prompt as a detailed picture description.", "You improve prompts for an image generator.",
    "Expand the prompt into a detailed description of an image.",
    "You are a prompt rewriter. Describe the picture in detail.",
    "Rewrite this prompt with more visual detail.",
    "You are an expert at writing prompts for image generation. Rewrite the user's prompt.",
    "Turn the short prompt into a full caption.",
    "Enhance the user's prompt with details about setting, light and style.",
    "You are a helpful assistant that expands image prompts.",
    "Describe the image that the user asks for in two or three sentences.",
)  # fmt: skip
REWRITER_TEMPLATES = ("Expand", "Photo direction", "Tidy up")
"""Names of the rewriter templates of the project that the language model learns to follow."""
REWRITER_THOUGHTS = (
    "The user wants {}. I will add the setting and the light.",
    "The prompt is short: {}. I should describe it more fully.",
    "I keep the subject and add details.",
)  # fmt: skip
