"""What the lab prints: plan, lists, and progress, as a bar or, without a terminal or under CI, as plain lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from experiments.planning.design import Axis, Experiment, Plan
from experiments.prompts import Prompt

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress as RichProgress

    from experiments.metrics.judges import Judge
    from experiments.running.execution import Progress
    from experiments.running.forecast import Totals

LINE_INTERVAL_S = 5.0
"""Plain progress lines come at most this often."""
SHOWN_LEVELS = 8


def print_experiments(experiments: Mapping[str, Experiment]) -> None:
    """Print each experiment with its axes and its question."""
    for experiment in experiments.values():
        click.echo(experiment.name)
        if experiment.description:
            click.echo(f"    {experiment.description}")
        for axis in experiment.axes:
            baseline = experiment.baseline.get(axis.name)
            click.echo(f"    {axis.name}: {levels_text(axis)}" + (f"  (baseline {baseline})" if baseline else ""))
        if experiment.prompt_set != "standard":
            click.echo(f"    prompts: the {experiment.prompt_set} ones")


def print_prompts(prompts: Iterable[Prompt]) -> None:
    """Print each prompt's id, difficulty and beginning, under its category."""
    category = None
    for prompt in prompts:
        if prompt.category != category:
            category = prompt.category
            click.echo(category)
        text = " ".join(prompt.text.split())
        shown = text if len(text) <= 90 else text[:89] + "…"
        click.echo(f"    {prompt.id:<16} {prompt.difficulty:<7} {shown}")


def levels_text(axis: Axis) -> str:
    """Return an axis's levels on one line, those in quotes whose names hold a comma."""
    if axis.is_every_layer and not axis.levels:
        return "every layer of the model"
    names = [f'"{level.name}"' if "," in level.name else level.name for level in axis.levels]
    more = len(names) - SHOWN_LEVELS
    return ", ".join(names[:SHOWN_LEVELS]) + (f", … {more} more" if more > 0 else "")


def print_judges(judges: Sequence[Judge]) -> None:
    """Print each metric, whether it can score here, and what it needs where it can't."""
    for judge in judges:
        state = "ready" if judge.is_here else "to be fetched" if judge.can_score else "can't score here"
        click.echo(f"{judge.name:22} {state:17} {' '.join(filter(None, (judge.model, judge.needs)))}".rstrip())


def print_plan(plan: Plan, totals: Totals, folder: str) -> None:
    """Print the plan as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    experiment = plan.experiment
    table = Table(title=f"Plan of {experiment.name}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if "model_path" not in experiment.engine_parameters:
        table.add_row("model", escape(plan.engine.model_path))
    for axis in experiment.axes:
        baseline = experiment.baseline[axis.name]
        table.add_row(f"axis {axis.name}", escape(f"{levels_text(axis)}  (baseline {baseline})"))
    table.add_row("runs", f"{totals.runs:,}")
    table.add_row("levels", f"{totals.levels:,}")
    table.add_row("prompts", f"{totals.prompts:,}")
    table.add_row("seeds", f"{totals.seeds:,}")
    table.add_row("distinct encodings", f"{totals.encodings:,}")
    table.add_row("transformer evaluations", f"{totals.evaluations:,}")
    table.add_row("disk", f"about {bytes_text(totals.disk_bytes)}")
    table.add_row("loading", loading_text(totals))
    table.add_row("time", time_text(totals))
    if totals.memory:
        table.add_row("memory", totals.memory)
    table.add_row("on disk already", f"{totals.on_disk:,}")
    if totals.stale:
        table.add_row("stale", f"{totals.stale:,} (made with other inputs; --overwrite makes them again)")
    table.add_row("to do", f"{totals.to_do:,}")
    table.add_row("folder", escape(folder))
    Console(soft_wrap=False, width=None if sys.stdout.isatty() else 100).print(table)


def loading_text(totals: Totals) -> str:
    """Return what is loaded and how long that takes, for people."""
    loadings = totals.loadings
    if not loadings.counts:
        return loadings.sentence()
    return f"{loadings.sentence()}, about {duration_text(loadings.seconds)} ({loadings.basis})"


def time_text(totals: Totals) -> str:
    """Return how long all of it takes, for people."""
    return f"about {duration_text(totals.all_seconds)} (with loading; drawing {totals.seconds_basis})"


def bytes_text(count: float) -> str:
    """Return a size for people, such as `1.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError  # pragma: no cover - the last unit ends the loop


def duration_text(seconds: float) -> str:
    """Return a duration for people, such as `45 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60:,} h {minutes % 60} min"


class ProgressDisplay(Protocol):
    """Where progress is shown."""

    def show(self, progress: Progress) -> None:
        """Show where the runs stand."""

    def show_workers(self, lines: Sequence[str]) -> None:
        """Show what workers do, a line for each."""

    def say(self, sentence: str) -> None:
        """Say something beside it."""


@contextmanager
def progress_display() -> Iterator[ProgressDisplay]:
    """Show progress on stderr: a bar on a terminal, plain lines elsewhere and under CI."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        yield _PlainLines()
        return
    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[last]}"))
    console = Console(stderr=True)
    bar = Bar(*columns, console=console)
    with Live(bar, console=console) as live:
        yield _ShownBar(bar, live)


class _ShownBar:
    """One bar for all runs, and below it a line for each worker."""

    def __init__(self, bar: RichProgress, live: Live) -> None:
        self._bar = bar
        self._live = live
        self._task = bar.add_task("runs", total=None, rate="", last="")

    def show(self, progress: Progress) -> None:
        rate, last = _rate(progress), progress.run_id
        self._bar.update(self._task, total=progress.total, completed=progress.done, rate=rate, last=last)

    def show_workers(self, lines: Sequence[str]) -> None:
        from rich.console import Group
        from rich.text import Text

        self._live.update(Group(self._bar, *(Text(line, style="dim", no_wrap=True) for line in lines)))

    def say(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False)


class _PlainLines:
    def __init__(self) -> None:
        self._last = 0.0
        self._workers: Sequence[str] = ()

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.done == progress.total or now - self._last >= LINE_INTERVAL_S:
            self._last = now
            click.echo(f"{progress.done}/{progress.total} done, {_rate(progress)}", err=True)
            for line in self._workers:
                click.echo(f"    {line}", err=True)

    def show_workers(self, lines: Sequence[str]) -> None:
        self._workers = lines  # told with the progress

    def say(self, sentence: str) -> None:
        click.echo(sentence, err=True)


def _rate(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f", {duration_text(progress.seconds_left)} left"
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f"{progress.images_per_second:.2f} images/s{left}{failed}"
