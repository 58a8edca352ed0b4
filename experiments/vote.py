"""Vote on an experiment's pictures with your own eyes: `uv run experiments/vote.py RESULTS_DIR` opens the page."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_dit.cli import Command, user_errors

if TYPE_CHECKING:
    import socket

DEFAULT_PORT = 8010
SHUTDOWN_S = 2


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option(
    "--add",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Add votes that a report exported, or another folder's, and open no page; may be repeated.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Where the page is, on this machine only; the next free one if it is taken, any free one for 0.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open the page in a browser. [default: open]")
@user_errors
def main(results_dir: Path, files: tuple[Path, ...], port: int, opens: bool) -> None:
    """Show two pictures of the experiment in RESULTS_DIR, names hidden, and ask which is better, again and again.

    Votes go to RESULTS_DIR/votes.jsonl, each on disk before the next pair is shown. analyze.py and report.py say what
    they mean. The experiment may still be running.
    """
    if files:
        _add(results_dir, files)
        return
    from experiments.voting.booth import Booth
    from experiments.voting.lone_app import HOST, create_voting_app, page_path

    booth = Booth(results_dir)
    with _listening(HOST, port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        click.echo(f"Vote at {address}{page_path(booth)}  (Ctrl+C ends it; every vote is saved when it is given)")
        if opens:
            click.launch(f"{address}{page_path(booth)}")

        import uvicorn

        config = uvicorn.Config(
            create_voting_app(booth),
            log_level="warning",
            timeout_graceful_shutdown=SHUTDOWN_S,
            server_header=False,
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises the Ctrl+C again that it has ended by
            uvicorn.Server(config).run(sockets=[listening])


def _add(results_dir: Path, files: tuple[Path, ...]) -> None:
    from experiments.store.result_store import ResultStore
    from experiments.voting.votes_file import add_votes

    ResultStore(results_dir).manifest()  # which says what is wrong where it is no results folder
    for file in files:
        new, known = add_votes(results_dir, file)
        click.echo(f"{file}: {new} votes added, {known} were there already.")


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket on the port, or the next free one of ten."""
    import socket

    from llm_dit.errors import LlmDitError

    for candidate in range(port, port + 10) if port else (0,):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
        except OSError:
            listening.close()
            continue
        return listening
    raise LlmDitError(f"--port {port} and the nine after it are taken; give another one, or 0 for any.", field="port")


if __name__ == "__main__":
    main()
