"""Figures prompt by prompt: how a level's differences are spread, and each prompt's line along an axis of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from experiments.exports.figures import COLUMN_INCHES, HEAD_INCHES, PAGE_INCHES, PLAIN, cut
from experiments.stats.measures import TIME_COLUMN
from experiments.stats.questions.over_prompts import PromptLines, PromptNumbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_INCHES: Final = 0.3
LINES_INCHES: Final = 2.6
MOST_LINES: Final = 60
STACKED: Final = 5
"""Dots above each other, before they cover each other."""
ACCENT: Final = "#2f5fbf"


def prompt_figures(numbers: Sequence[PromptNumbers], variable: str, baseline: str) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure of every score's spread and of its lines along axes of numbers; parts of scores have none.

    Args:
        numbers: One per measure.
        variable: What is varied.
        baseline: The level that others are compared with.
    """
    for found in numbers:
        column = found.measure.column
        if not found.measure.is_main or column == TIME_COLUMN:
            continue
        if found.differences:
            yield f"{column}_prompts", spread_figure(found, variable, baseline)
        for lines in found.lines:
            yield f"{column}_slopes_{lines.axis}", lines_figure(found, lines)


def spread_figure(found: PromptNumbers, variable: str, baseline: str) -> Figure:
    """Draw a dot a prompt at its difference from the baseline, the middle half as a box, the median as a bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PAGE_INCHES, HEAD_INCHES + ROW_INCHES * len(found.differences)))
    axes = figure.subplots()
    width = _range(found.differences)
    for row, by_prompt in enumerate(found.differences.values()):
        values = np.sort(np.fromiter(by_prompt.values(), dtype=np.float64))
        first, median, third = np.quantile(values, (0.25, 0.5, 0.75))
        axes.barh(row, third - first, left=first, height=0.7, color=ACCENT, alpha=0.18)
        axes.plot([median, median], [row - 0.4, row + 0.4], color=ACCENT, linewidth=1.5)
        axes.plot(values, row + stacked(values, width), "o", color="black", markersize=2, alpha=0.6)
    unit = f" ({found.measure.unit})" if found.measure.unit else ""
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(range(len(found.differences)), [cut(level) for level in found.differences])
    axes.set_ylim(len(found.differences) - 0.5, -0.5)
    axes.set_ylabel(variable)
    axes.set_xlabel(f"difference to {cut(baseline)}{unit}, a dot a prompt")
    axes.set_title(found.measure.title, loc="left")
    return figure


def stacked(values: Sequence[float] | np.ndarray, width: float) -> np.ndarray:
    """Return how far each of rising values moves up or down, so that those within a hundredth of `width` stay apart."""
    offsets, last, count = [], -np.inf, 0
    for value in values:
        count = (count + 1) % STACKED if value - last < width / 100 else 0
        last = last if count else value
        offsets.append(0.15 * (-((count + 1) // 2) if count % 2 else count / 2))
    return np.array(offsets)


def _range(differences: Mapping[str, Mapping[str, float]]) -> float:
    values = [0.0, *(value for by_prompt in differences.values() for value in by_prompt.values())]
    return max(values) - min(values) or 1.0


def lines_figure(found: PromptNumbers, lines: PromptLines) -> Figure:
    """Draw prompts' numbers along an axis, each about its own mean, and the mean of all of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(COLUMN_INCHES, LINES_INCHES))
    axes = figure.subplots()
    table = np.array(list(lines.numbers.values()))
    table = table - table.mean(axis=1, keepdims=True)  # [prompts, levels]
    order = np.argsort(table[:, -1] - table[:, 0], kind="stable")
    places = np.unique(np.round(np.linspace(0, len(order) - 1, min(MOST_LINES, len(order)))).astype(int))
    for row in table[order[places]]:
        axes.plot(lines.values, row, color=PLAIN, linewidth=0.5, alpha=0.5)
    axes.plot(lines.values, table.mean(axis=0), "o-", color=ACCENT, linewidth=1.8, markersize=3)
    some = f"{len(places)} of {len(table)} prompts" if len(places) < len(table) else f"{len(table)} prompts"
    unit = f" in {found.measure.unit}" if found.measure.unit else ""
    axes.axhline(0, color="black", linewidth=0.4)
    axes.set_xticks(lines.values, [f"{value:g}" for value in lines.values])
    axes.set_xlabel(lines.axis)
    axes.set_ylabel(f"about each prompt's mean{unit}")
    axes.set_title(f"{found.measure.title}, {some}", loc="left")
    return figure
