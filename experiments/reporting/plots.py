"""Where the report's marks go: positions in percent of a plot's width and height, ready for inline SVG.

Percent rather than pixels, so that the same page fits a phone and a wide screen without its letters shrinking.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.grids import Interaction
from experiments.stats.levels import Comparison, Estimate, LevelSummary
from experiments.stats.margin_sentences import standing_text
from experiments.stats.measures import TIME_COLUMN
from experiments.stats.numbers_as_text import format_amount, format_number, format_p_value, least_shown
from experiments.stats.speed_sentences import GIB
from experiments.stats.verdict import decimals_of, format_estimate, is_too_small_to_show
from experiments.store.speeds import Speeds

SECONDS, MEMORY = "s", "GiB"
"""What a picture costs: seconds, and the most memory of the device."""
MOST_TICKS = 5
MARGIN = 0.04
"""Free share of the plot beyond the outermost marks."""
LABEL_PERCENT = 6.5
"""Height of a number beside a plot, in percent of its height."""
BEYOND = 0.15
"""Share of the others' range by which a level without bound stands beyond them."""


@dataclass(frozen=True)
class Scale:
    """A linear axis.

    Attributes:
        low: Value at 0 %.
        high: Value at 100 %.
        ticks: Round values on it with their labels.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def percent(self, value: float) -> float:
        """Return the position of `value`, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class Mark:
    """A point with its interval, in percent; without ends where there is no interval."""

    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LevelRow:
    """One level in a measure's plot and table; texts are empty where there is nothing to say."""

    level: str
    is_baseline: bool
    outcome: str
    summary: LevelSummary
    comparison: Comparison | None
    mean: Mark | None
    difference: Mark | None
    mean_text: str
    mean_interval: str
    deviation: str
    band: str
    difference_text: str
    difference_interval: str
    p_holm: str
    p_value: str
    win_rate: str
    effect_size: str
    detectable: str
    margin_interval: str
    within_margin: str


@dataclass(frozen=True)
class MeasurePlot:
    """A measure's plot: the axes of means and differences, one row per level, and the margin on the differences' axis.

    `band` holds where the margin begins and ends, in percent; None without one.
    """

    mean_scale: Scale
    difference_scale: Scale
    rows: tuple[LevelRow, ...]
    band: tuple[float, float] | None = None


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

    `what` is its height, `unit` that of the cost: seconds a picture, or GiB of the device at most.
    """

    title: str
    what: str
    x_scale: Scale
    y_scale: Scale
    points: tuple[FrontierPoint, ...]
    segments: tuple[tuple[float, float, float, float], ...]
    unit: str = SECONDS


@dataclass(frozen=True)
class HeatCell:
    """A combination of two levels: its mean as text and as warmth 0 to 100, and how far it is from additive."""

    text: str
    interval: str
    warmth: float
    deviation: str
    is_found: bool


@dataclass(frozen=True)
class HeatMap:
    """Means of two crossed axes."""

    interaction: Interaction
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


def scale_over(values: Sequence[float]) -> Scale:
    """Return an axis that holds all `values` with a margin, and up to five round ticks."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        centre = abs(low) or 1.0
        low, high = low - 0.1 * centre, high + 0.1 * centre
    margin = MARGIN * (high - low)
    low, high = low - margin, high + margin
    step = _round_step((high - low) / MOST_TICKS)
    first = math.ceil(low / step)
    decimals = max(0, -math.floor(math.log10(step)))
    count = math.floor(high / step) - first + 1
    return Scale(low, high, tuple((k * step, format_number(k * step, decimals)) for k in range(first, first + count)))


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def measure_plot(result: MeasureAnalysis, baseline: str) -> MeasurePlot:
    """Lay out one measure."""
    comparisons = {comparison.level: comparison for comparison in result.comparisons}
    means = [value for summary in result.levels for value in _values(summary.estimate)]
    margin = None if result.margin is None else result.margin.margin
    differences = [0.0, *(value for item in result.comparisons for value in _values(item.difference))]
    differences += [] if margin is None else [-margin, margin]
    # a mean without bound, which has no place on an axis, gets no numbers beside it
    mean_scale, difference_scale = scale_over(means) if means else Scale(0.0, 1.0, ()), scale_over(differences)
    rows = [
        _level_row(result, summary, comparisons.get(summary.level), baseline, mean_scale, difference_scale)
        for summary in result.levels
    ]
    band = None if margin is None else (difference_scale.percent(-margin), difference_scale.percent(margin))
    return MeasurePlot(mean_scale, difference_scale, tuple(rows), band)


def _level_row(
    result: MeasureAnalysis,
    summary: LevelSummary,
    comparison: Comparison | None,
    baseline: str,
    mean_scale: Scale,
    difference_scale: Scale,
) -> LevelRow:
    decimals, estimate = decimals_of(result), summary.estimate
    difference = comparison.difference if comparison else None
    mean_text, mean_interval = _texts(estimate, decimals)
    difference_text, difference_interval = _texts(difference, decimals, signed=True)
    return LevelRow(
        level=summary.level,
        is_baseline=summary.level == baseline,
        outcome=_outcome(result, comparison),
        summary=summary,
        comparison=comparison,
        mean=_mark(estimate, mean_scale),
        difference=_mark(difference, difference_scale),
        mean_text=mean_text or ("infinite" if summary.equal else ""),
        mean_interval=mean_interval,
        deviation="" if summary.deviation is None else format_number(summary.deviation, decimals),
        band=result.measure.label(estimate.mean) if estimate else "",
        difference_text=difference_text,
        difference_interval=difference_interval,
        **_test_texts(comparison, decimals),
        **_margin_texts(result, summary.level, decimals),
    )


def _test_texts(comparison: Comparison | None, decimals: int) -> dict[str, str]:
    if comparison is None or comparison.p_value is None or comparison.p_holm is None or comparison.win_rate is None:
        return dict.fromkeys(("p_holm", "p_value", "win_rate", "effect_size", "detectable"), "")
    detectable = comparison.detectable
    return {
        "p_holm": format_p_value(comparison.p_holm),
        "p_value": format_p_value(comparison.p_value),
        "win_rate": f"{comparison.win_rate:.0%}",
        "effect_size": "" if comparison.effect_size is None else format_number(comparison.effect_size, 2),
        "detectable": "nothing" if detectable is None else format_amount(detectable, decimals),
    }


def _margin_texts(result: MeasureAnalysis, level: str, decimals: int) -> dict[str, str]:
    """Return the 90 % interval that the margin is held against, and how the level stands."""
    standings = {} if result.margin is None else {item.level: item for item in result.margin.standings}
    if level not in standings:
        return {"margin_interval": "", "within_margin": ""}
    item = standings[level]
    return {
        "margin_interval": _texts(item.difference, decimals)[1],
        "within_margin": standing_text(item, result.measure),
    }


def _outcome(result: MeasureAnalysis, comparison: Comparison | None) -> str:
    """Return `better`, `worse`, `different` or an empty string, after correction."""
    if comparison is None or not comparison.is_found or comparison.difference is None:
        return ""
    if result.measure.direction == "none":
        return "different"
    is_higher = comparison.difference.mean > 0
    return "better" if is_higher == (result.measure.direction == "higher") else "worse"


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
    x_scale = scale_over([0.0, *(costs[level] for level in levels)])
    y_scale = scale_over([value for level in levels for value in _values(gains[level])])
    decimals = decimals_of(quality)
    points = tuple(
        FrontierPoint(
            number=number,
            level=level,
            x=x_scale.percent(costs[level]),
            y=_flipped(gains[level], y_scale),
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
    return Frontier(quality.measure.title, what, x_scale, y_scale, points, segments, unit)


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
    values = [value for estimate in others for value in _values(estimate)] or [0.0]
    return Estimate(max(values) + BEYOND * ((max(values) - min(values)) or abs(max(values)) or 1.0), None, None)


def _gain_text(quality: MeasureAnalysis, value: float, decimals: int) -> str:
    if not quality.measure.is_of_pairs:
        return _signed(value, decimals)
    return f"{format_number(value, decimals)} {quality.measure.unit}".strip()


def _dominates(b: str, a: str, costs: Mapping[str, float], gains: dict[str, Estimate], sign: float) -> bool:
    """Return True if `b` costs no more and is no worse than `a`, and better in one."""
    cheaper, better = costs[a] - costs[b], sign * (gains[b].mean - gains[a].mean)
    return cheaper >= 0 and better >= 0 and (cheaper > 0 or better > 0)


def heat_map(result: MeasureAnalysis, interaction: Interaction) -> HeatMap:
    """Lay out a pair of axes; warmth grows with the mean."""
    decimals = decimals_of(result)
    means = [estimate.mean for row in interaction.means for estimate in row if estimate]
    low, spread = min(means, default=0.0), (max(means, default=0.0) - min(means, default=0.0)) or 1.0
    rows = []
    for name, estimates, deviations in zip(interaction.rows, interaction.means, interaction.deviations, strict=True):
        cells = []
        for estimate, deviation in zip(estimates, deviations, strict=True):
            text, interval = _texts(estimate, decimals)
            rest = _signed(deviation.difference.mean, decimals) if deviation.difference else ""
            warmth = round(100 * (estimate.mean - low) / spread) if estimate else 0
            cells.append(HeatCell(text, interval, warmth, rest, deviation.is_found))
        rows.append((name, tuple(cells)))
    return HeatMap(interaction, tuple(rows))


def _values(estimate: Estimate | None) -> list[float]:
    if estimate is None:
        return []
    return [value for value in (estimate.mean, estimate.low, estimate.high) if value is not None]


def _mark(estimate: Estimate | None, scale: Scale) -> Mark | None:
    if estimate is None:
        return None
    ends = [None if value is None else scale.percent(value) for value in (estimate.low, estimate.high)]
    return Mark(scale.percent(estimate.mean), ends[0], ends[1])


def _flipped(estimate: Estimate, scale: Scale) -> Mark:
    """Return a mark for a vertical axis, whose 0 % is at the top."""
    mark = _mark(estimate, scale)
    assert mark is not None
    ends = [None if end is None else round(100 - end, 2) for end in (mark.low, mark.high)]
    return Mark(round(100 - mark.at, 2), ends[0], ends[1])


def _texts(estimate: Estimate | None, decimals: int, *, signed: bool = False) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    if signed and is_too_small_to_show(estimate, decimals):
        return f"less than {least_shown(decimals)}", ""
    mean, low, high = format_estimate(estimate, decimals=decimals)
    return _signed(estimate.mean, decimals) if signed else mean, f"{low} to {high}" if low else ""


def _signed(value: float, decimals: int) -> str:
    text = format_number(value, decimals)
    return f"+{text}" if value > 0 and float(text) else text
