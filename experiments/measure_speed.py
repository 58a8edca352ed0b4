"""Measure how fast each level of an experiment draws: `uv run experiments/measure_speed.py RESULTS_DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.running.speed import REPEATS
from llm_dit.cli import Command, user_errors
from llm_dit.placement.waiting_threads import let_waiting_threads_sleep


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option(
    "--repeats", type=click.IntRange(1, 100), default=REPEATS, show_default=True, help="Timed pictures a level."
)
@user_errors
def main(results_dir: Path, repeats: int) -> None:
    """Draw one picture of each level in RESULTS_DIR alone, again and again: seconds, peak memory, load time.

    Nothing else should run meanwhile; what was busy is said. The report and analyze.py show it beside the scores.
    """
    let_waiting_threads_sleep()
    from experiments.running.speed import measure_folder
    from experiments.stats.speed_sentences import speed_sentences
    from experiments.store.result_store import ResultStore

    store = ResultStore(results_dir)
    manifest = store.manifest()
    speeds = measure_folder(
        store,
        repeats=repeats,
        command="measure_speed.py",
        on_level=lambda name: click.echo(f"Measuring {name} ...", err=True),
    )
    for sentence in speed_sentences(speeds, manifest.variable_name, manifest.baseline_name):
        click.echo(sentence)
    if (store.folder / "report.html").exists():
        from experiments.reporting.report_page import write_report

        click.echo(f"Report: {write_report(store.folder, by='measure_speed.py')}")


if __name__ == "__main__":
    main()
