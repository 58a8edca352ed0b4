"""What the page remembers of the experiments it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_dit.errors import OutputError
from web.jobs.lab_request import LabRequest
from web.jobs.remembered_requests import RememberedRequests

ASKED = LabRequest(("--experiment", "shift_sweep"), compute_metrics=True)


def test_an_open_request_is_unfinished_until_its_end_is_noted(tmp_path: Path) -> None:
    requests = RememberedRequests(tmp_path / "new" / "experiments")
    requests.remember("shift_sweep", ASKED)
    assert [name for name, _ in requests.unfinished()] == ["shift_sweep"]
    assert requests.read("shift_sweep") == ASKED
    requests.note_end("shift_sweep", "done", None)
    assert list(requests.unfinished()) == []


def test_a_full_disk_names_the_folder_of_the_server_not_a_flag_of_another_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError) as error:
        RememberedRequests(tmp_path).remember("shift_sweep", ASKED)
    assert error.value.field == "data_dir"
    assert str(error.value) == (
        f"{tmp_path / 'shift_sweep.json'} can't be written: No space left on device; "
        "free some space, make the folder writable, or choose another one."
    )
