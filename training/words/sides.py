"""Whether a text says something that is another thing in a mirror: a side, or words to be read."""

import re

SIDED = re.compile(
    r"\b(left|right|sides?|sideways|clockwise)\b|[\"“”]|\b(says?|saying|reads?|word|text)\b|[左右]", re.IGNORECASE
)


def has_a_side(text: str) -> bool:
    """Return True if a mirrored picture may be wrong for a text."""
    return SIDED.search(text) is not None
