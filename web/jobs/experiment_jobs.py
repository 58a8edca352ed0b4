"""The experiments under the results folder, and the lab's runner as a job of the queue.

A request is put together as a command line of `run_ablation.py` and read by that command's own parser, so that page and
terminal understand the same, and the page can show the command. It runs in this process, on the model that is loaded.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.config import Config
from llm_dit.errors import LlmDitError, OutputError
from llm_dit.parameters import GenerationParams
from web.jobs.loaded_model import EngineHandle
from web.jobs.queue import Job, JobHandle, JobQueue

if TYPE_CHECKING:
    from experiments.planning.command_flags import Request
    from experiments.running.execution import Outcome, Progress
    from experiments.running.forecast import Totals

EXPERIMENT_KIND = "experiment"
REPORT_FILE = "report.html"
LONGEST_PATH = 250
"""Of a file inside of a results folder; a file name that the system can't hold is an error there, not an answer."""
TEXT_OPTIONS = {
    "experiment": "--experiment",
    "name": "--name",
    "categories": "--prompt-category",
    "ids": "--prompt-ids",
    "max_prompts": "--max-prompts",
    "seeds": "--seeds",
}
"""Field of a request to the option of `run_ablation.py` that it fills."""
FIELDS = (*TEXT_OPTIONS, "sweeps", "compute_metrics")


@dataclass(frozen=True)
class LabRequest:
    """What the page asks of the lab.

    Attributes:
        arguments: Arguments of `run_ablation.py`, without the results folder.
        compute_metrics: Score the images afterwards.
    """

    arguments: tuple[str, ...]
    compute_metrics: bool

    @property
    def command(self) -> str:
        """The same in a terminal."""
        metrics = ["--compute-metrics"] if self.compute_metrics else []
        return shlex.join(["uv", "run", "experiments/run_ablation.py", *self.arguments, *metrics])


@dataclass(frozen=True)
class Preview:
    """A dry run.

    Attributes:
        name: The experiment's folder.
        totals: What it costs.
        warnings: Levels that are secretly equal.
        command: The same in a terminal.
    """

    name: str
    totals: Totals
    warnings: list[str]
    command: str


@dataclass(frozen=True)
class ExperimentCard:
    """One results folder.

    Attributes:
        name: Its name.
        description: What is asked.
        variable: What is varied.
        done: Finished runs.
        failed: Failed runs.
        planned: Runs of all levels, prompts and seeds.
        updated: ISO time of the manifest.
        job: The job that works on it or waits to; None if none of ours does.
        is_held: True if any process works in the folder.
        has_report: True if there is a report.
        can_resume: True if it was started from this page.
        problem: Why the folder can't be read, or why the last job on it failed.
        is_unreadable: True if the folder can't be read.
    """

    name: str
    description: str = ""
    variable: str = ""
    done: int = 0
    failed: int = 0
    planned: int = 0
    updated: str = ""
    job: Job | None = None
    is_held: bool = False
    has_report: bool = False
    can_resume: bool = False
    problem: str | None = None
    is_unreadable: bool = False


class Lab:
    """Reads results folders and runs experiments.

    Args:
        config: Values of file and flags.
        engine: The model.
        queue: Where experiments wait for the device.
    """

    def __init__(self, config: Config, engine: EngineHandle, queue: JobQueue) -> None:
        self._config = config
        self._engine = engine
        self._queue = queue
        self.results = Path(config.server.results_dir)
        self._requests = Path(config.server.data_dir) / "experiments"

    def experiments(self) -> list[ExperimentCard]:
        """Return every results folder, the latest first."""
        latest = {job.request["name"]: job for job in self._queue.changed_since(0) if job.kind == EXPERIMENT_KIND}
        jobs = {name: job for name, job in latest.items() if not job.state.is_final}
        problems = {name: job.error for name, job in latest.items() if job.state.is_final}
        cards = [
            self._card(folder, jobs.pop(folder.name, None), problems.pop(folder.name, None))
            for folder in (self.results.iterdir() if self.results.is_dir() else ())
            if _holds(folder)
        ]
        cards += [ExperimentCard(name, job.title, job=job) for name, job in jobs.items()]
        cards += [ExperimentCard(name, problem=problem) for name, problem in problems.items() if problem]
        return sorted(cards, key=lambda card: (card.job is not None, card.updated, card.name), reverse=True)

    def experiment(self, name: str) -> ExperimentCard | None:
        """Return one results folder."""
        return next((card for card in self.experiments() if card.name == name), None)

    def preview(self, asked: LabRequest) -> Preview:
        """Plan without doing anything.

        Raises:
            LlmDitError: For whatever is wrong with the request.
        """
        from experiments.planning.equality import equal_levels
        from experiments.planning.model_facts import read_model_facts
        from experiments.running.forecast import forecast
        from experiments.store.result_store import ResultStore

        request = self._request(asked)
        plan, settings = request.plan(), self._config.engine
        facts = read_model_facts(settings.model_path)
        totals = forecast(plan, facts, settings, ResultStore(request.folder))
        warnings = [found.sentence() for found in equal_levels(plan, facts.count_tokens)]
        return Preview(request.experiment.name, totals, warnings, asked.command)

    def start(self, asked: LabRequest) -> Job:
        """Queue an experiment; one that has results already goes on where it stopped.

        Raises:
            LlmDitError: For whatever is wrong with the request.
            QueueFull: If there is no room.
        """
        request = self._request(asked)
        plan = request.plan()
        name = request.experiment.name
        if any(job.kind == EXPERIMENT_KIND and job.request["name"] == name for job in self._queue.active()):
            raise LlmDitError(f"The experiment {name} is running or waiting already.", field="experiment")
        job = Job(
            kind=EXPERIMENT_KIND,
            title=f"{name}: {plan.run_count} runs",
            work=lambda handle: self._run(handle, request, asked),
            request={"name": name, "command": asked.command},
        )
        self._remember(name, asked)
        self._queue.submit([job])
        return job

    def resume(self, name: str) -> Job:
        """Start an experiment again with the request it was last started with from the page.

        Raises:
            LlmDitError: If it was not started from the page.
        """
        path = self._requests / f"{name}.json"
        if not path.is_file():
            raise LlmDitError(f"{name} was not started from this page; run its command again in a terminal.")
        values = json.loads(path.read_text(encoding="utf-8"))
        return self.start(LabRequest(tuple(values["arguments"]), values["compute_metrics"]))

    def run_params(self, name: str, run_id: str) -> dict[str, Any]:
        """Return the generation parameters of one run.

        Raises:
            LlmDitError: If there is none of that name.
        """
        from experiments.store.atomic_file import read_json

        path = self.file(name, f"metadata/{run_id}.json")
        record = None if path is None else read_json(path)
        if record is None or not isinstance(record.get("parameters"), dict):
            raise OutputError(f"{name} has no run {run_id}.")
        return GenerationParams.parse(record["parameters"]).model_dump()

    def file(self, name: str, path: str) -> Path | None:
        """Return a file of a results folder; None if it is not there, or not inside of it."""
        if not path.isprintable() or len(path) > LONGEST_PATH:
            return None
        folder = (self.results / name).resolve()
        wanted = (folder / path).resolve()
        is_inside = folder.parent == self.results.resolve() and wanted.is_relative_to(folder)
        return wanted if is_inside and wanted.is_file() else None

    def _request(self, asked: LabRequest) -> Request:
        """Read a request with the parser of `run_ablation.py`, under the server's configuration."""
        import click

        from experiments.planning.command_flags import request_from_flags
        from experiments.run_ablation import main

        arguments = [*asked.arguments, f"--output-dir={self.results}"]
        try:
            flags = dict(main.make_context("run_ablation.py", arguments).params)
        except click.ClickException as error:
            raise LlmDitError(error.format_message(), field="experiment") from None
        for name in ("metrics", "compute_metrics", "overwrite", "dry_run", "list_experiments", "list_prompts"):
            flags.pop(name)
        return dataclasses.replace(request_from_flags(flags), config=self._config)

    def _run(self, handle: JobHandle, request: Request, asked: LabRequest) -> None:
        """Make what is missing, score it, write the report; on the worker's thread."""
        from experiments.running.execution import run_plan
        from experiments.store.result_store import ResultStore

        pipeline: Any = self._engine.get()
        scorers = self._scorers() if asked.compute_metrics else []
        store = ResultStore(request.folder)

        def show(progress: Progress) -> None:
            handle.show(progress.done, progress.total, progress.seconds_left)

        outcome = run_plan(
            request.plan(),
            pipeline,
            store,
            on_progress=show,
            should_stop=lambda: handle.job.is_cancel_requested,
            about=self._about(asked, pipeline),
        )
        handle.check()
        if scorers:
            from experiments.metrics.missing_scores import score_results

            with store.lock(command=asked.command):
                try:
                    score_results(store, scorers, lambda _done, _total: handle.check())
                finally:
                    store.write_summary()
        from experiments.reporting.report_page import write_report

        write_report(store.folder)
        _raise_failures(outcome)

    def _scorers(self) -> Sequence[Any]:
        """Load the scorers before any image is made, so that a missing one is known at once."""
        from experiments.metrics import METRICS, load_configured_scorers

        names = [metric.name for metric in METRICS]
        return load_configured_scorers(names, self._config.metrics, self._config.engine.model_path)

    def _about(self, asked: LabRequest, pipeline: Any) -> dict[str, Any]:
        from llm_dit.pipeline import versions

        config = self._config
        return {
            "command": asked.command,
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

    def _remember(self, name: str, asked: LabRequest) -> None:
        from llm_dit.image_io import write_whole

        content = json.dumps({"arguments": asked.arguments, "compute_metrics": asked.compute_metrics})
        write_whole(self._requests / f"{name}.json", content.encode("utf-8"))

    def _card(self, folder: Path, job: Job | None, problem: str | None) -> ExperimentCard:
        from experiments.store.result_store import ResultStore

        store = ResultStore(folder)
        try:
            manifest = store.manifest()
        except LlmDitError as error:
            return ExperimentCard(folder.name, job=job, problem=str(error), is_unreadable=True)
        return ExperimentCard(
            folder.name,
            manifest.description,
            manifest.variable_name,
            done=_count_files(store.metadata),
            failed=_count_files(store.failed),
            planned=len(manifest.combinations) * len(manifest.prompts) * len(manifest.seeds),
            updated=str(manifest.raw.get("updated", "")),
            job=job,
            is_held=job is not None or store.holder() is not None,  # asking for the holder takes the lock for a moment
            has_report=(folder / REPORT_FILE).is_file(),
            can_resume=(self._requests / f"{folder.name}.json").is_file(),
            problem=problem,
        )


def lab_request(values: Mapping[str, Any]) -> LabRequest:
    """Read what a form or a JSON body asks for.

    Args:
        values: `experiment`, or `sweeps` (lines of `parameter=values`); `name`, `categories`, `ids`, `max_prompts`,
            `seeds` (texts, empty for the default); `compute_metrics`.

    Raises:
        LlmDitError: If a value is not a text, or a field is unknown.
    """
    for name, value in values.items():
        if name not in FIELDS:
            raise LlmDitError(f"{name[:100]!a} is not a field; use {', '.join(FIELDS)}.", field=name)
        if not isinstance(value, str | int | None) or "\x00" in str(value) or not _is_unicode(str(value)):
            raise LlmDitError(f"{name} has to be a plain text.", field=name)
    arguments = []
    for name, option in TEXT_OPTIONS.items():
        text = str(values.get(name) or "").strip()
        if text:
            arguments.append(f"{option}={text}")
    sweeps = str(values.get("sweeps") or "").splitlines()
    arguments += [f"--sweep={line.strip()}" for line in sweeps if line.strip()]
    return LabRequest(tuple(arguments), bool(values.get("compute_metrics")))


def lab_choices() -> dict[str, Any]:
    """Return what may be asked for: experiments with their descriptions, and categories of prompts."""
    from experiments.planning.experiment_file import load_experiments
    from experiments.prompts import get_categories

    experiments = load_experiments()
    return {
        "experiments": [{"name": item.name, "description": item.description} for item in experiments.values()],
        "categories": get_categories(),
    }


def _raise_failures(outcome: Outcome) -> None:
    if outcome.failed:
        run_id, error = outcome.failed[0]
        raise LlmDitError(f"{len(outcome.failed)} runs failed; the first, {run_id}: {error} Resume retries them.")
    if outcome.stale:
        raise LlmDitError(
            f"{len(outcome.stale)} results were made with another model or other settings and were left alone; give "
            "the experiment another name."
        )


def _holds(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


def _count_files(folder: Path) -> int:
    return sum(1 for path in folder.glob("*.json")) if folder.is_dir() else 0


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
