"""Which pair of levels is shown next: those whose votes decide most come more often, and every one keeps its share.

Pure functions of counts, with leading axes for thousands of simulated voters at once. A pair's probability is a
mixture: one half is the same whatever was voted, the other goes by the chance that as many votes again would change
what can be said of the pair. The probability is recorded with each vote, and the analysis weights by it, since a level
that is shown until it looks good would look good.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

EVEN_SHARE: Final = 0.5
"""Of the probability, that no vote changes. No vote counts for more than twice another of its pair's kind."""
AMONG_OTHERS: Final = 0.1
"""How often a pair without the baseline comes, for one with it: the question is what beats the baseline."""
LEAST_VOTES: Final = 4
"""Below so many nothing is known of a pair, and it counts as open."""
LEAST_CHANCE: Final = 1e-3
"""Where all pairs that are left are decided, one of them comes all the same."""
DECIDED: Final = 1.96
"""Standard errors from 0, as of a test at 5 %."""


def level_pairs(levels: int, baseline: int) -> tuple[NDArray[np.int64], Floats]:
    """Return all pairs of levels, [pairs, 2], and how often each comes beside the others, [pairs]."""
    first, second = np.triu_indices(levels, k=1)
    pairs = np.stack([first, second], axis=-1).astype(np.int64)
    return pairs, np.where((pairs == baseline).any(axis=-1), 1.0, AMONG_OTHERS)


def pair_probabilities(
    shares: Floats, net: Floats, decided: Floats, votes: Floats, is_open: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return the probability of each pair of levels, and what it would be if votes played no part.

    Args:
        shares: How often a pair comes beside the others, [pairs].
        net: Votes for its first level minus votes for its second, [..., pairs].
        decided: Votes for either, [..., pairs].
        votes: All, ties among them, [..., pairs].
        is_open: Whether there is a picture pair of it to show, [..., pairs]; at least one is.

    Returns:
        Probabilities and even probabilities, [..., pairs]; 0 where there is nothing to show.
    """
    evenly = _normalised(np.where(is_open, shares, 0.0))
    by_use = _normalised(evenly * chance_to_change(net, decided, votes))
    return EVEN_SHARE * evenly + (1 - EVEN_SHARE) * by_use, evenly


def chance_to_change(net: Floats, decided: Floats, votes: Floats) -> Floats:
    """Return the chance that as many votes again decide an open pair, or open a decided one.

    With a standardised mean of z after n votes, that of 2n votes is normal about sqrt(2) z with deviation 1: one half
    of its variance from votes to come, one half from what is not known of the mean.
    """
    variance = (decided + 1) / (votes + 1) - (net / (votes + 1)) ** 2
    now = np.abs(net) / np.sqrt(np.maximum(votes, 1) * variance)
    later = np.sqrt(2.0) * now
    is_decided_later = special.ndtr(later - DECIDED) + special.ndtr(-later - DECIDED)
    changes = np.where(now > DECIDED, 1 - is_decided_later, is_decided_later)
    return np.where(votes < LEAST_VOTES, 1.0, np.maximum(changes, LEAST_CHANCE))


def _normalised(values: Floats) -> Floats:
    normalised: Floats = values / values.sum(axis=-1, keepdims=True)
    return normalised
