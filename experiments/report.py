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
@user_errors
def main(results_dir: Path, bundle: bool, output: Path | None, primary: str | None) -> None:
    """Write RESULTS_DIR/report.html: verdict, plots and all pictures of an experiment, for reading offline."""
    from experiments.metrics import METRICS
    from experiments.reporting.report_page import write_report
    from experiments.stats.measures import check_measure
    from experiments.store.result_store import ResultStore

    if primary is not None:
        check_measure(primary, "--primary", METRICS)
        ResultStore(results_dir).name_primary(primary)

    def tell(sentence: str) -> None:
        click.echo(sentence, err=True)

    click.echo(write_report(results_dir, bundle=bundle, output=output, tell=tell))


if __name__ == "__main__":
    main()
