"""Strengths of levels from votes on pairs: Bradley & Terry's model with Davidson's ties, and what each prompt adds.

Pure functions on arrays with leading axes. With d the difference of two strengths and e^n the weight of ties, the first
level wins, ties or loses with odds e^(d/2) : e^n : e^(-d/2), so among decided votes it wins with odds e^d : 1. This is
an exponential family, and the most likely strengths are those by which every level's wins exceed its losses by as much
as was seen.

Nothing is fitted by a library: choix has no ties, and statsmodels would need its log-linear form with a parameter for
each pair, once for each of thousands of resamples; a test compares with it.

Source: Bradley & Terry 1952; Davidson 1970, "On extending the Bradley-Terry model to accommodate ties".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PSEUDO_VOTES: Final = 0.01
"""Of each answer for each pair of levels, so that a level that never lost has a strength; a hundredth of a vote."""
MOST_STEPS: Final = 60
LONGEST_STEP: Final = 2.0
"""In any strength, in logits; Newton's own may overshoot where a level hardly ever lost."""
TOLERANCE: Final = 1e-9
SINGULAR: Final = 1e-12
"""Share of the largest information, below which votes say nothing in a direction."""
RESAMPLES: Final = 999
CONFIDENCE: Final = 0.95
_SEED: Final = 0


@dataclass(frozen=True)
class Tally:
    """Votes by prompt and pair of levels, each counting as its weight says.

    Attributes:
        pairs: Positions of the two levels of each pair, [pairs, 2].
        levels: Number of levels.
        baseline: Position of the level whose strength is 0.
        net: Votes for the first level minus votes for the second, [..., prompts, pairs].
        ties: Votes for neither, [..., prompts, pairs].
        votes: All, [..., prompts, pairs].
    """

    pairs: NDArray[np.int64]
    levels: int
    baseline: int
    net: Floats
    ties: Floats
    votes: Floats


def strengths(tally: Tally) -> Floats:
    """Return the strength of each level in logits, the baseline's 0, and last the tie parameter, [..., levels + 1]."""
    return _spread_out(tally, _fitted(tally, *(part.sum(axis=-2) for part in (tally.net, tally.ties, tally.votes))))


def strength_intervals(tally: Tally, resamples: int = RESAMPLES) -> tuple[Floats, Floats]:
    """Return the 95 % intervals of `strengths`, ends [levels + 1] each, by resampling whole prompts.

    Source: Efron & Tibshirani 1993, section 13.3 (percentiles; strengths are skewed, and their intervals follow).
    """
    prompts = tally.net.shape[-2]
    weights = np.random.default_rng(_SEED).multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    parts = (weights.astype(np.float64) @ part for part in (tally.net, tally.ties, tally.votes))
    fitted = _spread_out(tally, _fitted(tally, *parts))
    low, high = np.quantile(fitted, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=-2)
    return low, high


def preferences(tally: Tally) -> tuple[Floats, Floats]:
    """Return how much each level is preferred to the baseline, as the sum of what every prompt says of it.

    A preference is the share of votes for the level minus the share against it, -1 to 1, as the model has it between
    that level and the baseline, whomever it was shown beside. Its estimate is divided over prompts: each has a share of
    the information (the others' strengths being estimated too) and a value. Where every vote is between a level and the
    baseline, a prompt's value is its own votes for minus against, over all.

    Args:
        tally: Votes.

    Returns:
        Share of information of each prompt, [..., prompts, levels], 0 where it says nothing, sum 1; and the prompt's
        part of the estimate, [..., prompts, levels], whose sum is the preference. All 0 for a level that no votes link
        to the baseline, and for the baseline.

    Source: the score contributions of Hemerik, Goeman & Finos 2020, "Robust testing in generalized linear models by
    sign flipping score contributions", whose signs the test flips.
    """
    design = _design(tally.levels, tally.baseline)
    totals = [part.sum(axis=-2) for part in (tally.net, tally.ties, tally.votes)]
    fitted = _fitted(tally, *totals)
    mean, covariance = _moments(fitted @ design[:, 0].T * 2, fitted[..., -1:])
    seen = np.stack([tally.net, tally.ties], axis=-1) - tally.votes[..., None] * mean[..., None, :, :]
    scores = np.einsum("...pki,kid->...pd", seen, design)
    information = np.einsum("kid,...kij,kje->...kde", design, covariance, design)  # of one vote
    shape = (*scores.shape[:-1], tally.levels)
    shares, parts = np.zeros(shape), np.zeros(shape)
    # without pseudo-votes, so that equal votes have equal values and signs can tie as they should
    inverse = np.linalg.pinv(np.einsum("...k,...kde->...de", totals[2], information), rcond=SINGULAR, hermitian=True)
    is_linked = _linked(tally, totals[2])
    for index, pair in enumerate(tally.pairs):
        if tally.baseline not in pair:
            continue
        level, sign = (pair[1], -1) if pair[0] == tally.baseline else (pair[0], 1)
        gradient = sign * np.einsum("kd,...k->...d", design[index], covariance[..., index, :, 0])
        direction = np.einsum("...de,...e->...d", inverse, gradient)
        of_vote = np.einsum("...d,...kde,...e->...k", direction, information, direction)
        told = np.einsum("...pk,...k->...p", tally.votes, of_vote)
        total = told.sum(axis=-1, keepdims=True)
        share = np.where(total > 0, told / np.where(total > 0, total, 1.0), 0.0)
        preference = sign * mean[..., index, 0][..., None]
        part = share * preference + np.einsum("...pd,...d->...p", scores, direction)
        shares[..., level] = share * is_linked[..., level, None]
        parts[..., level] = part * is_linked[..., level, None]
    return shares, parts


@lru_cache(maxsize=8)
def _design(levels: int, baseline: int) -> Floats:
    """Return how parameters make the two natural ones of a pair (half the difference, ties), [pairs, 2, parameters].

    Parameters are the strengths of all levels but the baseline, and the tie parameter.
    """
    pairs = np.stack(np.triu_indices(levels, k=1), axis=-1)
    column = np.cumsum(np.arange(levels) != baseline) - 1
    design = np.zeros((len(pairs), 2, levels))
    for index, (first, second) in enumerate(pairs):
        if first != baseline:
            design[index, 0, column[first]] = 0.5
        if second != baseline:
            design[index, 0, column[second]] = -0.5
        design[index, 1, -1] = 1.0
    return design


def _moments(difference: Floats, tie: Floats) -> tuple[Floats, Floats]:
    """Return mean and covariance of one vote's answer (+1, 0, -1) and of whether it is a tie.

    Args:
        difference: Of strengths, [..., pairs].
        tie: The tie parameter, [..., 1].

    Returns:
        [..., pairs, 2] and [..., pairs, 2, 2].
    """
    odds = np.stack([difference / 2, np.broadcast_to(tie, difference.shape), -difference / 2], axis=-1)
    odds = np.exp(odds - odds.max(axis=-1, keepdims=True))
    win, even, loss = np.moveaxis(odds / odds.sum(axis=-1, keepdims=True), -1, 0)
    net = win - loss
    mean = np.stack([net, even], axis=-1)
    rows = np.stack(
        [np.stack([win + loss - net**2, -net * even], axis=-1), np.stack([-net * even, even * (1 - even)], axis=-1)],
        axis=-2,
    )
    return mean, rows


def _fitted(tally: Tally, net: Floats, ties: Floats, votes: Floats) -> Floats:
    """Return the most likely parameters, [..., parameters], by Newton's steps.

    Args:
        tally: Which pairs there are.
        net: [..., pairs].
        ties: [..., pairs].
        votes: [..., pairs].
    """
    design = _design(tally.levels, tally.baseline)
    seen = np.stack([net, ties + PSEUDO_VOTES], axis=-1)
    counts = votes + 3 * PSEUDO_VOTES
    fitted = np.zeros((*net.shape[:-1], tally.levels))
    for _ in range(MOST_STEPS):
        mean, covariance = _moments(2 * fitted @ design[:, 0].T, fitted[..., -1:])
        score = np.einsum("...ki,kid->...d", seen - counts[..., None] * mean, design)
        information = np.einsum("...k,kid,...kij,kje->...de", counts, design, covariance, design, optimize=True)
        step = np.linalg.solve(information, score[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        fitted = fitted + step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, TOLERANCE))
        if longest.max() < TOLERANCE:
            break
    return fitted


def _spread_out(tally: Tally, fitted: Floats) -> Floats:
    """Put the baseline's strength of 0 into its place."""
    return np.insert(fitted, tally.baseline, 0.0, axis=-1)


def _linked(tally: Tally, votes: Floats) -> NDArray[np.bool_]:
    """Return which levels a chain of votes links to the baseline, the baseline left out, [..., levels]."""
    linked = np.zeros((*votes.shape[:-1], tally.levels), dtype=bool)
    linked[..., tally.baseline] = True
    for _ in range(tally.levels):
        for index, (first, second) in enumerate(tally.pairs):
            either = (linked[..., first] | linked[..., second]) & (votes[..., index] > 0)
            linked[..., first] |= either
            linked[..., second] |= either
    linked[..., tally.baseline] = False
    return linked
