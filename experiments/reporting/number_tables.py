"""Tables of numbers, once for the terminal and once for files: each cell has its value and how it is read."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.levels import Comparison, Estimate, LevelSummary
from experiments.stats.numbers_as_text import decimals_for, format_amount, format_number, format_p_value
from experiments.stats.questions.all_pairs import PairedLevels
from experiments.stats.questions.answering import Answer, Spread
from experiments.stats.questions.correlations import Correlation
from experiments.stats.questions.groups import Grouped
from experiments.stats.questions.trends import Trend
from experiments.stats.verdict import decimals_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Value = str | float | int | None
WIDTH_OF_FILES = 10_000


@dataclass(frozen=True)
class Cell:
    """A value, and the text that is shown of it."""

    value: Value
    text: str


@dataclass(frozen=True)
class NumberTable:
    """A table.

    Attributes:
        name: For file names.
        title: Above it.
        columns: Headings.
        rows: Cells.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def without(self, *columns: str) -> NumberTable:
        """Return the table without some of its columns."""
        kept = [index for index, heading in enumerate(self.columns) if heading not in columns]
        rows = tuple(tuple(row[index] for index in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[index] for index in kept), rows=rows)


def answer_tables(answer: Answer, *, with_slopes: bool = True) -> list[NumberTable]:
    """Return the tables of what was asked of one measure; each prompt's slope where `with_slopes`."""
    column, title = answer.measure.column, answer.measure.title
    tables = [pairs_table(pairs, column, title) for pairs in answer.pairs]
    if answer.grouped is not None:
        tables.append(groups_table(answer.grouped, column, title))
    if answer.trend is not None and with_slopes:
        tables.append(slopes_table(answer.trend, column, title))
    if answer.spreads:
        tables.append(spreads_table(answer.spreads, column, title))
    return tables


def measure_table(analysis: Analysis, result: MeasureAnalysis) -> NumberTable:
    """Return one row per level: its mean, and what sets it apart from the baseline."""
    variable, decimals = " x ".join(analysis.axes), decimals_of(result)
    against = {item.level: item for item in result.comparisons}
    rows = []
    for summary in result.levels:
        estimate = summary.estimate or Estimate(math.nan, None, None)
        item = against.get(summary.level)
        compared = [Cell(None, "")] * (len(COMPARED) + 1)
        if item is not None:
            compared = [*_comparison_cells(item, decimals), number_cell(item.detectable, decimals)]
        rows.append(
            (
                text_cell(summary.level),
                number_cell(summary.runs, 0),
                number_cell(None if summary.estimate is None else estimate.mean, decimals),
                number_cell(estimate.low, decimals),
                number_cell(estimate.high, decimals),
                number_cell(summary.deviation, decimals),
                *(() if result.measure.is_of_pairs else compared),
            )
        )
    columns = (variable, "n", "mean", "mean low", "mean high", "sd")
    of_difference = () if result.measure.is_of_pairs else (*COMPARED, "detects")
    heading = f"{result.measure.title} ({result.measure.reading}), beside {analysis.baseline}"
    return NumberTable(result.measure.column, heading, (*columns, *of_difference), tuple(rows))


def pairs_table(pairs: PairedLevels, column: str, title: str) -> NumberTable:
    """Return one row per pair of levels."""
    decimals = _decimals(item.difference for item in pairs.comparisons.values())
    rows = tuple(
        (text_cell(level), text_cell(other), *_comparison_cells(item, decimals))
        for (level, other), item in pairs.comparisons.items()
    )
    heading = f"{title}: all pairs of {pairs.variable}"
    return NumberTable(f"{column}_pairs_{pairs.variable}", heading, ("level", "minus", *COMPARED), rows)


COMPARED = ("pairs", "prompts", "difference", "low", "high", "p corr.", "p", "wins", "g")


def groups_table(grouped: Grouped, column: str, title: str) -> NumberTable:
    """Return one row per group and level."""
    decimals = _decimals(item.difference for group in grouped.groups for item in group.comparisons)
    rows = []
    for group in grouped.groups:
        known = {item.level: item for item in group.comparisons}
        for summary in group.levels:
            item = known.get(summary.level)
            compared = [Cell(None, "")] * len(COMPARED) if item is None else _comparison_cells(item, decimals)
            rows.append((text_cell(group.name), text_cell(summary.level), _mean_cell(summary, decimals), *compared))
    heading = f"{title}: {grouped.variable} by {grouped.by}, beside {grouped.baseline}"
    return NumberTable(
        f"{column}_by_{grouped.by}", heading, (grouped.by, grouped.variable, "mean", *COMPARED), tuple(rows)
    )


def slopes_table(trend: Trend, column: str, title: str) -> NumberTable:
    """Return one row per prompt: its slope; the steepest fall first."""
    decimals = decimals_for(max((abs(slope) for slope in trend.slopes.values()), default=0.0) / 10)
    ordered = sorted(trend.slopes.items(), key=lambda item: item[1])
    rows = tuple((text_cell(name), number_cell(slope, decimals)) for name, slope in ordered)
    return NumberTable(f"{column}_slopes_{trend.axis}", f"{title}: slope along {trend.axis}", ("prompt", "slope"), rows)


def spreads_table(spreads: Sequence[Spread], column: str, title: str) -> NumberTable:
    """Return one row per level: how its differences from the baseline are spread over prompts."""
    widths = [item.quarters[-1] - item.quarters[0] for item in spreads if item.quarters]
    decimals = decimals_for(max(widths, default=0.0) / 10)
    rows = tuple(
        (
            text_cell(item.level),
            number_cell(item.prompts, 0),
            number_cell(item.above, 0),
            *(number_cell(value, decimals) for value in item.quarters or (None,) * 5),
            text_cell(item.lowest),
            text_cell(item.highest),
        )
        for item in spreads
    )
    columns = ("level", "prompts", "above 0", "least", "1/4", "median", "3/4", "most", "least at", "most at")
    return NumberTable(f"{column}_prompts", f"{title}: differences over prompts", columns, rows)


def correlations_table(correlations: Sequence[Correlation]) -> NumberTable:
    """Return one row per pair of measures."""
    rows = tuple(
        (
            text_cell(item.first.title),
            text_cell(item.second.title),
            number_cell(item.prompts, 0),
            number_cell(item.within, 2),
            number_cell(item.low, 2),
            number_cell(item.high, 2),
            p_cell(item.p_corrected),
            number_cell(item.over_prompts, 2),
        )
        for item in correlations
    )
    columns = ("measure", "with", "prompts", "within prompts", "low", "high", "p corr.", "over prompts")
    return NumberTable("correlations", "How measures go together", columns, rows)


def text_cell(text: str) -> Cell:
    """Return a cell of text."""
    return Cell(text, text)


def number_cell(value: float | None, decimals: int) -> Cell:
    """Return a cell of a number; empty where there is none."""
    return Cell(value, "" if value is None else format_number(value, decimals))


def p_cell(value: float | None) -> Cell:
    """Return a cell of a p-value."""
    return Cell(value, "" if value is None else format_p_value(value))


def _comparison_cells(item: Comparison, decimals: int) -> list[Cell]:
    difference = item.difference or Estimate(float("nan"), None, None)
    mean = None if item.difference is None else difference.mean
    return [
        number_cell(item.pairs, 0),
        number_cell(item.prompts, 0),
        Cell(mean, "" if mean is None else format_amount(mean, decimals)),
        number_cell(difference.low, decimals),
        number_cell(difference.high, decimals),
        p_cell(item.p_holm),
        p_cell(item.p_value),
        Cell(item.win_rate, "" if item.win_rate is None else f"{item.win_rate:.0%}"),
        number_cell(item.effect_size, 2),
    ]


def _mean_cell(summary: LevelSummary, decimals: int) -> Cell:
    return number_cell(None if summary.estimate is None else summary.estimate.mean, decimals)


def _decimals(estimates: Iterable[Estimate | None]) -> int:
    widths = [
        (item.high - item.low) / 2
        for item in estimates
        if item is not None and item.low is not None and item.high is not None
    ]
    return decimals_for(min((width for width in widths if width), default=0.0))


def printer() -> Console:
    """Return what prints tables: as wide as the terminal or `COLUMNS`, and into files and pipes as wide as they are."""
    from rich.console import Console

    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if has_width else WIDTH_OF_FILES)


def rich_table(table: NumberTable) -> Table:
    """Return a table for the terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=Text(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for index, heading in enumerate(table.columns):
        is_text = all(isinstance(row[index].value, str) for row in table.rows)
        shown.add_column(Text(heading), justify="left" if is_text else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell.text) for cell in row))
    return shown
