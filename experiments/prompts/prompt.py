"""One prompt of a list, and the id that a text has where a list gives none."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LISTS = ("must_show", "words", "questions")
"""Fields of a prompt that are lists of texts."""
DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True)
class Prompt:
    """One prompt of a file.

    Attributes:
        id: Unique in its file; part of file names.
        category: The group it stands in.
        difficulty: `easy`, `medium` or `hard`; empty where the file does not say.
        text: What the model is told.
        must_show: What a true picture shows, item by item.
        words: What is to be written in the picture, text by text; empty where only the prompt's quotation marks say it.
        questions: What somebody who sees a true picture answers with yes.
        details: What else the file says of it, and the choices of its wildcards: name to text.
    """

    id: str
    category: str
    difficulty: str
    text: str
    must_show: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the prompt as JSON and callers see it, its text under `prompt`."""
        return {
            "id": self.id,
            "category": self.category,
            "difficulty": self.difficulty,
            "prompt": self.text,
            "must_show": list(self.must_show),
            "words": list(self.words),
            "questions": list(self.questions),
        }


def id_from_text(text: str) -> str:
    """Return an id that only the text decides: its first words and ten digits of its hash."""
    folded = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:24].strip("-")
    return f"{words or 'prompt'}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
