"""One experiment from its request to its report: the model, the images, the scores, and what could not be done.

The command and the page both run this; they differ in where the model comes from and in whom they tell. It prints
nothing and parses nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from experiments.planning.command_flags import Request
from experiments.planning.design import Plan
from experiments.running.dry_run import check_choices, plan_warnings
from experiments.running.look_runs import make_decider, planned_looks, scores_of, verdict_of
from experiments.running.plan_models import facts_of, judged_model, plan_of, work_of_each
from experiments.running.worklist import check_levels
from experiments.store.folder_state import folder_state
from experiments.store.result_store import ResultStore
from llm_dit.collector import collector_paused
from llm_dit.errors import LlmDitError, OutputError
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork

if TYPE_CHECKING:
    from experiments.metrics import Scorer
    from experiments.metrics.missing_scores import ScoringResult, Spread
    from experiments.planning.looks import LookPlan
    from experiments.running.deciding import Decider
    from experiments.running.execution import Hands, Outcome, Progress
    from experiments.running.worklist import Worklist
    from experiments.store.look_log import LookLog


Judges = Callable[[Sequence[str], str, str], "AbstractContextManager[tuple[list[Scorer], Spread]]"]
"""Names of metrics, the model that made the pictures, and a device to loaded scorers and to who scores with them."""


class Model(Protocol):
    """Where the hands come from that draw."""

    def get(
        self,
        settings_in_turn: Sequence[EngineSettings],
        planned: PlannedWork,
        on_load: Callable[[EngineSettings], None],
    ) -> Hands:
        """Return them; this process's own load nothing before they draw.

        Args:
            settings_in_turn: Of the engine, each once, in the order in which they are loaded.
            planned: The work under each setting of the engine.
            on_load: Called before each loading.
        """

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

    def on_start(self, work: Worklist) -> None:
        """With what is left to do, before anything is loaded."""

    def on_load(self, settings: EngineSettings, arm: str) -> None:
        """Before each loading of a model, with the levels that it is loaded for; empty where none sets the engine."""

    def on_progress(self, progress: Progress) -> None:
        """After each image."""

    def on_measuring(self, level: str) -> None:
        """Before the speed of each level, or of several that share a model, is measured."""

    def on_scoring(self, done: int, total: int) -> None:
        """After each batch of scores."""

    def on_look(self, log: LookLog) -> None:
        """After each planned look, and when the last command's end is known."""


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
        overall: The sentence over all measures; empty where there is none.
        speeds: What was measured of the levels' speed, in sentences; empty where nothing was.
    """

    outcome: Outcome
    scoring: ScoringResult | None
    report: Path | None
    problems: tuple[str, ...]
    is_stopped: bool
    looks: LookLog | None = None
    verdict: tuple[str, ...] = ()
    speeds: tuple[str, ...] = ()
    overall: str = ""


def run_experiment(
    request: Request,
    model: Model,
    *,
    command: str,
    metrics: Sequence[str] | None = None,
    overwrite: bool = False,
    verify: bool = False,
    speed_repeats: int = 0,
    judges: Judges | None = None,
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
        speed_repeats: Measure the speed of each level by so many pictures drawn alone, after all are made; 0 does not.
        judges: Loads the scorers elsewhere once all images are made; None scores in this process. Looks are scored by
            what draws, where it can.
        events: Whom to tell.
        should_stop: Asked before each image and after each batch of scores; what is done stays.

    Raises:
        LlmDitError: If the request is wrong, the folder is in use or can't be written, or model or scorers can't be
            loaded; no image is made then.
    """
    store = ResultStore(request.folder)
    going = _Going(request, store, command, events or Events(), should_stop)
    model.check(request.config.engine)
    plan, hands, looks = _prepared(going, model)
    scorers = [] if metrics is None else _load_scorers(request, plan, metrics, going.events)
    outcome, log, problems = _draw(going, plan, hands, looks, scorers, overwrite=overwrite, verify=verify)
    del hands  # and with them the model
    if should_stop():
        return Result(outcome, None, None, tuple(problems), is_stopped=True, looks=log, verdict=verdict_of(store, log))
    speeds: list[str] = []
    if speed_repeats:
        model.release()
        speeds, found_problems = _measure(going, speed_repeats)
        problems += found_problems
    scoring = None
    if scorers and not should_stop():
        model.release()
        scoring, found_problems = _score(going, plan, scorers, judges)
        problems += found_problems
    has_changed = bool(outcome.made or outcome.failed or outcome.stale or scoring or problems)
    report, overall, found_problems = _report(store, has_changed=has_changed)
    told_once = tuple(dict.fromkeys(problems + found_problems))
    told = verdict_of(store, log)
    return Result(outcome, scoring, report, told_once, should_stop(), log, told, tuple(speeds), overall)


@dataclass(frozen=True)
class _Going:
    """What every part of a run needs to know; see `run_experiment`."""

    request: Request
    store: ResultStore
    command: str
    events: Events
    should_stop: Callable[[], bool]


def _prepared(going: _Going, model: Model) -> tuple[Plan, Hands, LookPlan | None]:
    """Find out what can be wrong before a model is loaded; return what is drawn, by whom, and when it is looked at."""
    from llm_dit.checkpoints.model_parts import find_parts

    request, store, events = going.request, going.store, going.events
    plan = plan_of(request, store)
    for settings in plan.loading_order:
        find_parts(settings)  # fetches a hub model, or fails before torch is imported
    facts = facts_of(plan)
    check_levels(plan, lambda settings: facts[settings].checked)
    looks = planned_looks(request, plan, store)
    if store.metadata.is_dir():
        with store.lock(command=going.command):
            pass  # another command that holds it may hold the devices too: told before they are waited for

    def on_load(settings: EngineSettings) -> None:
        events.on_load(settings, plan.arm(settings))

    hands = model.get(plan.loading_order, work_of_each(plan, facts), on_load)
    for sentence in plan_warnings(plan, facts, hands.known):
        events.on_warning(sentence)
    check_choices(request, store)
    store.create()
    with store.lock(command=going.command):
        pass  # whether the folder is in use or can't be written is known before the model is loaded
    return plan, hands, looks


def _draw(
    going: _Going,
    plan: Plan,
    hands: Hands,
    looks: LookPlan | None,
    scorers: Sequence[Scorer],
    *,
    overwrite: bool,
    verify: bool,
) -> tuple[Outcome, LookLog | None, list[str]]:
    """Make what is missing, and look where looks are planned; return what came of it, and what went wrong."""
    from experiments.running.execution import run_plan

    request, store, events, should_stop = going.request, going.store, going.events, going.should_stop
    decider = make_decider(
        request, plan, looks, store, scorers, should_stop, events.on_scoring, events.on_look, hands.lend
    )
    outcome = run_plan(
        plan,
        hands,
        store,
        overwrite=overwrite,
        verify=verify,
        on_start=events.on_start,
        on_progress=events.on_progress,
        should_stop=should_stop if decider is None else _or_out_of_time(should_stop, decider),
        about=_about(request, plan, going.command),
        decider=decider,
    )
    problems = [outcome.summary_error] if outcome.summary_error else []
    return (outcome, None, problems) if decider is None else (outcome, decider.log, problems + decider.problems)


def _or_out_of_time(should_stop: Callable[[], bool], decider: Decider) -> Callable[[], bool]:
    return lambda: should_stop() or decider.is_out_of_time


class _Stopped(Exception):
    """Leaves the measurement between two models."""


def _measure(going: _Going, repeats: int) -> tuple[list[str], list[str]]:
    """Measure the speed of each level on a device that is free; return what was found, and why it could not be done."""
    from experiments.running.making import free_device_memory
    from experiments.running.speed import measure_folder
    from experiments.stats.speed_sentences import speed_sentences

    gc.collect()
    free_device_memory()

    def on_level(level: str) -> None:
        if going.should_stop():
            raise _Stopped
        going.events.on_measuring(level)

    try:
        speeds = measure_folder(going.store, repeats=repeats, command=going.command, on_level=on_level)
    except _Stopped:
        return [], []
    except LlmDitError as error:
        return [], [f"The speed could not be measured: {error}"]
    manifest = going.store.manifest()
    return speed_sentences(speeds, manifest.variable_name, manifest.baseline_name), []


def _about(request: Request, plan: Plan, command: str) -> dict[str, Any]:
    """Return what the manifest says beside the experiment."""
    from experiments.store.manifest_json import margin_values, primary_values

    config = request.config
    return {
        "command": command,
        "model_path": plan.engine.model_path,
        "config": {
            "file": None if config.path is None else str(config.path),
            "profile": config.profile,
            "engine": plan.engine.model_dump(),
            "generation": config.generation_values,
            "metrics": config.metrics.model_dump(),
            "cluster": config.cluster.model_dump(),
        },
        **({"primary": primary_values(request.primary)} if request.primary else {}),
        **({"margins": {name: margin_values(x) for name, x in request.margins.items()}} if request.margins else {}),
    }


def _load_scorers(request: Request, plan: Plan, names: Sequence[str], events: Events) -> list[Scorer]:
    """Load the scorers before any image is made, so that a missing one is known at once; the CPU holds them."""
    from experiments.metrics import default_metrics, load_configured_scorers
    from experiments.metrics.embedded_world import beyond_the_model
    from experiments.metrics.judges import beyond_their_worlds

    chosen, generator = names or default_metrics(request.config.metrics), judged_model(plan)
    scorers = load_configured_scorers(chosen, request.config.metrics, generator, device="cpu")
    asked = beyond_the_model((prompt.text for prompt in plan.prompts), generator)
    for sentence in (*beyond_their_worlds(scorers, generator), *([asked] if asked else [])):
        events.on_warning(sentence)
    return scorers


@contextmanager
def _own(scorers: list[Scorer], device: str) -> Iterator[tuple[list[Scorer], Spread]]:
    """Give the device to this process's scorers alone."""
    from experiments.metrics.missing_scores import one_by_one
    from experiments.running.making import free_device_memory

    gc.collect()  # the traceback of a run that failed may hold what the run used
    free_device_memory()
    for scorer in scorers:
        scorer.move_to(device)
    yield scorers, one_by_one


def _score(
    going: _Going, plan: Plan, scorers: list[Scorer], judges: Judges | None
) -> tuple[ScoringResult | None, list[str]]:
    """Score what has no score yet, here or by others' judges; return what went wrong beside it."""
    store, device = going.store, plan.engine.dit_device
    names = [scorer.metric.name for scorer in scorers]
    place = _own(scorers, device) if judges is None else judges(names, judged_model(plan), device)
    try:
        with place as (loaded, spread), store.lock(command=going.command):
            result, problems = scores_of(store, loaded, going.events.on_scoring, going.should_stop, spread)
            return result, problems + _summary_problems(store)
    except LlmDitError as error:  # the folder takes nothing more, or no worker has the scorers
        return None, [f"The images could not be scored: {error}"]


def _summary_problems(store: ResultStore) -> list[str]:
    try:
        store.write_summary()
    except OutputError as error:
        return [str(error)]
    return []


@collector_paused()
def _report(store: ResultStore, *, has_changed: bool) -> tuple[Path | None, str, list[str]]:
    """Write the report, unless the one that lies there was made from the same; return its sentence over all measures.

    What went wrong comes last.
    """
    from experiments.reporting.report_page import REPORT_FILE, is_report_of, overall_of, write_report

    problems: list[str] = []
    path = store.folder / REPORT_FILE
    if has_changed or not is_report_of(path, folder_state(store.folder)):
        try:
            write_report(store.folder, by="run_ablation.py", tell=problems.append, store=store)
        except OutputError as error:
            return None, "", [f"The report could not be written: {error}"]
    return path, overall_of(path), problems
