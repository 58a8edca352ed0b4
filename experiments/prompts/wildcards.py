r"""Wildcards: `{red|blue}` and `__colour__` in a prompt become one prompt for each choice.

Every combination is made, none is drawn by chance: an experiment wants all of them. `__colour__` takes the lines of
`colour.txt`. Braces without `|` are text, and `\{`, `\|`, `\}` and `\_` are the characters themselves.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.prompts.text_file import lines_of, read_text
from llm_dit.errors import ConfigError, nearest

FOLDER_NAME = "wildcards"
"""Where wildcards' files are looked for, beside the prompts."""
OPTION = "--wildcards"
MOST_PROMPTS = 10_000
_TOKEN = re.compile(r"\\(?P<escaped>[{}|_])|__(?P<name>[^\W_][\w./-]*?)__|(?P<mark>[{|}])")
_FOREIGN = re.compile(r"\s*(?:\d+(?:\.\d+)?::|\d*(?:-\d*)?\$\$)")
"""Weights and numbers of draws, as other tools write them before a choice."""


class Expansion(NamedTuple):
    """One prompt of a template, and its choices: the wildcard's name, or `choice_1` for braces, to the text chosen."""

    text: str
    choices: dict[str, str]


class _Part(NamedTuple):
    """A piece of a template: its possible texts, and the name of the choice; empty for plain text."""

    name: str
    options: Sequence[str]


class Wildcards:
    """Expands templates; reads each wildcard's file once.

    Args:
        folder: Where the files are; it need not exist before a template names one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Sequence[str]] = {}
        self._open: list[str] = []

    def expand(self, template: str, where: str) -> list[Expansion]:
        """Return every prompt that a template stands for; one, without choices, where it has no wildcard.

        Args:
            template: A prompt as written.
            where: Where it stands, for messages.

        Raises:
            ConfigError: For a wildcard without a file, one that holds itself, weights, and too many prompts.
        """
        if not _TOKEN.search(template):
            return [Expansion(template, {})]
        parts, _ = self._parts(template, 0, where, is_inside=False)
        names = _unique_names([part.name for part in parts])
        expansions = []
        for texts in _combined(parts, where):
            choices = {name: text.strip() for name, text in zip(names, texts, strict=True) if name}
            expansions.append(Expansion("".join(texts).strip(), choices))
        return expansions

    def _parts(self, text: str, start: int, where: str, *, is_inside: bool) -> tuple[list[_Part], int]:
        """Return the parts from `start` on, and where they end: at the text's end, or inside braces at `|` or `}`."""
        parts, position = [], start
        while match := _TOKEN.search(text, position):
            parts.append(_Part("", [text[position : match.start()]]))
            position = match.end()
            if match["escaped"]:
                parts.append(_Part("", [match["escaped"]]))
            elif match["name"]:
                parts.append(_Part(match["name"], self._lines(match["name"], where)))
            elif match["mark"] == "{":
                inner, position = self._braces(text, position, where)
                parts += inner
            elif is_inside:
                return parts, match.start()
            else:
                parts.append(_Part("", [match["mark"]]))
        return [*parts, _Part("", [text[position:]])], len(text)

    def _braces(self, text: str, start: int, where: str) -> tuple[list[_Part], int]:
        """Return the parts of what follows a `{`, and where it ends."""
        options: list[str] = []
        position, alternatives = start, 0
        while True:
            parts, end = self._parts(text, position, where, is_inside=True)
            if end == len(text) or (text[end] == "}" and not alternatives):  # no choice: the braces are text
                inner, _ = self._parts(text[start:end], 0, where, is_inside=False)
                return [_Part("", ["{"]), *inner, _Part("", [text[end : end + 1]])], end + 1
            if _FOREIGN.match(text, position):
                raise ConfigError(
                    f"{where}: {text[position:end].strip()!r} has a weight or a number of draws; the lab makes every "
                    "choice once, so leave it out."
                )
            options += ["".join(texts) for texts in _combined(parts, where)]
            if text[end] == "}":
                return [_Part("choice", options)], end + 1
            alternatives, position = alternatives + 1, end + 1

    def _lines(self, name: str, where: str) -> Sequence[str]:
        """Return what the wildcard `name` stands for, wildcards within it expanded."""
        if name in self._open:
            raise ConfigError(f"{where}: the wildcard __{name}__ holds itself ({' > '.join([*self._open, name])}).")
        if name not in self._files:
            self._open.append(name)
            path = self._path(name, where)
            lines = [line.strip() for line in lines_of(read_text(path, OPTION))]
            kept = [line for line in lines if line and not line.startswith("#")]
            if not kept:
                raise ConfigError(f"{path}: there is no line in this wildcard's file.")
            self._files[name] = list(
                dict.fromkeys(expansion.text for line in kept for expansion in self.expand(line, str(path)))
            )
            self._open.pop()
        return self._files[name]

    def _path(self, name: str, where: str) -> Path:
        known = {
            path.relative_to(self._folder).with_suffix("").as_posix(): path
            for path in sorted(self._folder.rglob("*"))
            if path.suffix.lower() == ".txt"
        }
        if name not in known:
            hint = nearest(name, known) if known else f"; name its folder with {OPTION}."
            raise ConfigError(
                f"{where}: {self._folder} has no {name}.txt for the wildcard __{name}__{hint} Write \\__{name}__ for "
                "the text itself."
            )
        return known[name]


def _combined(parts: Sequence[_Part], where: str) -> itertools.product[tuple[str, ...]]:
    count = math.prod(len(part.options) for part in parts)
    if count > MOST_PROMPTS:
        raise ConfigError(f"{where}: the wildcards make {count:,} prompts, and at most {MOST_PROMPTS:,} are read.")
    return itertools.product(*(part.options for part in parts))


def _unique_names(names: Sequence[str]) -> list[str]:
    """Number the choices in braces, and names that stand there again: `choice_1`, `colour`, `colour_2`."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        is_plain = not name or (seen[name] == 1 and name != "choice")
        unique.append(name if is_plain else f"{name}_{seen[name]}")
    return unique
