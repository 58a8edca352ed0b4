"""Results on disk: images, one metadata file per run, the manifest, and the summaries made from them.

A run is finished when its metadata file is in place and its image has the size written there; the metadata is written
last, whole, after the image has reached the disk. Reading never writes and needs no lock.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.planning.design import Axis, Level, Run
from experiments.store.analyses import PastAnalysis, united_analyses, with_analysis
from experiments.store.files_known import KnownFiles, record_in_file, with_picture
from experiments.store.folder_lock import holder_of, locked, manifest_locked
from experiments.store.folder_state import MANIFEST_FILE, folder_state
from experiments.store.json_file import read_json, write_json
from experiments.store.manifest import Manifest
from experiments.store.manifest_json import check_format, manifest_from_values, margin_values, primary_values
from experiments.store.pair_scores import baselines_of, with_pair_scores
from experiments.store.records import DamagedRecord, RunRecord
from experiments.store.score_files import add_pair_scores, add_scores
from experiments.store.summary import Summary, summarize, summary_csv, summary_rows
from llm_dit.atomic_file import remove_partial_files, write_atomically
from llm_dit.collector import collector_paused
from llm_dit.errors import LlmDitError, OutputError, unwritable

if TYPE_CHECKING:
    import pandas

__all__ = ["Axis", "Level", "Manifest", "ResultStore", "RunRecord", "Summary"]


class ResultStore:
    """One experiment's folder.

    Attributes:
        folder: The folder; it need not exist before `create`.
        images: PNG files.
        metadata: One JSON file per finished run.
        failed: One JSON file per failed run.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.images = self.folder / "images"
        self.metadata = self.folder / "metadata"
        self.failed = self.folder / "failed"
        self._known = KnownFiles()

    @staticmethod
    def is_results(folder: Path | str) -> bool:
        """Return True if `folder` holds an experiment's results."""
        return (Path(folder) / MANIFEST_FILE).is_file()

    def create(self) -> None:
        """Make the folders.

        Raises:
            OutputError: If they can't be made.
        """
        try:
            for folder in (self.images, self.metadata, self.failed):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(f"{self.folder} can't be made", error, field="output_dir") from None

    @contextmanager
    def lock(self, **details: Any) -> Iterator[None]:
        """Hold the folder against other writers, and clear away what killed ones left; `details` tell them who does."""
        with locked(self.folder, **details):
            for folder in (self.folder, self.images, self.metadata, self.failed):
                remove_partial_files(folder)
            yield

    def holder(self) -> dict[str, Any] | None:
        """Return what the process that works in the folder says about itself; None if none does."""
        return holder_of(self.folder)

    # Manifest

    def manifest(self) -> Manifest:
        """Return the experiment as resolved.

        Raises:
            OutputError: If there is none, or it is damaged.
        """
        path = self.folder / MANIFEST_FILE
        values = read_json(path)
        if values is None:
            if path.exists():
                raise OutputError(f"{path} is damaged; run the experiment's command again, which writes it anew.")
            raise OutputError(f"{path} does not exist; give the folder of an experiment's results.")
        return manifest_from_values(values, path)

    def whole_manifest(self) -> Manifest | None:
        """Return the experiment as resolved; None where the file is missing or damaged, so that it may be written anew.

        Raises:
            OutputError: If it was written by another version.
        """
        path = self.folder / MANIFEST_FILE
        values = read_json(path)
        if values is None:
            return None
        check_format(values, path)
        try:
            return manifest_from_values(values, path)
        except OutputError:
            return None

    def write_manifest(self, values: Mapping[str, Any]) -> Manifest:
        """Write the manifest; of what stood there `values` holds what is taken over, but for the analyses of its runs.

        Raises:
            OutputError: If it can't be written.
        """
        path = self.folder / MANIFEST_FILE
        now = datetime.now(UTC).isoformat(timespec="seconds")
        dated = {"created": now, **values, "updated": now}
        manifest = manifest_from_values(dated, path)
        with manifest_locked(self.folder):  # an analysis may have been added since `values` were read
            old = self.whole_manifest()
            if old is not None and not old.conditions.differences(manifest.conditions):
                analyses = united_analyses(values.get("analyses", ()), old.raw.get("analyses", ()))
                dated = {**dated, **({"analyses": analyses} if analyses else {})}
                dated = {**dated, **({"primary": old.raw["primary"]} if "primary" in old.raw else {})}
                margins = {**values.get("margins", {}), **old.raw.get("margins", {})}  # what was named first stays
                dated = {**dated, **({"margins": margins} if margins else {})}
            self._write_manifest_file(dated)
        return manifest_from_values(dated, path)

    def add_analysis(self, analysis: PastAnalysis) -> None:
        """Keep in the manifest that somebody has seen an analysis, unless one of the same data stands there.

        Needs no lock of the folder: runs may go on meanwhile.

        Raises:
            OutputError: If it can't be written.
        """
        with manifest_locked(self.folder):
            raw = self.manifest().raw
            analyses = with_analysis(raw.get("analyses", ()), analysis)
            if analyses is not None:
                self._write_manifest_file({**raw, "analyses": analyses})

    def note_analysis(self, analysis: PastAnalysis) -> str | None:
        """Keep an analysis where the folder can be written, else return the sentence that says so."""
        try:
            self.add_analysis(analysis)
        except OutputError as error:
            return f"This analysis is not written down, so the next one won't allow for it: {error}"
        return None

    def name_primary(self, measure: str) -> None:
        """Name the measure that counts; once named, it stays.

        Raises:
            LlmDitError: If another one is named already.
            OutputError: If it can't be written.
        """
        self.check_primary(measure)
        with manifest_locked(self.folder):
            raw = self.manifest().raw
            if "primary" not in raw:
                self._write_manifest_file({**raw, "primary": primary_values(measure)})

    def check_primary(self, measure: str) -> None:
        """Refuse to name another measure than the one that is named already.

        Raises:
            LlmDitError: If one is.
        """
        manifest = self.whole_manifest()
        if manifest is not None and manifest.primary not in (None, measure):
            raise LlmDitError(
                f"--primary {measure}: the measure that counts in {self.folder} is {manifest.primary}, and it can't be "
                "chosen again; leave --primary out, or take another --name.",
                field="primary",
            )

    def name_margins(self, margins: Mapping[str, float]) -> None:
        """Name the largest differences that do not matter, by measure; once named, each stays.

        Raises:
            LlmDitError: If a measure has another margin already, or planned looks decide by it.
            OutputError: If it can't be written.
        """
        self.check_margins(margins)
        if not margins:
            return
        with manifest_locked(self.folder):
            raw = self.manifest().raw
            known = raw.get("margins", {})
            added = {measure: margin_values(margin) for measure, margin in margins.items() if measure not in known}
            if added:
                self._write_manifest_file({**raw, "margins": {**known, **added}})

    def check_margins(self, margins: Mapping[str, float]) -> None:
        """Refuse a margin of a measure that has another one, or one of the plan of its looks.

        Raises:
            LlmDitError: If one has.
        """
        manifest = self.whole_manifest()
        if manifest is None:
            return
        for measure, margin in margins.items():
            known = manifest.margins.get(measure, margin)
            if known != margin:
                raise LlmDitError(
                    f"--margin {measure}={margin:g}: the margin of {measure} in {self.folder} is {known:g}, and it "
                    "can't be chosen again; leave --margin out, or take another --name.",
                    field="margin",
                )
            if manifest.looks is not None and manifest.looks.plan.measure == measure:
                raise LlmDitError(
                    f"--margin {measure}={margin:g}: planned looks decide by {measure} in {self.folder}, and their "
                    "margin is fixed before the first picture (--until-decided MEASURE --margin X); leave it out here.",
                    field="margin",
                )

    def _write_manifest_file(self, values: Mapping[str, Any]) -> None:
        path = self.folder / MANIFEST_FILE
        try:
            write_json(path, values)
        except OSError as error:
            raise unwritable(f"{path} can't be written", error, field="output_dir") from None

    # Runs

    def results(self) -> tuple[list[RunRecord], list[DamagedRecord]]:
        """Return every whole result as it was recorded, whatever the manifest says, and those that are not whole."""
        whole: list[RunRecord] = []
        damaged: list[DamagedRecord] = []
        with collector_paused():
            for found in self._found(self.metadata):
                if isinstance(found, DamagedRecord):
                    damaged.append(found)
                elif found.is_finished:
                    whole.append(found)
        return whole, damaged

    def image_path(self, run_id: str) -> Path:
        """Return where a run's image goes."""
        return self.images / f"{run_id}.png"

    def write_result(self, run: Run, metadata: Mapping[str, Any], png: bytes) -> None:
        """Write a finished run: the image, then its metadata, which makes it a result.

        Args:
            run: The run.
            metadata: Its record, without the block `image`.
            png: The image file.

        Raises:
            OSError: If it can't be written; the run is not finished then.
        """
        path = self.image_path(run.run_id)
        marker = self.metadata / f"{run.run_id}.json"
        # never an old record beside a new image, and the old result stays if the disk is full
        write_atomically(path, png, before_replace=lambda: marker.unlink(missing_ok=True))
        image = {
            "file": f"images/{path.name}",
            "bytes": len(png),
            "sha256": hashlib.sha256(png).hexdigest(),
            "width": run.params.width,
            "height": run.params.height,
        }
        write_json(marker, {**metadata, "image": image})
        (self.failed / marker.name).unlink(missing_ok=True)

    def write_failure(self, run: Run, metadata: Mapping[str, Any], error: str) -> None:
        """Write down why a run failed.

        Raises:
            OSError: If it can't be written.
        """
        write_json(self.failed / f"{run.run_id}.json", {**metadata, "error": error})

    def runs(self) -> list[RunRecord]:
        """Return finished and failed runs that the manifest has a place for, under the names it gives them.

        A run is there once, however many files show it. Order: prompts, seeds, levels as in the manifest. Of scores
        beside the baseline, those hold that are of the pictures there now.
        """
        manifest = self.manifest()
        known: dict[tuple[str, str, int], RunRecord] = {}
        ids: dict[str, str] = {}
        with collector_paused():
            for record in self._records():  # a finished run comes before a failure of the same
                placed = manifest.place(record)
                if placed is not None:
                    name = ids.setdefault(placed.prompt, placed.prompt_id)
                    known.setdefault((name, placed.level, placed.seed), placed)
        return with_pair_scores(manifest, manifest.in_order(known.values()))

    def baselines(self, records: Sequence[RunRecord]) -> dict[str, RunRecord]:
        """Return each run id with the baseline's run of its prompt and seed; those without one are left out."""
        return baselines_of(self.manifest(), records)

    def some_runs(self) -> Iterator[RunRecord]:
        """Yield whole records of any kind as they are found, without reading the rest."""
        names = sorted(entry.name for entry in os.scandir(self.metadata)) if self.metadata.is_dir() else []
        found = (self.read(self.metadata / name) for name in names if name.endswith(".json"))
        return (record for record in found if isinstance(record, RunRecord) and record.is_finished)

    def damaged_runs(self) -> list[DamagedRecord]:
        """Return the results that are not whole; they count as missing, and the same command makes them again."""
        return self.results()[1]

    def record(self, run_id: str) -> RunRecord | None:
        """Return one run as it was recorded; None where there is no whole one."""
        found = self.read(self.metadata / f"{run_id}.json")
        return found if isinstance(found, RunRecord) else None

    def _records(self) -> Iterator[RunRecord]:
        """Yield every whole record, finished runs before failures."""
        for folder in (self.metadata, self.failed):
            yield from (found for found in self._found(folder) if isinstance(found, RunRecord))

    def _found(self, folder: Path) -> Iterator[RunRecord | DamagedRecord]:
        return self._known.records(folder, self.folder)

    def read(self, path: Path) -> RunRecord | DamagedRecord:
        """Read the record in a file of the folder: whole, or named with what is wrong."""
        return with_picture(record_in_file(path, self.folder))

    # Scores

    def write_scores(self, record: RunRecord, values: Mapping[str, Any], *, metric: str, model: str) -> RunRecord:
        """Add a metric's columns to a run's metadata; columns of the same name are replaced.

        Args:
            record: A finished run.
            values: Column to number, switch or None.
            metric: Name of the metric.
            model: The model that scored.

        Raises:
            OutputError: If the run has gone, or nothing can be written.
        """
        return add_scores(self.folder, record, values, metric=metric, model=model)

    def write_pair_scores(
        self, record: RunRecord, baseline: RunRecord, values: Mapping[str, Any], *, metric: str, model: str
    ) -> RunRecord:
        """Keep a metric's columns of a picture beside the baseline's; those of the same metric are replaced.

        Args:
            record: A finished run.
            baseline: The baseline's run of its prompt and seed.
            values: Column to number; infinity has its word in the file.
            metric: Name of the metric.
            model: What scored.

        Raises:
            OutputError: If the run has gone, or nothing can be written.
        """
        return add_pair_scores(self.folder, record, baseline, values, metric=metric, model=model)

    # Summaries

    def write_summary(self) -> Summary:
        """Rebuild the CSV and the JSON summary from the metadata files.

        Raises:
            OutputError: If they can't be written; they can be rebuilt from the metadata at any time.
        """
        state = folder_state(self.folder)
        manifest, records = self.manifest(), self.runs()
        summary = summarize(manifest, records, state)
        table = summary_csv(manifest, records).encode("utf-8", "backslashreplace")
        try:
            write_atomically(self.folder / f"{manifest.name}_summary.csv", table)
            write_json(self.folder / f"{manifest.name}_summary.json", summary.values)
        except OSError as error:
            raise unwritable("The summary could not be written", error) from None
        return summary

    def to_frame(self) -> pandas.DataFrame:
        """Return the rows of the CSV, typed; see `experiments.store.summary.columns`."""
        import pandas

        manifest = self.manifest()
        return pandas.DataFrame(summary_rows(manifest, self.runs()))
