"""One results folder, file by file: what is written where, in which order, and what is read back."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sample_results import CONDITIONS, axis, noisy_scores, sample_metadata, sample_plan, write_results

from experiments.planning.design import Plan, Run
from experiments.store.manifest_json import manifest_values
from experiments.store.records import DamagedRecord
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError

PLAN = sample_plan(axes=[axis("shift", 2.0, 3.0)], prompts=2, seeds=(7, 5), name="trial")


def runs_of(plan: Plan) -> list[Run]:
    return list(plan.runs())


def sized(run: Run) -> Run:
    return replace(run, params=run.params.model_copy(update={"width": 64, "height": 48}))


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """A whole folder of eight runs."""
    return ResultStore(write_results(tmp_path / "trial", PLAN, noisy_scores({})))


@pytest.fixture
def empty(tmp_path: Path) -> ResultStore:
    """A folder with its manifest and nothing else."""
    store = ResultStore(tmp_path / "trial")
    store.create()
    store.write_manifest(manifest_values(PLAN, CONDITIONS))
    return store


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


# The folder


def test_the_folders_are_made_once_and_stay(tmp_path: Path) -> None:
    store = ResultStore(str(tmp_path / "a" / "trial"))
    store.create()
    (store.images / "kept").write_bytes(b"x")
    store.create()
    assert sorted(path.name for path in store.folder.iterdir()) == ["failed", "images", "metadata"]
    assert (store.images / "kept").exists()


def test_a_folder_that_cant_be_made_names_the_parameter(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"/file/trial can't be made: Not a directory") as refused:
        ResultStore(tmp_path / "file" / "trial").create()
    assert refused.value.field == "output_dir"


def test_a_folder_holds_results_if_it_has_a_manifest(tmp_path: Path, store: ResultStore) -> None:
    assert ResultStore.is_results(store.folder)
    assert ResultStore.is_results(str(store.folder))
    assert not ResultStore.is_results(tmp_path)
    (tmp_path / "manifest.json").mkdir()
    assert not ResultStore.is_results(tmp_path)


# The manifest


def test_a_manifest_keeps_when_it_was_made_and_says_when_it_was_changed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    values = manifest_values(PLAN, CONDITIONS)
    before = datetime.now(UTC).replace(microsecond=0)
    written = store.write_manifest(values)
    raw = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert written.raw["created"] == written.raw["updated"] == raw["created"] == raw["updated"]
    created = datetime.fromisoformat(raw["created"])
    assert before <= created <= datetime.now(UTC)
    assert created.microsecond == 0
    again = store.write_manifest({**values, "created": "2026-01-01T00:00:00+00:00", "updated": "then"})
    assert again.raw["created"] == "2026-01-01T00:00:00+00:00"
    assert again.raw["updated"] >= raw["updated"]
    assert replace(store.manifest(), raw=again.raw) == again


def test_a_manifest_that_cant_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"/manifest\.json can't be written: No space left on device") as refused:
        ResultStore(tmp_path).write_manifest(manifest_values(PLAN, CONDITIONS))
    assert refused.value.field == "output_dir"
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"format": 1}'])
def test_a_manifest_that_is_not_whole_may_be_written_anew(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    assert ResultStore(tmp_path).whole_manifest() is None
    with pytest.raises(OutputError):
        ResultStore(tmp_path).manifest()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist; give the folder of an experiment's results."),
        ("{", "is damaged; run the experiment's command again, which writes it anew."),
    ],
)
def test_a_manifest_that_cant_be_read_is_one_sentence(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(OutputError) as refused:
        ResultStore(tmp_path).manifest()
    assert str(refused.value) == f"{path} {told}"


def test_a_manifest_of_another_version_may_not_be_written_anew(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(OutputError, match="has format 2"):
        ResultStore(tmp_path).whole_manifest()


def test_a_whole_manifest_is_read_both_ways(store: ResultStore) -> None:
    assert store.whole_manifest() == store.manifest()
    assert store.manifest().name == "trial"


# One result


def test_a_result_is_its_picture_its_record_and_no_failure_any_more(empty: ResultStore) -> None:
    run = sized(runs_of(PLAN)[0])
    metadata = sample_metadata(run, {})
    del metadata["image"]
    empty.write_failure(run, metadata, "out of memory")
    failure = json.loads((empty.failed / f"{run.run_id}.json").read_text(encoding="utf-8"))
    assert failure == {**metadata, "error": "out of memory"}
    empty.write_result(run, metadata, b"12345")
    assert empty.image_path(run.run_id) == empty.folder / "images" / f"{run.run_id}.png"
    assert empty.image_path(run.run_id).read_bytes() == b"12345"
    assert json.loads((empty.metadata / f"{run.run_id}.json").read_text(encoding="utf-8")) == {
        **metadata,
        "image": {
            "file": f"images/{run.run_id}.png",
            "bytes": 5,
            "sha256": hashlib.sha256(b"12345").hexdigest(),
            "width": 64,
            "height": 48,
        },
    }
    assert list(empty.failed.iterdir()) == []


def test_no_old_record_ever_lies_beside_a_new_picture(empty: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sized(runs_of(PLAN)[0])
    empty.write_result(run, sample_metadata(run, {}), b"old")
    marker, seen = empty.metadata / f"{run.run_id}.json", []
    replace_file = Path.replace

    def noted(path: Path, target: Path) -> Path:
        seen.append((target.suffix, marker.exists()))
        return replace_file(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    empty.write_result(run, sample_metadata(run, {}), b"new")
    assert seen == [(".png", False), (".json", False)]


def test_an_old_result_stays_where_the_new_picture_finds_no_room(
    empty: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sized(runs_of(PLAN)[0])
    empty.write_result(run, sample_metadata(run, {}), b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        empty.write_result(run, sample_metadata(run, {}), b"new")
    assert empty.image_path(run.run_id).read_bytes() == b"old"
    assert empty.record(run.run_id) is not None


# Reading


def test_every_run_comes_back_in_the_order_of_the_manifest(store: ResultStore) -> None:
    shown = [(record.prompt_id, record.seed, record.level) for record in store.runs()]
    first, second = (prompt.id for prompt in PLAN.prompts)
    assert shown == [(prompt, seed, level) for prompt in (first, second) for seed in (7, 5) for level in ("2.0", "3.0")]


def test_seeds_and_prompts_that_nobody_listed_come_last(store: ResultStore) -> None:
    values = json.loads((store.folder / "manifest.json").read_text(encoding="utf-8"))
    changed(store.folder / "manifest.json", seeds=[5], prompts=values["prompts"][1:])
    first, second = (prompt.id for prompt in PLAN.prompts)
    shown = [(record.prompt_id, record.seed) for record in store.runs() if record.level == "2.0"]
    assert shown == [(second, 5), (second, 7), (first, 5), (first, 7)]


def test_a_run_with_two_files_is_there_once_and_finished_before_failed(store: ResultStore) -> None:
    run = runs_of(PLAN)[0]
    store.write_failure(run, sample_metadata(run, {}, "failed"), "failed")
    copy = store.metadata / "a_copy.json"
    copy.write_bytes((store.metadata / f"{run.run_id}.json").read_bytes())
    values = json.loads(copy.read_text(encoding="utf-8"))
    changed(copy, run={**values["run"], "run_id": "a_copy"})
    runs = store.runs()
    assert len(runs) == 8
    assert all(record.is_finished for record in runs)
    assert len(store.results()[0]) == 9


def test_what_is_not_whole_is_named_with_what_is_wrong(store: ResultStore) -> None:
    names = sorted(path.stem for path in store.metadata.iterdir())
    (store.metadata / f"{names[0]}.json").write_text("{", encoding="utf-8")
    changed(store.metadata / f"{names[1]}.json", run=[])
    (store.metadata / f"{names[2]}.json").rename(store.metadata / "zz.json")
    store.image_path(names[3]).unlink()
    store.image_path(names[4]).write_bytes(b"short")
    whole, damaged = store.results()
    assert [record.run_id for record in whole] == names[5:]
    assert damaged == store.damaged_runs()
    assert damaged == [
        DamagedRecord(names[0], "its metadata can't be read"),
        DamagedRecord(names[1], "the blocks run and parameters are not there"),
        DamagedRecord(names[3], "its picture is missing"),
        DamagedRecord(names[4], "its picture has another size than was written"),
        DamagedRecord("zz", f"its metadata is that of {names[2]}"),
    ]
    assert [store.record(name) is None for name in names] == [True] * 5 + [False] * (len(names) - 5)
    assert store.record("never-made") is None


def test_failures_are_runs_but_no_results(store: ResultStore) -> None:
    run = runs_of(PLAN)[0]
    (store.metadata / f"{run.run_id}.json").unlink()
    metadata = sample_metadata(run, {}, "out of memory")
    store.write_failure(run, metadata, "out of memory")
    assert [record.error for record in store.runs() if not record.is_finished] == ["out of memory"]
    assert len(store.results()[0]) == len(list(store.some_runs())) == 7
    assert store.damaged_runs() == []


def test_some_runs_reads_no_more_than_is_asked_for(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read, found = ResultStore.read, []

    def noted(one: ResultStore, path: Path) -> object:
        found.append(path)
        return read(one, path)

    monkeypatch.setattr(ResultStore, "read", noted)
    assert next(store.some_runs()).is_finished
    assert len(found) == 1


# Scores and summaries


def test_scores_of_several_metrics_lie_beside_each_other_and_the_last_of_one_counts(store: ResultStore) -> None:
    record = store.runs()[0]
    store.write_scores(record, {"one": 1.0, "one_cut": True}, metric="one", model="a")
    store.write_scores(record, {"other": 2.0}, metric="other", model="b")
    updated = store.write_scores(record, {"one": 3.0}, metric="one", model="c")
    assert updated == store.record(record.run_id)
    assert updated.scores == {**record.scores, "one": 3.0, "one_cut": True, "other": 2.0}
    assert updated.scores_of == {**record.scores_of, "one": "c", "other": "b"}


def test_a_record_that_was_never_scored_gets_its_first_score(store: ResultStore) -> None:
    record = store.runs()[0]
    path = store.metadata / f"{record.run_id}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: values[name] for name in values if not name.startswith("scores")}))
    updated = store.write_scores(record, {"one": 1.0}, metric="one", model="a")
    assert (updated.scores, updated.scores_of) == ({"one": 1.0}, {"one": "a"})


def test_a_run_that_goes_while_it_is_scored_is_one_sentence(store: ResultStore) -> None:
    record = store.runs()[0]
    path = store.metadata / f"{record.run_id}.json"
    path.unlink()
    with pytest.raises(OutputError) as refused:
        store.write_scores(record, {"one": 1.0}, metric="one", model="a")
    assert str(refused.value) == f"{path} has gone while its image was scored; run the experiment again."


def test_summaries_bear_the_name_of_the_experiment_and_hold_what_is_returned(store: ResultStore) -> None:
    summary = store.write_summary()
    assert json.loads((store.folder / "trial_summary.json").read_text(encoding="utf-8")) == summary.values
    lines = (store.folder / "trial_summary.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 8 == 1 + len(store.to_frame())
