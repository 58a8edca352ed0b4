"""The tables: numbers are numbers, texts are texts, and every column says what it holds."""

import io

import pandas
import pytest
from fake_pipeline import FakePipeline

from experiments.planning.design import Axis, Experiment, Level, plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.store.result_store import ResultStore
from experiments.store.summary import axis_columns, harmless, summary_csv

CAT = Prompt("animal_001", "animals", "easy", "A cat")


def store_of(tmp_path, experiment, prompts=(CAT,)):
    store = ResultStore(tmp_path / experiment.name)
    run_plan(plan_experiment(experiment, prompts, [42]), FakePipeline(), store)
    return store


def read(store):
    return pandas.read_csv(io.StringIO(summary_csv(store.manifest(), store.runs())))


def named(axis, **levels):
    return Experiment("trial", "", (Axis(axis, tuple(Level(name, values) for name, values in levels.items())),))


def test_an_axis_over_numbers_sorts_as_numbers(tmp_path):
    store = store_of(tmp_path, experiment_from_sweeps(["num_inference_steps=4,6,10,12,15,20"], "trial"))
    frame = store.to_frame()
    assert sorted(frame["num_inference_steps"]) == [4, 6, 10, 12, 15, 20]
    assert frame["num_inference_steps"].dtype.kind == "i"
    assert list(frame["variable_value"]) == ["4", "6", "10", "12", "15", "20"]


def test_named_levels_have_a_column_of_each_parameter_they_set(tmp_path):
    levels = {"usual": {}, "quick": {"num_inference_steps": 2, "shift": 2.0}}
    frame = store_of(tmp_path, named("speed", **levels)).to_frame()
    assert list(frame["speed"]) == ["usual", "quick"]
    assert list(frame["shift"]) == [3.0, 2.0]
    assert list(frame["num_inference_steps"]) == [9, 2]


def test_an_axis_named_like_a_numeric_column_leaves_the_numbers_alone(tmp_path):
    frame = store_of(tmp_path, named("width", small={"width": 64}, large={"width": 128})).to_frame()
    assert list(frame["width"]) == [64, 128]
    assert list(frame["axis_width"]) == ["small", "large"]


def test_no_axis_loses_its_column_to_another(tmp_path):
    axes = (
        Axis("seed", (Level("5", {"seed": 5}), Level("6", {"seed": 6}))),
        Axis("axis_seed", (Level("a", {"shift": 2.0}), Level("b", {"shift": 3.0}))),
    )
    store = store_of(tmp_path, Experiment("trial", "", axes))
    assert axis_columns(store.manifest()) == {"seed": "axis_seed", "axis_seed": "axis_axis_seed"}
    frame = store.to_frame()
    assert list(frame["seed"]) == [5, 5, 6, 6]
    assert list(frame["axis_axis_seed"]) == ["a", "b", "a", "b"]


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan", "N/A"])
def test_levels_that_pandas_would_read_as_missing_come_back_as_text(tmp_path, name):
    frame = read(store_of(tmp_path, named("speed", **{name: {"shift": 2.0}, "usual": {}})))
    assert list(frame["level"]) == [f"'{name}'", "usual"]
    assert list(frame["speed"]) == [f"'{name}'", "usual"]


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1", "-"])
def test_a_text_is_never_a_formula_in_a_spreadsheet(tmp_path, text):
    assert harmless(text) == "'" + text
    if text.isprintable():
        csv = summary_csv(
            *(lambda store: (store.manifest(), store.runs()))(
                store_of(tmp_path, named("speed", **{text: {"shift": 2.0}, "usual": {}}))
            )
        )
        assert f",'{text}," in csv


@pytest.mark.parametrize("value", ["-2", "3.0", "-1e-3", 4, -2.5, None, "a=b", "plain"])
def test_numbers_and_plain_texts_stay_as_they_are(value):
    assert harmless(value) == value
