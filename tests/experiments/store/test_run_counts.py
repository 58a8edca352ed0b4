"""Counting a growing folder: right each time, and only what changed is read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from sample_results import noisy_scores, sample_plan, write_results

from experiments.store.result_store import ResultStore
from experiments.store.run_counts import Counts, RunCounter


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the records read, in order."""
    found: list[str] = []
    whole = ResultStore.read

    def counting(store: ResultStore, path: Path) -> object:
        found.append(path.name)
        return whole(store, path)

    monkeypatch.setattr(ResultStore, "read", counting)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve runs of three prompts, one of which failed."""

    def scores(run):
        is_broken = (run.prompt.id[-3:], run.cell.levels["shift"]) == ("001", "4.0")
        return "out of memory" if is_broken else noisy_scores({})(run)

    return write_results(tmp_path / "trial", sample_plan(prompts=3), scores)


def counts(counter: RunCounter, folder: Path) -> Counts:
    return counter.counts(ResultStore(folder).manifest())


def test_records_that_stay_as_they_are_are_read_once(folder: Path, reads: list[str]) -> None:
    counter = RunCounter(folder)
    assert counts(counter, folder) == Counts(11, 1)
    assert len(reads) == len(set(reads)) == 12
    reads.clear()
    assert counts(counter, folder) == Counts(11, 1)
    assert reads == []


@pytest.mark.parametrize("is_longer", [True, False])
def test_a_record_of_another_size_or_time_is_read_again(folder: Path, reads: list[str], is_longer: bool) -> None:
    counter = RunCounter(folder)
    counts(counter, folder)
    reads.clear()
    path = min((folder / "metadata").iterdir())
    changed, text = path.stat().st_mtime_ns, path.read_text(encoding="utf-8")
    path.write_text("{" + text[1:].replace('"', "'") + " " * is_longer, encoding="utf-8")
    os.utime(path, ns=(changed, changed if is_longer else changed + 1))
    assert counts(counter, folder) == Counts(10, 1)
    assert reads == [path.name]


def test_what_has_gone_counts_no_more_and_what_is_no_record_never(folder: Path) -> None:
    counter = RunCounter(folder)
    (folder / "metadata" / "notes.txt").write_text("{}", encoding="utf-8")
    (folder / "metadata" / "gone.json").symlink_to(folder / "nowhere")
    (folder / "metadata" / "a_damaged.json").write_text("{", encoding="utf-8")
    assert counts(counter, folder) == Counts(11, 1)
    max((folder / "metadata").glob("shift*.json")).unlink()
    assert counts(counter, folder) == Counts(10, 1)
    shutil.rmtree(folder / "failed")
    assert counts(counter, folder) == Counts(10, 0)


def test_a_run_that_succeeded_in_the_end_is_no_failure(folder: Path) -> None:
    finished = min((folder / "metadata").iterdir())
    values = json.loads(finished.read_text(encoding="utf-8"))
    (folder / "failed" / finished.name).write_text(json.dumps({**values, "error": "once"}), encoding="utf-8")
    assert counts(RunCounter(folder), folder) == Counts(11, 1)


def test_another_manifest_places_every_record_anew(folder: Path, reads: list[str]) -> None:
    counter = RunCounter(folder)
    assert counts(counter, folder) == Counts(11, 1)
    values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (level,) = (level for level in values["experiment"]["axes"][0]["levels"] if level["name"] == "1.0")
    values["experiment"]["axes"][0]["levels"].remove(level)
    (folder / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    reads.clear()
    assert counts(counter, folder) == Counts(8, 1)
    assert len(reads) == 12


def test_seeds_count_each(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "trial", sample_plan(prompts=1, seeds=(1, 2)), noisy_scores({}))
    assert counts(RunCounter(folder), folder) == Counts(8, 0)


def test_what_is_no_record_is_not_even_read(folder: Path, reads: list[str]) -> None:
    (folder / "metadata" / "notes.txt").write_text("{}", encoding="utf-8")
    counts(RunCounter(folder), folder)
    assert "notes.txt" not in reads
