"""Which times and versions of a folder's runs are compared, and what is told of those that are not."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_pipeline import FakePipeline
from small_runs import CAT, CUP, MADE_BEFORE, make, plan_of

from experiments.prompts import Prompt
from experiments.stats.findings import analyse
from experiments.store.comparable import (
    changed_surroundings,
    mixed_surroundings,
    with_comparable_times,
)
from experiments.store.records import record_from_metadata
from experiments.store.run_counts import Counts, RunCounter


def test_results_of_other_versions_and_threads_are_named_at_the_resume_and_in_the_analysis(tmp_path):
    old = FakePipeline()
    old.versions["torch"], old.machine["threads"] = "2.9", "1"
    make(tmp_path, plan_of(prompts=(CAT,)), old)
    told = []
    store, _ = make(tmp_path, on_start=lambda work: told.extend(work.notes))
    assert told == [
        "Finished results were made with other versions or on another machine: threads 1 (3; now 2), torch 2.9 (3; now "
        "2.15). Equal runs can differ there by a level of a channel."
    ]
    notes = analyse(store.manifest(), store.runs(), ()).notes
    assert any("torch 2.15 (3), 2.9 (3)" in note and "threads 1 (3), 2 (3)" in note for note in notes)
    assert [session["versions"]["torch"] for session in store.manifest().raw["sessions"]] == ["2.9", "2.15"]
    assert make(tmp_path, on_start=lambda work: told.extend(work.notes))[1].made == 0
    assert len(told) == 1, "nothing is mixed where nothing is made"


def test_each_record_names_card_and_threads(tmp_path, tiny_pipeline):
    import torch

    store, _ = make(tmp_path, plan_of("shift=2,3", prompts=(CAT,), overrides={"num_inference_steps": 1}), tiny_pipeline)
    machine = store.runs()[0].metadata["machine"]
    assert machine["threads"] == str(torch.get_num_threads())
    assert machine["card"]


def times(store):
    analysis = analyse(store.manifest(), store.runs(), ())
    found = [result for result in analysis.measures if result.measure.column == "generation_time_seconds"]
    return (found[0] if found else None), [note for note in analysis.notes if note.startswith("Time is")]


def test_time_is_compared_without_the_first_prompt_which_carries_the_warm_up(tmp_path):
    prompts = [CAT, CUP, Prompt("p3", "c", "", "A dog")]
    store, _ = make(tmp_path, plan_of(prompts=prompts))
    warm = {record.prompt_id for record in store.runs() if record.is_warm_up}
    assert warm == {"animal_001"}
    measured, notes = times(store)
    assert {summary.runs for summary in measured.levels} == {2}
    assert "6 of 9 pictures" in notes[0]


def test_times_of_several_runs_of_the_command_are_not_compared(tmp_path):
    make(tmp_path, plan_of("shift=3"))
    store, _ = make(tmp_path, plan_of("shift=4"))
    measured, notes = times(store)
    assert measured is None
    assert notes == [
        "Time is not compared: no single run of the command made several levels beside its first prompt, which carries "
        "the warm-up."
    ]


def test_a_level_made_later_has_no_part_in_the_comparison_of_times(tmp_path):
    prompts = [CAT, CUP, Prompt("p3", "c", "", "A dog")]
    make(tmp_path, plan_of("shift=2,3", prompts=prompts))
    store, _ = make(tmp_path, plan_of("shift=2,3,4", prompts=prompts))
    measured, _ = times(store)
    assert {summary.level: summary.runs for summary in measured.levels} == {"2.0": 2, "3.0": 2, "4.0": 0}


def timed(*times: tuple[str, float | None, bool]):
    """Records of a level each, in pairs, with session, time and whether they carry the warm-up."""
    record = record_from_metadata(json.loads((MADE_BEFORE / "record.json").read_text(encoding="utf-8")), Path())
    return [
        replace(
            record,
            run_id=f"run{index}",
            level=str(index % 2),
            session=session,
            generation_time_seconds=seconds,
            is_warm_up=warm,
        )
        for index, (session, seconds, warm) in enumerate(times)
    ]


def test_the_run_of_the_command_that_made_most_keeps_its_times():
    first, most = ("first", 1.0, False), ("most", 2.0, False)
    records, told = with_comparable_times(
        timed(first, first, most, most, most, ("most", 9.0, True), ("most", None, False))
    )
    assert [record.generation_time_seconds for record in records] == [None, None, 2.0, 2.0, 2.0, None, None]
    assert told == (
        "Time is compared for 3 of 6 pictures: those of one run of the command on one machine, without its first "
        "prompt, which carries the warm-up."
    )
    whole = timed(most, most, ("most", None, False))
    assert with_comparable_times(whole) == (whole, None)
    assert with_comparable_times([]) == ([], None)


def test_times_that_no_session_is_told_of_were_not_measured_in_one():
    records, told = with_comparable_times(timed(("", 1.0, False), ("", 1.0, False)))
    assert [record.generation_time_seconds for record in records] == [None, None]
    assert told.startswith("Time is not compared: no single run of the command ")


def test_versions_that_pictures_differ_in_are_counted_and_told_apart_from_those_they_share():
    def made_with(machine="unknown", **versions):
        (record,) = timed(("s", 1.0, False))
        return replace(record, metadata={"versions": versions, "machine": machine})

    records = [made_with(torch="2.10", python="3.11"), made_with(torch="2.9", python="3.11"), made_with(torch="2.9")]
    assert mixed_surroundings(records) == (
        "Pictures were made with several versions or machines: torch 2.10 (1), 2.9 (2). Equal runs can differ there by "
        "a level of a channel."
    )
    assert mixed_surroundings(records[1:]) is None
    assert changed_surroundings(records, {"torch": "2.9"}) == (
        "Finished results were made with other versions or on another machine: torch 2.10 (1; now 2.9). Equal runs can "
        "differ there by a level of a channel."
    )
    assert changed_surroundings(records[1:], {"torch": "2.9", "driver": "1"}) is None
    threads = [made_with({"threads": count}) for count in (1, 2)]
    assert "several versions or machines: threads 1 (1), 2 (1). " in mixed_surroundings(threads)


def test_the_total_time_is_what_it_took_although_runs_share_an_encoding(tmp_path):
    class SlowEncoder(FakePipeline):
        def encode_prompts(self, formatted_prompts, hidden_layers):
            time.sleep(0.05)
            return super().encode_prompts(formatted_prompts, hidden_layers)

    store, outcome = make(tmp_path, plan_of("shift=1..10", prompts=(CAT,)), SlowEncoder())
    summary = store.write_summary().values
    assert sum(record.generation_time_seconds for record in store.runs()) > 0.5
    assert 0.05 <= summary["total_time_seconds"] <= outcome.seconds


def test_the_page_counts_what_summaries_count(tmp_path):
    store, _ = make(tmp_path)
    counter = RunCounter(store.folder)
    assert counter.counts(store.manifest()) == Counts(6, 0)
    failing = FakePipeline(failing={("A dog", 2.0): RuntimeError("out of memory")})
    make(tmp_path, plan_of(prompts=(Prompt("p3", "c", "", "A dog"),)), failing)
    assert counter.counts(store.manifest()) == Counts(8, 1)
    (store.metadata / "trial_animal_001_shift_2.0_seed42.json").write_text("{")
    assert counter.counts(store.manifest()) == Counts(7, 1)
    make(tmp_path, plan_of(prompts=(replace(CUP, text="A black cup"),)))  # three results of the old text are stale now
    assert counter.counts(store.manifest()) == Counts(4, 1)
    assert len([record for record in store.runs() if record.is_finished]) == 4


@pytest.mark.parametrize(
    ("before", "is_named"), [("2.15", False), ("2.15+cu132", False), ("2.15+cpu", True), ("2.14", True)]
)
def test_a_version_that_did_not_name_its_build_is_no_other_version(tmp_path, before, is_named):
    old, new = FakePipeline(), FakePipeline()
    old.versions["torch"], new.versions["torch"] = before, "2.15+cu132"
    make(tmp_path, plan_of(prompts=(CAT,)), old)
    notes = []
    store, _ = make(tmp_path, pipeline=new, on_start=lambda work: notes.extend(work.notes))
    assert bool(notes) == is_named
    assert bool([note for note in analyse(store.manifest(), store.runs(), ()).notes if "versions" in note]) == is_named
