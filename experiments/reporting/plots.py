"""Where the marks of a measure go: levels, their differences and heat maps, ready for inline SVG."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.reporting.scales import Mark, Scale, mark_of, scale_over, signed_text, values_of
from experiments.stats.findings import MeasureAnalysis
from experiments.stats.grids import Interaction
from experiments.stats.levels import Comparison, Estimate, LevelSummary
from experiments.stats.margin_sentences import standing_text
from experiments.stats.numbers_as_text import format_amount, format_number, format_p_value, least_shown
from experiments.stats.verdict import decimals_of, format_estimate, is_too_small_to_show


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


def measure_plot(result: MeasureAnalysis, baseline: str) -> MeasurePlot:
    """Lay out one measure."""
    comparisons = {comparison.level: comparison for comparison in result.comparisons}
    means = [value for summary in result.levels for value in values_of(summary.estimate)]
    margin = None if result.margin is None else result.margin.margin
    differences = [0.0, *(value for item in result.comparisons for value in values_of(item.difference))]
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
        mean=mark_of(estimate, mean_scale),
        difference=mark_of(difference, difference_scale),
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
            rest = signed_text(deviation.difference.mean, decimals) if deviation.difference else ""
            warmth = round(100 * (estimate.mean - low) / spread) if estimate else 0
            cells.append(HeatCell(text, interval, warmth, rest, deviation.is_found))
        rows.append((name, tuple(cells)))
    return HeatMap(interaction, tuple(rows))


def _texts(estimate: Estimate | None, decimals: int, *, signed: bool = False) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    if signed and is_too_small_to_show(estimate, decimals):
        return f"less than {least_shown(decimals)}", ""
    mean, low, high = format_estimate(estimate, decimals=decimals)
    return signed_text(estimate.mean, decimals) if signed else mean, f"{low} to {high}" if low else ""
