"""Print what an experiment found, or two folders beside each other: `uv run experiments/analyze.py RESULTS_DIR`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.answer_options import answer_options
from llm_dit.cli import Command, user_errors
from llm_dit.collector import collector_paused

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from experiments.stats.findings import Analysis, MeasureAnalysis
    from experiments.stats.levels import Comparison, Estimate, LevelSummary
    from experiments.stats.questions.answering import Answers, Asked
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord
    from experiments.store.result_store import ResultStore
    from experiments.voting.vote_scores import CountedVotes


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dirs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RESULTS_DIR [OTHER]")
@answer_options
@click.option("--measure", "columns", multiple=True, metavar="COLUMN", help="Only this measure; may be repeated.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE[,...]",
    help="Only runs like that: category=animals, num_inference_steps=4, a level, a seed; may be repeated.",
)
@click.option("--baseline", metavar="LEVEL", help="Compare with this level in place of the experiment's baseline.")
@click.option("--all-pairs", is_flag=True, help="Compare every level with every other, corrected for all pairs.")
@click.option(
    "--by",
    metavar="NAME",
    help="Compare in every group, by category or at every level of an axis, and say whether the answer differs.",
)
@click.option(
    "--trend", metavar="AXIS", help="Fit a line along an axis of numbers, with its test, and a slope a prompt."
)
@click.option(
    "--per-prompt", is_flag=True, help="Tell how differences, and slopes with --trend, are spread over prompts."
)
@click.option("--correlate", is_flag=True, help="Tell how the measures go together, within a prompt and over prompts.")
@click.option(
    "--tables", type=click.Path(path_type=Path), metavar="FOLDER", help="Write the tables there as CSV, LaTeX and JSON."
)
@user_errors
@collector_paused()
def main(
    results_dirs: tuple[Path, ...],
    pair_by: str | None,
    metrics: tuple[str, ...],
    primary: str | None,
    margins: tuple[str, ...],
    columns: tuple[str, ...],
    conditions: tuple[str, ...],
    baseline: str | None,
    all_pairs: bool,
    by: str | None,
    trend: str | None,
    per_prompt: bool,
    correlate: bool,
    tables: Path | None,
) -> None:
    """Compare the levels of the experiment in RESULTS_DIR with its baseline, measure by measure.

    With two folders, the pictures of OTHER are compared with those of RESULTS_DIR, paired by prompt and seed. What is
    asked further (--where to --correlate) is corrected together, question by question.
    """
    from experiments.metrics import METRICS
    from experiments.stats.beside import beside_each_other, name_choices, pairing_of
    from experiments.stats.paired_statistics import tables_meanwhile
    from experiments.stats.questions.answering import Asked, answer
    from experiments.stats.questions.narrowing import conditions_from_flags
    from experiments.store.result_store import ResultStore
    from experiments.voting.vote_looks import corrected_for_looks
    from experiments.voting.vote_scores import CountedVotes

    asked = Asked(conditions_from_flags(conditions), baseline, all_pairs, by, trend, per_prompt, correlate)
    stores = [ResultStore(folder) for folder in results_dirs]
    pairing = pairing_of(stores, pair_by, metrics)
    notes: tuple[str, ...] = ()
    votes: CountedVotes | None = None
    if len(stores) == 1:
        name_choices(stores, primary, margins)
        manifest = stores[0].manifest()
        with tables_meanwhile(len(manifest.prompts)):
            records = stores[0].runs()
        votes = CountedVotes(stores[0].folder, manifest, records)
        records = votes.scored(records)
    else:
        manifest, records, notes = beside_each_other(stores, primary, margins, pairing)
    answers = answer(manifest, records, METRICS, asked, columns)
    analysis = replace(answers.analysis, notes=(*notes, *answers.analysis.notes))
    if votes is not None:
        analysis = corrected_for_looks(analysis, votes)
    answers = replace(answers, analysis=analysis)
    chosen, folded = _print_answers(answers, asked, columns)
    if tables is not None:
        _write_tables(tables, answers, [*chosen, *folded])
    if votes is not None and not columns and not str(asked):
        _print_votes(votes, records, analysis)
        _print_speeds(stores[0], manifest, analysis)
    shown = [result.measure.column for result in chosen]
    for problem in _noted(stores, manifest, records, analysis, shown, asked, votes):
        click.echo(problem, err=True)


def _noted(
    stores: Sequence[ResultStore],
    manifest: Manifest,
    records: Sequence[RunRecord],
    analysis: Analysis,
    shown: Sequence[str],
    asked: Asked,
    votes: CountedVotes | None,
) -> list[str]:
    """Write down that these results were analysed, and return what could not be.

    Whoever asks of a part has the whole before him, so what he sees is kept as all that there is.
    """
    from experiments.stats.beside import note_analysis
    from experiments.stats.findings import seen_now
    from experiments.voting.vote_looks import note_look

    seen = replace(seen_now(manifest, records, analysis, by="analyze.py", columns=shown), asked=str(asked))
    problems = note_analysis(stores, seen)
    if votes is not None and "votes" in shown and (problem := note_look(stores[0].folder, votes, "analyze.py")):
        problems.append(problem)
    return problems


def _print_answers(
    answers: Answers, asked: Asked, columns: tuple[str, ...]
) -> tuple[list[MeasureAnalysis], list[MeasureAnalysis]]:
    """Print what was asked of each measure; return those printed, and the further columns that were not."""
    from rich.text import Text

    from experiments.reporting.number_tables import printer

    console = printer()
    chosen, folded = _chosen(answers.analysis, columns)
    print_analysis(answers.analysis, chosen, answers.records, console, asked, answers)
    if folded:
        names = ", ".join(result.measure.column for result in folded)
        console.print(Text(f"\nFurther columns, parts of these: {names}. --measure NAME prints one.", style="dim"))
    return chosen, folded


def _print_votes(votes: CountedVotes, records: Sequence[RunRecord], analysis: Analysis) -> None:
    from experiments.voting.vote_sentences import vote_report

    report = vote_report(votes, records, analysis)
    told = [f"Votes: {note}" for note in report.all_notes] + [f"Agreement: {line}" for line in report.agreement]
    if told:
        click.echo()
    for line in told:
        click.echo(line)


def _write_tables(folder: Path, answers: Answers, results: Sequence[MeasureAnalysis]) -> None:
    """Write the tables of what was asked, unrounded in CSV and JSON."""
    from experiments.exports.table_files import write_tables
    from experiments.reporting.number_tables import answer_tables, correlations_table, measure_table

    tables = [measure_table(answers.analysis, result) for result in results]
    asked = (answers.of(result.measure) for result in results)
    tables += [table for found in asked if found is not None for table in answer_tables(found)]
    if answers.correlations:
        tables.append(correlations_table(answers.correlations))
    write_tables(folder, tables)
    click.echo(folder)


def _print_speeds(store: ResultStore, manifest: Manifest, analysis: Analysis) -> None:
    from experiments.reporting.speed_table import speed_table
    from experiments.stats.speed_sentences import speed_sentences
    from experiments.store.speeds import read_speeds
    from llm_dit.errors import OutputError

    try:
        speeds = read_speeds(store.folder, manifest.conditions.hash)
    except OutputError as error:
        click.echo(str(error), err=True)
        return
    if speeds is None:
        return
    click.echo()
    told = speed_sentences(speeds, manifest.variable_name, manifest.baseline_name)
    for sentence in [*told, speed_table(analysis, speeds).sentence]:
        click.echo(f"Speed: {sentence}")


def print_analysis(
    analysis: Analysis,
    results: list[MeasureAnalysis],
    records: Sequence[RunRecord],
    console: Console,
    asked: Asked,
    answers: Answers,
) -> None:
    """Print one table and its sentences per measure, and what was asked beside them."""
    from rich.text import Text

    from experiments.examination.kept import examination_notes
    from experiments.stats.overall import overall_sentence
    from experiments.stats.verdict import sentences

    failed = f", {analysis.failed} failed" if analysis.failed else ""
    heading = f"{analysis.name}: {analysis.finished} pictures{failed}, baseline {analysis.baseline}"
    console.print(Text(heading, style="bold"))
    if str(asked):
        console.print(Text(f"Asked: {asked}"))
    for note in analysis.notes:
        console.print(Text(f"Note: {note}", style="dim"))
    if told := overall_sentence(analysis, results):
        console.print(Text(told))
    if not results:
        console.print("Nothing to compare yet: no picture has a score or a generation time.")
    for result in results:
        console.print()
        console.print(_table(analysis, result))
        standing = " (exploratory)" if analysis.standing(result) == "exploratory" else ""
        for line in sentences(analysis, result):
            console.print(Text(f"{result.measure.title}{standing}: {line}"))
        examined = examination_notes(records, result.measure.metric) if result.measure.is_main else []
        for note in (*result.notes, *examined):
            console.print(Text(f"Note: {note}", style="dim"))
        _print_answer(answers, result, console, with_slopes=asked.per_prompt)
    _print_correlations(answers, [result.measure.column for result in results], console)


def _print_answer(answers: Answers, result: MeasureAnalysis, console: Console, *, with_slopes: bool) -> None:
    """Print what was asked of one measure beside the comparison with the baseline."""
    from rich.text import Text

    from experiments.reporting.number_tables import answer_tables, rich_table
    from experiments.stats.questions.sentences import answer_sentences

    found = answers.of(result.measure)
    if found is None:
        return
    for table in answer_tables(found, with_slopes=with_slopes):
        console.print()
        console.print(rich_table(table))
    for line in answer_sentences(found):
        console.print(Text(f"{result.measure.title}: {line}"))


def _print_correlations(answers: Answers, columns: Sequence[str], console: Console) -> None:
    from rich.text import Text

    from experiments.reporting.number_tables import correlations_table, rich_table
    from experiments.stats.questions.sentences import correlation_sentence

    shown = [item for item in answers.correlations if {item.first.column, item.second.column} <= set(columns)]
    if not shown:
        return
    console.print()
    console.print(rich_table(correlations_table(shown)))
    for item in shown:
        console.print(Text(correlation_sentence(item)))


def _chosen(analysis: Analysis, columns: tuple[str, ...]) -> tuple[list[MeasureAnalysis], list[MeasureAnalysis]]:
    """Return the measures that are printed, those asked for or all main ones, and those that are only named."""
    from llm_dit.errors import LlmDitError, nearest

    by_column = {result.measure.column: result for result in analysis.measures}
    for column in columns:
        if column not in by_column:
            raise LlmDitError(f"--measure {column} is not in these results{nearest(column, by_column)}")
    if columns:
        return [by_column[column] for column in columns], []
    main = [item for item in analysis.measures if item.measure.is_main or item.measure.column == analysis.primary]
    return main, [item for item in analysis.measures if item not in main]


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
