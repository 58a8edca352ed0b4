"""Print all experiments of a results folder in one table: `uv run experiments/overview.py RESULTS`."""

from __future__ import annotations

from pathlib import Path

import click

from llm_dit.cli import Command, user_errors

SENTENCES = ("question", "verdict")
"""Columns that a terminal is too narrow for; they are told below the table."""


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--tables", type=click.Path(path_type=Path), metavar="FOLDER", help="Write the table there as CSV, LaTeX and JSON."
)
@user_errors
def main(results: Path, tables: Path | None) -> None:
    """Print the experiments in RESULTS, a folder of their folders: date, question, size, verdict and best level."""
    from experiments.exports.table_files import write_tables
    from experiments.reporting.number_tables import printer, rich_table
    from experiments.reporting.overview import overview_of, overview_table

    entries = overview_of(results)
    table = overview_table(entries)
    printer().print(rich_table(table.without(*SENTENCES)))
    for entry in entries:
        told = entry.problem or " ".join(filter(None, (as_sentence(entry.question), entry.verdict)))
        click.echo(f"{entry.name}: {told}")
    if tables is not None:
        write_tables(tables, [table])
        click.echo(tables)


def as_sentence(question: str) -> str:
    """End a question, which anybody may have written, so that another sentence can follow."""
    return question if not question or question[-1] in ".?!:…" else f"{question}."


if __name__ == "__main__":
    main()
