"""Paired statistics over prompts, as pure functions on arrays.

The last axis of every array is prompts, one number each (the mean over seeds); leading axes are independent data sets,
so that thousands of simulated experiments are one call. The module knows nothing of runs, metrics or files.

Sources, explained in docs/statistics.md: Fisher 1935 and Phipson & Smyth 2010 (permutation p-values), Hartigan 1969 and
Tritchler 1984 (their interval), Westfall & Young 1993 (several at once), Hall 1988 (symmetric bootstrap-t), Holm 1979,
Hedges 1981 (small-sample effect size). `experiments.stats.power` says what the test can find.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Thread
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.95
ALPHA: Final = 0.05
BOOTSTRAP_RESAMPLES: Final = 4999
LEAST_PROMPTS_FOR_BOOTSTRAP: Final = 6
"""Below it resamples repeat too often; docs/statistics.md gives the simulated coverage."""
MOST_PROMPTS_FOR_EXACT_TEST: Final = 16
RANDOM_SIGN_PATTERNS: Final = 9999
RELATIVE_TOLERANCE: Final = 1e-9
"""Sums that tie on paper differ by rounding."""
_SEED: Final = 0
"""Of resamples and random sign patterns, so that the same data give the same numbers."""
_CHUNK_ELEMENTS: Final = 2**22


def interval_of_mean(values: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % confidence interval of the mean over prompts.

    Symmetric bootstrap-t from 6 prompts on: whole prompts are resampled, and the resamples' |t| gives the half width in
    standard errors. Plain percentile intervals are too short at a dozen prompts. Resamples of few prompts can have next
    to no spread, and the width would explode; so the ends stay between the least and the largest value. Student's t
    takes its place below 6 prompts, and where more resamples lack any spread than the interval may leave out.

    For the mean of a level. A difference has `interval_of_difference`, which never contradicts its test.

    Args:
        values: One number per prompt, [..., prompts], at least 2 prompts.

    Returns:
        Lower and upper ends, [...], in the unit of `values`.

    Source: Hall 1988, "On symmetric bootstrap confidence intervals"; Davison & Hinkley 1997, section 5.2.
    """
    prompts = values.shape[-1]
    assert prompts >= 2, f"an interval needs at least 2 prompts, got {prompts}"
    mean = values.mean(axis=-1)
    standard_error = values.std(axis=-1, ddof=1) / np.sqrt(prompts)
    student = float(special.stdtrit(prompts - 1, 0.5 + CONFIDENCE / 2))
    half = student * standard_error
    low, high = mean - half, mean + half
    if prompts >= LEAST_PROMPTS_FOR_BOOTSTRAP:
        bootstrap = _bootstrap_critical_values(values - mean[..., None])
        is_usable = np.isfinite(bootstrap)
        half = np.where(is_usable, bootstrap, 0.0) * standard_error
        low = np.where(is_usable, np.maximum(mean - half, values.min(axis=-1)), low)
        high = np.where(is_usable, np.minimum(mean + half, values.max(axis=-1)), high)
    return low, high


def _bootstrap_critical_values(centred: Floats) -> Floats:
    """Return the quantile of |t| over resampled prompts, [...]; infinite where too many resamples have no spread."""
    prompts = centred.shape[-1]
    weights = resample_weights(prompts)
    flat = centred.reshape(-1, prompts)
    quantiles = np.empty(len(flat))
    for part in _chunks(len(flat), BOOTSTRAP_RESAMPLES):
        means = flat[part] @ weights  # [data sets, resamples]
        variances = np.maximum(flat[part] ** 2 @ weights - means**2, 0)
        scale = np.abs(flat[part]).max(axis=-1, keepdims=True)
        has_spread = variances > (RELATIVE_TOLERANCE * scale) ** 2
        errors = np.sqrt(np.where(has_spread, variances, 1.0) / (prompts - 1))
        statistics = np.where(has_spread, np.abs(means) / errors, np.inf)
        quantiles[part] = np.quantile(statistics, CONFIDENCE, axis=-1, method="higher")
    return quantiles.reshape(centred.shape[:-1])


@lru_cache(maxsize=8)
def resample_weights(prompts: int) -> Floats:
    """Return how large a share each prompt has in each resample, [prompts, resamples]."""
    generator = np.random.default_rng(_SEED)
    counts = generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=BOOTSTRAP_RESAMPLES)
    weights: Floats = counts.T / prompts
    return weights


def sign_flip_p_value(differences: Floats) -> Floats:
    """Test whether paired differences centre on zero, by flipping the signs of whole prompts.

    Without an effect each prompt's difference could as well have had the other sign. The p-value is the share of sign
    patterns whose mean is at least as far from zero as the one seen: all patterns up to 16 prompts, beyond it 9,999
    random ones and the one seen.

    Args:
        differences: Level minus baseline per prompt, [..., prompts].

    Returns:
        Two-sided p-values in (0, 1], [...].

    Source: Fisher 1935, section 21; the +1 of random patterns from Phipson & Smyth 2010.
    """
    signs, seen = sign_patterns(differences.shape[-1])
    flat = differences.reshape(-1, differences.shape[-1])
    p_values = np.empty(len(flat))
    for part in _chunks(len(flat), signs.shape[1]):
        low, high = _means_of_halves(flat[part], signs)
        slack = _slack(flat[part])[:, None]
        as_far = ((low <= slack) & (high >= -slack)).sum(axis=-1)
        p_values[part] = (as_far + seen) / (signs.shape[1] + seen)
    return p_values.reshape(differences.shape[:-1])


def interval_of_difference(differences: Floats, *, alpha: float = ALPHA) -> tuple[Floats, Floats]:
    """Return the interval of a mean difference: every value that the sign-flip test does not reject at `alpha`.

    So it holds 0 exactly where `sign_flip_p_value` is above `alpha`. It lies within the differences seen. Below 6
    prompts the test rejects nothing at 5 % and the interval has no ends.

    Args:
        differences: Level minus baseline per prompt, [..., prompts].
        alpha: Two-sided level of the test; 0.05 gives the 95 % interval.

    Returns:
        Lower and upper ends, [...], in the unit of `differences`; minus and plus infinity below 6 prompts.

    Source: Hartigan 1969, "Using subsample values as typical values"; Tritchler 1984, "On inverting permutation tests".
    """
    signs, seen = sign_patterns(differences.shape[-1])
    least = math.floor(alpha * (signs.shape[1] + seen) * (1 + RELATIVE_TOLERANCE)) + 1 - seen
    flat = differences.reshape(-1, differences.shape[-1])
    ends = np.empty((2, len(flat)))
    for part in _chunks(len(flat), signs.shape[1]):
        low, high = _means_of_halves(flat[part], signs)
        # the p-value of a value is the share of patterns whose halves enclose it, and they all enclose the mean
        found = np.stack([np.partition(low, least - 1)[:, least - 1], -np.partition(-high, least - 1)[:, least - 1]])
        ends[:, part] = np.where(np.abs(found) <= _slack(flat[part]), 0.0, found)
    low_ends, high_ends = ends.reshape(2, *differences.shape[:-1])
    return low_ends, high_ends


def _means_of_halves(differences: Floats, signs: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the higher mean of the two parts into which a pattern divides prompts.

    A pattern's mean is as far from zero as the one seen where zero lies between the means of the prompts that keep
    their sign and of those that lose it: with u and v their sums, |u - v| >= |u + v| says that u and v differ in sign.

    Args:
        differences: [data sets, prompts].
        signs: [prompts, patterns].

    Returns:
        [data sets, patterns] each; minus and plus infinity for a pattern that leaves one part empty.
    """
    if len(differences) == 1:  # tested, corrected and given its interval one after the other
        return _means_of_halves_of_one(differences.astype(np.float64).tobytes(), *signs.shape)
    return _all_means_of_halves(differences, signs)


@lru_cache(maxsize=32)
def _means_of_halves_of_one(differences: bytes, prompts: int, patterns: int) -> tuple[Floats, Floats]:
    """Return what `_means_of_halves` does for the bytes of one data set; not to be written to."""
    values = np.frombuffer(differences, dtype=np.float64).reshape(1, prompts)
    low, high = _all_means_of_halves(values, _so_many_patterns(prompts, patterns))
    low.flags.writeable = high.flags.writeable = False
    return low, high


@lru_cache(maxsize=8)
def _kept_by_pattern(prompts: int, patterns: int) -> Floats:
    """Return how many prompts keep their sign in each pattern, [patterns]."""
    kept: Floats = (prompts + _so_many_patterns(prompts, patterns).sum(axis=0)) / 2
    return kept


def _so_many_patterns(prompts: int, patterns: int) -> Floats:
    return _all_sign_patterns(prompts) if patterns == 2 ** (prompts - 1) else _random_sign_patterns(prompts)


def _all_means_of_halves(differences: Floats, signs: Floats) -> tuple[Floats, Floats]:
    prompts = differences.shape[-1]
    kept = _kept_by_pattern(*signs.shape)
    total, flipped = differences.sum(axis=-1, keepdims=True), differences @ signs
    is_divided = (kept > 0) & (kept < prompts)
    kept_mean = (total + flipped) / (2 * np.where(is_divided, kept, 1))
    lost_mean = (total - flipped) / (2 * np.where(is_divided, prompts - kept, 1))
    low = np.where(is_divided, np.minimum(kept_mean, lost_mean), -np.inf)
    high = np.where(is_divided, np.maximum(kept_mean, lost_mean), np.inf)
    return low, high


def _slack(differences: Floats) -> Floats:
    """Return how far from 0 counts as 0: sums that tie on paper differ by rounding."""
    slack: Floats = RELATIVE_TOLERANCE * np.abs(differences).max(axis=-1)
    return slack


def sign_patterns(prompts: int) -> tuple[Floats, int]:
    """Return the patterns, [prompts, patterns], and how often the pattern seen counts beside them."""
    if prompts <= MOST_PROMPTS_FOR_EXACT_TEST:
        return _all_sign_patterns(prompts), 0
    return _random_sign_patterns(prompts), 1


@lru_cache(maxsize=8)
def _all_sign_patterns(prompts: int) -> Floats:
    """Return every pattern with a plus for the first prompt, [prompts, 2^(prompts - 1)]; the rest are their mirrors."""
    bits = np.arange(2 ** (prompts - 1))[None, :] >> np.arange(prompts - 1)[:, None] & 1
    return np.vstack([np.ones((1, bits.shape[1])), 1.0 - 2.0 * bits])


@lru_cache(maxsize=8)
def _random_sign_patterns(prompts: int) -> Floats:
    generator = np.random.default_rng(_SEED)
    return generator.choice(np.array([-1.0, 1.0]), size=(prompts, RANDOM_SIGN_PATTERNS))


@contextmanager
def tables_meanwhile(prompts: int) -> Iterator[None]:
    """Draw the random tables for so many prompts while the block reads what they are for.

    Numpy draws them without holding up the interpreter, so with a second core they cost no time.
    """
    drawing = Thread(target=lambda: (resample_weights(prompts), sign_patterns(prompts)))
    drawing.start()
    try:
        yield
    finally:
        drawing.join()


def _chunks(rows: int, row_elements: int) -> list[slice]:
    """Cut `rows` so that one chunk's table stays below 32 MiB."""
    size = max(1, _CHUNK_ELEMENTS // row_elements)
    return [slice(start, start + size) for start in range(0, rows, size)]


def smallest_p_value(prompts: int) -> float:
    """Return the smallest p-value that `sign_flip_p_value` can give with so many prompts."""
    return 2.0 ** (1 - prompts) if prompts <= MOST_PROMPTS_FOR_EXACT_TEST else 1 / (RANDOM_SIGN_PATTERNS + 1)


def least_prompts(comparisons: float) -> float:
    """Return the number of prompts from which one of so many comparisons can pass the test; infinite if none is enough.

    More prompts than the exact test takes have random patterns of signs, whose p-values become no smaller.
    """
    counts = range(2, MOST_PROMPTS_FOR_EXACT_TEST + 2)
    return next((prompts for prompts in counts if smallest_p_value(prompts) <= ALPHA / comparisons), math.inf)


def at_least(needed: float, noun: str = "") -> str:
    """Say what `least_prompts` returned, after `it takes`."""
    if math.isinf(needed):
        return "fewer comparisons, since no number of prompts is enough for so many"
    return f"at least {needed}{noun}"


def holm(p_values: Floats) -> Floats:
    """Adjust p-values for their number, so that one false alarm among them stays below the stated probability.

    Args:
        p_values: Of one family of comparisons, [..., comparisons]; NaN marks one that was not made.

    Returns:
        Adjusted p-values in the same places; NaN stays NaN.

    Source: Holm 1979.
    """
    order = np.argsort(p_values, axis=-1)  # NaN last
    ascending = np.take_along_axis(p_values, order, axis=-1)
    made = np.isfinite(p_values).sum(axis=-1, keepdims=True)
    factors = made - np.arange(p_values.shape[-1])
    adjusted = np.minimum(np.maximum.accumulate(ascending * factors, axis=-1), 1.0)
    result = np.empty_like(adjusted)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def sign_flip_p_values_together(differences: Floats) -> Floats:
    """Test several contrasts of the same prompts, so that one false alarm among all of them stays below the level.

    A pattern flips a prompt's sign in every contrast at once. A contrast's p-value is the share of patterns in which
    it, or one that is less extreme in what was seen, is as extreme as it was seen to be. Contrasts that say the same
    thing, as the four corners of a 2 x 2 interaction do, are thereby one test.

    Where a contrast was looked at several times, it counts as extreme in a pattern as it gets at any of its looks; what
    was seen is its last look.

    Args:
        differences: One row per contrast, [contrasts, prompts], or [contrasts, looks, prompts] with the last look at
            the end; NaN where a prompt lacks it.

    Returns:
        Two-sided corrected p-values in (0, 1], [contrasts].

    Source: Westfall & Young 1993, algorithm 2.8 (step-down max-T), with the sign flips of `sign_flip_p_value`.
    """
    units = unit_vectors(differences if differences.ndim == 3 else differences[:, None])
    signs, seen = sign_patterns(differences.shape[-1])
    extremes = np.abs(units[:, -1].sum(axis=-1))
    order = np.argsort(-extremes, kind="stable")
    as_far = np.zeros(len(order))
    for part in _chunks(signs.shape[1], units.shape[0] * units.shape[1]):
        flipped = np.abs(units[order] @ signs[:, part]).max(axis=1)
        most_extreme = np.maximum.accumulate(flipped[::-1], axis=0)[::-1]
        as_far += (most_extreme >= extremes[order, None] - RELATIVE_TOLERANCE).sum(axis=-1)
    p_values = np.empty(len(order))
    p_values[order] = np.maximum.accumulate((as_far + seen) / (signs.shape[1] + seen))
    return p_values


def unit_vectors(differences: Floats) -> Floats:
    """Divide differences by their length, which no sign changes, so that the sums of contrasts can be compared.

    Args:
        differences: [..., prompts]; NaN where a prompt lacks one.
    """
    filled = np.nan_to_num(differences, nan=0.0)
    length = np.sqrt((filled**2).sum(axis=-1, keepdims=True))
    units: Floats = filled / np.where(length > 0, length, 1.0)
    return units


def beyond_rounding(values: Floats, sizes: Floats) -> Floats:
    """Return sums with 0 in place of those that are nothing but rounding beside the size of what was summed.

    Args:
        values: Sums that are 0 on paper where their parts cancel.
        sizes: Largest part, or the parts' sum without signs, of each.
    """
    return np.where(np.abs(values) > RELATIVE_TOLERANCE * sizes, values, 0.0)


def skewness(differences: Floats) -> float:
    """Return the third moment of one set of differences over the cube of their deviation; 0 where they don't vary."""
    centred = differences - differences.mean()
    variance = float((centred**2).mean())
    if variance <= (RELATIVE_TOLERANCE * np.abs(differences).max()) ** 2:
        return 0.0
    return float((centred**3).mean() / variance**1.5)


def sign_test_p_value(differences: Floats) -> float:
    """Test whether one set of differences is as often above zero as below, whatever their distribution.

    It asks about the median, not the mean, and counts signs only: it finds less, but skew does it no harm.

    Args:
        differences: Level minus baseline per prompt, [prompts]; zeros say nothing.

    Returns:
        Two-sided p-value in (0, 1].

    Source: Arbuthnott 1710; Conover 1999, section 3.4.
    """
    above, below = int((differences > 0).sum()), int((differences < 0).sum())
    return float(min(1.0, 2 * special.bdtr(min(above, below), above + below, 0.5)))


def win_rate(differences: Floats) -> Floats:
    """Return the share of pairs in [0, 1] in which the level scores higher, [...]; a tie counts half."""
    wins: Floats = ((np.sign(differences) + 1) / 2).mean(axis=-1)
    return wins


def effect_size(differences: Floats) -> Floats:
    """Return the mean paired difference in its standard deviations, corrected for few prompts.

    Args:
        differences: Level minus baseline per prompt, [..., prompts].

    Returns:
        Hedges' g of the paired design, [...]; NaN below 3 prompts and where the differences do not vary.

    Source: Hedges 1981; Cohen's d_z times J(prompts - 1).
    """
    prompts = differences.shape[-1]
    if prompts < 3:
        return np.full(differences.shape[:-1], np.nan)
    freedom = prompts - 1
    log_correction = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2) - 0.5 * np.log(freedom / 2)
    mean, deviation = differences.mean(axis=-1), differences.std(axis=-1, ddof=1)
    varies = deviation > RELATIVE_TOLERANCE * np.abs(differences).max(axis=-1)
    return np.where(varies, mean / np.where(varies, deviation, 1.0) * np.exp(log_correction), np.nan)
