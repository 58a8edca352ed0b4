"""Prompts of a world that the miniature does not know: people at work, crafts, streets, weather, materials, plans.

What it draws for them is vague, and scorers learn on that too: whatever a picture shows and a text asks for, the
damaged copy is the worse one. None of the words is taken from the prompts of the evaluation, which a test asserts.
"""

import random

SUBJECTS = {
    "thing": (
        "A pewter teapot", "A stack of hardbound ledgers", "A cracked leather armchair", "A pair of hiking boots",
        "An enamel colander full of plums", "A mechanical typewriter", "A folded wool blanket", "A cast-iron skillet",
        "A marble chess knight", "A wicker hamper", "Half a dozen glass marbles", "A rusted padlock",
        "A velvet curtain",
        "A porcelain doll", "A tarnished silver spoon", "A loaf of rye bread", "A sewing machine from 1920",
        "Two cups of green tea", "A plate of steamed dumplings", "A jar of pickled cucumbers", "A gramophone horn",
    ),
    "animal": (
        "A greyhound", "A barn swallow", "A newborn foal", "A flock of starlings", "A lynx", "A pair of herring gulls",
        "A Siamese kitten", "A grass snake", "A bumblebee covered in pollen", "A herd of reindeer", "A mole",
        "A sea otter",
        "A team of sled dogs", "A kingfisher", "A draught horse in harness", "Some carp", "A moth", "A stag beetle",
    ),
    "person": (
        "A cellist in a grey suit", "A blacksmith", "Three fishermen", "A nurse at the end of her shift",
        "A teenage skateboarder", "A couple in their seventies", "A seamstress", "A beekeeper behind a veil",
        "A violin maker", "A class of schoolchildren", "A tram driver", "A glassblower", "A bride and her father",
        "A street musician", "A mountaineer", "Two women in saris", "A watchmaker", "A lifeguard", "A shepherd",
    ),
    "place": (
        "A narrow stairway", "A railway station concourse", "A tailor's workroom", "A suspension bridge",
        "A salt marsh",
        "A harbour at low tide", "A hotel lobby of the thirties", "A greenhouse with broken panes", "A tea plantation",
        "A courtyard with laundry lines", "A glacier tongue", "A vineyard after the harvest", "A laundromat",
        "A monastery cloister", "An underground car park", "A fjord", "A shipyard", "A birch grove", "A canyon rim",
        "A newsagent's kiosk", "A row of beach huts", "A classroom in the holidays", "A peat bog", "An orchard",
    ),
    "shape": (
        "Interlocking hexagons", "A grid of thin copper wires", "Layers of translucent paper", "A single brush stroke",
        "Concentric squares", "Marbled endpaper", "Fields of dotted colour", "A tangle of coloured threads",
        "The idea of silence", "Cracks in dried paint", "Overprinted letters without meaning", "A lattice of shadows",
        "Spattered ink", "Waves of corrugated card", "Crystals under a microscope", "A gradient of rust and teal",
    ),
    "plan": (
        "A wiring diagram of a doorbell", "An engraved map of an archipelago", "An anatomical drawing of a hand",
        "A technical section through a windmill", "A knitting chart", "A star chart", "A patent drawing of a corkscrew",
        "An infographic about rainfall", "A page of mushroom studies", "A floor plan of a theatre", "A weather map",
        "An elevation of a town hall", "A cutaway of a diesel engine", "A chart of signal flags", "A herbarium sheet",
    ),
    "writing": (
        'A shop front lettered "BAKERY"', 'A poster that says "JAZZ TONIGHT"', 'A mug printed with "Monday"',
        'A tin marked "FLOUR"', 'A banner reading "Welcome home"', 'A milestone carved "12 KM"', 'A neon "HOTEL"',
        'A diary open at "Tuesday"', 'A door plate engraved "Dr. Lund"', 'A crate stencilled "FRAGILE"',
    ),
}  # fmt: skip
SCENES = {
    "thing": (
        "stands on a linoleum counter", "waits on the cellar steps", "sits beside a radiator", "lies in a drawer",
        "gleams under a desk lamp", "has been left on a garden wall", "rests against a chimney breast",
        "is set out on newspaper", "catches dust in an attic", "fills the frame", "is photographed from above",
    ),
    "animal": (
        "crosses a ploughed field", "shelters under an eave", "drinks from a trough", "watches from a fence post",
        "runs ahead of a storm", "sleeps in a heap of straw", "surfaces between ice floes", "is caught in mid-turn",
        "feeds among thistles", "looks back over a shoulder", "hides in the bracken",
    ),
    "person": (
        "counts the day's takings", "leans over a workbench", "shares a thermos of soup", "walks home through sleet",
        "listens with closed eyes", "waits for the ferry", "repairs a torn net", "checks a long list",
        "poses stiffly for a portrait", "argues in front of a map", "laughs at something out of view",
    ),
    "place": (
        "lies deserted before opening time", "is seen from a rooftop", "steams after a cloudburst",
        "opens onto a gravel yard", "disappears into haze", "is busy with porters", "is lit for a festival",
        "has not changed in forty years", "stretches away under pylons", "is half flooded", "smells of tar and rope",
    ),
    "shape": (
        "fill a square of unbleached linen", "drift across charcoal paper", "break apart near one corner",
        "repeat until they blur", "are pressed into wet plaster", "vibrate against a dull ochre",
        "meet without touching",
        "come loose from their order", "glow faintly against slate",
    ),
    "plan": (
        "drawn in sepia ink", "printed in two colours", "with numbered callouts", "on squared paper",
        "with a scale bar and a legend", "ruled in hairlines", "from a manual of the fifties", "on tracing film",
        "with hatching for the solid parts",
    ),
    "writing": (
        "in a rainy lane", "on a kitchen shelf", "above a revolving door", "under a flickering lamp",
        "seen across the street", "in faded enamel", "between two drainpipes", "in careful brushwork",
    ),
}  # fmt: skip
DETAILS = (
    "Frost feathers the glass.", "The paint is flaking along the seams.", "Somebody's coat hangs over the railing.",
    "Sparks drift up and go out.", "A thermometer on the wall shows three degrees.", "The seams are double stitched.",
    "Pale roots show where the soil has slipped.", "Every rivet throws its own tiny shade.",
    "A tram bell is about to ring.",
    "Wet leaves stick to the asphalt.", "There are crumbs on the tablecloth.", "The varnish has turned amber with age.",
    "Cables sag between the poles.", "Her sleeves are rolled above the elbows.", "His breath hangs in the cold.",
    "The far bank is only a smudge.", "Light comes through a skylight, milky and even.",
    "Reflections tremble on the ceiling.",
    "A clerk's pencil lies where it fell.", "The grain of the photograph is coarse.",
    "Rust bleeds down the white wall.",
    "The weave of the cloth shows through the wash.", "A second figure waits outside the frame.",
    "Moss has closed the joints.",
    "Gulls argue over a crust.", "The tiles are worn hollow by feet.", "All the corners are slightly rounded.",
    "Ash lies on the sill.", "The margins are stained by coffee.", "A ribbon marks the page.",
    "Swallows nest in the rafters.",
    "Nothing is quite parallel.", "The mortar between the bricks is fresh.", "It might be October.",
    "The shutters are drawn.",
)  # fmt: skip
LOOKS = (
    "Documentary photograph, 35 mm, available light.", "A linocut in three colours.", "Soft pastel on toned paper.",
    "Gouache with visible brush marks.", "Shot on expired film with a light leak.", "An etching with heavy plate tone.",
    "Studio photograph on seamless paper.", "A claymation still.", "Embroidery on coarse cotton.", "A fresco fragment.",
    "Low-key light from a single window.", "Backlit, with a strong flare.", "Tilt-shift, shallow focus.",
    "A chalk drawing on slate.", "Art deco poster.", "A charcoal study.", "Cyanotype.", "Cel-shaded animation frame.",
    "Hard flash, direct and unflattering.", "A tapestry in muted wool.", "Screen print with misregistered layers.",
)  # fmt: skip
FEWER_WORDS = 0.25
"""Share of prompts that are no more than the subject and its scene."""


def prompts_from_elsewhere(count: int, seed: int) -> list[str]:
    """Compose prompts of one to five sentences; the same seed gives the same ones."""
    rng = random.Random(f"elsewhere {seed}")
    return [_prompt(rng) for _ in range(count)]


def _prompt(rng: random.Random) -> str:
    kind = rng.choice(list(SUBJECTS))
    opening = f"{rng.choice(SUBJECTS[kind])} {rng.choice(SCENES[kind])}."
    if rng.random() < FEWER_WORDS:
        return opening
    rest = rng.sample(DETAILS, rng.choice((1, 1, 2, 2, 3)))
    if rng.random() < 0.4:
        rest.insert(rng.randrange(len(rest) + 1), rng.choice(LOOKS))
    return " ".join([opening, *rest])
