"""Strengths of levels from votes on pairs: Bradley & Terry's model with Davidson's ties, and what prompts say.

Pure functions on arrays with leading axes. With d the difference of two strengths and e^n the weight of ties, the first
level wins, ties or loses with odds e^(d/2) : e^n : e^(-d/2), so among decided votes it wins with odds e^d : 1. This is
an exponential family, and the most likely strengths are those by which every level's wins exceed its losses by as much
as was seen.

Nothing is fitted by a library: choix has no ties, and statsmodels would need its log-linear form with a parameter for
each pair; a test compares with it.

Source: Bradley & Terry 1952; Davidson 1970, "On extending the Bradley-Terry model to accommodate ties".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from experiments.stats.paired_statistics import resample_weights

Floats = NDArray[np.float64]

PSEUDO_VOTES: Final = 0.01
"""Of each answer for each pair of levels, so that a level that never lost has a strength; a hundredth of a vote."""
MOST_STEPS: Final = 60
LONGEST_STEP: Final = 2.0
"""In any strength, in logits; Newton's own may overshoot where a level hardly ever lost."""
TOLERANCE: Final = 1e-9
SAME: Final = 1e-6
"""Logits within which two fits are one."""
LEAST_DECIDED: Final = 3
"""Votes won, and lost, from which a strength has both ends: a level that always won may be of any strength."""
CONFIDENCE: Final = 0.95
RESAMPLES: Final = 999
"""Of prompts, each with a fit of its own: some 10 ms for six levels."""


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


def strength_intervals(tally: Tally) -> tuple[Floats, Floats]:
    """Return the 95 % intervals of the levels' strengths, ends [..., levels] each.

    Whole prompts are resampled, since votes on one prompt are not independent, and the strengths fitted anew to each
    resample. The ends are percentiles of those, further out than 2.5 % by what Student's quantile is above the normal
    one and by the spread that resamples of few prompts lack, and moved against the bias that resamples show: strong
    levels look stronger in them. An end is infinite where a level has lost, or won, too few votes to tell how strong it
    may be.

    Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 3.4 (expanded percentiles); Efron
    1981, "Nonparametric standard errors and confidence intervals", section 7 (bias-corrected percentiles).
    """
    parts = (tally.net, tally.ties, tally.votes)
    fitted = _fitted(tally, *(part.sum(axis=-2) for part in parts)).reshape(-1, tally.levels)
    experiments = [part.reshape(-1, *part.shape[-2:]) for part in parts]
    ends = np.zeros((2, len(fitted), tally.levels))
    for index, start in enumerate(fitted):
        ends[:, index] = _resampled_ends(tally, [part[index] for part in experiments], start)
    low, high = ends.reshape(2, *tally.net.shape[:-2], tally.levels)
    wins, losses = _decided(tally)
    low = np.where(wins < LEAST_DECIDED, -np.inf, low)
    high = np.where(losses < LEAST_DECIDED, np.inf, high)
    low[..., tally.baseline] = high[..., tally.baseline] = 0.0
    return low, high


def _resampled_ends(tally: Tally, parts: Sequence[Floats], start: Floats) -> Floats:
    """Return the ends for one experiment, [2, levels].

    Args:
        tally: Which pairs there are.
        parts: Net votes, ties and all votes, [prompts, pairs] each.
        start: The most likely parameters for all prompts, from which those of resamples are found.
    """
    is_voted_on = parts[2].sum(axis=-1) > 0
    prompts = int(is_voted_on.sum())
    if prompts < 2:  # nothing to resample: any strength may be
        return np.stack([np.full(tally.levels, -np.inf), np.full(tally.levels, np.inf)])
    counts = prompts * resample_weights(prompts)[:, :RESAMPLES].T  # [resamples, prompts]
    net, ties, votes = (counts @ part[is_voted_on] for part in parts)
    found = _spread_out(tally, _fitted(tally, net, ties, votes, start))[:, :-1]
    whole = _spread_out(tally, start)[:-1]
    # resamples that are as the whole fall on either side by rounding; they count half
    below = ((found < whole - SAME).mean(axis=0) + (found < whole + SAME).mean(axis=0)) / 2
    bias = special.ndtri(np.clip(below, 1 / len(found), 1 - 1 / len(found)))
    reach = special.stdtrit(prompts - 1, 0.5 + CONFIDENCE / 2) * np.sqrt(prompts / (prompts - 1))
    shares = special.ndtr(2 * bias + np.array([[-reach], [reach]]))  # [2, levels]
    ends = [np.quantile(found[:, level], shares[:, level]) for level in range(tally.levels)]
    return np.stack(ends, axis=-1)


def preferences(tally: Tally) -> Floats:
    """Return what each prompt says of each level beside the baseline, so that the mean over prompts is the level's.

    A preference is the share of votes for a level minus the share for the baseline, in votes on those two, -1 to 1: by
    the model, what its strength makes it win more than it loses. A prompt's value is its own net vote, times its votes'
    weight beside that of the mean prompt.

    Returns:
        [..., prompts, levels]; NaN where a prompt has no votes on the two, and for the baseline.
    """
    values = np.full((*tally.net.shape[:-1], tally.levels), np.nan)
    for index, (first, second) in enumerate(tally.pairs):
        if tally.baseline not in (first, second):
            continue
        level, sign = (first, 1) if second == tally.baseline else (second, -1)
        votes = tally.votes[..., index]
        is_voted_on = votes > 0
        of_mean_prompt = votes.sum(axis=-1, keepdims=True) / np.maximum(is_voted_on.sum(axis=-1, keepdims=True), 1)
        net = sign * tally.net[..., index] / np.where(of_mean_prompt > 0, of_mean_prompt, 1.0)
        values[..., level] = np.where(is_voted_on, net, np.nan)
    return values


def linked(tally: Tally) -> NDArray[np.bool_]:
    """Return which levels a chain of votes links to the baseline, itself included, [..., levels]."""
    votes = tally.votes.sum(axis=-2)
    found = np.zeros((*votes.shape[:-1], tally.levels), dtype=bool)
    found[..., tally.baseline] = True
    for _ in range(tally.levels):
        for index, (first, second) in enumerate(tally.pairs):
            either = (found[..., first] | found[..., second]) & (votes[..., index] > 0)
            found[..., first] |= either
            found[..., second] |= either
    return found


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
    half = difference / 2
    most = np.maximum(np.abs(half), tie)  # taken away, so that no exponential overflows
    odds = (np.exp(half - most), np.exp(tie - most), np.exp(-half - most))
    win, even, loss = (part / sum(odds) for part in odds)
    net = win - loss
    mean = np.stack([net, even], axis=-1)
    rows = np.stack(
        [np.stack([win + loss - net**2, -net * even], axis=-1), np.stack([-net * even, even * (1 - even)], axis=-1)],
        axis=-2,
    )
    return mean, rows


def _fitted(tally: Tally, net: Floats, ties: Floats, votes: Floats, start: Floats | None = None) -> Floats:
    """Return the most likely parameters, [..., parameters], by Newton's steps.

    Args:
        tally: Which pairs there are.
        net: [..., pairs].
        ties: [..., pairs].
        votes: [..., pairs].
        start: Where the steps begin, [parameters]; 0 without it.
    """
    design = _design(tally.levels, tally.baseline)
    seen = np.stack([net, ties + PSEUDO_VOTES], axis=-1).reshape(-1, len(design), 2)
    votes = votes.reshape(-1, len(design))
    fitted = np.zeros((len(votes), tally.levels)) + (0.0 if start is None else start)
    moving = np.arange(len(fitted))
    for _ in range(MOST_STEPS):
        mean, covariance = _moments(2 * fitted[moving] @ design[:, 0].T, fitted[moving, -1:])
        counts = votes[moving] + 3 * PSEUDO_VOTES
        score = (seen[moving] - counts[..., None] * mean).reshape(len(moving), -1) @ design.reshape(-1, tally.levels)
        step = np.linalg.solve(_information(tally, votes[moving], covariance), score[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        fitted[moving] += step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, TOLERANCE))
        moving = moving[longest[:, 0] >= TOLERANCE]
        if not len(moving):
            break
    return fitted.reshape(*net.shape[:-1], tally.levels)


def _spread_out(tally: Tally, fitted: Floats) -> Floats:
    """Put the baseline's strength of 0 into its place."""
    return np.insert(fitted, tally.baseline, 0.0, axis=-1)


def _information(tally: Tally, votes: Floats, covariance: Floats) -> Floats:
    """Return Fisher's information of so many votes on each pair, [..., parameters, parameters]."""
    design = _design(tally.levels, tally.baseline)
    counts = votes + 3 * PSEUDO_VOTES
    of_pairs = np.einsum("kid,kje->kijde", design, design).reshape(-1, tally.levels**2)
    seen = (counts[..., None, None] * covariance).reshape(*counts.shape[:-1], -1)  # [..., pairs x 2 x 2]
    found: Floats = (seen @ of_pairs).reshape(*counts.shape[:-1], tally.levels, tally.levels)
    return found


def _decided(tally: Tally) -> tuple[Floats, Floats]:
    """Return the weighted votes that each level won and lost, whomever it was beside, [..., levels] each."""
    net, ties, votes = (part.sum(axis=-2) for part in (tally.net, tally.ties, tally.votes))
    first, second = (votes - ties + net) / 2, (votes - ties - net) / 2
    is_first, is_second = (np.arange(tally.levels) == tally.pairs[:, [side]] for side in (0, 1))  # [pairs, levels]
    return first @ is_first + second @ is_second, first @ is_second + second @ is_first
