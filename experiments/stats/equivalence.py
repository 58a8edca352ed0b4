"""As good as, shown rather than assumed: two one-sided sign-flip tests against a margin.

That no difference is found says little; that it lies within a margin is a finding of its own. A difference is within
the margin where both "at least the margin below" and "at least the margin above" are rejected. Each is a sign-flip
test of the differences with the margin added or taken off, at the full level: both have to be rejected, and only one of
them can be true.

Source: Schuirmann 1987 (two one-sided tests); Berger & Hsu 1996 (why the level is not halved).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.stats.error_spending import (
    RELATIVE_TOLERANCE,
    Floats,
    Ints,
    Looks,
    Statistic,
    Walks,
    chunked_crossings,
)


def above_minus(margin: float) -> Statistic:
    """Return the statistic that speaks for a mean difference above minus the margin."""
    return lambda found: found.above(-margin)


def below_plus(margin: float) -> Statistic:
    """Return the statistic that speaks for a mean difference below the margin."""
    return lambda found: found.below(margin)


def equivalence_sides(found: Walks, margin: float) -> Floats:
    """Return what speaks for "above minus the margin" and for "below the margin", under every sign pattern.

    Args:
        found: Of paired differences, [data sets, ...].
        margin: Largest difference that does not matter, above 0, in the unit of the differences.

    Returns:
        [2, data sets, looks, patterns and mirrors], in units of each data set's scale.
    """
    assert margin > 0, f"a margin is above 0, got {margin}"
    prompts = found.looks.prompts[-1]
    scale = found.slack[:, None, None] / RELATIVE_TOLERANCE + margin * prompts  # no sum is larger
    sides: Floats = np.stack([found.above(-margin) / scale, found.below(margin) / scale])
    return sides


def equivalence_crossings(differences: Floats, looks: Looks, alphas: Sequence[float], margin: float) -> Ints:
    """Return the first look at which both one-sided tests have rejected, each at its own look or at one.

    Args:
        differences: [data sets, prompts]; NaN where a prompt has none.
        looks: When the data are looked at; one look is the fixed design.
        alphas: Levels of the test.
        margin: Largest difference that does not matter, above 0, in the unit of the differences.

    Returns:
        Index of the look, `NEVER` where there is none, [data sets, alphas].
    """
    assert margin > 0, f"a margin is above 0, got {margin}"
    sides = chunked_crossings(differences, looks, alphas, [above_minus(margin), below_plus(margin)])
    both: Ints = sides.max(axis=0)
    return both
