"""The folder of thousands of runs that the lab is measured with."""

import pytest

from benchmarks.bench_scale import LEVELS, NAME, SEEDS, run_command, write_folder
from experiments.store.result_store import ResultStore


@pytest.mark.slow
def test_the_written_runs_are_those_that_the_command_would_make(tmp_path):
    arguments = write_folder(tmp_path, 2 * LEVELS * SEEDS)
    store = ResultStore(tmp_path / NAME)
    before = {path.name: path.stat().st_mtime_ns for path in store.metadata.iterdir()}
    assert len(store.runs()) == len(before) == 2 * LEVELS * SEEDS
    run_command(["experiments/run_ablation.py", *arguments])
    assert {path.name: path.stat().st_mtime_ns for path in store.metadata.iterdir()} == before, "none was drawn again"
