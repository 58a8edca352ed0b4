"""Figures for a paper as SVG and PDF: the report's plots, drawn by matplotlib at the width of a column or a page.

Letters stay text in the PDF (embedded TrueType) and become outlines in the SVG, so both look alike everywhere. Equal
numbers give equal files: no date stands in them.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from experiments.exports.table_files import write_bytes
from experiments.reporting.frontier import MEMORY, costs_of, frontier
from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.grids import Interaction
from experiments.stats.levels import Comparison, Estimate, LevelSummary
from experiments.stats.measures import TIME_COLUMN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.store.speeds import Speeds

PAGE_INCHES: Final = 7.0
COLUMN_INCHES: Final = 3.4
ROW_INCHES: Final = 0.2
HEAD_INCHES: Final = 0.75
FORMATS: Final = ("svg", "pdf")
MOST_NAME_CHARACTERS: Final = 48
STYLE: Final = {
    "font.size": 8,
    "font.family": ["DejaVu Sans"],
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "llm-dit",
    "figure.constrained_layout.use": True,
}
BETTER, WORSE, PLAIN, BASELINE = "#1a7f4b", "#b3261e", "#555555", "#000000"


def write_figures(
    folder: Path, analysis: Analysis, speeds: Speeds | None = None, further: Iterable[tuple[str, Figure]] = ()
) -> list[Path]:
    """Write every plot of an analysis as SVG and PDF; return the files.

    Args:
        folder: Where they go.
        analysis: The numbers.
        speeds: What was measured of the levels' speed.
        further: Names and figures beside them, drawn in the same style where they come lazily.

    Raises:
        OutputError: If a file can't be written.
    """
    import matplotlib

    written = []
    with matplotlib.rc_context(STYLE):
        for name, figure in itertools.chain(_figures(analysis, speeds), further):
            for suffix in FORMATS:
                path = folder / f"{name}.{suffix}"
                write_bytes(path, _bytes_of(figure, suffix))
                written.append(path)
    return written


def _bytes_of(figure: Figure, suffix: str) -> bytes:
    file = io.BytesIO()
    dateless: dict[str, Any] = {"Date": None} if suffix == "svg" else {"CreationDate": None}
    figure.savefig(file, format=suffix, metadata=dateless)
    return file.getvalue()


def _figures(analysis: Analysis, speeds: Speeds | None) -> Iterator[tuple[str, Figure]]:
    variable = " x ".join(analysis.axes)
    for result in analysis.measures:
        column = result.measure.column
        yield (
            f"{column}_levels",
            interval_figure(result, variable, analysis.baseline, result.levels, result.comparisons),
        )
        for effect in result.main_effects:
            yield (
                f"{column}_levels_{effect.axis}",
                interval_figure(result, effect.axis, effect.baseline, effect.levels, effect.comparisons),
            )
        for interaction in result.interactions:
            name = f"{column}_grid_{interaction.row_axis}_{interaction.column_axis}"
            yield name, grid_figure(result, interaction)
    for unit, costs in costs_of(analysis, speeds).items():
        for result in analysis.measures:
            if result.measure.column != TIME_COLUMN and result.measure.is_main:
                figure = cost_figure(result, costs, analysis.baseline, unit)
                if figure is not None:
                    yield f"{result.measure.column}_and_{'memory' if unit == MEMORY else 'time'}", figure


def interval_figure(
    result: MeasureAnalysis,
    variable: str,
    baseline: str,
    levels: Sequence[LevelSummary],
    comparisons: Sequence[Comparison],
) -> Figure:
    """Draw means and paired differences with their 95 % intervals, a row per level."""
    from matplotlib.figure import Figure

    is_of_pairs = result.measure.is_of_pairs
    height = HEAD_INCHES + ROW_INCHES * len(levels)
    figure = Figure(figsize=(COLUMN_INCHES if is_of_pairs else PAGE_INCHES, height))
    axes = figure.subplots(1, 1 if is_of_pairs else 2, sharey=True, squeeze=False)[0]
    against = {item.level: item for item in comparisons}
    for row, summary in enumerate(levels):
        _interval(axes[0], row, summary.estimate, BASELINE if summary.level == baseline else PLAIN)
        found = against.get(summary.level)
        if not is_of_pairs and found is not None:
            _interval(axes[1], row, found.difference, _colour(result, found))
    unit = f" ({result.measure.unit})" if result.measure.unit else ""
    axes[0].set_yticks(range(len(levels)), [_short(item.level, baseline) for item in levels])
    axes[0].set_ylim(len(levels) - 0.5, -0.5)
    axes[0].set_ylabel(variable)
    axes[0].set_xlabel(f"mean{unit}, 95 % interval")
    axes[0].set_title(result.measure.title, loc="left")
    if not is_of_pairs:
        axes[1].axvline(0, color="black", linewidth=0.6)
        axes[1].set_xlabel(f"difference to {cut(baseline)}{unit}, paired")
        axes[1].set_title(result.measure.reading, loc="left", fontweight="normal")
    return figure


def _interval(axes: Any, row: int, estimate: Estimate | None, colour: str) -> None:
    if estimate is None:
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [row, row], color=colour, solid_capstyle="butt")
    axes.plot([estimate.mean], [row], "o", color=colour, markersize=3.5)


def _colour(result: MeasureAnalysis, comparison: Comparison) -> str:
    if not comparison.is_found or comparison.difference is None or result.measure.direction == "none":
        return PLAIN
    is_higher = comparison.difference.mean > 0
    return BETTER if is_higher == (result.measure.direction == "higher") else WORSE


def grid_figure(result: MeasureAnalysis, interaction: Interaction) -> Figure:
    """Draw the means of two crossed axes as a heat map with its numbers."""
    import numpy as np
    from matplotlib.figure import Figure

    from experiments.stats.numbers_as_text import format_number
    from experiments.stats.verdict import decimals_of

    rows, columns = interaction.rows, interaction.columns
    size = (min(PAGE_INCHES, 1.6 + 0.6 * len(columns)), HEAD_INCHES + 0.35 * len(rows))
    figure = Figure(figsize=size)
    axes = figure.subplots()
    means = np.array([[np.nan if item is None else item.mean for item in row] for row in interaction.means])
    axes.imshow(means, cmap="cividis", aspect="auto")
    least, spread = np.nanmin(means), (np.nanmax(means) - np.nanmin(means)) or 1.0
    for row, column in np.ndindex(means.shape):
        if not np.isnan(means[row, column]):
            dark = (means[row, column] - least) / spread < 0.5
            text = format_number(float(means[row, column]), decimals_of(result))
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), [cut(name) for name in columns])
    axes.set_yticks(range(len(rows)), [cut(name) for name in rows])
    axes.set_xlabel(interaction.column_axis)
    axes.set_ylabel(interaction.row_axis)
    axes.set_title(result.measure.title, loc="left")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def cost_figure(quality: MeasureAnalysis, costs: Mapping[str, float], baseline: str, unit: str) -> Figure | None:
    """Draw a measure against what a picture costs; None where fewer than two levels have both."""
    from matplotlib.figure import Figure

    plot = frontier(quality, costs, baseline, unit)
    if plot is None:
        return None
    figure = Figure(figsize=(PAGE_INCHES, max(2.6, HEAD_INCHES + 0.17 * len(plot.points))))
    axes, legend = figure.subplots(1, 2, width_ratios=(2, 1))

    def value(percent: float, low: float, high: float) -> float:
        return low + (high - low) * percent / 100

    x_of = {point.level: value(point.x, plot.x_scale.low, plot.x_scale.high) for point in plot.points}
    y_of = {point.level: value(100 - point.y.at, plot.y_scale.low, plot.y_scale.high) for point in plot.points}
    best = sorted((x_of[point.level], y_of[point.level]) for point in plot.points if point.is_on_frontier)
    axes.plot([x for x, _ in best], [y for _, y in best], color=BETTER, linewidth=0.8)
    for point in plot.points:
        x, y = x_of[point.level], y_of[point.level]
        if point.y.low is not None and point.y.high is not None:
            ends = [value(100 - end, plot.y_scale.low, plot.y_scale.high) for end in (point.y.low, point.y.high)]
            axes.plot([x, x], ends, color=PLAIN, linewidth=0.6)
        axes.plot([x], [y], "o", color=BETTER if point.is_on_frontier else PLAIN, markersize=4)
        label = value(100 - point.label_at, plot.y_scale.low, plot.y_scale.high)
        axes.annotate(
            str(point.number),
            (x, y),
            xytext=(1.02, label),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.4},
        )
    axes.set_xlim(max(plot.x_scale.low, 0.0), plot.x_scale.high)
    axes.set_ylim(plot.y_scale.low, plot.y_scale.high)
    axes.set_xlabel("most memory, GiB" if unit == MEMORY else "seconds a picture")
    axes.set_ylabel(plot.what)
    axes.set_title(quality.measure.title, loc="left")
    legend.axis("off")
    lines = [f"{point.number}  {cut(point.level)}: {point.gain}, {point.cost}" for point in plot.points]
    legend.text(0.1, 1.0, "\n".join(lines), va="top", linespacing=1.4)
    return figure


def _short(level: str, baseline: str) -> str:
    return f"{cut(level)} (baseline)" if level == baseline else cut(level)


def cut(level: str) -> str:
    """Return a level's name, cut in its middle where it is long; a dollar sign is one."""
    half = MOST_NAME_CHARACTERS // 2
    shown = level if len(level) <= MOST_NAME_CHARACTERS else f"{level[:half]}…{level[-half:]}"
    return shown.replace("$", r"\$")
