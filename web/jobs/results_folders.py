"""The results folders on disk, as the page lists and serves them; reading only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_dit.errors import LlmDitError, OutputError
from llm_dit.parameters import GenerationParams
from web.jobs.job import Job
from web.jobs.look_chart import look_chart

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.run_counts import Counts, RunCounter

REPORT_FILE = "report.html"
THUMBNAILS_SHOWN = 5
LONGEST_PATH = 250
"""Of a file inside of a results folder; a file name that the system can't hold is an error there, not an answer."""


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
        primary: The measure that counts; None where nobody named one.
        analyses: How often its data were analysed, the same data counted once.
        job: The job that works on it or waits to; None if none of ours does.
        is_held: True if any process works in the folder.
        has_report: True if there is a report.
        can_resume: True if it was started from this page.
        problem: Why the folder can't be read, or why the last job on it failed.
        is_unreadable: True if the folder can't be read.
        verdict: The first sentence of its report's verdict; empty without scores or report.
        best: The level that its report says is best, or that none is; empty without scores or report.
        thumbnails: A few of its pictures, spread over the runs, as paths in the folder.
        faults: The latest faults of workers in the last job on it, as `Job.faults`.
        looks: What is decided so far (`look_chart`); None for a fixed design.
    """

    name: str
    description: str = ""
    variable: str = ""
    done: int = 0
    failed: int = 0
    planned: int = 0
    updated: str = ""
    primary: str | None = None
    analyses: int = 0
    job: Job | None = None
    is_held: bool = False
    has_report: bool = False
    can_resume: bool = False
    problem: str | None = None
    is_unreadable: bool = False
    verdict: str = ""
    best: str = ""
    thumbnails: tuple[str, ...] = ()
    looks: dict[str, Any] | None = None
    faults: tuple[dict[str, Any], ...] = ()

    @property
    def updated_at(self) -> float | None:
        """Unix time of the manifest; None where it says none."""
        try:
            return datetime.fromisoformat(self.updated).timestamp()
        except ValueError:
            return None


class ResultsFolders:
    """The folder of all results.

    Attributes:
        folder: Where experiments have a folder each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counters: dict[Path, RunCounter] = {}

    def counts(self, folder: Path, manifest: Manifest) -> Counts:
        """Return how far the experiment in `folder` is."""
        from experiments.store.run_counts import RunCounter

        return self._counters.setdefault(folder, RunCounter(folder)).counts(manifest)

    def all(self) -> list[Path]:
        """Return the folders that hold results."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return [path for path in found if (path / "manifest.json").is_file()]

    def run_params(self, name: str, run_id: str) -> dict[str, Any]:
        """Return the generation parameters of one run.

        Raises:
            LlmDitError: If there is none of that name.
        """
        from experiments.store.result_store import ResultStore

        path = self.file(name, f"metadata/{run_id}.json")
        record = None if path is None else ResultStore(path.parents[1]).record(run_id)
        if record is None:
            raise OutputError(f"{name} has no run {run_id}.")
        return GenerationParams.parse(record.parameters).model_dump()

    def results(self, name: str) -> Path | None:
        """Return the folder that holds the results of that name, None if there is none in our own folder."""
        folder = (self.folder / name).resolve()
        is_ours = folder.parent == self.folder.resolve() and (folder / "manifest.json").is_file()
        return folder if is_ours else None

    def file(self, name: str, path: str) -> Path | None:
        """Return a file of a results folder; None if it is not there, or not inside of it."""
        if not path.isprintable() or len(path) > LONGEST_PATH:
            return None
        folder = (self.folder / name).resolve()
        wanted = (folder / path).resolve()
        is_inside = folder.parent == self.folder.resolve() and wanted.is_relative_to(folder)
        return wanted if is_inside and wanted.is_file() else None


def read_card(
    folders: ResultsFolders, folder: Path, job: Job | None, problem: str | None, *, can_resume: bool
) -> ExperimentCard:
    """Read what the page shows of a results folder.

    Args:
        folders: Which know how far it was before.
        folder: The folder.
        job: The job that works on it or waits to.
        problem: Why the last job on it failed.
        can_resume: True if it was started from this page.
    """
    from experiments.reporting.report_page import best_of, headline_of
    from experiments.store.result_store import ResultStore

    store = ResultStore(folder)
    try:
        manifest = store.manifest()
        assert manifest.looks is None or manifest.looks.plan  # read here, where what is wrong with it is told
    except LlmDitError as error:
        return ExperimentCard(folder.name, job=job, problem=str(error), is_unreadable=True)
    counts = folders.counts(folder, manifest)
    return ExperimentCard(
        folder.name,
        manifest.description,
        manifest.variable_name,
        done=counts.finished,
        failed=counts.failed,
        planned=manifest.planned_count,
        updated=str(manifest.raw.get("updated", "")),
        primary=manifest.primary,
        analyses=len({found.seen for found in manifest.analyses}),
        job=job,
        is_held=job is not None or store.holder() is not None,  # asking for the holder takes the lock for a moment
        has_report=(folder / REPORT_FILE).is_file(),
        can_resume=can_resume,
        problem=problem,
        verdict=headline_of(folder / REPORT_FILE),
        best=best_of(folder / REPORT_FILE),
        thumbnails=_some_thumbnails(folder),
        looks=None if manifest.looks is None else look_chart(manifest.looks),
    )


def _some_thumbnails(folder: Path) -> tuple[str, ...]:
    """Return a few of the small pictures that came with the report, spread over all of them."""
    from experiments.reporting.thumbnails import THUMBNAILS_FOLDER

    names = sorted(path.name for path in (folder / THUMBNAILS_FOLDER).glob("*.webp"))
    count = min(len(names), THUMBNAILS_SHOWN)
    return tuple(f"{THUMBNAILS_FOLDER}/{names[place * len(names) // count]}" for place in range(count))
