"""Take results out of the lab: `uv run experiments/export.py RESULTS_DIR -o FOLDER --what figures,tables,dataset`."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.answer_options import track_option
from llm_dit.cli import Command, user_errors

KINDS = ("figures", "tables", "results", "parquet", "dataset", "geneval")


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Where files go.")
@click.option(
    "--what",
    default="figures,tables,results",
    show_default=True,
    metavar="KIND[,KIND]",
    help="figures (SVG and PDF), tables (CSV, LaTeX, JSON), results (CSV with prompts), parquet, dataset (a folder "
    "with pictures that Hugging Face datasets reads), geneval (its folders, a level each).",
)
@track_option("Tell a tracker of every level; alone it writes no files.")
@user_errors
def main(results_dir: Path, output: Path | None, what: str, track: str | None) -> None:
    """Write figures, tables or data sets of the experiment in RESULTS_DIR into FOLDER, or tell a tracker of it."""
    from experiments.exports.exporting import export, tell_tracker
    from experiments.planning.comma_list import texts_of
    from llm_dit.errors import LlmDitError, nearest

    if output is None and track is None:
        raise LlmDitError(
            "--output FOLDER says where the files go; give it, or --track with a tracker.", field="output"
        )
    kinds = texts_of(what, "--what")
    for kind in kinds:
        if kind not in KINDS:
            raise LlmDitError(f"--what {kind!r} is nothing that can be exported{nearest(kind, KINDS)}", field="what")
    if output is not None:
        for place in export(results_dir, output, kinds):
            click.echo(place)
    if track is not None:
        click.echo(tell_tracker(results_dir, track))


if __name__ == "__main__":
    main()
