"""Take results out of the lab: `uv run experiments/export.py RESULTS_DIR -o FOLDER --what figures,tables,dataset`."""

from __future__ import annotations

from pathlib import Path

import click

from llm_dit.cli import Command, user_errors

KINDS = ("figures", "tables", "results", "parquet", "dataset", "geneval")


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Where it goes.")
@click.option(
    "--what",
    default="figures,tables,results",
    show_default=True,
    metavar="KIND[,KIND]",
    help="figures (SVG and PDF), tables (CSV, LaTeX, JSON), results (CSV with prompts), parquet, dataset (a folder "
    "with pictures that Hugging Face datasets reads), geneval (its folders, a level each).",
)
@user_errors
def main(results_dir: Path, output: Path, what: str) -> None:
    """Write figures, tables or data sets of the experiment in RESULTS_DIR into FOLDER."""
    from experiments.exports.exporting import export
    from experiments.planning.comma_list import texts_of
    from llm_dit.errors import LlmDitError, nearest

    kinds = texts_of(what, "--what")
    for kind in kinds:
        if kind not in KINDS:
            raise LlmDitError(f"--what {kind!r} is nothing that can be exported{nearest(kind, KINDS)}", field="what")
    for place in export(results_dir, output, kinds):
        click.echo(place)


if __name__ == "__main__":
    main()
