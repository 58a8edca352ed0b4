"""An experiment in a line, and its best level, as far as tests say: by the first score, by all where they say more."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.levels import Comparison
from experiments.stats.measures import TIME_COLUMN
from experiments.stats.overall import overall_sentence
from experiments.stats.verdict import sentences


def headline(analysis: Analysis) -> str:
    """Return the verdict in a line; empty without a score.

    It is the first score's, with what its margin says where it has one. Where no measure was named to count and another
    score finds what that one does not, it is the sentence over all measures; of a race it is the race's.
    """
    result = _first_score(analysis)
    if result is None:
        return ""
    found_elsewhere = not analysis.primary and _found_by_others(analysis, result) - _found(result)
    if found_elsewhere and (told := overall_sentence(analysis)):
        return told
    is_asked = result.margin is not None and result.margin.margin is not None
    return " ".join(sentences(analysis, result)[: 2 if is_asked else 1])


def best_level(analysis: Analysis) -> str:
    """Return the level found better than the baseline by most, or that none is; empty where nothing is tested."""
    result = _first_score(analysis)
    if result is None or not _can_win(result):
        return ""
    tested = [item for item in result.comparisons if item.p_holm is not None and item.difference is not None]
    if not tested:
        return ""
    gains = {level: gain for level, gain in _gains(result) if gain > 0}
    if gains:
        return max(gains, key=lambda level: gains[level])
    none = f"none found better than {analysis.baseline}"
    is_alone = not any(is_better for _level, is_better in _found_by_others(analysis, result))
    return none if is_alone else f"{none} by {result.measure.title}"


def _first_score(analysis: Analysis) -> MeasureAnalysis | None:
    return next(_scores(analysis), None)


def _scores(analysis: Analysis) -> Iterator[MeasureAnalysis]:
    return (item for item in analysis.measures if item.measure.is_main and item.measure.column != TIME_COLUMN)


def _can_win(result: MeasureAnalysis) -> bool:
    return result.measure.direction != "none"  # as of distances


def _found_by_others(analysis: Analysis, first: MeasureAnalysis) -> set[tuple[str, bool]]:
    others = [item for item in _scores(analysis) if item is not first and _can_win(item)]
    return {finding for item in others for finding in _found(item)}


def _found(result: MeasureAnalysis) -> set[tuple[str, bool]]:
    """Return each level that is shown to differ, with whether it is better."""
    return {(level, gain > 0) for level, gain in _gains(result)}


def _gains(result: MeasureAnalysis) -> Iterator[tuple[str, float]]:
    """Yield by how much each level that is shown to differ is better; below 0 where it is worse."""
    sign = -1.0 if result.measure.direction == "lower" else 1.0

    def gain(item: Comparison) -> float:
        assert item.difference is not None
        return sign * item.difference.mean

    return ((item.level, gain(item)) for item in result.comparisons if item.is_found)
