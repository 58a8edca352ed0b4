"""Long names made short so that different ones stay different."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def shortened(name: str, most: int) -> str:
    """Return a name of at most `most` characters: its beginning and its end, where names differ most often."""
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - end - 1].rstrip()}…{name[-end:].lstrip()}"


def distinct_names(names: Sequence[str], most: int) -> list[str]:
    """Shorten names; of those that would look alike, show the place where they part.

    Args:
        names: Different names.
        most: Most characters of each.
    """
    short = [shortened(name, most) for name in names]
    for look in {look for look in short if short.count(look) > 1}:
        alike = [index for index, other in enumerate(short) if other == look]
        columns = zip(*(names[index] for index in alike), strict=False)
        parting = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
        beginning = most // 3
        start = max(beginning, parting - most // 6)
        for place, index in enumerate(alike, start=1):
            window = names[index][start : start + most - beginning - 6].strip()
            short[index] = f"{names[index][:beginning].rstrip()}…{window}"
            if short[index] in [short[other] for other in alike if other != index]:
                short[index] += f" ({place})"
    return short
