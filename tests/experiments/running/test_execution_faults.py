"""Runs that fail, disks that are full, and commands that are killed: what is done stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_pipeline import FakePipeline
from small_runs import CAT, images, make, plan_of

from experiments.prompts import Prompt
from experiments.store.result_store import ResultStore
from llm_dit.errors import NonFiniteLatents


def test_a_failing_run_is_written_down_and_the_others_go_on(tmp_path):
    failing = {
        ("A cat", 2.0): NonFiniteLatents("The latents are not finite after step 3 of 9"),
        ("A cup", 1.0): RuntimeError("CUDA out of memory"),
    }
    store, outcome = make(tmp_path, pipeline=FakePipeline(failing=failing))
    assert outcome.made == 4
    assert dict(outcome.failed) == {
        "trial_animal_001_shift_2.0_seed42": "The latents are not finite after step 3 of 9",
        "trial_simple_001_shift_1.0_seed42": "CUDA out of memory",
    }
    errors = {record.run_id: record.error for record in store.runs() if not record.is_finished}
    assert errors == dict(outcome.failed)
    assert store.write_summary().values["failed_runs"] == 2


def test_a_retry_makes_the_failed_runs_and_forgets_the_failures(tmp_path):
    store, _ = make(tmp_path, pipeline=FakePipeline(failing={("A cat", 2.0): RuntimeError("out of memory")}))
    _, outcome = make(tmp_path)
    assert (outcome.made, outcome.skipped, outcome.failed) == (1, 5, ())
    assert list(store.failed.iterdir()) == []
    assert [record.is_finished for record in store.runs()] == [True] * 6


def test_a_prompt_that_can_not_be_encoded_fails_its_own_runs_only(tmp_path):
    _, outcome = make(tmp_path, pipeline=FakePipeline(failing_texts=("A cup",)))
    assert outcome.made == 3
    assert {error for _, error in outcome.failed} == {"the text encoder ran out of memory"}


def test_an_image_that_fails_while_it_is_waited_for_is_written_down_and_the_others_go_on(tmp_path):
    class Late(FakePipeline):
        def draw(self, params, conditioning, shared=None):
            drawing = super().draw(params, conditioning, shared)
            if len(self.denoised) == 2:
                return SimpleNamespace(wait=fail)
            return drawing

    def fail():
        raise NonFiniteLatents("Sampling left the range at step 1.")

    store, outcome = make(tmp_path, pipeline=Late())
    assert outcome.made == 5
    assert [error for _, error in outcome.failed] == ["Sampling left the range at step 1."]
    assert len(list(store.failed.glob("*.json"))) == 1


def test_a_defect_of_our_own_is_not_swallowed(tmp_path):
    with pytest.raises(ZeroDivisionError):
        make(tmp_path, pipeline=FakePipeline(failing={("A cat", 2.0): ZeroDivisionError()}))


def test_a_failed_overwrite_of_a_stale_result_is_in_the_summary(tmp_path):
    make(tmp_path)
    changed = plan_of(prompts=(Prompt(CAT.id, "animals", "easy", "A black cat"),))
    pipeline = FakePipeline(failing={("A black cat", 2.0): RuntimeError("out of memory")})
    store, _ = make(tmp_path, changed, pipeline, overwrite=True)
    failed = [record.run_id for record in store.runs() if not record.is_finished]
    assert failed == ["trial_animal_001_shift_2.0_seed42"]


def test_a_full_disk_fails_the_runs_keeps_what_is_there_and_is_reported(tmp_path, monkeypatch):
    store, _ = make(tmp_path, plan_of("shift=1", prompts=(CAT,)))
    before = images(store)
    sync, full = os.fsync, {"now": False}

    def fsync(descriptor):
        if full["now"]:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    def on_start(_work):
        full["now"] = True

    _, outcome = make(tmp_path, on_start=on_start)
    assert outcome.made == 0
    assert len(outcome.failed) == 5
    assert all("No space left on device" in error for _, error in outcome.failed)
    assert "could not be written" in outcome.summary_error
    assert images(store) == before
    full["now"] = False
    _, outcome = make(tmp_path)
    assert (outcome.made, outcome.skipped, outcome.failed) == (5, 1, ())


def test_a_failed_overwrite_keeps_the_old_result(tmp_path, monkeypatch):
    store, _ = make(tmp_path)
    before = images(store)
    changed = plan_of(prompts=(Prompt(CAT.id, "animals", "easy", "A black cat"),))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    _, outcome = make(tmp_path, changed, overwrite=True, on_start=lambda _work: monkeypatch.setattr(os, "fsync", full))
    assert len(outcome.failed) == 3
    assert images(store) == before
    assert "trial_animal_001_shift_1.0_seed42" in [record.run_id for record in store.results()[0]]


def test_a_wish_to_stop_finishes_the_image_writes_the_summary_and_leaves_the_rest(tmp_path):
    pipeline = FakePipeline()
    store, outcome = make(tmp_path, pipeline=pipeline, should_stop=lambda: len(pipeline.denoised) == 2)
    assert (outcome.made, outcome.remaining, outcome.is_interrupted) == (2, 4, True)
    assert len(store.runs()) == 2
    assert len((store.folder / "trial_summary.csv").read_text().splitlines()) == 3
    _, outcome = make(tmp_path)
    assert (outcome.made, outcome.skipped) == (4, 2)


def test_progress_counts_up_to_what_was_to_do(tmp_path):
    seen = []
    make(tmp_path, on_progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(number, 6) for number in range(1, 7)]
    assert seen[-1].seconds_left == 0
    assert seen[0].images_per_second > 0


KILLED_RUNNER = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
from fake_pipeline import FakePipeline
from test_execution import make, plan_of
make(Path({folder!r}), plan_of("shift=1..5", seeds=(1, 2)), FakePipeline(seconds=0.005))
"""


def test_killed_at_any_instant_nothing_finished_is_lost_and_a_resume_completes_it(tmp_path):
    reference, _ = make(tmp_path / "reference", plan_of("shift=1..5", seeds=(1, 2)))
    store = ResultStore(tmp_path / "killed" / "trial")
    code = KILLED_RUNNER.format(
        tests=[str(Path(__file__).parents[2]), str(Path(__file__).parent)], folder=str(tmp_path / "killed")
    )
    finished = 0
    for wanted in (1, 4, 9):
        process = subprocess.Popen([sys.executable, "-c", code])
        while process.poll() is None and len(list(store.metadata.glob("*.json"))) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        records = store.runs()
        assert len(records) >= finished, "a finished run was lost"
        assert all(record.image_path.read_bytes() == images(reference)[record.image_path.name] for record in records)
        finished = len(records)
    assert 9 <= finished < 20
    _, outcome = make(tmp_path / "killed", plan_of("shift=1..5", seeds=(1, 2)))
    assert (outcome.made, outcome.skipped) == (20 - finished, finished)
    assert images(store) == images(reference)
    assert len(store.write_summary().values["levels"]) == 5
