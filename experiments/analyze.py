"""Print what an experiment found: `uv run experiments/analyze.py RESULTS_DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_dit.cli import Command, user_errors

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from experiments.stats.findings import Analysis, MeasureAnalysis
    from experiments.stats.levels import Comparison, Estimate, LevelSummary


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--primary", metavar="MEASURE", help="Name the measure that counts, once; the others are exploratory.")
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="MEASURE=X[,...]",
    help="Name the largest difference of a measure that does not matter, once: is a level as good as the baseline?",
)
@click.option("--measure", "columns", multiple=True, metavar="COLUMN", help="Only this measure; may be repeated.")
@user_errors
def main(results_dir: Path, primary: str | None, margins: tuple[str, ...], columns: tuple[str, ...]) -> None:
    """Compare the levels of the experiment in RESULTS_DIR with its baseline, measure by measure."""
    from rich.console import Console

    from experiments.metrics import METRICS
    from experiments.stats.findings import analyse, seen_now
    from experiments.stats.margins import margins_from_flags
    from experiments.stats.measures import check_measure
    from experiments.store.result_store import ResultStore

    store, named = ResultStore(results_dir), margins_from_flags(margins, METRICS)
    store.check_margins(named)
    if primary is not None:
        check_measure(primary, "--primary", METRICS)
        store.name_primary(primary)
    store.name_margins(named)
    manifest, records = store.manifest(), store.runs()
    analysis = analyse(manifest, records, METRICS)
    chosen = _chosen(analysis, columns)
    print_analysis(analysis, chosen, Console())
    problem = store.note_analysis(seen_now(manifest, records, analysis, by="analyze.py", columns=columns))
    if problem is not None:
        click.echo(problem, err=True)


def print_analysis(analysis: Analysis, results: list[MeasureAnalysis], console: Console) -> None:
    """Print one table and its sentences per measure."""
    from rich.text import Text

    from experiments.stats.verdict import sentences

    failed = f", {analysis.failed} failed" if analysis.failed else ""
    heading = f"{analysis.name}: {analysis.finished} pictures{failed}, baseline {analysis.baseline}"
    console.print(Text(heading, style="bold"))
    for note in analysis.notes:
        console.print(Text(f"Note: {note}", style="dim"))
    if not results:
        console.print("Nothing to compare yet: no picture has a score or a generation time.")
    for result in results:
        console.print()
        console.print(_table(analysis, result))
        standing = " (exploratory)" if analysis.standing(result) == "exploratory" else ""
        for line in sentences(analysis, result):
            console.print(Text(f"{result.measure.title}{standing}: {line}"))
        for note in result.notes:
            console.print(Text(f"Note: {note}", style="dim"))


def _chosen(analysis: Analysis, columns: tuple[str, ...]) -> list[MeasureAnalysis]:
    from llm_dit.errors import LlmDitError, nearest

    by_column = {result.measure.column: result for result in analysis.measures}
    for column in columns:
        if column not in by_column:
            raise LlmDitError(f"--measure {column} is not in these results{nearest(column, by_column)}")
    return [by_column[column] for column in columns] if columns else list(by_column.values())


def _table(analysis: Analysis, result: MeasureAnalysis) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from experiments.stats.margin_sentences import standing_text
    from experiments.stats.verdict import decimals_of

    standing = analysis.standing(result)
    marked = f"{standing}, " if standing else ""
    title = Text(f"{result.measure.title} ({marked}{result.measure.reading})")
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    table.add_column(" x ".join(analysis.axes), overflow="fold", min_width=10)
    tests = ("equal",) if result.measure.is_of_pairs else ("difference\n(95 %)", "p corr.\n(p)", "wins", "g", "detects")
    for heading in ("n", "mean\n(95 %)", "sd", *tests):
        table.add_column(heading, justify="right")
    against = {} if result.margin is None else {item.level: item for item in result.margin.standings}
    if against:
        table.add_column("within\nmargin", justify="right")
    comparisons = {comparison.level: comparison for comparison in result.comparisons}
    decimals = decimals_of(result)
    for summary in result.levels:
        comparison = comparisons.get(summary.level)
        found = [str(summary.equal)] if result.measure.is_of_pairs else _comparison_cells(comparison, decimals)
        cells = [*_summary_cells(summary, decimals), *found]
        if item := against.get(summary.level):
            cells.append(standing_text(item, result.measure))
        table.add_row(Text(summary.level), *cells, style="bold" if comparison and comparison.is_found else "")
    return table


def _summary_cells(summary: LevelSummary, decimals: int) -> list[str]:
    from experiments.stats.numbers_as_text import format_number

    if summary.estimate is None:
        return [f"{summary.runs}", "infinite" if summary.runs else "", ""]
    deviation = "" if summary.deviation is None else format_number(summary.deviation, decimals)
    return [f"{summary.runs}", _estimate_cell(summary.estimate, decimals), deviation]


def _comparison_cells(comparison: Comparison | None, decimals: int) -> list[str]:
    from experiments.stats.numbers_as_text import format_amount, format_p_value

    if comparison is None or comparison.difference is None:
        return [""] * 5
    difference = _difference_cell(comparison.difference, decimals)
    if comparison.p_value is None or comparison.p_holm is None or comparison.win_rate is None:
        return [difference, "", "", "", ""]
    p_values = f"{format_p_value(comparison.p_holm)}\n({format_p_value(comparison.p_value)})"
    size = "" if comparison.effect_size is None else f"{comparison.effect_size:.2f}"
    detects = "nothing" if comparison.detectable is None else format_amount(comparison.detectable, decimals)
    return [difference, p_values, f"{comparison.win_rate:.0%}", size, detects]


def _difference_cell(estimate: Estimate, decimals: int) -> str:
    from experiments.stats.numbers_as_text import least_shown
    from experiments.stats.verdict import is_too_small_to_show

    if is_too_small_to_show(estimate, decimals):
        return f"less than\n{least_shown(decimals)}"
    return _estimate_cell(estimate, decimals)


def _estimate_cell(estimate: Estimate, decimals: int) -> str:
    from experiments.stats.verdict import format_estimate

    mean, low, high = format_estimate(estimate, decimals=decimals)
    return f"{mean}\n{low} to {high}" if low else f"{mean}\n(no interval)"


if __name__ == "__main__":
    main()
