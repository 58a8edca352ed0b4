"""In which order levels take turns: another one at each prompt, so that no place and no neighbour is a level's own.

What a picture takes depends a little on where it stands: the first of a prompt is drawn while nothing is written, since
the file of the picture before was written beside the encoding; each other one is drawn beside that file. With the same
order at every prompt that would be told of a level. Pure: an order follows from its number alone.

Source: Williams, E. J. (1949). Experimental designs balanced for the estimation of residual effects of treatments.
*Aust. J. Sci. Res. A* 2, 149-168.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def series_length(count: int) -> int:
    """Return after how many orders of `count` things the series begins again: as many, or twice as many if odd; 1 of 1.

    In all of them each thing has each place equally often, and comes right after each other one equally often; in the
    first `count` each is the first once; and in each two that follow each other, from an even number, each comes before
    each other one once.
    """
    return 2 * count if count % 2 and count > 1 else count


def turns(count: int, number: int) -> list[int]:
    """Return the order of `count` things at the place `number` of the series, which begins as they stand.

    Williams' first order, 0, 1, -1, 2, -2, ..., has each distance once; moved on by 1, 2, ... it gives others, and each
    is followed by itself backwards. Things are called by their places in that first order.
    """
    first = [0, *(step // 2 + 1 if step % 2 == 0 else count - step // 2 - 1 for step in range(count - 1))]
    called = {thing: place for place, thing in enumerate(first)}
    number %= series_length(count)
    order = [called[(thing + number // 2) % count] for thing in first]
    return order[::-1] if number % 2 else order


def turns_of_groups(keys: Sequence[Hashable], number: int, *finer: Sequence[Hashable]) -> list[int]:
    """Return the order of things at the place `number` of a series, those of equal keys next to each other.

    Groups take turns, and so do the things within each. Each time that the series of the groups begins again, that of
    the things in them is one further on, so that every order of the groups meets every order within them.

    Args:
        keys: Of each thing, the key of its group.
        number: Place in the series, from 0.
        finer: More keys of each thing, which group the things within a group, and so on.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    members = list(groups.values())
    rounds, place = divmod(number, series_length(len(members)))
    ordered = []
    for group in (members[turn] for turn in turns(len(members), number)):
        if finer:
            own, *further = ([level[index] for index in group] for level in finer)
            within = turns_of_groups(own, rounds + place, *further)
        else:
            within = turns(len(group), rounds + place)
        ordered += [group[turn] for turn in within]
    return ordered
