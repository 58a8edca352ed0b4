"""What a plan is said to take."""

import json

import pytest
from fake_pipeline import FakePipeline

from experiments.cluster.spreading import spread
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


def folder_with(store, sweep, prompts, seconds_of):
    """Draw a plan, and let each run have taken so long; return the plan."""
    asked = [Prompt(f"p{number}", "c", "", f"text {number}") for number in range(prompts)]
    plan = plan_experiment(experiment_from_sweeps([sweep], "trial"), asked, [1])
    run_plan(plan, OneDevice.of(Embedded()), store)
    for path in store.metadata.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        record["image"].update(width=128, height=128)  # of the embedded model
        record["run"].update(generation_time_seconds=9.0, elapsed_seconds=seconds_of(record["run"]))
        path.write_text(json.dumps(record), encoding="utf-8")
    return plan


def seconds_of(run):
    """Of each prompt's runs the first one encodes and makes the first evaluation, which five others take over."""
    if run["is_warm_up"]:
        return 100.0
    return 2.0 if run["levels"]["shift"] == "1.0" else 1.0


@pytest.mark.parametrize(("workers", "prompts_of_each"), [(1, 7), (7, 1)])
def test_what_images_share_is_counted_once_a_prompt_however_many_draw(tmp_path, workers, prompts_of_each):
    store = ResultStore(tmp_path)
    plan = folder_with(store, "shift=1..6", 7, seconds_of)  # of the 42 runs six are of the first prompt: a warm-up
    facts = facts_of(plan)
    found = forecast(plan, facts, store)
    assert found.seconds == pytest.approx(7 * (2.0 + 5 * 1.0)), "the median would say 42"
    assert found.seconds_basis == "from 36 finished runs in this folder"
    spread_over = spread(plan, facts, plan.run_count, found.seconds, workers)
    drawing = spread_over.seconds - spread_over.loading_seconds
    assert drawing == pytest.approx(prompts_of_each * 7.0, rel=0.1)


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
