"""Examine judges: `uv run experiments/metrics/examine.py [--metric NAME] [--pictures FOLDER]`.

Damages pictures in known ways and prints which damage each judge notices, ignores or prefers. What it finds is kept,
and reports of pictures scored by the same weights say it beside their verdicts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from experiments.examination.examining import Finding, examine
from experiments.examination.examples import EMBEDDED_MODEL, ExampleSet, draw_examples, examples_of_results
from experiments.examination.kept import examined_now, keep
from experiments.metrics import METRICS, Scorer, default_metrics, load_configured_scorers, metric_named
from experiments.store.result_store import ResultStore
from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.errors import LlmDitError
from llm_dit.parameters import MetricSettings
from llm_dit.placement.waiting_threads import let_waiting_threads_sleep

EXAMINABLE = tuple(metric.name for metric in METRICS if metric.can_decide)


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"Judge to examine; may be repeated; by default those that can score here, of {', '.join(EXAMINABLE)}.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Results folder whose baseline's pictures are damaged; by default the embedded model draws 96 prompts.",
)
@click.option(
    "--device", "score_on", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps. [default: auto]"
)
@parameter_options(MetricSettings)
@user_errors
def main(names: tuple[str, ...], pictures: Path | None, score_on: str, **flags: Any) -> None:
    """Print which damages each judge notices, ignores or prefers, and keep it for reports."""
    let_waiting_threads_sleep()
    settings = config_from_flags(flags).metrics
    chosen = [name for name in names or default_metrics(settings) if names or name in EXAMINABLE]
    for name in chosen:
        if not metric_named(name).can_decide:
            raise LlmDitError(f"{name} says nothing of better or worse; examine one of {', '.join(EXAMINABLE)}.")
    with tempfile.TemporaryDirectory(prefix="examples-") as folder:
        if pictures is None:
            scorers = load_configured_scorers(chosen, settings, EMBEDDED_MODEL, device=score_on)
            sets = draw_examples(Path(folder), _tell_drawn)
        else:
            store = ResultStore(pictures)
            sets = [examples_of_results(store.manifest(), store.runs())]
            scorers = load_configured_scorers(chosen, settings, sets[0].generator, device=score_on)
        for scorer in scorers:
            for examined in sets:
                _examine(scorer, examined)


def _examine(scorer: Scorer, examined: ExampleSet) -> None:
    findings = examine(scorer, examined, _tell_damage)
    click.echo(f"\n{scorer.metric.title} ({scorer.metric.model}) on {examined.name}, drawn by {examined.generator}")
    if not findings:
        click.echo("  Fewer than 6 of these prompts have a score by it: nothing can be said.")
        return
    _print(findings, scorer.metric.unit)
    seeds = len({item.seed for item in examined.examples})
    path = keep(scorer.metric, examined_now(examined.name, examined.generator, seeds, findings))
    click.echo(f"Kept in {path}")


def _print(findings: Sequence[Finding], unit: str) -> None:
    click.echo(f"  {'':21} {'':11} {'damaged - whole':>16}  {'95 % interval':19} {'p':>7}  n   ({unit})")
    for item in findings:
        mark = "" if item.is_right else "  should be ignored" if item.should == "ignore" else "  should be noticed"
        interval = f"{item.low:+.3f} to {item.high:+.3f}"
        click.echo(
            f"  {item.damage:21} {item.found:11} {item.difference:+16.3f}  {interval:19} {item.p_value:7.4f}  "
            f"{item.prompts}{mark}"
        )


def _tell_drawn(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        click.echo(f"\r{done} of {total} pictures drawn", err=True, nl=done == total)


def _tell_damage(name: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{name:24}", err=True, nl=False)


if __name__ == "__main__":
    main()
