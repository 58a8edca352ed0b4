"""Run an experiment: `uv run experiments/run_ablation.py --experiment shift_sweep --prompt-category animals`.

Does only what is missing in the results folder. See docs/experiments.md.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.planning.command_flags import Request, request_from_flags
from experiments.planning.design import DEFAULT_SEED, Plan
from experiments.planning.experiment_file import PREDEFINED_EXPERIMENTS, PROMPT_SETS, load_experiments
from experiments.prompts import read_prompts
from experiments.running.console import print_experiments, print_plan, print_prompts, progress_display
from llm_dit.cli import parameter_options, user_errors
from llm_dit.errors import OutputError
from llm_dit.parameters import EngineSettings, GenerationParams, MetricSettings

if TYPE_CHECKING:
    from experiments.metrics import Scorer
    from experiments.running.execution import Outcome
    from experiments.running.worklist import Worklist
    from experiments.store.result_store import ResultStore
    from llm_dit.pipeline import ZImagePipeline

DEFAULT_OUTPUT = Path("experiments/results")
INTERRUPTED_EXIT_CODE = 130
FAILURES_SHOWN = 5


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--experiment", metavar="NAME", help="Experiment to run; --list-experiments shows them.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="PARAMETER=VALUES",
    help="An axis of your own: shift=1..6, num_inference_steps=6,9,12, or a list in brackets; several are crossed.",
)
@click.option(
    "--name", metavar="NAME", help="Name of the experiment's folder and files; for --sweep, or for a variant."
)
@click.option("--experiments-file", type=click.Path(path_type=Path), metavar="FILE", help="Experiments of your own.")
@click.option(
    "--prompts-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Prompts of your own: YAML, or a .txt file with a prompt a line.",
)
@click.option("--prompt-category", "categories", metavar="NAME[,NAME]", help="Prompts of these categories.")
@click.option("--prompt-ids", "ids", metavar="ID[,ID]", help="These prompts.")
@click.option(
    "--max-prompts",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many prompts, taken in turn from each category.",
)
@click.option("--seeds", metavar="N[,N]", help=f"Seeds, such as 42,123 or 0..9. [default: {DEFAULT_SEED}]")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="Folder of all results; the experiment gets a folder of its own in it.",
)
@click.option("--compute-metrics", is_flag=True, help="Score the images afterwards.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Score by this metric only; may be repeated.")
@click.option("--overwrite", is_flag=True, help="Make results again that were made with other inputs.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.option("--list-experiments", is_flag=True, help="Print the experiments.")
@click.option("--list-prompts", is_flag=True, help="Print the prompts.")
@parameter_options(EngineSettings, GenerationParams, MetricSettings)
@user_errors
def main(**flags: Any) -> None:
    """Run an experiment: its levels x prompts x seeds, and only what is missing of them.

    Flags of parameters hold them fixed in all runs.
    """
    metric_names = flags.pop("metrics")
    wants_metrics = flags.pop("compute_metrics") or bool(metric_names)
    overwrite, is_dry = flags.pop("overwrite"), flags.pop("dry_run")
    if _listed(flags):
        return
    request = request_from_flags(flags)
    plan = request.plan()
    if is_dry:
        _print_dry_run(request, plan)
        return
    sys.exit(_run(request, plan, overwrite=overwrite, metrics=metric_names if wants_metrics else None))


def _listed(flags: dict[str, Any]) -> bool:
    """Print a list if one is asked for."""
    wants_experiments, wants_prompts = flags.pop("list_experiments"), flags.pop("list_prompts")
    if wants_experiments:
        print_experiments(load_experiments(flags["experiments_file"] or PREDEFINED_EXPERIMENTS))
    if wants_prompts:
        files = [flags["prompts_file"]] if flags["prompts_file"] else list(PROMPT_SETS.values())
        print_prompts(prompt for file in files for prompt in read_prompts(file))
    return bool(wants_experiments or wants_prompts)


def _print_dry_run(request: Request, plan: Plan) -> None:
    from experiments.planning.equality import equal_levels
    from experiments.planning.model_facts import read_model_facts
    from experiments.running.forecast import forecast
    from experiments.store.result_store import ResultStore

    settings = request.config.engine
    facts = read_model_facts(settings.model_path)
    print_plan(plan, forecast(plan, facts, settings, ResultStore(request.folder)), str(request.folder))
    for found in equal_levels(plan, facts.count_tokens):
        click.echo(f"Warning: {found.sentence()}")


def _run(request: Request, plan: Plan, *, overwrite: bool, metrics: Sequence[str] | None) -> int:
    """Make what is missing, score it, report it, and return the exit code."""
    from experiments.planning.equality import equal_levels
    from experiments.planning.model_facts import read_model_facts
    from experiments.store.result_store import ResultStore
    from llm_dit.checkpoints.finding import find_checkpoint

    settings = request.config.engine
    find_checkpoint(settings.model_path)  # fetches a hub model, or fails before torch is imported
    for found in equal_levels(plan, read_model_facts(settings.model_path).count_tokens):
        click.echo(f"Warning: {found.sentence()}", err=True)
    store = ResultStore(request.folder)
    store.create()
    with store.lock(command=_command()):
        pass  # whether the folder is in use or can't be written is known before the model is loaded
    scorers = [] if metrics is None else _load_scorers(request, metrics)
    with _stop_on_interrupt() as should_stop:
        outcome = _make_images(request, plan, store, should_stop, overwrite=overwrite)
        problems = [outcome.summary_error] if outcome.summary_error else []
        if not should_stop():
            problems += _score(store, scorers, settings.dit_device, should_stop) if scorers else []
            problems += _report(store)
        return _say_end(outcome, store, problems, is_stopped=should_stop())


def _make_images(
    request: Request, plan: Plan, store: ResultStore, should_stop: Callable[[], bool], *, overwrite: bool
) -> Outcome:
    """Load the model, make what is missing, and let the model go, so that scorers find the device free."""
    from experiments.running.execution import run_plan

    pipeline = _load_pipeline(request, plan, store)
    with progress_display() as show:
        return run_plan(
            plan,
            pipeline,
            store,
            overwrite=overwrite,
            on_start=_say_start,
            on_progress=show,
            should_stop=should_stop,
            about=_about(request, pipeline),
        )


def _load_pipeline(request: Request, plan: Plan, store: ResultStore) -> ZImagePipeline:
    """Load the model with the numerics that the folder's images were made with, where the settings leave a choice."""
    from llm_dit.pipeline import ZImagePipeline

    settings = request.config.engine
    if settings.compile == "auto" and store.is_results(store.folder):
        chosen = store.manifest().conditions.numerics.get("compile", "auto")
        settings = settings.replaced(compile=chosen)
    evaluations = sum(template.num_inference_steps for template in plan.templates) * len(plan.prompts) * len(plan.seeds)
    click.echo(f"Loading {settings.model_path} ...", err=True)
    return ZImagePipeline.from_pretrained(settings=settings, planned_evaluations=evaluations)


def _about(request: Request, pipeline: ZImagePipeline) -> dict[str, Any]:
    """Return what the manifest says beside the experiment."""
    from llm_dit.pipeline import versions

    config = request.config
    return {
        "command": _command(),
        "model_path": config.engine.model_path,
        "config": {
            "file": None if config.path is None else str(config.path),
            "profile": config.profile,
            "engine": config.engine.model_dump(),
            "generation": config.generation_values,
            "metrics": config.metrics.model_dump(),
        },
        "versions": versions(),
        "device": str(pipeline.device),
    }


def _command() -> str:
    return shlex.join(["run_ablation.py", *sys.argv[1:]])


def _load_scorers(request: Request, names: Sequence[str]) -> list[Scorer]:
    """Load the scorers before any image is made, so that a missing one is known at once."""
    from experiments.metrics import METRICS, load_configured_scorers

    chosen = names or [metric.name for metric in METRICS]
    engine = request.config.engine
    return load_configured_scorers(chosen, request.config.metrics, engine.model_path, device="cpu")


def _score(store: ResultStore, scorers: Sequence[Scorer], device: str, should_stop: Callable[[], bool]) -> list[str]:
    """Score what has no score yet, with the device to the scorers alone; return what went wrong."""
    from experiments.metrics.missing_scores import score_results
    from experiments.running.execution import free_device_memory

    free_device_memory()
    for scorer in scorers:
        scorer.move_to(device)

    def on_progress(_done: int, _total: int) -> None:
        if should_stop():
            raise KeyboardInterrupt

    with store.lock(command="run_ablation.py --compute-metrics"):
        try:
            result = score_results(store, scorers, on_progress)
        except KeyboardInterrupt:  # between two batches; what is scored is written
            return []
        finally:
            store.write_summary()
    for name, count in result.scored.items():
        click.echo(f"{name}: {count} images scored, {result.present[name]} had their score already.", err=True)
    return [f"Not scored: {problem}" for problem in result.unreadable]


def _report(store: ResultStore) -> list[str]:
    """Write report.html; return what went wrong."""
    from experiments.reporting.report_page import write_report

    try:
        click.echo(f"Report: {write_report(store.folder)}")
    except OutputError as error:
        return [f"The report could not be written: {error}"]
    return []


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a wish to stop after the current image; a second one stops at once."""
    wishes: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if wishes:
            raise KeyboardInterrupt
        wishes.append(number)
        click.echo("Stopping after the current image; once more to stop at once.", err=True)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(wishes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_start(work: Worklist) -> None:
    from experiments.running.worklist import named_runs

    click.echo(f"{len(work.to_do)} runs to do, {work.finished} finished before.", err=True)
    if work.stale:
        click.echo(
            f"{len(work.stale)} results are stale, made with other inputs, and stay as they are: "
            f"{named_runs(work.stale)}.",
            err=True,
        )


def _say_end(outcome: Outcome, store: ResultStore, problems: Sequence[str], *, is_stopped: bool) -> int:
    """Print what came of it, the most important last, and return the exit code."""
    shared = f" ({outcome.shared_evaluations} evaluations shared)" if outcome.shared_evaluations else ""
    click.echo(f"{outcome.made} images made in {outcome.seconds:.1f} s{shared}, {outcome.skipped} finished before.")
    click.echo(store.folder)
    for problem in problems:
        click.echo(problem, err=True)
    if outcome.stale:
        click.echo(f"{len(outcome.stale)} stale results were left alone; --overwrite makes them again.", err=True)
    for run_id, error in outcome.failed[:FAILURES_SHOWN]:
        click.echo(f"Failed: {run_id}: {error}", err=True)
    if outcome.failed:
        total = outcome.made + len(outcome.failed)
        click.echo(
            f"{len(outcome.failed)} of {total} runs failed (all reasons in {store.failed}); run the same command again "
            "to retry them.",
            err=True,
        )
    if is_stopped:
        click.echo(f"Stopped with {outcome.remaining} runs to do; run the same command again to go on.", err=True)
        return INTERRUPTED_EXIT_CODE
    return 1 if outcome.failed or outcome.stale or problems else 0


if __name__ == "__main__":
    main()
