"""What a plan is said to take."""

import json

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.forecast import forecast
from experiments.running.one_device import OneDevice
from experiments.running.plan_models import facts_of
from experiments.store.result_store import ResultStore


class Embedded(FakePipeline):
    """A pipeline whose records name the embedded model."""

    def metadata(self, *arguments):
        return {**super().metadata(*arguments), "model_path": "mini"}


def test_runs_take_what_they_took_in_the_folder_and_not_what_each_would_take_alone(tmp_path):
    experiment = experiment_from_sweeps(["shift=1..3"], "trial")
    plan = plan_experiment(experiment, [Prompt("p1", "c", "", "A cat")], [1, 2])
    store = ResultStore(tmp_path)
    run_plan(plan, OneDevice.of(Embedded()), store)
    for path in store.metadata.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        record["image"].update(width=128, height=128)  # of the embedded model
        record["run"].update(generation_time_seconds=5.0, elapsed_seconds=2.0)
        path.write_text(json.dumps(record), encoding="utf-8")
    found = forecast(plan, facts_of(plan), store)
    assert found.seconds == pytest.approx(6 * 2.0)
    assert found.seconds_basis == "from 6 finished runs in this folder"
