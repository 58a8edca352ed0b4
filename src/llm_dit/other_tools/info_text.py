"""The `parameters` text of A1111 and Forge, which we write too: prompt, negative prompt, one line of settings.

Source: AUTOMATIC1111 `modules/infotext_utils.py`; Forge, which hands "Distilled CFG Scale" to Z-Image as its shift.
"""

from __future__ import annotations

import re

from llm_dit.other_tools.foreign_settings import ForeignSettings
from llm_dit.parameters import PARAMETERS

SETTING = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
NEGATIVE = "Negative prompt:"
LEAST_SETTINGS = 3
MAX_LINE = 1 << 16
OURS = "llm-dit"
SHIFTS = ("Shift", "Distilled CFG Scale")
WITHOUT_MEANING = frozenset({"Model hash", "Lora hashes", "TI hashes", "VAE", "VAE hash", "Version", "RNG", "Hashes"})
"""What a picture's settings hold that changes nothing here."""


def read_info_text(text: str) -> ForeignSettings | None:
    """Read such a text; None where its last line has no settings."""
    *lines, last = text.strip().split("\n")
    settings = {name: value.strip().strip('"') for name, value in SETTING.findall(last[:MAX_LINE])}
    if len(settings) < LEAST_SETTINGS or "Steps" not in settings:
        return None
    is_ours = settings.get("Version", "").startswith(OURS)
    found = ForeignSettings("llm-dit's text" if is_ours else "A1111 or Forge", has_same_noise=is_ours)
    start = next((index for index, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).removeprefix(NEGATIVE).strip()
    prompt = "\n".join(lines[:start])
    if is_ours:
        found.take("prompt", prompt)
    else:
        found.take_loras(found.take_prompt(prompt))
    if negative:
        found.take("negative_prompt", negative)
    _take_settings(found, settings, is_ours=is_ours)
    return found


def _take_settings(found: ForeignSettings, settings: dict[str, str], *, is_ours: bool) -> None:
    ours = {item.note.in_text: item for item in PARAMETERS.values() if item.note.in_text}
    for name, value in settings.items():
        size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", value) if name == "Size" else None
        if size:
            found.take("width", size[1])
            found.take("height", size[2])
        elif name in SHIFTS:
            found.take("shift", value)
        elif name == "CFG scale":
            found.take_cfg(value)
        elif name in ours:
            found.take(ours[name].name, value)
        elif name == "Model":
            found.model = value
        elif name == "Sampler":
            found.take_sampler(value)
        elif name not in WITHOUT_MEANING and not (is_ours or (name == "Schedule type" and value == "Simple")):
            found.unread.append(name)
