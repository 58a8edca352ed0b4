"""Quality against what a picture costs, in seconds or memory: where levels stand, and the best that can be had."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.reporting.scales import Mark, Scale, flipped_mark, scale_over, signed_text, values_of
from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.levels import Estimate
from experiments.stats.measures import TIME_COLUMN
from experiments.stats.numbers_as_text import format_number
from experiments.stats.speed_sentences import GIB
from experiments.stats.verdict import decimals_of
from experiments.store.speeds import Speeds

SECONDS, MEMORY = "s", "GiB"
"""What a picture costs: seconds, and the most memory of the device."""
LABEL_PERCENT = 6.5
"""Height of a number beside a plot, in percent of its height."""
BEYOND = 0.15
"""Share of the others' range by which a level without bound stands beyond them."""
FROM_ZERO = 0.5
"""A cost's axis begins at 0 where the least is below this share of the most; else points would pile up at its end."""
MOST_NUMBERED = 8
TOUCHING = (4.0, 9.0)
"""Points closer than this, in percent of width and height, cover each other's numbers."""


@dataclass(frozen=True)
class FrontierPoint:
    """A level as what a picture costs (`x`) against its quality difference with interval (`y`, 0 % at the top).

    Its number stands at `label_at` beside the plot, where no other does.
    """

    number: int
    level: str
    x: float
    y: Mark
    is_on_frontier: bool
    cost: str
    gain: str
    label_at: float = 0.0


@dataclass(frozen=True)
class Frontier:
    """Quality against a cost: points, and the corners of the best that can be had for it.

    `what` is its height, `unit` that of the cost: seconds a picture, or GiB of the device at most; `column` a measure.
    """

    title: str
    what: str
    x_scale: Scale
    y_scale: Scale
    points: tuple[FrontierPoint, ...]
    segments: tuple[tuple[float, float, float, float], ...]
    unit: str = SECONDS
    column: str = ""

    @property
    def is_crowded(self) -> bool:
        """True where points would cover each other's numbers, which then stand beside the plot."""
        pairs = itertools.combinations(self.points, 2)
        return len(self.points) > MOST_NUMBERED or any(
            abs(one.x - other.x) < TOUCHING[0] and abs(one.y.at - other.y.at) < TOUCHING[1] for one, other in pairs
        )


def costs_of(analysis: Analysis, speeds: Speeds | None) -> dict[str, dict[str, float]]:
    """Return each unit of cost to what a picture of each level costs.

    Seconds are those measured alone, else the mean of the pictures as they were drawn. Memory is there only where it
    was measured.
    """
    if speeds is not None:
        memory = {item.level: item.peak_memory_bytes / GIB for item in speeds.levels if item.peak_memory_bytes}
        seconds = {item.level: item.median_seconds for item in speeds.levels}
        return {SECONDS: seconds, **({MEMORY: memory} if memory else {})}
    time = next((result for result in analysis.measures if result.measure.column == TIME_COLUMN), None)
    if time is None:
        return {}
    return {SECONDS: {summary.level: summary.estimate.mean for summary in time.levels if summary.estimate}}


def frontier(
    quality: MeasureAnalysis, costs: Mapping[str, float], baseline: str, unit: str = SECONDS
) -> Frontier | None:
    """Lay out a measure against a cost, in its unit; None with fewer than two levels.

    Quality is the difference to the baseline. A measure of pairs is its mean, and levels whose pictures equal the
    baseline's, which may have no number, stand at the edge.
    """
    equal: set[str] = set()
    if quality.measure.is_of_pairs:
        gains = {summary.level: summary.estimate for summary in quality.levels if summary.estimate}
        equal = {summary.level for summary in quality.levels if summary.runs and summary.equal == summary.runs}
        gains |= dict.fromkeys(equal, _edge(quality, [gain for level, gain in gains.items() if level not in equal]))
    else:
        gains = {item.level: item.difference for item in quality.comparisons if item.difference}
        gains[baseline] = Estimate(0.0, None, None)
    levels = [summary.level for summary in quality.levels if summary.level in gains and summary.level in costs]
    if len(levels) < 2:
        return None
    fidelity = quality.measure.metric.fidelity
    sign = -1.0 if (fidelity.closer if fidelity else quality.measure.direction) == "lower" else 1.0
    best = [a for a in levels if not any(_dominates(b, a, costs, gains, sign) for b in levels)]
    found = [costs[level] for level in levels]
    x_scale = scale_over([*([0.0] if min(found) < FROM_ZERO * max(found) else []), *found])
    y_scale = scale_over([value for level in levels for value in values_of(gains[level])])
    decimals = decimals_of(quality)
    points = tuple(
        FrontierPoint(
            number=number,
            level=level,
            x=x_scale.percent(costs[level]),
            y=flipped_mark(gains[level], y_scale),
            is_on_frontier=level in best,
            cost=f"{costs[level]:.3g} {unit}",
            gain="equal" if level in equal else _gain_text(quality, gains[level].mean, decimals),
        )
        for number, level in enumerate(levels, start=1)
    )
    labels = apart([point.y.at for point in points])
    points = tuple(replace(point, label_at=label) for point, label in zip(points, labels, strict=True))
    corners = sorted((point.x, point.y.at) for point in points if point.is_on_frontier)
    segments = tuple((*a, *b) for a, b in itertools.pairwise(corners))
    what = f"distance from {baseline}" if quality.measure.is_of_pairs else f"difference to {baseline}"
    what += ", against memory" if unit == MEMORY else ""
    return Frontier(quality.measure.title, what, x_scale, y_scale, points, segments, unit, quality.measure.column)


def frontiers_of(analysis: Analysis, speeds: Speeds | None) -> list[Frontier]:
    """Lay out quality and fidelity against seconds, and against memory where it was measured."""
    qualities = [
        result
        for result in analysis.measures
        if result.measure.column != TIME_COLUMN
        and result.measure.is_main
        and (result.measure.is_of_pairs or (result.measure.direction != "none" and result.comparisons))
    ]
    plots = [
        frontier(quality, costs, analysis.baseline, unit)
        for unit, costs in costs_of(analysis, speeds).items()
        for quality in qualities
    ]
    return [plot for plot in plots if plot is not None]


def apart(positions: Sequence[float]) -> list[float]:
    """Return where labels stand that want to be at `positions` (percent) and must not cover each other.

    They keep their order and at least `LABEL_PERCENT` between two, or an equal share of the height where they are many;
    labels that push each other are centred on where they want to be.
    """
    gap = min(LABEL_PERCENT, 100 / max(len(positions), 1))
    blocks: list[tuple[float, list[int]]] = []  # centre, members from top to bottom
    for index in sorted(range(len(positions)), key=lambda index: positions[index]):
        centre, members = positions[index], [index]
        while True:
            half = gap * (len(members) - 1) / 2
            centre = min(max(centre, half), 100 - half)
            if not blocks or blocks[-1][0] + gap * len(blocks[-1][1]) / 2 + gap / 2 <= centre - half + 1e-9:
                break
            members = [*blocks.pop()[1], *members]
            centre = sum(positions[member] for member in members) / len(members)
        blocks.append((centre, members))
    placed = [0.0] * len(positions)
    for centre, members in blocks:
        for place, member in enumerate(members):
            placed[member] = round(centre + gap * (place - (len(members) - 1) / 2), 2)
    return placed


def _edge(quality: MeasureAnalysis, others: Sequence[Estimate]) -> Estimate:
    """Return where pictures equal to the baseline's stand: at their value, or beyond all others without one."""
    fidelity = quality.measure.metric.fidelity
    assert fidelity is not None
    if math.isfinite(fidelity.equal):
        return Estimate(fidelity.equal, None, None)
    values = [value for estimate in others for value in values_of(estimate)] or [0.0]
    return Estimate(max(values) + BEYOND * ((max(values) - min(values)) or abs(max(values)) or 1.0), None, None)


def _gain_text(quality: MeasureAnalysis, value: float, decimals: int) -> str:
    if not quality.measure.is_of_pairs:
        return signed_text(value, decimals)
    return f"{format_number(value, decimals)} {quality.measure.unit}".strip()


def _dominates(b: str, a: str, costs: Mapping[str, float], gains: dict[str, Estimate], sign: float) -> bool:
    """Return True if `b` costs no more and is no worse than `a`, and better in one."""
    cheaper, better = costs[a] - costs[b], sign * (gains[b].mean - gains[a].mean)
    return cheaper >= 0 and better >= 0 and (cheaper > 0 or better > 0)
