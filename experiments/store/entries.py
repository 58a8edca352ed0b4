"""Blocks of many records that have the same names: each block keeps its values, and all of them one table of names.

A dictionary of twenty entries takes a kilobyte, most of it for names and their places, and a folder of 100,000 runs has
half a million of them.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any


class Entries(Mapping[str, Any]):
    """A block that nobody writes into; equal to a dictionary with the same entries.

    Args:
        places: Name to its place among the values; shared by all blocks with these names.
        values: In this order.
    """

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[Any, ...]) -> None:
        self._places = places
        self._values = values

    def __getitem__(self, name: str) -> Any:
        """Return an entry."""
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order of the block."""
        return iter(self._places)

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an entry, or `default` where there is none."""
        place = self._places.get(name)
        return default if place is None else self._values[place]

    def items(self) -> ItemsView[str, Any]:
        """Return names with their values, made at once: one by one they take ten times as long."""
        return dict(zip(self._places, self._values, strict=True)).items()

    def __repr__(self) -> str:
        """Show it as the dictionary that it stands for."""
        return repr(dict(self))


class SharedNames:
    """The tables of names of all blocks that one process has read."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, ...], Mapping[str, int]] = {}
        self._texts: dict[str, str] = {}
        self._blocks: dict[tuple[tuple[str, str], ...], Entries] = {}

    def text(self, text: str) -> str:
        """Return a text that is that of many."""
        return self._texts.setdefault(text, text)

    def texts(self, block: Mapping[str, str]) -> Entries:
        """Return a block of texts that many have as a whole, such as the levels of a run."""
        key = tuple(block.items())
        if key not in self._blocks:
            self._blocks[key] = self.with_shared_texts(block)
        return self._blocks[key]

    def entries(self, block: Mapping[str, Any]) -> Entries:
        """Return a block with its names shared; what stands in it stays as it is."""
        if not block:
            return self.texts({})
        return Entries(self._table(tuple(block)), tuple(block.values()))

    def with_shared_texts(self, block: Mapping[str, Any]) -> Entries:
        """Return a block, those in it likewise, whose texts are those of many, such as a baseline picture's hash."""
        return Entries(self._table(tuple(block)), tuple(map(self._shared, block.values())))

    def _shared(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.with_shared_texts(value)
        return self.text(value) if isinstance(value, str) else value

    def _table(self, names: tuple[str, ...]) -> Mapping[str, int]:
        table = self._tables.get(names)
        if table is None:
            table = {name: place for place, name in enumerate(names)}
            self._tables[names] = table
        return table
