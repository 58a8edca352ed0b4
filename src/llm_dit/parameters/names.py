"""Other names of parameters: short ones that mean the same, and those of other tools, which lead to the right one.

Meaning comes before letters: `cfg` is `guidance_scale`, however little they look alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llm_dit.errors import InvalidParameter, nearest
from llm_dit.parameters.declaration import Parameter

NOT_HERE = {
    "the sampler is Euler's, which adds no noise; what moves the schedule is shift": (
        "sampler sampler_name sampler_index scheduler scheduler_name schedule_type eta s_churn s_noise sigmas timesteps"
    ),
    "every image begins as noise; there is no image to image": (
        "denoise denoising_strength strength init_image image init_images mask inpaint"
    ),
    "one image is made at a time; experiments/run_ablation.py --seeds makes many": (
        "batch_size batch_count n_iter num_images num_images_per_prompt num_outputs images n"
    ),
    "there is no second pass; ask for the size with width and height": (
        "hires enable_hr hr_scale upscale upscaler hires_fix refiner"
    ),
    "the size is width and height": "size resolution aspect_ratio image_size dimensions",
    "there is no ControlNet": "controlnet control_image control_net controlnet_conditioning_scale",
}
"""What other tools have and this one has not, by the sentence part that says so; names with blanks between them."""


def in_own_names(values: Mapping[str, Any], short_names: Mapping[str, str]) -> dict[str, Any]:
    """Return `values` with every short name replaced by its parameter's own; unknown names stay.

    Raises:
        InvalidParameter: If a parameter is given under two names.
    """
    for short in short_names.keys() & values.keys():
        if short_names[short] in values:
            raise InvalidParameter(short_names[short], f"and {short} are one parameter; give one of them.")
    return {short_names.get(name, name): value for name, value in values.items()}


def meant(word: str, parameters: Iterable[Parameter]) -> Parameter | None:
    """Return the parameter that `word` is another spelling or another tool's name of; letters alone don't count."""
    name, items = _plain(word), list(parameters)
    readings: tuple[Callable[[Parameter], Iterable[str]], ...] = (
        lambda item: (item.name, *item.note.aliases),
        lambda item: item.note.elsewhere.split(),
        lambda item: (item.key,),
    )
    for names_of in readings:
        for item in items:
            if name in names_of(item):
                return item
    return None


def suggestion(word: str, offered: Sequence[Parameter], known: Iterable[Parameter] = ()) -> str:
    """Return a sentence part that helps after the name of a parameter that is not offered, as `nearest` does.

    Args:
        word: What the user typed.
        offered: Parameters that could have been meant.
        known: All parameters, also those that another place takes.
    """
    item = meant(word, offered)
    if item is not None:
        return f"; did you mean {item.name!r}?{other_count(item, word)}"
    item = meant(word, known)
    if item is not None:
        return f"; {item.name!r} is one of {item.group.__name__}, which are not read here."
    return not_here(word) or nearest(
        _plain(word), [name for item in offered for name in (item.name, *item.note.aliases)]
    )


def not_here(word: str) -> str:
    """Return the sentence part for what other tools have and this one has not; empty for any other word."""
    return next((f"; {reason}." for reason, names in NOT_HERE.items() if _plain(word) in names.split()), "")


def other_count(item: Parameter, word: str) -> str:
    """Say how the value of another tool's `word` is counted here, where it differs."""
    name = _plain(word)
    if not item.note.elsewhere_offset or name not in item.note.elsewhere.split():
        return ""
    return f" Its value is {item.note.elsewhere_offset} less than what other tools call {name}."


def _plain(word: str) -> str:
    return re.sub(r"[-. ]", "_", word.strip().lstrip("-").lower())
