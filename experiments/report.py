"""Write an experiment's report: `uv run experiments/report.py RESULTS_DIR` makes `RESULTS_DIR/report.html`."""

from __future__ import annotations

from pathlib import Path

import click

from llm_dit.cli import Command, user_errors


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--bundle", is_flag=True, help="Put the pictures into the file, so that it can be sent alone.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where a bundle goes.")
@click.option("--primary", metavar="MEASURE", help="Name the measure that counts, once; the others are exploratory.")
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="MEASURE=X[,...]",
    help="Name the largest difference of a measure that does not matter, once: is a level as good as the baseline?",
)
@user_errors
def main(results_dir: Path, bundle: bool, output: Path | None, primary: str | None, margins: tuple[str, ...]) -> None:
    """Write RESULTS_DIR/report.html: verdict, plots and all pictures of an experiment, for reading offline."""
    from experiments.metrics import METRICS
    from experiments.reporting.report_page import write_report
    from experiments.stats.margins import margins_from_flags
    from experiments.stats.measures import check_measure
    from experiments.store.result_store import ResultStore

    store, named = ResultStore(results_dir), margins_from_flags(margins, METRICS)
    store.check_margins(named)
    if primary is not None:
        check_measure(primary, "--primary", METRICS)
        store.name_primary(primary)
    store.name_margins(named)

    def tell(sentence: str) -> None:
        click.echo(sentence, err=True)

    click.echo(write_report(results_dir, bundle=bundle, output=output, tell=tell))


if __name__ == "__main__":
    main()
