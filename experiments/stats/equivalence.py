"""As good as, shown rather than assumed: two one-sided sign-flip tests against a margin.

That no difference is found says little; that it lies within a margin is a finding of its own. A difference is within
the margin where both "at least the margin below" and "at least the margin above" are rejected. Each is a sign-flip
test of the differences with the margin added or taken off, at the full level: both have to be rejected, and only one of
them can be true. The first half of it alone says that a level is not worse by more than the margin (non-inferiority).

A fixed design has `margin_p_values`; planned looks spend their error with `look_evidence`.

Source: Schuirmann 1987 (two one-sided tests); Berger & Hsu 1996 (why the level is not halved).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

import numpy as np

from experiments.stats.error_spending import (
    RELATIVE_TOLERANCE,
    Floats,
    Ints,
    Looks,
    Statistic,
    chunked_crossings,
)
from experiments.stats.paired_statistics import sign_patterns, unit_vectors

_CHUNK_ELEMENTS: Final = 2**20


def above_minus(margin: float) -> Statistic:
    """Return the statistic that speaks for a mean difference above minus the margin."""
    return lambda found: found.above(-margin)


def below_plus(margin: float) -> Statistic:
    """Return the statistic that speaks for a mean difference below the margin."""
    return lambda found: found.below(margin)


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
    sides = chunked_crossings(differences, looks, alphas, [above_minus(margin), below_plus(margin)], has_mirrors=True)
    both: Ints = sides.max(axis=0)
    return both


def margin_p_values(differences: Floats, margin: float) -> Floats:
    """Test a fixed design against the margin from both sides, by the sign patterns of `sign_flip_p_value`.

    The p-value of a side is the share of sign patterns, mirrors among them, in which the differences, with the margin
    added or taken off, speak as clearly for it as they did. Where they were looked at before, a pattern counts as it
    speaks at any of its looks. So both sides are below 5 % where the 90 % `interval_of_difference` lies within the
    margin.

    Args:
        differences: Level minus baseline, [data sets, looks, prompts] with the present look at the end; NaN where a
            prompt is not there.
        margin: Largest difference that does not matter, above 0, in the unit of the differences.

    Returns:
        p-values in (0, 1] of "above minus the margin" and "below the margin", [2, data sets].
    """
    assert margin > 0, f"a margin is above 0, got {margin}"
    units = unit_vectors(np.stack([differences + margin, margin - differences]))  # [2, data sets, looks, prompts]
    flat = units.reshape(-1, *units.shape[2:])
    signs, seen = sign_patterns(differences.shape[-1])
    p_values = np.empty(len(flat))
    size = max(1, _CHUNK_ELEMENTS // (signs.shape[1] * flat.shape[1]))
    for start in range(0, len(flat), size):
        part = flat[start : start + size]
        found = part[:, -1].sum(axis=-1)[:, None] - RELATIVE_TOLERANCE
        sums = (part.reshape(-1, part.shape[-1]) @ signs).reshape(*part.shape[:2], -1)  # [data sets, looks, patterns]
        furthest = [reduce(np.maximum, (sign * sums).swapaxes(0, 1)) for sign in (1, -1)]  # mirrors after patterns
        as_far = sum(np.count_nonzero(side >= found, axis=-1) for side in furthest)
        p_values[start : start + size] = (as_far + seen) / (2 * (signs.shape[1] + seen))
    return p_values.reshape(2, -1)
