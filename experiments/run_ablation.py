"""Run an experiment: `uv run experiments/run_ablation.py --experiment shift_sweep --prompt-category animals`.

Does only what is missing in the results folder. See docs/experiments.md.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from experiments.answer_options import track_option
from experiments.planning.command_flags import PARAMETER_GROUPS, Request, question_options, request_from_flags
from experiments.planning.design_size import WishedSizes, wished_sizes
from experiments.planning.experiment_file import PREDEFINED_EXPERIMENTS, load_experiments
from experiments.prompts import PROMPT_SETS, read_prompt_list
from experiments.running.console import (
    ProgressDisplay,
    print_experiments,
    print_judges,
    print_plan,
    print_prompts,
    progress_display,
)
from experiments.running.dry_run import dry_run
from experiments.running.experiment_run import Events, Judges, Model, Result, run_experiment
from experiments.running.speed import REPEATS
from llm_dit.cli import Command, config_from_flags, parameter_options, user_errors
from llm_dit.commands import command_words
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork
from llm_dit.placement.waiting_threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from experiments.cluster.watching import WorkerState
    from experiments.running.execution import Progress
    from experiments.running.one_device import OneDevice
    from experiments.running.worklist import Worklist
    from experiments.store.look_log import LookLog

INTERRUPTED_EXIT_CODE = 130
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
FAILURES_SHOWN = 5
WORKERS_SHOWN = 16


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@question_options
@click.option("--compute-metrics", is_flag=True, help="Score the images afterwards.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Score by this metric only; may be repeated.")
@click.option("--overwrite", is_flag=True, help="Make results again that were made with other inputs.")
@click.option("--verify", is_flag=True, help="Compare every picture with its hash; make again what does not fit.")
@click.option(
    "--measure-speed",
    is_flag=True,
    help="Then measure each level's seconds, memory and loading, alone and warm, as measure_speed.py does.",
)
@track_option("Then tell a tracker of every level, as export.py does; one that is away costs a sentence.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.option(
    "--detect",
    type=float,
    metavar="D",
    help="With --dry-run: say how many prompts find a difference of D.",
)
@click.option(
    "--spread",
    "spreads",
    multiple=True,
    metavar="MEASURE=SD",
    help="With --dry-run: how far paired differences of a measure spread; from earlier results where not given.",
)
@click.option("--list-metrics", is_flag=True, help="Print the metrics, whether each can score here, and what it needs.")
@click.option("--list-experiments", is_flag=True, help="Print the experiments.")
@click.option("--list-prompts", is_flag=True, help="Print the prompts.")
@parameter_options(*PARAMETER_GROUPS)
@user_errors
def main(**flags: Any) -> None:
    """Run an experiment: its levels x prompts x seeds, and only what is missing of them.

    Flags of parameters hold them fixed in all runs.
    """
    let_waiting_threads_sleep()
    metric_names = flags.pop("metrics")
    wants_metrics = flags.pop("compute_metrics") or bool(metric_names)
    measures_speed = flags.pop("measure_speed")
    overwrite, verify, is_dry = flags.pop("overwrite"), flags.pop("verify"), flags.pop("dry_run")
    tracker = flags.pop("track")
    wished = wished_sizes(flags.pop("spreads"), flags.pop("detect"), is_dry=is_dry)
    if _listed(flags):
        return
    request = request_from_flags(flags)
    if request.told:
        click.echo(request.told, err=True)
    if is_dry:
        _print_dry_run(request, wished, overwrite=overwrite)
        return
    if measures_speed and request.config.cluster.is_wanted:
        raise LlmDitError(
            "--measure-speed measures this process's device, and the pictures are drawn by workers; leave it out, and "
            "run measure_speed.py on the folder afterwards.",
            field="measure_speed",
        )
    if tracker is not None:
        from experiments.exports.tracking import check_tracker

        check_tracker(tracker)  # known before anything is drawn
    try:
        with ExitStack() as opened:
            stop_wish = _StopWish()
            printed = _Printed(opened, stop_wish)
            result = run_experiment(
                request,
                _model_of(request, opened, printed),
                command=shlex.join(["run_ablation.py", *sys.argv[1:]]),
                metrics=metric_names if wants_metrics else None,
                overwrite=overwrite,
                verify=verify,
                speed_repeats=REPEATS if measures_speed else 0,
                judges=_judges_of(request, printed),
                events=printed,
                should_stop=stop_wish,
            )
    except KeyboardInterrupt:  # the second one, or the first before anything is drawn
        click.echo("Stopped at once; run the same command again to go on.", err=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
    code = _say_end(result, request)
    if tracker is not None and not result.is_stopped:
        _tell_tracker(request, tracker)
    sys.exit(code)


def _listed(flags: dict[str, Any]) -> bool:
    """Print a list if one is asked for."""
    wants_experiments, wants_prompts = flags.pop("list_experiments"), flags.pop("list_prompts")
    wants_metrics = flags.pop("list_metrics")
    if wants_experiments:
        print_experiments(load_experiments(flags["experiments_file"] or PREDEFINED_EXPERIMENTS))
    if wants_prompts:
        own_file = flags["prompts_file"]
        lists = [
            read_prompt_list(file, flags["wildcards"]) for file in ([own_file] if own_file else PROMPT_SETS.values())
        ]
        if own_file:
            click.echo(lists[0].told, err=True)
        print_prompts(prompt for found in lists for prompt in found.prompts)
    if wants_metrics:
        _print_metrics(flags)
    return bool(wants_experiments or wants_prompts or wants_metrics)


def _print_metrics(flags: Mapping[str, Any]) -> None:
    from experiments.metrics.judges import judges_for

    config = config_from_flags(dict(flags))
    print_judges(judges_for(config.metrics, config.engine.model_path))


def _print_dry_run(request: Request, wished: WishedSizes, *, overwrite: bool) -> None:
    found = dry_run(request, overwrite=overwrite, spreads=wished.spreads, detect=wished.detect)
    print_plan(found.plan, found.totals, str(request.folder))
    if found.looks is not None:
        click.echo(f"Looks after {', '.join(str(count) for count in found.looks.prompts)} prompts.")
    for sentence in found.expected:
        click.echo(sentence)
    for sentence in found.sizes:
        click.echo(sentence)
    if request.config.cluster.workers and found.totals.to_do:
        from experiments.cluster.spreading import spread
        from experiments.running.plan_models import facts_of

        totals, facts = found.totals, facts_of(found.plan)
        forecast = spread(found.plan, facts, totals.to_do, totals.seconds, request.config.cluster.workers)
        click.echo(forecast.sentence())
    for sentence in found.warnings:
        click.echo(f"Warning: {sentence}")


def _model_of(request: Request, opened: ExitStack, printed: _Printed) -> Model:
    """Return this process's own model, or workers in its place."""
    wishes = request.config.cluster
    if not wishes.is_wanted:
        return _OwnModel()
    from experiments.cluster.workers_model import WorkersModel

    return WorkersModel(wishes, opened, printed.say, watch=printed.on_workers)


def _judges_of(request: Request, printed: _Printed) -> Judges | None:
    """Return how workers get the scorers; None where this process scores."""
    wishes = request.config.cluster
    if not wishes.is_wanted:
        return None
    from experiments.cluster.workers_model import judges_on_workers

    return judges_on_workers(wishes, request.config.metrics, printed.say)


class _OwnModel:
    """This process's device with models loaded for this command."""

    def __init__(self) -> None:
        from experiments.running.models import OwnModels

        self._models = OwnModels()

    def get(
        self,
        _settings_in_turn: Sequence[EngineSettings],
        planned: PlannedWork,
        on_load: Callable[[EngineSettings], None],
    ) -> OneDevice:
        from experiments.running.one_device import OneDevice

        return OneDevice(self._models, planned, on_load=on_load)

    def check(self, settings: EngineSettings) -> None:
        from llm_dit.placement.devices import require_devices

        require_devices(settings)

    def release(self) -> None:
        """Let go of the model."""
        self._models.release()


class _StopWish:
    """Turns the first Ctrl-C (or SIGTERM, or a terminal that goes) into a wish to stop after the current image.

    A second one stops at once. What was ignored before, as SIGHUP under nohup, stays ignored.
    """

    def __init__(self) -> None:
        self._is_wished = False

    def __call__(self) -> bool:
        return self._is_wished

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals meanwhile."""
        wanted = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
        heard = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._is_wished:
            raise KeyboardInterrupt
        self._is_wished = True
        click.echo("Stopping after the current image; once more to stop at once.", err=True)


class _Printed(Events):
    """Tells the terminal; the bar and the reading of Ctrl-C end with `opened`."""

    def __init__(self, opened: ExitStack, stop_wish: _StopWish) -> None:
        self._opened = opened
        self._stop_wish = stop_wish
        self._display: ProgressDisplay | None = None

    def on_warning(self, sentence: str) -> None:
        click.echo(f"Warning: {sentence}", err=True)

    def on_start(self, work: Worklist) -> None:
        from experiments.running.worklist import named_runs

        self._opened.enter_context(self._stop_wish.listening())
        click.echo(f"{len(work.to_do)} runs to do, {work.finished} finished before.", err=True)
        for note in work.notes:
            click.echo(note, err=True)
        if work.stale:
            click.echo(
                f"{len(work.stale)} results are stale, made with other inputs, and stay as they are: "
                f"{named_runs(work.stale)}.",
                err=True,
            )

    def on_load(self, settings: EngineSettings, arm: str) -> None:
        self.say(f"Loading {settings.model_path}{f' ({arm})' if arm else ''} ...")

    def on_measuring(self, level: str) -> None:
        self.say(f"Measuring the speed of {level} ...")

    def say(self, sentence: str) -> None:
        """Say something, beside the bar where there is one."""
        if self._display is None:
            click.echo(sentence, err=True)
        else:
            self._display.say(sentence)

    def on_workers(self, states: Sequence[WorkerState]) -> None:
        """Show what workers do."""
        from experiments.cluster.watching import foremost

        shown, others = foremost(states, WORKERS_SHOWN)
        self._shown().show_workers([*(state.line() for state in shown), *([others] if others else [])])

    def on_look(self, log: LookLog) -> None:
        latest = log.latest
        if latest is None or log.end:
            return
        states = ", ".join(f"{name} {item.state}" for name, item in latest.levels.items())
        click.echo(f"Look {len(log.taken)} of {len(log.plan.prompts)}, {latest.prompts} prompts: {states}", err=True)

    def on_progress(self, progress: Progress) -> None:
        self._shown().show(progress)

    def _shown(self) -> ProgressDisplay:
        if self._display is None:
            self._display = self._opened.enter_context(progress_display())
        return self._display


def _say_end(result: Result, request: Request) -> int:
    """Print what came of it, the most important last, and return the exit code."""
    outcome, scoring = result.outcome, result.scoring
    if scoring is not None:
        for sentence in scoring.sentences():
            click.echo(sentence, err=True)
    if result.report is not None:
        click.echo(f"Report: {result.report}")
    shared = f" ({outcome.shared_evaluations} evaluations shared)" if outcome.shared_evaluations else ""
    click.echo(f"{outcome.made} images made in {outcome.seconds:.1f} s{shared}, {outcome.skipped} finished before.")
    click.echo(request.folder)
    for sentence in (*([result.overall] if result.overall else []), *result.verdict, *result.speeds):
        click.echo(sentence)
    for problem in result.problems:
        click.echo(problem, err=True)
    if outcome.stale:
        click.echo(f"{len(outcome.stale)} stale results were left alone; --overwrite makes them again.", err=True)
    for run_id, error in outcome.failed[:FAILURES_SHOWN]:
        click.echo(f"Failed: {run_id}: {error}", err=True)
    if outcome.failed:
        total = outcome.made + len(outcome.failed)
        click.echo(
            f"{len(outcome.failed)} of {total} runs failed (all reasons in {request.folder / 'failed'}); mend what "
            "they name, or run the same command again to retry them.",
            err=True,
        )
    if result.is_stopped:
        click.echo(f"Stopped with {outcome.remaining} runs to do; run the same command again to go on.", err=True)
        return INTERRUPTED_EXIT_CODE
    return 1 if outcome.failed or outcome.stale or result.problems else 0


def _tell_tracker(request: Request, tracker: str) -> None:
    """Tell a tracker of what lies in the folder; what comes of it changes neither the results nor the exit code."""
    from experiments.exports.exporting import tell_tracker

    try:
        click.echo(tell_tracker(request.folder, tracker))
    except LlmDitError as error:
        again = shlex.join([*command_words("export"), str(request.folder), "--track", tracker])
        click.echo(f"{error} The results lie in {request.folder} all the same; {again} tells it later.", err=True)


if __name__ == "__main__":
    main()
