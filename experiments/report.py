"""Write an experiment's report: `uv run experiments/report.py RESULTS_DIR` makes `RESULTS_DIR/report.html`."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.answer_options import answer_options
from llm_dit.cli import Command, user_errors
from llm_dit.collector import collector_paused


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dirs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RESULTS_DIR [OTHER]")
@click.option("--bundle", is_flag=True, help="Put the pictures into the file, so that it can be sent alone.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where a bundle goes, or a pair's."
)
@answer_options
@user_errors
@collector_paused()
def main(
    results_dirs: tuple[Path, ...],
    bundle: bool,
    output: Path | None,
    pair_by: str | None,
    metrics: tuple[str, ...],
    primary: str | None,
    margins: tuple[str, ...],
) -> None:
    """Write RESULTS_DIR/report.html: verdict, plots and all pictures of an experiment, for reading offline.

    With two folders, OTHER beside RESULTS_DIR: --output FILE.html with the pictures in it, FILE.csv and FILE.json.
    """
    from experiments.reporting.pair_report import pair_output, write_pair_report
    from experiments.reporting.report_page import write_report
    from experiments.stats.beside import beside_each_other, name_choices, pairing_of
    from experiments.store.result_store import ResultStore

    stores = [ResultStore(folder) for folder in results_dirs]
    pairing = pairing_of(stores, pair_by, metrics)
    if len(stores) == 2:
        place = pair_output(output)
        for path in write_pair_report(stores, *beside_each_other(stores, primary, margins, pairing), place):
            click.echo(path)
        return
    name_choices(stores, primary, margins)

    def tell(sentence: str) -> None:
        click.echo(sentence, err=True)

    click.echo(write_report(results_dirs[0], bundle=bundle, output=output, tell=tell))


if __name__ == "__main__":
    main()
