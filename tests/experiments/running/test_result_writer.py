"""Results written in the background: counted when they are there, failed with their reason, defects carried on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_results import sample_metadata, sample_plan
from small_runs import make

from experiments.running.result_writer import ResultWriter

PNG = b"a picture"


@pytest.fixture
def store(tmp_path):
    return make(tmp_path)[0]


@pytest.fixture
def run():
    first = next(sample_plan().runs())
    return replace(first, params=first.params.model_copy(update={"width": 64, "height": 64}))


def metadata_of(run):
    return {name: value for name, value in sample_metadata(run, {}, picture=PNG).items() if name != "image"}


def test_a_picture_that_is_made_already_is_written_as_it_is(store, run):
    metadata = metadata_of(run)
    with ResultWriter(store) as writer:
        assert not writer.has_result(run.run_id, metadata["run"]["identity"])
        writer.write_png(run, metadata, PNG)
    assert (writer.made, writer.failed, writer.done) == (1, [], 1)
    assert store.image_path(run.run_id).read_bytes() == PNG
    assert writer.has_result(run.run_id, metadata["run"]["identity"])
    assert not writer.has_result(run.run_id, "another")


def test_a_defect_while_writing_ends_the_program_and_not_the_thread_alone(store, run, monkeypatch):
    def defect(*_):
        raise KeyError("defect")

    monkeypatch.setattr(store, "write_result", defect)
    writer = ResultWriter(store)
    with pytest.raises(KeyError, match="defect"), writer:
        writer.write_png(run, metadata_of(run), PNG)
    assert writer.made == 0


def test_a_disk_that_takes_not_even_the_failure_leaves_it_in_the_account(store, run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_result", full)
    monkeypatch.setattr(store, "write_failure", full)
    with ResultWriter(store) as writer:
        writer.write_png(run, metadata_of(run), PNG)
    assert writer.failed == [
        (
            run.run_id,
            "The result could not be written: No space left on device. (and the failure could not be written either)",
        )
    ]
    assert writer.done == 1
