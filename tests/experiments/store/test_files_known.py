"""A second look at a folder reads what has changed, and what many records say is kept once."""

from __future__ import annotations

import json
import pickle
import sys
import tracemalloc
from pathlib import Path

import pytest
from sample_results import noisy_scores, sample_plan, write_results

from experiments.reporting.report_page import is_report_of, write_report
from experiments.reporting.thumbnails import make_thumbnails
from experiments.store import files_known
from experiments.store.entries import SharedNames
from experiments.store.folder_state import folder_state, has_summary_of
from experiments.store.result_store import ResultStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path / "known", sample_plan(prompts=4), noisy_scores({}), image_size=8)


def test_a_second_look_reads_only_the_file_that_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(folder)
    first = store.runs()
    read = []

    def noted(path):
        read.append(path.name)
        return json.loads(path.read_bytes())

    monkeypatch.setattr(files_known, "read_json", noted)
    changed = folder / "metadata" / f"{first[2].run_id}.json"
    values = json.loads(changed.read_text())
    changed.write_text(json.dumps({**values, "scores": {"image_reward": 7.5}}))
    again = store.runs()
    assert read == [changed.name]
    assert again[2].scores == {"image_reward": 7.5}
    assert [record for record in again if record.run_id != first[2].run_id] == [
        record for record in first if record.run_id != first[2].run_id
    ]


def test_a_folder_without_records_has_none(tmp_path: Path) -> None:
    assert list(files_known.KnownFiles().records(tmp_path / "metadata", tmp_path)) == []


def test_a_record_that_goes_while_others_are_read_is_named(folder: Path) -> None:
    records = files_known.KnownFiles().records(folder / "metadata", folder)
    first = next(records)
    *_, last = sorted((folder / "metadata").glob("*.json"))
    last.unlink()
    *others, gone = records
    assert {record.run_id for record in (first, *others)} == {run.run_id for run in ResultStore(folder).runs()}
    assert str(gone) == f"{last.stem} (its metadata can't be read)"


def test_a_picture_that_goes_is_missed_though_its_record_is_known(folder: Path) -> None:
    store = ResultStore(folder)
    gone = store.runs()[1]
    assert gone.image_path is not None
    gone.image_path.unlink()
    assert [str(found) for found in store.damaged_runs()] == [f"{gone.run_id} (its picture is missing)"]


def test_what_equals_the_record_before_is_kept_once_and_reads_the_same(folder: Path) -> None:
    records = ResultStore(folder).results()[0]
    alone = [ResultStore(folder).record(record.run_id) for record in records]
    assert records == alone
    assert all(record.metadata["numerics"] is records[0].metadata["numerics"] for record in records)
    assert all(record.prompt is records[0].prompt for record in records if record.prompt == records[0].prompt)


def test_numbers_that_are_equal_but_of_another_kind_keep_their_own(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "kinds", sample_plan(prompts=1), noisy_scores({}), image_size=8)
    files = sorted((folder / "metadata").iterdir())
    for file, shift in zip(files, (3, 3.0, 3, 3.0), strict=True):
        values = json.loads(file.read_text())
        file.write_text(json.dumps({**values, "model_defaults": {"shift": shift}}))
    kinds = [type(record.metadata["model_defaults"]["shift"]) for record in ResultStore(folder).results()[0]]
    assert kinds == [int, float, int, float]


def test_a_report_is_known_by_what_it_was_made_from(folder: Path) -> None:
    report = write_report(folder)
    assert is_report_of(report, folder_state(folder))
    file = next((folder / "metadata").iterdir())
    file.write_text(file.read_text() + "\n")
    assert not is_report_of(report, folder_state(folder))


def test_summaries_are_known_by_what_they_were_made_from(folder: Path) -> None:
    store = ResultStore(folder)
    assert not has_summary_of(folder, folder_state(folder))
    store.write_summary()
    assert has_summary_of(folder, folder_state(folder))
    store.name_primary("image_reward")
    assert not has_summary_of(folder, folder_state(folder))
    store.write_summary()
    (folder / "shift_sweep_summary.csv").unlink()
    assert not has_summary_of(folder, folder_state(folder))


def test_who_is_at_work_in_a_folder_is_no_part_of_what_summaries_are_made_from(folder: Path) -> None:
    store = ResultStore(folder)
    before = folder_state(folder)
    with store.lock(command="a resume"):
        assert store.holder() is not None
        assert folder_state(folder) == before
        store.write_summary()
        assert has_summary_of(folder, folder_state(folder))
    assert has_summary_of(folder, folder_state(folder)), "so a resume with nothing to do leaves it as it is"


def test_a_report_does_not_wait_for_all_thumbnails_and_the_next_goes_on(folder: Path) -> None:
    records = ResultStore(folder).runs()
    found = make_thumbnails(folder, records, most_seconds=-1)
    assert found.left == 16
    assert found.sentence.startswith("16 pictures have not been looked at for damage")
    assert not list((folder / "thumbnails").iterdir())
    assert make_thumbnails(folder, records).left == 0
    assert len(list((folder / "thumbnails").iterdir())) == 16
    assert make_thumbnails(folder, records, most_seconds=-1).left == 0, "they were looked at when they were made"


LARGEST_BLOCK = 1 << 20
"""Of what 100 records hold; Python's own table of interned texts is larger, and grows when it likes."""


def test_a_record_of_many_takes_two_and_a_half_kilobytes(tmp_path: Path) -> None:
    plan = sample_plan(prompts=25)
    folder = write_results(tmp_path / "many", plan, noisy_scores({}), image_size=8)
    store = ResultStore(folder)
    tracemalloc.start()
    try:
        records = store.results()[0]
        blocks = [trace.size for trace in tracemalloc.take_snapshot().traces]
    finally:
        tracemalloc.stop()
    assert len(records) == plan.run_count == 100
    held = sum(size for size in blocks if size < LARGEST_BLOCK)
    assert held / len(records) < 2_500, "a dictionary of 22 parameters alone has 1,184 bytes"


def test_blocks_share_the_names_of_equal_ones_and_read_as_dictionaries() -> None:
    names = SharedNames()
    first, second = names.entries({"b": 1, "a": {"c": 2}}), names.entries({"b": 3, "a": None})
    assert first == {"b": 1, "a": {"c": 2}}
    plain = {"b": 3, "a": None}
    assert plain == second
    assert (list(first), first.get("c"), {**second}) == (["b", "a"], None, {"b": 3, "a": None})
    assert sys.getsizeof(first) + sys.getsizeof(tuple(first.values())) < sys.getsizeof({"b": 1, "a": 2})
    hashes = names.with_shared_texts({"psnr": {"baseline": "".join(["ab", "cd"])}})
    more = names.with_shared_texts({"psnr": {"baseline": "".join(["ab", "cd"])}})
    assert hashes["psnr"]["baseline"] is more["psnr"]["baseline"]
    assert pickle.loads(pickle.dumps(hashes)) == {"psnr": {"baseline": "abcd"}}


def test_what_levels_of_an_engine_say_in_turns_is_kept_once_each(folder: Path) -> None:
    for place, file in enumerate(sorted((folder / "metadata").iterdir())):
        values = json.loads(file.read_text())
        values["numerics"]["dtype"] = ("float32", "bfloat16")[place % 2]
        file.write_text(json.dumps(values))
    records = ResultStore(folder).results()[0]
    assert [record.numerics["dtype"] for record in records[:3]] == ["float32", "bfloat16", "float32"]
    assert len({id(record.numerics) for record in records}) == 2


def test_texts_of_many_records_are_kept_once_whatever_lies_between_them(folder: Path) -> None:
    records = ResultStore(folder).results()[0]
    texts = {record.prompt: record.prompt for record in records}
    assert len(texts) == 4
    assert all(record.prompt is texts[record.prompt] is record.parameters["prompt"] for record in records)
    assert len({id(record.conditions) for record in records}) == 1
