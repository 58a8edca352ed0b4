"""Score the images of a results folder: `uv run experiments/score.py experiments/results/shift_sweep`.

Needs no generator. What has a score by the same weights already is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from experiments.metrics import METRICS, Scorer, default_metrics, load_configured_scorers
from experiments.metrics.judges import beyond_their_worlds
from experiments.metrics.missing_scores import ScoringResult, Spread, one_by_one, score_results
from experiments.store.result_store import Manifest, ResultStore
from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.parameters import ClusterSettings, MetricSettings
from llm_dit.placement.devices import resolve_device
from llm_dit.placement.waiting_threads import let_waiting_threads_sleep

METRIC_NAMES = tuple(metric.name for metric in METRICS)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"Metric to compute; may be repeated; by default those that are installed and have weights, of "
    f"{', '.join(METRIC_NAMES)}.",
)
@click.option(
    "--device", "score_on", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps. [default: auto]"
)
@parameter_options(MetricSettings, ClusterSettings)
@user_errors
def main(results_dir: Path, names: tuple[str, ...], score_on: str, **flags: Any) -> None:
    """Score the images in RESULTS_DIR that have no score yet."""
    let_waiting_threads_sleep()
    config = config_from_flags(flags)
    settings, wishes = config.metrics, config.cluster
    if not wishes.is_wanted and score_on not in ("auto", "cpu"):
        resolve_device(score_on, "device")
    store = ResultStore(results_dir)
    generator = _generator_model(store.manifest())  # fails here, before anything is loaded, on any other folder
    with _scorers(wishes, names or default_metrics(settings), settings, generator, score_on) as (scorers, spread):
        for sentence in beyond_their_worlds(scorers, generator):
            click.echo(f"Warning: {sentence}", err=True)
        with store.lock(command="score.py"):
            try:
                result = _score(store, scorers, spread)
            finally:  # an interruption leaves whole batches of scores behind
                store.write_summary()
    _say(result)
    _renew_report(store)
    sys.exit(1 if result.unreadable else 0)


@contextmanager
def _scorers(
    wishes: ClusterSettings, names: Sequence[str], settings: MetricSettings, generator: str, device: str
) -> Iterator[tuple[list[Scorer], Spread]]:
    """Load the scorers, in this process or on workers, and say how batches get to them."""
    if not wishes.is_wanted:
        yield load_configured_scorers(names, settings, generator, device=device), one_by_one
        return
    from experiments.cluster.workers_model import scorers_on_workers

    def tell(sentence: str) -> None:
        click.echo(sentence, err=True)

    with scorers_on_workers(wishes, names, settings, generator, device, tell) as found:
        yield found


def _generator_model(manifest: Manifest) -> str:
    """Return the model that made the images, as it was configured."""
    return str(manifest.raw.get("model_path", "mini"))


def _score(store: ResultStore, scorers: Sequence[Scorer], spread: Spread) -> ScoringResult:
    """Score with a progress bar, which click leaves out where the output is not a terminal."""
    with click.progressbar(length=1, label="Scoring", file=sys.stderr) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        return score_results(store, scorers, on_progress, spread)


def _say(result: ScoringResult) -> None:
    for sentence in result.sentences():
        click.echo(sentence)
    for problem in result.unreadable:
        click.echo(f"Not scored: {problem}", err=True)


def _renew_report(store: ResultStore) -> None:
    """Write the report again where there is one, since it shows scores."""
    if not (store.folder / "report.html").exists():
        return
    from experiments.reporting.report_page import write_report

    click.echo(f"Report: {write_report(store.folder, by='score.py')}")


if __name__ == "__main__":
    main()
