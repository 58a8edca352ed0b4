"""English for names of things: articles, plurals, lists, numbers."""

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six")
MASS = frozenset(
    [
        "broccoli",
        "popcorn",
        "bread",
        "milk",
        "coffee",
        "salt",
        "butter",
        "bacon",
        "corn",
        "cheese",
        "sushi",
        "garlic",
        "spaghetti",
        "noodles",
        "lettuce",
        "yarn",
        "soap",
        "rice",
        "wheat",
        "wood",
        "art",
        "coral",
        "stew",
        "salad",
        "curry",
        "dna",
        "music",
        "luggage",
        "fire",
        "newspaper",
    ]
)
"""Last words of names that take no article and no plural; the last few read best with `some`."""
PROPER = frozenset({"santa claus", "mrs claus", "mount fuji"})
DEFINITE = frozenset({"statue of liberty", "earth", "planet earth", "moon", "sun"})
_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "wolf": "wolves", "leaf": "leaves", "knife": "knives", "child": "children",
    "person": "people", "man": "men", "woman": "women", "tooth": "teeth", "foot": "feet", "die": "dice", "fish": "fish",
    "sheep": "sheep", "deer": "deer", "moose": "moose", "loaf": "loaves", "scarf": "scarves", "dice": "dice",
    "bison": "bison",
    "shelf": "shelves", "squid": "squid", "shrimp": "shrimp", "policeman": "policemen", "fries": "fries", "ox": "oxen",
    "pufferfish": "pufferfish", "blowfish": "blowfish", "jellyfish": "jellyfish", "aircraft": "aircraft",
    "elf": "elves",
}  # fmt: skip
_JOINTS = (
    " of ",
    " with ",
    " on ",
    " in ",
    " at ",
    " from ",
    " behind ",
    " getting ",
    " for ",
    " covering ",
    " raising ",
)


def head(name: str) -> str:
    """The word of a name that carries number: "slice" of "slice of cake"."""
    return _split(name)[0].split()[-1]


def is_plural(name: str) -> bool:
    """Whether a name is a plural already ("sunglasses")."""
    word = head(name)
    return (
        word.endswith("s") and not word.endswith(("ss", "us", "is", "as", "lens", "claus")) and word not in ("abacus",)
    )


def is_countable(name: str) -> bool:
    """Whether there can be two of it and a plural says so."""
    first, second = name.split()[0], " ".join(name.split()[:2])
    is_unique = name in PROPER or name in DEFINITE or first in ("two", "number") or second.endswith("wrestlers")
    if first == "people":
        return False
    return not (is_plural(name) or is_unique or head(name) in MASS or plural(name) == name)


def with_article(name: str, noun: str | None = None) -> str:
    """Prefix "a", "an", "the" or nothing.

    Args:
        name: Adjectives and noun.
        noun: The noun alone, if `name` begins with adjectives.
    """
    noun = noun or name
    if noun in PROPER or is_plural(noun) or head(noun) in MASS or noun.startswith(("two ", "number ")):
        return name
    if noun in DEFINITE and name == noun:
        return "the " + name
    vowel = name[0] in "aeiou8" and not name.startswith(("uni", "use", "ufo", "euro", "one-", "ukulele", "ewe"))
    return ("an " if vowel or name.startswith(("hourglass", "x-ray")) else "a ") + name


def plural(name: str) -> str:
    """Form the plural of a name's head."""
    front, tail = _split(name)
    *words, last = front.split()
    if words and last.endswith("ing") and words[0] in _IRREGULAR:
        return " ".join([_IRREGULAR[words[0]], *words[1:], last]) + tail
    return " ".join([*words, _plural_word(last)]) + tail


def listing(items: list[str]) -> str:
    """Join with commas and "and"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def capitalized(text: str) -> str:
    """Raise the first letter only."""
    return text[:1].upper() + text[1:]


def _split(name: str) -> tuple[str, str]:
    places = [name.find(joint) for joint in _JOINTS if joint in name]
    cut = min(places) if places else len(name)
    return name[:cut], name[cut:]


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("man",)) and word not in ("human", "snowman"):
        return word[:-2] + "en"
    if word == "snowman":
        return "snowmen"
    if word.endswith(("sh", "ch", "x", "ss", "us", "s")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word in ("tomato", "potato", "mango", "tornado", "volcano") else "s")
