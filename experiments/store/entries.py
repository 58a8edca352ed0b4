"""Blocks of many records that have the same names: each block keeps its values, and all of them one table of names.

A dictionary of twenty entries takes a kilobyte, most of it for names and their places, and a folder of 100,000 runs has
half a million of them.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from functools import lru_cache
from itertools import compress
from typing import Any


class Places(dict[str, int]):
    """Name to its place among the values of a block; one for all blocks with these names, and known by itself."""

    __slots__ = ()
    __hash__ = object.__hash__  # type: ignore[assignment]  # nobody writes into it

    def __eq__(self, other: object) -> bool:
        """Tell tables apart by which they are."""
        return self is other

    def __ne__(self, other: object) -> bool:
        """Likewise; a dictionary has an operator of its own for it."""
        return self is not other


class Entries(Mapping[str, Any]):
    """A block that nobody writes into; equal to a dictionary with the same entries.

    Args:
        places: Shared by all blocks with these names.
        values: In this order.
    """

    __slots__ = ("_places", "_values")

    def __init__(self, places: Places, values: tuple[Any, ...]) -> None:
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

    def values(self) -> ValuesView[Any]:
        """Return the values, made at once."""
        return dict(zip(self._places, self._values, strict=True)).values()

    def key_beside(self, left_out: tuple[str, ...]) -> tuple[Any, ...]:
        """Return what is equal for blocks with the same entries beside some."""
        names, are_kept = _kept_beside(self._places, left_out)
        return (names, *compress(self._values, are_kept))

    def __repr__(self) -> str:
        """Show it as the dictionary that it stands for."""
        return repr(dict(self))


class SharedNames:
    """The tables of names of all blocks that one process has read."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, ...], Places] = {}
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
        text = self._texts.setdefault
        values = [
            text(value, value)
            if value.__class__ is str
            else self.with_shared_texts(value)
            if value.__class__ is dict
            else value
            for value in block.values()
        ]
        return Entries(self._table(tuple(block)), tuple(values))

    def _table(self, names: tuple[str, ...]) -> Places:
        table = self._tables.get(names)
        if table is None:
            table = self._tables[names] = Places((name, place) for place, name in enumerate(names))
        return table


@lru_cache(maxsize=256)
def _kept_beside(places: Places, left_out: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Return the names that are not left out, and for each place of a block whether it is one of theirs."""
    return tuple(name for name in places if name not in left_out), tuple(name not in left_out for name in places)
