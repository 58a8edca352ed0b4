"""One experiment from its request to its report: the model, the images, the scores, and what could not be done.

The command and the page both run this; they differ in where the model comes from and in whom they tell. It prints
nothing and parses nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from experiments.planning.command_flags import Request
from experiments.planning.design import Plan
from experiments.running.look_runs import expected_pictures, make_decider, planned_looks, scores_of, verdict_of
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError, OutputError
from llm_dit.parameters import EngineSettings
from llm_dit.parameters.effects import without_effect

if TYPE_CHECKING:
    from experiments.metrics import Scorer
    from experiments.metrics.missing_scores import ScoringResult
    from experiments.planning.looks import LookPlan
    from experiments.planning.model_facts import ModelFacts
    from experiments.running.deciding import Decider
    from experiments.running.execution import Hands, Outcome, Progress
    from experiments.running.forecast import Totals
    from experiments.running.worklist import Worklist
    from experiments.store.look_log import LookLog


class Model(Protocol):
    """Where the hands come from that draw."""

    def get(self, settings: EngineSettings, planned_evaluations: int) -> Hands:
        """Return them with the model for these settings loaded."""

    def check(self, settings: EngineSettings) -> None:
        """Refuse devices that are not there, before anything is read.

        Raises:
            LlmDitError: If one is missing.
        """

    def release(self) -> None:
        """Let go of the model, so that scorers find the device free."""


class Events:
    """Whom a run tells of its progress; this one tells nobody."""

    def on_warning(self, sentence: str) -> None:
        """Before anything is loaded, for each thing to know about the plan."""

    def on_load(self, settings: EngineSettings) -> None:
        """Before the model is loaded."""

    def on_start(self, work: Worklist) -> None:
        """With what is left to do."""

    def on_progress(self, progress: Progress) -> None:
        """After each image."""

    def on_scoring(self, done: int, total: int) -> None:
        """After each batch of scores."""

    def on_look(self, log: LookLog) -> None:
        """After each planned look, and when the last command's end is known."""


@dataclass(frozen=True)
class DryRun:
    """What a request would cost.

    Attributes:
        plan: Its runs.
        totals: Their number, time and disk.
        warnings: Sentences on results on disk, long prompts, levels that are secretly equal, and idle settings.
        sizes: Sentences on what the design can find.
        looks: When it would be looked at; None for a fixed design.
        expected: Sentences on the number of pictures that looks would take; empty for a fixed design.
    """

    plan: Plan
    totals: Totals
    warnings: tuple[str, ...]
    sizes: tuple[str, ...]
    looks: LookPlan | None = None
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
        outcome: Of the images.
        scoring: Of the scores; None if none were asked for, or it was stopped before its end.
        report: The report; None if it was not written.
        problems: One sentence for each thing that could not be summarised, scored or reported.
        is_stopped: True if it was asked to stop.
        looks: The planned looks; None for a fixed design.
        verdict: What they say, in sentences.
    """

    outcome: Outcome
    scoring: ScoringResult | None
    report: Path | None
    problems: tuple[str, ...]
    is_stopped: bool
    looks: LookLog | None = None
    verdict: tuple[str, ...] = ()


def dry_run(
    request: Request,
    *,
    overwrite: bool = False,
    spreads: Mapping[str, float] | None = None,
    detect: float | None = None,
) -> DryRun:
    """Plan without doing anything: the runs are sorted as `run_experiment` sorts them.

    Args:
        request: What is asked for.
        overwrite: Count stale runs as to do.
        spreads: Measure to the standard deviation of its paired differences, where somebody knows it.
        detect: A difference; the sizes say how many prompts find it.

    Raises:
        LlmDitError: For whatever is wrong with the request, or whatever would refuse it.
    """
    from experiments.planning.model_facts import read_model_facts
    from experiments.running.forecast import forecast

    plan, settings = request.plan(), request.config.engine
    store = ResultStore(request.folder)
    looks = planned_looks(request, plan, store)
    facts = read_model_facts(settings)
    if request.primary is not None:
        _check_primary(request.primary, store)
    work = _work_before_loading(plan, settings, facts, store, overwrite=overwrite)
    totals = forecast(plan, facts, settings, store, work)
    notes = () if work is None else work.notes
    sizes = _sizes(request, plan, spreads or {}, detect)
    expected = () if looks is None else expected_pictures(plan, looks)
    return DryRun(plan, totals, (*notes, *_warnings(plan, facts)), sizes, looks, tuple(expected))


def _sizes(request: Request, plan: Plan, given: Mapping[str, float], detect: float | None) -> tuple[str, ...]:
    """Say what a plan can find, by what somebody knows of the measures, else by earlier results of the model."""
    from experiments.metrics import METRICS
    from experiments.running.earlier_spread import earlier_spreads
    from experiments.stats.measures import check_measure
    from experiments.stats.sizes import Size, Spread, size_sentences

    for column in given:
        check_measure(column, "--spread", METRICS)
    wanted = [request.primary] if request.primary else [metric.name for metric in METRICS if not metric.fidelity]
    spreads = [Spread(column, deviation, None, "as --spread says") for column, deviation in given.items()]
    missing = [column for column in wanted if column not in given]
    if not given or request.primary in missing:
        spreads += earlier_spreads(request.folder, request.config.engine.model_path, missing, len(plan.seeds))
    if detect is not None and not spreads:
        raise LlmDitError(
            f"--detect {detect:g} needs to know how far differences spread, and {request.folder.parent} has no scored "
            "results of this model; add for example --spread image_reward=0.3.",
            field="detect",
        )
    return tuple(size_sentences(Size(len(plan.prompts), len(plan.cells) - 1), spreads, detect))


def _work_before_loading(
    plan: Plan, settings: EngineSettings, facts: ModelFacts, store: ResultStore, *, overwrite: bool
) -> Worklist | None:
    """Sort a plan by what is on disk; None where there is nothing, which needs no torch."""
    from experiments.running.unloaded_model import UnloadedModel
    from experiments.running.worklist import check_levels, make_worklist

    check_levels(plan, facts.checked)
    if not store.metadata.is_dir():
        return None
    model = UnloadedModel(settings_for(store, settings), facts, _planned_evaluations(plan, facts))
    return make_worklist(plan, model, store, overwrite=overwrite)


def _warnings(plan: Plan, facts: ModelFacts) -> Iterator[str]:
    """Yield a sentence for long prompts, for levels that are secretly equal, and for settings that do nothing."""
    from experiments.planning.equality import equal_levels
    from experiments.planning.prompt_lengths import length_warnings

    yield from length_warnings(plan, facts)
    for found in equal_levels(plan, facts):
        yield found.sentence()
    idle = [set(without_effect(facts.resolved(template))) for template in plan.templates]
    for item in sorted(set.intersection(*idle)):
        if item.field in plan.base:
            yield item.sentence()


def run_experiment(
    request: Request,
    model: Model,
    *,
    command: str,
    metrics: Sequence[str] | None = None,
    overwrite: bool = False,
    verify: bool = False,
    events: Events | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Make what is missing of an experiment, score it, and write its summary and report.

    Args:
        request: What is asked for.
        model: Used by this call alone meanwhile, and released before anything is scored.
        command: How to run the same in a terminal, for the manifest.
        metrics: Names of metrics to score by, all of them if empty; None scores nothing.
        overwrite: Make runs again whose file was made with other inputs.
        verify: Compare every picture with its hash, and make again what does not fit.
        events: Whom to tell.
        should_stop: Asked before each image and after each batch of scores; what is done stays.

    Raises:
        LlmDitError: If the request is wrong, the folder is in use or can't be written, or model or scorers can't be
            loaded; no image is made then.
    """
    from experiments.planning.model_facts import read_model_facts
    from experiments.running.worklist import check_levels
    from llm_dit.checkpoints.model_parts import find_parts

    events = events or Events()
    plan, settings = request.plan(), request.config.engine
    model.check(settings)
    find_parts(settings)  # fetches a hub model, or fails before torch is imported
    facts = read_model_facts(settings)
    check_levels(plan, facts.checked)
    store = ResultStore(request.folder)
    looks = planned_looks(request, plan, store)
    for sentence in _warnings(plan, facts):
        events.on_warning(sentence)
    if request.primary is not None:
        _check_primary(request.primary, store)
    store.create()
    with store.lock(command=command):
        pass  # whether the folder is in use or can't be written is known before the model is loaded
    scorers = [] if metrics is None else _load_scorers(request, metrics, events)
    decider = make_decider(request, plan, looks, store, scorers, should_stop, events.on_scoring, events.on_look)
    outcome = _make_images(
        request,
        plan,
        model,
        store,
        events,
        should_stop,
        decider,
        planned_evaluations=_planned_evaluations(plan, facts),
        command=command,
        overwrite=overwrite,
        verify=verify,
    )
    problems = [outcome.summary_error] if outcome.summary_error else []
    problems += [] if decider is None else decider.problems
    log = None if decider is None else decider.log
    if should_stop():
        return Result(outcome, None, None, tuple(problems), is_stopped=True, looks=log, verdict=verdict_of(store, log))
    scoring = None
    if scorers:
        model.release()
        scoring, found_problems = _score(store, scorers, settings.dit_device, events, should_stop, command)
        problems += found_problems
    report, found_problems = _report(store)
    told_once = tuple(dict.fromkeys(problems + found_problems))
    told = verdict_of(store, log)
    return Result(outcome, scoring, report, told_once, is_stopped=should_stop(), looks=log, verdict=told)


def _check_primary(measure: str, store: ResultStore) -> None:
    from experiments.metrics import METRICS
    from experiments.stats.measures import check_measure

    check_measure(measure, "--primary", METRICS)
    store.check_primary(measure)


def settings_for(store: ResultStore, settings: EngineSettings) -> EngineSettings:
    """Return the settings with the numerics of the folder's images, where the settings leave a choice."""
    manifest = store.whole_manifest() if settings.compile == "auto" else None
    if manifest is None:
        return settings
    return settings.replaced(compile=manifest.conditions.numerics.get("compile", "auto"))


def _make_images(
    request: Request,
    plan: Plan,
    model: Model,
    store: ResultStore,
    events: Events,
    should_stop: Callable[[], bool],
    decider: Decider | None,
    *,
    planned_evaluations: int,
    command: str,
    overwrite: bool,
    verify: bool,
) -> Outcome:
    """Take the model and make what is missing; nothing here holds the model afterwards."""
    from experiments.running.execution import run_plan

    settings = settings_for(store, request.config.engine)
    events.on_load(settings)
    hands = model.get(settings, planned_evaluations)
    return run_plan(
        plan,
        hands,
        store,
        overwrite=overwrite,
        verify=verify,
        on_start=events.on_start,
        on_progress=events.on_progress,
        should_stop=should_stop if decider is None else lambda: should_stop() or decider.is_out_of_time,
        about=_about(request, hands, command),
        decider=decider,
    )


def _planned_evaluations(plan: Plan, facts: ModelFacts) -> int:
    steps = (facts.resolved(template).num_inference_steps or 0 for template in plan.templates)
    return sum(steps) * len(plan.prompts) * len(plan.seeds)


def _about(request: Request, hands: Hands, command: str) -> dict[str, Any]:
    """Return what the manifest says beside the experiment."""
    from experiments.store.manifest import primary_values
    from llm_dit.pipeline import versions

    config = request.config
    return {
        "command": command,
        "model_path": config.engine.model_path,
        "config": {
            "file": None if config.path is None else str(config.path),
            "profile": config.profile,
            "engine": config.engine.model_dump(),
            "generation": config.generation_values,
            "metrics": config.metrics.model_dump(),
            "cluster": config.cluster.model_dump(),
        },
        "versions": versions(),
        "device": hands.device,
        **({"primary": primary_values(request.primary)} if request.primary else {}),
    }


def _load_scorers(request: Request, names: Sequence[str], events: Events) -> list[Scorer]:
    """Load the scorers before any image is made, so that a missing one is known at once; the CPU holds them."""
    from experiments.metrics import default_metrics, load_configured_scorers
    from experiments.metrics.judges import beyond_their_worlds

    chosen, generator = names or default_metrics(request.config.metrics), request.config.engine.model_path
    scorers = load_configured_scorers(chosen, request.config.metrics, generator, device="cpu")
    for sentence in beyond_their_worlds(scorers, generator):
        events.on_warning(sentence)
    return scorers


def _score(
    store: ResultStore,
    scorers: Sequence[Scorer],
    device: str,
    events: Events,
    should_stop: Callable[[], bool],
    command: str,
) -> tuple[ScoringResult | None, list[str]]:
    """Score what has no score yet, with the device to the scorers alone; return what went wrong beside it."""
    from experiments.running.making import free_device_memory

    gc.collect()  # the traceback of a run that failed may hold what the run used
    free_device_memory()
    for scorer in scorers:
        scorer.move_to(device)

    try:
        with store.lock(command=command):
            result, problems = scores_of(store, scorers, events.on_scoring, should_stop)
            return result, problems + _summary_problems(store)
    except OutputError as error:  # the folder takes nothing more
        return None, [f"The images could not be scored: {error}"]


def _summary_problems(store: ResultStore) -> list[str]:
    try:
        store.write_summary()
    except OutputError as error:
        return [str(error)]
    return []


def _report(store: ResultStore) -> tuple[Path | None, list[str]]:
    from experiments.reporting.report_page import write_report

    problems: list[str] = []
    try:
        return write_report(store.folder, by="run_ablation.py", tell=problems.append), problems
    except OutputError as error:
        return None, [f"The report could not be written: {error}"]
