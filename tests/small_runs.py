"""Runs of two prompts at a few shifts, drawn by a stand-in into a folder of their own."""

from pathlib import Path

from fake_pipeline import FakePipeline

from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore

MADE_BEFORE = Path(__file__).parent / "experiments" / "store" / "made_before"
"""Written by the version that hashed every parameter whole; the manifest kept no cells."""

CAT, CUP = Prompt("animal_001", "animals", "easy", "A cat"), Prompt("simple_001", "simple_objects", "hard", "A cup")


def plan_of(*sweeps, prompts=(CAT, CUP), seeds=(42,), name="trial", **options):
    experiment = experiment_from_sweeps(sweeps or ("shift=1..3",), name)
    return plan_experiment(experiment, prompts, seeds, **options)


def make(folder, plan=None, pipeline=None, *, shares=True, **options):
    plan = plan or plan_of()
    store = ResultStore(folder / plan.experiment.name)
    return store, run_plan(plan, OneDevice.of(pipeline or FakePipeline(), shares=shares), store, **options)


def images(store):
    return {path.name: path.read_bytes() for path in store.images.iterdir()}
