"""Experiments as jobs of the queue: the lab's own runner, in this process, on the model that is loaded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.checkpoints.finding import model_name
from llm_dit.config import Config
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork
from web.jobs.experiment_workers import judges_of_job, may_share_device, workers_of_job
from web.jobs.job import Job, JobState
from web.jobs.lab_request import LabRequest
from web.jobs.loaded_model import EngineHandle
from web.jobs.plan_limits import check_typed_size
from web.jobs.plan_process import PlanProcess
from web.jobs.preview import Preview, command_of, make_preview, request_of
from web.jobs.queue import JobHandle, JobQueue
from web.jobs.remembered_requests import RememberedRequests
from web.jobs.results_folders import ExperimentCard, ResultsFolders, read_card

if TYPE_CHECKING:
    from experiments.planning.command_flags import Request
    from experiments.running.experiment_run import Model, Result
    from experiments.running.one_device import OneDevice
    from experiments.running.worklist import KnownModel

EXPERIMENT_KIND = "experiment"
PROBLEMS_SHOWN = 5
FEW_PROMPTS = 3


class Lab:
    """Reads results folders and runs experiments.

    Args:
        config: Values of file and flags.
        engine: The model.
        queue: Where experiments wait for the device.
        known: What is known of a model before it is loaded; by its files if None.

    Attributes:
        folders: The results on disk.
        planner: Where plans are made while one types.
    """

    def __init__(
        self,
        config: Config,
        engine: EngineHandle,
        queue: JobQueue,
        known: Callable[[EngineSettings], KnownModel] | None = None,
    ) -> None:
        self._config = config
        self._known = known or unloaded_model
        self._engine = engine
        self._queue = queue
        self.folders = ResultsFolders(Path(config.server.results_dir))
        self._requests = RememberedRequests(Path(config.server.data_dir) / "experiments")
        self._starting = threading.Lock()
        self.planner = PlanProcess()

    def experiments(self) -> list[ExperimentCard]:
        """Return every results folder, the latest first."""
        latest = {job.request["name"]: job for job in self._queue.changed_since(0) if job.kind == EXPERIMENT_KIND}
        jobs = {name: job for name, job in latest.items() if not job.state.is_final}
        problems = {name: job.error for name, job in latest.items() if job.state.is_final}
        cards = [
            read_card(
                self.folders,
                folder,
                jobs.pop(folder.name, None),
                problems.pop(folder.name, None),
                can_resume=self._requests.is_asked_for(folder.name),
            )
            for folder in self.folders.all()
        ]
        cards += [ExperimentCard(name, job.title, job=job) for name, job in jobs.items()]
        cards += [
            ExperimentCard(name, problem=problem, can_resume=self._requests.is_asked_for(name))
            for name, problem in problems.items()
            if problem
        ]
        known = {card.name for card in cards} | latest.keys()
        cards += [
            ExperimentCard(name, problem=problem, can_resume=True)
            for name, problem in self._requests.unfinished()
            if name not in known
        ]
        cards = [replace(card, faults=latest[card.name].faults) if card.name in latest else card for card in cards]
        return sorted(cards, key=lambda card: (card.job is not None, card.updated, card.name), reverse=True)

    def experiment(self, name: str) -> ExperimentCard | None:
        """Return one results folder."""
        return next((card for card in self.experiments() if card.name == name), None)

    def preview(self, asked: LabRequest) -> Preview:
        """Plan without doing anything.

        Raises:
            LlmDitError: For whatever is wrong with the request.
        """
        return make_preview(self._config, asked)

    async def preview_aside(self, asked: LabRequest) -> Preview:
        """Plan in a process of its own, which ends if the caller is cancelled.

        Raises:
            LlmDitError: For whatever is wrong with the request.
        """
        check_typed_size(asked.arguments)
        preview: Preview = await self.planner.call(make_preview, self._config, asked)
        return preview

    async def start_checked(self, asked: LabRequest) -> Job:
        """Plan, aside, and queue an experiment: what would refuse it refuses it before it waits for the device.

        Raises:
            LlmDitError: For whatever is wrong with the request, the model's limits and the folder included.
            QueueFull: If there is no room.
        """
        await self.preview_aside(asked)
        return await asyncio.to_thread(self.start, asked)

    def start(self, asked: LabRequest) -> Job:
        """Queue an experiment; one that has results already goes on where it stopped.

        Raises:
            LlmDitError: For whatever is wrong with the request.
            QueueFull: If there is no room.
        """
        request = request_of(self._config, asked)
        plan, command = request.plan(), command_of(request, asked)
        name = request.experiment.name
        job = Job(
            kind=EXPERIMENT_KIND,
            title=f"{name}: {plan.run_count} runs",
            work=lambda handle: self._run(handle, request, asked, command),
            request={"name": name, "command": command},
        )
        with self._starting:  # of two requests at the same time one is the first
            self._check_idle(name, "wait for it or cancel it")
            self._queue.submit([job])
            self._requests.remember(name, asked)  # what was refused is never resumed
        return job

    def resume(self, name: str) -> Job:
        """Start an experiment again with the request it was last started with from the page.

        Raises:
            LlmDitError: If it was not started from the page.
        """
        return self.start(self._requests.read(name))

    def delete(self, name: str) -> list[str] | None:
        """Delete an experiment: what the lab wrote in its folder, and what was asked for from the page.

        Returns:
            Files that stay, since the lab did not write them; None if there is no such experiment.

        Raises:
            LlmDitError: If it is running or waiting, or another process works in its folder.
        """
        from experiments.running.removal import remove_results

        with self._starting:
            self._check_idle(name, "cancel it first")
            folder = self.folders.results(name)
            left = [] if folder is None else remove_results(folder)
            was_asked_for = self._requests.forget(name)
            for job in self._queue.changed_since(0):
                if job.kind == EXPERIMENT_KIND and job.request["name"] == name:
                    self._queue.forget(job.id)
                    was_asked_for = True
        return left if folder is not None or was_asked_for else None

    def record_end(self, job: Job) -> None:
        """Write down how an experiment ended; one that the server's end interrupted stays asked for."""
        if job.kind != EXPERIMENT_KIND or job.state is JobState.INTERRUPTED:
            return
        with self._starting:  # after it was remembered
            self._requests.note_end(job.request["name"], job.state.value, job.error)

    def _check_idle(self, name: str, way_out: str) -> None:
        if any(job.kind == EXPERIMENT_KIND and job.request["name"] == name for job in self._queue.active()):
            raise LlmDitError(f"The experiment {name} is running or waiting; {way_out}.", field="experiment")

    def _run(self, handle: JobHandle, request: Request, asked: LabRequest, command: str) -> None:
        """Make what is missing, score it, write the report; on the worker's thread."""
        from experiments.running.experiment_run import Events, run_experiment

        class Shown(Events):
            def on_load(self, settings: EngineSettings, arm: str) -> None:
                handle.show_loading(arm or model_name(settings.model_path))

            def on_progress(self, progress: Any) -> None:
                handle.job.loading = ""  # told with the next step, as the rate is
                handle.show_rate(progress.images_per_second)
                handle.show(progress.done, progress.total, progress.seconds_left)

        with ExitStack() as resources:
            try:
                result = run_experiment(
                    request,
                    self._model_of(request, resources, handle),
                    command=command,
                    metrics=asked.metrics if asked.compute_metrics else None,
                    judges=judges_of_job(request.config, handle),
                    events=Shown(),
                    should_stop=lambda: handle.job.is_cancel_requested,
                )
            except LlmDitError:
                handle.check()  # what comes of a job's end is not its failure
                raise
        handle.check()
        _raise_problems(result)

    def _model_of(self, request: Request, resources: ExitStack, handle: JobHandle) -> Model:
        """Return the page's model, or workers in its place, which find the device free."""
        wishes = request.config.cluster
        if not wishes.is_wanted:
            return _PageModel(self._engine, self._known)
        if may_share_device(wishes):
            self._engine.release()
        return workers_of_job(wishes, resources, handle)


class _PageModel:
    """The page's model, lent to a run."""

    def __init__(self, engine: EngineHandle, known: Callable[[EngineSettings], KnownModel]) -> None:
        self._engine = engine
        self._known = known

    def get(
        self,
        _settings_in_turn: Sequence[EngineSettings],
        _planned: PlannedWork,
        on_load: Callable[[EngineSettings], None],
    ) -> OneDevice:
        """Return the page's device; where the settings and the folder leave a choice, the page's is made."""
        from experiments.running.one_device import OneDevice

        return OneDevice(_PageModels(self._engine, self._known), on_load=on_load)

    def check(self, settings: EngineSettings) -> None:
        """Refuse devices that are not there."""
        from llm_dit.placement.devices import require_devices

        require_devices(settings)

    def release(self) -> None:
        """Let go of the model; the next job loads it again."""
        self._engine.release()


class _PageModels:
    """See `experiments.running.models.Models`."""

    def __init__(self, engine: EngineHandle, known: Callable[[EngineSettings], KnownModel]) -> None:
        self._engine = engine
        self._known = known

    def known(self, settings: EngineSettings, _planned: PlannedWork) -> KnownModel:
        return self._known(settings)

    def get(self, settings: EngineSettings, _planned: PlannedWork) -> Any:
        return self._engine.get(settings)

    def release(self) -> None:
        self._engine.release()


def unloaded_model(settings: EngineSettings) -> KnownModel:
    """Return what is known of a model before it is loaded, as the page loads it."""
    from experiments.running.unloaded_model import UnloadedModel

    return UnloadedModel(settings)


def lab_choices(config: Config) -> dict[str, Any]:
    """Return what may be asked for: experiments, sets of prompts, categories, measures, judges with their weights.

    With the embedded model experiments suggest the prompts of its own world, all of them, so that a first one answers;
    with others a few prompts, since each costs.
    """
    from experiments.metrics import METRICS
    from experiments.metrics.embedded_world import OWN_SET
    from experiments.metrics.judges import judges_for
    from experiments.metrics.picture_model import is_embedded
    from experiments.planning.experiment_file import load_experiments
    from experiments.prompts import PROMPT_SETS, STANDARD_PROMPTS, read_prompts
    from experiments.stats.measures import VOTES

    in_own_world = is_embedded(config.engine.model_path)
    return {
        "experiments": [
            {
                "name": item.name,
                "description": item.description,
                "suggested_set": OWN_SET if in_own_world and PROMPT_SETS[item.prompt_set] == STANDARD_PROMPTS else "",
            }
            for item in load_experiments().values()
        ],
        "suggested_prompts": None if in_own_world else FEW_PROMPTS,
        "prompt_sets": list(PROMPT_SETS),
        "categories": list(
            dict.fromkeys(prompt.category for path in PROMPT_SETS.values() for prompt in read_prompts(path))
        ),
        "measures": [
            {"name": metric.name, "title": metric.title, "can_decide": metric.can_decide}
            for metric in (*METRICS, VOTES)
        ],
        "judges": [vars(judge) for judge in judges_for(config.metrics, config.engine.model_path)],
    }


def usual_judges(config: Config) -> list[str]:
    """Return the metrics that score where none is named."""
    from experiments.metrics import default_metrics

    return list(default_metrics(config.metrics))


def _raise_problems(result: Result) -> None:
    """End the job with what could not be done, in sentences."""
    outcome, sentences = result.outcome, []
    if outcome.failed:
        run_id, error = outcome.failed[0]
        sentences.append(f"{len(outcome.failed)} runs failed; the first, {run_id}: {error} Resume retries them.")
    if outcome.stale:
        sentences.append(
            f"{len(outcome.stale)} results were made with another model or other settings and were left alone; give "
            "the experiment another name."
        )
    if sentences or result.problems:
        raise LlmDitError(" ".join([*sentences, *result.problems[:PROBLEMS_SHOWN]]))
