"""Where the embedded model is asked for things outside its world, so that no label and no height of a score means much.

The embedded model and its scorers know a world of their own (`src/llm_dit/models/README.md`). Of a user's prompts
nobody knows beforehand whether they lie in it; of the project's own sets it is known.
"""

from __future__ import annotations

from collections.abc import Iterable

from experiments.metrics.picture_model import is_embedded
from experiments.prompts import PROMPT_SETS, read_prompts

OWN_SET = "first"
"""The set of prompts that was written of its world."""


def beyond_the_model(prompts: Iterable[str], generator_model: str, cut: str = "") -> str | None:
    """Return a sentence if the embedded model draws prompts of sets that speak of other things than it knows.

    Args:
        prompts: Texts, as the lists have them.
        generator_model: The model that makes the images, as configured; empty if nobody knows.
        cut: What else takes meaning from the scores, as a part of the sentence.
    """
    if not is_embedded(generator_model):
        return None
    asked = set(prompts)
    found = {name: len(asked & _texts(name)) for name in PROMPT_SETS if name != OWN_SET}
    found = {name: count for name, count in found.items() if count}
    if not found:
        return None
    counted = " and ".join(f"{count} of the set {name}" for name, count in found.items())
    return (
        f"The embedded model knows a small world of its own, and {counted} among these {len(asked)} prompts speak of "
        f"other things{cut}: how high scores are, and labels such as “poor”, mean nothing here, and what differs "
        f"between levels differs between pictures that mostly fail. --prompt-set {OWN_SET} stays in its world."
    )


def _texts(name: str) -> frozenset[str]:
    return frozenset(prompt.text for prompt in read_prompts(PROMPT_SETS[name]))
