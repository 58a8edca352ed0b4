"""Words of long prose in which a thing is named in passing. Plain tables; `prose.py` puts them together.

Most of them change nothing in the picture, and many occur in no other caption: prompts from outside are full of words
that the miniature never met, and it must hear the thing among them. Keys are starts of a concept's group; the empty key
fits all. None of it is taken from the prompts of the evaluation, which a test asserts.
"""

ADJECTIVES = {
    "animal": (
        "shaggy", "sleek", "drowsy", "watchful", "shy", "playful", "gentle", "restless", "well-fed", "wild", "tame",
        "sure-footed", "half-grown", "wide-eyed", "patient", "solitary", "long-legged", "bright-faced", "dappled",
    ),
    "person": (
        "cheerful", "thoughtful", "tired", "kindly", "freckled", "broad-shouldered", "soft-spoken", "busy", "confident",
        "daydreaming", "sun-tanned", "laughing", "earnest", "tall", "barefoot", "well-dressed",
    ),
    "food": (
        "ripe", "freshly picked", "home-made", "fragrant", "sweet", "juicy", "warm", "ready-made", "plump", "generous",
        "unripe", "seasoned", "appetising",
    ),
    "plant": ("wild", "blooming", "slender", "dewy", "half-open", "self-sown", "rooted", "rustling", "fragrant"),
    "place": ("stone-built", "abandoned", "whitewashed", "many-storeyed", "stately", "far-off"),
    "transport": ("brand-new", "mud-splashed", "rattling", "streamlined", "rusty", "second-hand", "well-travelled"),
    "": (
        "old", "weathered", "antique", "battered", "hand-made", "enamelled", "well-worn", "forgotten", "polished",
        "brass", "ceramic", "wooden", "plain", "sturdy", "dusty", "borrowed", "finely wrought", "humble", "inherited",
        "much-loved", "scratched", "gleaming", "chipped", "familiar", "handsome", "curious", "heavy",
    ),
}  # fmt: skip
MANNERS = (
    "quietly", "patiently", "all by itself", "almost without a sound", "slightly askew", "in plain view", "as ever",
    "without hurry", "with unexpected grace", "at its ease", "since early morning", "just for a moment",
    "half turned away", "like a guest of honour", "where anyone can see it",
)  # fmt: skip
"""Adverbs of one thing; many things take those without "it"."""
VERBS = {
    "animal-marine": (
        ("glides past", "glide past"), ("turns slowly", "turn slowly"), ("swims by", "swim by"), ("drifts", "drift"),
        ("dives", "dive"), ("shows its back", "show their backs"),
    ),
    "animal-bird": (
        ("perches", "perch"), ("folds its wings", "fold their wings"), ("struts about", "strut about"),
        ("looks round", "look round"), ("lands", "land"), ("calls out", "call out"), ("waits", "wait"),
    ),
    "animal": (
        ("pauses", "pause"), ("looks up", "look up"), ("lies curled up", "lie curled up"),
        ("pricks its ears", "prick their ears"), ("dozes", "doze"), ("wanders about", "wander about"), ("sits", "sit"),
        ("stretches", "stretch"), ("crouches", "crouch"), ("listens", "listen"), ("stands", "stand"),
    ),
    "person": (
        ("pauses", "pause"), ("looks this way", "look this way"), ("laughs", "laugh"), ("works", "work"),
        ("stands", "stand"), ("leans back", "lean back"), ("raises a hand", "raise their hands"), ("waits", "wait"),
        ("dreams of faraway lands", "dream of faraway lands"), ("smiles", "smile"),
    ),
    "plant": (
        ("grows", "grow"), ("sways a little", "sway a little"), ("unfolds", "unfold"), ("thrives", "thrive"),
        ("leans towards the sun", "lean towards the sun"), ("nods", "nod"),
    ),
    "place": (("rises", "rise"), ("stands", "stand"), ("towers", "tower"), ("looks down", "look down")),
    "transport": (
        ("waits", "wait"), ("rolls along", "roll along"), ("comes to a halt", "come to a halt"),
        ("passes by", "pass by"), ("stands ready", "stand ready"),
    ),
    "": (
        ("rests", "rest"), ("lies", "lie"), ("sits", "sit"), ("stands", "stand"), ("waits", "wait"),
        ("leans to one side", "lean to one side"), ("catches the eye", "catch the eye"),
        ("is on show", "are on show"), ("appears", "appear"), ("has been put down", "have been put down"),
    ),
}  # fmt: skip
"""What a thing does: singular and plural."""
SEEN = (
    "the eye comes to rest on {}", "we find {}", "somebody has left {}", "there is nothing to see but {}",
    "a narrow band of brightness falls across {}", "nobody takes notice of {}", "everything turns around {}",
    "a draught of air brushes past {}", "the view opens on {}", "a long exposure shows {}", "one comes upon {}",
    "the frame belongs to {}", "an unhurried gaze meets {}", "time has been kind to {}", "the lens is focused on {}",
    "a thin veil of shade lies over {}", "the photographer has waited hours for {}", "you can make out {}",
    "at the heart of it all is {}", "the storyteller begins with {}", "brightness gathers around {}",
    "no one remembers who brought {}", "a visitor stops short before {}",
)  # fmt: skip
"""Clauses in which the thing is not the subject."""
TAILS = (
    "turning a little towards us", "as if it had never been anywhere else", "while the hours go by",
    "waiting for someone to come back", "and nobody is there to see", "with more patience than most",
    "as though posing for a portrait", "and the day has only begun", "a picture of perfect calm",
    "so near that one could reach out", "and every small thing about it matters", "its outline traced by brightness",
    "throwing a faint shade behind", "half in brightness and half in shade", "lit from a window nearby",
    "as one might remember it from childhood", "and a little breeze goes round", "in the hush before noon",
)  # fmt: skip
TAILS_OF_MANY = (
    "while the hours go by", "and nobody is there to see", "each a little different from the next",
    "as though posing for a portrait", "and the day has only begun", "half in brightness and half in shade",
    "close enough to touch hands", "and not one of them stirs", "in the hush before noon", "lit from a window nearby",
)  # fmt: skip
SURFACES = (
    "grain", "sheen", "texture", "curve", "shading", "contour", "bloom", "ripple", "pattern of scratches", "speckle",
    "roughness", "fold", "glimmer", "seam",
)  # fmt: skip
PARTS = {
    "animal": ("eyes", "nose", "muzzle", "shoulders", "flanks", "neck", "mouth", "tongue", "markings"),
    "person": ("eyes", "nose", "cheeks", "collar", "brow", "posture", "cuffs", "eyebrows", "fingers"),
    "food": ("crumbs", "juice", "glaze", "stalk", "scent", "ripeness"),
    "": ("corners", "handle", "rim", "base", "joints", "curves", "underside", "weight", "grain"),
}  # fmt: skip
"""More parts than `details.PARTS`; some are names of things of the world, which are not to be drawn for that."""
PART_SENTENCES = (
    "A fine {0} runs along {1} {2}.", "{1} {2} could be {3} or {4}; it hardly matters.", "Time left a {0} on {1} {2}.",
    "Look at {1} {2}: {3}, even {4}.", "Only {1} {2} may betray a {0}.", "There is a {0} about {1} {2}, {3} and {4}.",
    "Near {1} {2} the {0} is {3}.", "Up close, {1} {2} can seem {3}.", "A trace of {0} clings to {1} {2}.",
    "Whoever looks longer sees {1} {2}, {3} and full of {0}.",
)  # fmt: skip
"""{0} a surface, {1} "its", {2} a part, {3} and {4} qualities."""
STIRRINGS = (
    "a breath of air", "a distant murmur", "the first warmth of the day", "a scent of resin", "a thin line of shade",
    "the silence", "fine dust", "a glimmer from outside", "the smell of rain", "a muffled footstep", "some faint music",
    "the last coolness of the night", "a hint of smoke", "a band of brightness", "the noise of the town",
    "an echo of laughter", "a little warmth", "the tick of passing time", "an old memory", "the haze of noon",
)  # fmt: skip
DRIFTINGS = (
    "lingers", "comes and goes", "settles", "drifts past", "fades", "hangs about", "creeps closer", "spreads slowly",
    "rises and sinks", "seeps in", "gathers", "trembles", "slips away", "wanders by", "thins out",
)  # fmt: skip
ENDINGS = (
    "before anyone notices", "as it always has", "from somewhere out of sight", "for the length of a breath",
    "without ever quite going", "like a half-forgotten tune", "until the evening", "on its way elsewhere",
    "and leaves everything as it was", "behind a half-open door", "beyond the edge of the frame", "little by little",
    "as if by agreement", "from an open window", "once more",
)  # fmt: skip
REMARKS = (
    "It could be any day of the year.", "This is how travellers describe it in their letters.",
    "Such a sight asks for no explanation.", "One would not want to change a thing.", "Colors are true to life.",
    "What happened before is anyone's guess.", "The exposure is careful, the focus exact.",
    "Depth comes from layers of fine shade.", "Somebody may come by later.", "A wide margin is left around it.",
    "The moment will not last.", "It was taken at eye level, with a steady hand.", "All of it feels close.",
    "Grown-ups and children alike would stop to look.", "There is a story in it for whoever wants one.",
    "Balance and calm rule the composition.", "The framing is tight and deliberate.", "The rest is imagination.",
    "Its presence needs no ornament.", "Here the world seems to hold its breath.",
    "Not a sound reaches us.", "Later the weather may turn.", "Someone has taken great trouble over this.",
)  # fmt: skip
OPENERS = (
    "It is early, and the air is fresh.", "Nothing much happens here.", "The day is drawing on.", "It is a slow hour.",
    "Picture this for a moment.", "Time has stopped, or so it seems.", "Everyone else has gone home.",
    "It has been a long year.", "This is a place to linger.", "Breathe in.", "All at once it is calm.",
    "The world outside is far away.",
)  # fmt: skip
"""First sentences that leave the thing for the second."""
RELATIONS = {
    "left of": (
        "{0} {v} to the left of {1}", "to the left of {1} {v} {0}", "on the left {v} {0}, on the right {1}",
        "on the right there is {1}, and on the left {0}", "{1} has {0} to the left of it", "{0} {v} left of {1}",
    ),
    "right of": (
        "{0} {v} to the right of {1}", "to the right of {1} {v} {0}", "on the right {v} {0}, on the left {1}",
        "on the left there is {1}, and on the right {0}", "{1} has {0} to the right of it", "{0} {v} right of {1}",
    ),
    "above": (
        "{0} {v} above {1}", "above {1} {v} {0}", "{1} has {0} above it", "over {1} {v} {0}",
        "at the top {v} {0}, further down {1}", "{0} {v} high over {1}",
    ),
    "below": (
        "{0} {v} below {1}", "below {1} {v} {0}", "{1} has {0} underneath", "under {1} {v} {0}",
        "at the bottom {v} {0}, further up {1}", "{0} {v} beneath {1}",
    ),
    "next to": (
        "{0} {v} next to {1}", "beside {1} {v} {0}", "{0} {v} close by {1}", "{0} and {1} keep each other company",
    ),
    "in front of": ("{0} {v} in front of {1}", "in front of {1} {v} {0}", "behind {0} one can see {1}"),
    "behind": ("{0} {v} behind {1}", "behind {1} {v} {0}", "in front of {0} one can see {1}"),
    "between": (
        "{0} {v} between {1} and {2}", "between {1} and {2} {v} {0}",
        "on one side there is {1}, on the other {2}, and between them {v} {0}",
    ),
}  # fmt: skip
"""{0} the subject, {v} its verb, {1} and {2} the others."""
GATHERINGS = (
    "{} have been brought together", "{} share the view", "side by side there are {}", "from left to right we see {}",
    "{} make up a small company", "the inventory reads: {}", "among other quiet things there are {}", "{} keep still",
)  # fmt: skip
STRETCHES = (
    "{} lies before us", "{} stretches as far as one can see", "before the viewer, {}", "{} fills the horizon",
    "the path ends before {}", "far from any town, {}", "nothing but {} for hours", "{}, and nothing more",
)  # fmt: skip
"""Clauses about a landscape."""
PATTERN_REMARKS = (
    "It has no beginning and no end.", "The rhythm repeats without a flaw.", "The two colors answer each other.",
    "One might print it on cloth.", "The effect is calm, almost musical.", "Every edge has been thought about.",
    "Depth and flatness trade places.", "Step back, and it starts to move.",
)  # fmt: skip
