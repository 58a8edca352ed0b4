"""What was read of another tool's settings: values that are valid here, and sentences on the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from llm_dit.errors import InvalidParameter, listed
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.loras import LoraEntry, loras_text

SHOWN = 8
SHOWN_CHARACTERS = 60
EULER = re.compile(r"(?:k_)?euler(?:_simple| simple)?", re.IGNORECASE)
EMPHASIS = re.compile(r"\([^()]{1,200}:\d+(?:\.\d+)?\)")
PROMPT_LORA = re.compile(r"<lora:([^:<>]{1,200})(?::([-+\d.]{1,20}))?(?::[^<>]{0,60})?>")


class UnreadableSettings(ValueError):
    """A tool's text is none of what that tool writes; says what."""


@dataclass
class ForeignSettings:
    """Settings on the way from another tool.

    Attributes:
        tool: Its name.
        has_same_noise: A seed means the same noise there as here.
        values: Parameter name to value, each valid by itself.
        unread: What was there and has no meaning here, as that tool calls it.
        sentences: What else is to be said.
        model: The model's name there; empty where it is not told.
    """

    tool: str
    has_same_noise: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    model: str = ""

    def take(self, name: str, value: Any) -> None:
        """Take the value of one of our parameters, if it is one here; else say why not."""
        if value is None or isinstance(value, dict | list):
            return
        given = {"prompt": "-", name: value}
        try:
            self.values[name] = getattr(GenerationParams.parse(given), name)
        except InvalidParameter as error:
            self.sentences.append(f"Left out: {error.named(name)}")

    def take_cfg(self, value: Any) -> None:
        """Take a guidance factor of tools whose 1 is our 0; below 1 there is no guidance here."""
        number = as_number(value)
        if number is None:
            return
        self.take("guidance_scale", max(0.0, round(number - 1, 6)))
        if number != 1:
            self.sentences.append(f"CFG {number:g} is guidance_scale {max(0.0, number - 1):g} here.")

    def take_prompt(self, text: Any, name: str = "prompt") -> list[tuple[str, Any]]:
        """Take a prompt in which LoRAs may stand as `<lora:NAME:STRENGTH>`; return these."""
        if not isinstance(text, str):
            return []
        loras = [(match[1], match[2] or 1) for match in PROMPT_LORA.finditer(text)]
        plain = PROMPT_LORA.sub("", text).strip() if loras else text
        if plain.strip() or name != "prompt":
            self.take(name, plain)
        if EMPHASIS.search(plain):
            self.sentences.append(f"Emphasis such as (word:1.2) in the {name.replace('_', ' ')} is plain text here.")
        return loras

    def take_loras(self, loras: list[tuple[str, Any]]) -> None:
        """Take LoRAs by name and strength."""
        entries = []
        for name, strength in loras:
            number = as_number(strength)
            if number is None or not name.strip():
                self.unread.append(f"LoRA {shortened(name)}")
            else:
                entries.append(LoraEntry(name.strip().replace("\\", "/"), number))
        if entries:
            self.take("loras", loras_text(entries))
            self.sentences.append("LoRAs are looked for by their names, as files here and in loras_folder.")

    def take_sampler(self, name: Any) -> None:
        """Say so where images were drawn by another rule than Euler's."""
        if isinstance(name, str) and name and not EULER.fullmatch(name):
            self.sentences.append(f"The sampler was {shortened(name)}; here it is Euler's.")

    def notices(self) -> list[str]:
        """Return all sentences: what was taken first, what was not understood, whether the seed carries over."""
        taken = ", ".join(self.values) or "nothing"
        told = [f"Read from {self.tool}: {taken}."]
        if self.model:
            told.append(f"The model was {shortened(self.model)}.")
        if "prompt" not in self.values:
            told.append("No prompt was found.")
        if self.unread:
            names = list(dict.fromkeys(shortened(name) for name in self.unread))
            told.append(f"Not understood: {listed(names, SHOWN)}.")
        if "seed" in self.values and not self.has_same_noise:
            told.append(
                f"{self.tool} has its own rules for noise and steps, so the same seed may give another picture here."
            )
        return [*told, *dict.fromkeys(self.sentences)]

    def record(self) -> dict[str, Any]:
        """Return it as a record, ready for JSON."""
        model = {"model_path": self.model} if self.model else {}
        return {"parameters": self.values, "source": self.tool, "notices": self.notices(), **model}


def as_number(value: Any) -> float | None:
    """Return a finite number that stands as one or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > SHOWN_CHARACTERS:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e18 else None


def json_object(text: str, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UnreadableSettings: If it is none, or is nested too deeply.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise UnreadableSettings(f"its {what} is nested too deeply") from None
    except ValueError:
        raise UnreadableSettings(f"its {what} is damaged") from None
    if not isinstance(content, dict):
        raise UnreadableSettings(f"its {what} is not a JSON object")
    return content


def shortened(text: str) -> str:
    """Return a text as it may stand in a sentence, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 3] + "..."
