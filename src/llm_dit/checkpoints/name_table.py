"""Names of one layout's tensors against ours: a table that is read in both directions.

An entry is a pair of parts of a name, from one dot to another. `#` stands for a number, `~` for a number that counts
from the other end. One foreign part may stand for several of ours, whose rows lie one after the other in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

Part = tuple[str, str]


@dataclass(frozen=True)
class NameTable:
    """One layout of a component.

    Attributes:
        layout: What the layout is called.
        parts: Pairs of a foreign part and ours, tried one after the other.
        fused: Foreign part to ours in the order of their rows.
        dropped: Foreign names of tensors that nothing reads.
        levels: What `~` counts down from, plus one.
    """

    layout: str
    parts: tuple[Part, ...] = ()
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    levels: int = 0

    def ours(self, name: str) -> tuple[str, ...]:
        """Return our names of a foreign tensor: several for a fused one, none for one that nothing reads."""
        if name in self.dropped:
            return ()
        for foreign, ours in self.fused.items():
            if _pattern(foreign).search(name):
                return tuple(self._renamed(_replaced(name, foreign, part), self.parts) for part in ours)
        return (self._renamed(name, self.parts),)

    def foreign(self, name: str) -> tuple[str, int, int]:
        """Return the foreign name of one of our tensors, its place among those fused in it, and how many these are."""
        back = tuple((ours, foreign) for foreign, ours in self.parts)
        for foreign, ours in self.fused.items():
            for place, part in enumerate(ours):
                if _pattern(part).search(name):
                    return self._renamed(_replaced(name, part, foreign), back), place, len(ours)
        return self._renamed(name, back), 0, 1

    def _renamed(self, name: str, parts: Iterable[Part]) -> str:
        for wanted, given in parts:
            name = _replaced(name, wanted, given, self.levels)
        return name


@cache
def _pattern(part: str) -> re.Pattern[str]:
    body = re.sub(r"\\?[#~]", r"(\\d+)", re.escape(part))
    return re.compile(rf"(?:^|(?<=\.)){body}(?=\.|$)")


def _replaced(name: str, wanted: str, given: str, levels: int = 0) -> str:
    found = _pattern(wanted).search(name)
    if found is None:
        return name
    signs = re.findall("[#~]", wanted)
    values = iter(
        str(levels - 1 - int(value)) if sign == "~" else value
        for sign, value in zip(signs, found.groups(), strict=True)
    )
    replacement = re.sub("[#~]", lambda _: next(values), given)
    return name[: found.start()] + replacement + name[found.end() :]
