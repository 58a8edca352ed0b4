"""Which level is best by the measure that a headline is about, as far as a test says so."""

from __future__ import annotations

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.measures import TIME_COLUMN


def headline_measure(analysis: Analysis) -> MeasureAnalysis | None:
    """Return the measure that a headline is about: the first score; None where there is none."""
    scored = (item for item in analysis.measures if item.measure.is_main and item.measure.column != TIME_COLUMN)
    return next(scored, None)


def best_level(analysis: Analysis) -> str:
    """Return the level found better than the baseline by most, or that none is; empty where nothing is tested."""
    result = headline_measure(analysis)
    if result is None or result.measure.direction == "none" or result.measure.is_of_pairs:
        return ""
    tested = [item for item in result.comparisons if item.p_holm is not None and item.difference is not None]
    if not tested:
        return ""
    sign = -1.0 if result.measure.direction == "lower" else 1.0
    gains = {item.level: sign * item.difference.mean for item in tested if item.is_found and item.difference}
    better = {level: gain for level, gain in gains.items() if gain > 0}
    if not better:
        return f"none found better than {analysis.baseline}"
    return max(better, key=lambda level: better[level])
