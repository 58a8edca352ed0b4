"""The tables: numbers are numbers, texts are texts, and every column says what it holds."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pandas
import pytest
from fake_pipeline import FakePipeline
from sample_results import axis, sample_manifest, sample_plan, sample_records

from experiments.planning.design import Axis, Experiment, Level, plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.analyses import PastAnalysis
from experiments.store.result_store import ResultStore
from experiments.store.summary import (
    axis_columns,
    columns,
    harmless,
    set_parameters,
    summarize,
    summary_csv,
    summary_rows,
)

CAT = Prompt("animal_001", "animals", "easy", "A cat")


def store_of(tmp_path, experiment, prompts=(CAT,)):
    store = ResultStore(tmp_path / experiment.name)
    run_plan(plan_experiment(experiment, prompts, [42]), OneDevice.of(FakePipeline()), store)
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


def test_an_axis_over_texts_has_its_own_name_and_sets_no_further_column():
    plan = plan_experiment(experiment_from_sweeps(["system_prompt=plain,bright", "shift=2,3"], "trial"), [CAT], [42])
    manifest = sample_manifest(plan)
    assert set_parameters(manifest) == []
    assert axis_columns(manifest) == {"system_prompt": "system_prompt", "shift": "shift"}


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


@pytest.mark.parametrize(
    "text",
    [
        "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
        "NULL", "NaN", "None", "n/a", "nan", "null",
    ],
)  # fmt: skip
def test_every_text_that_pandas_documents_as_missing_is_quoted(text):
    assert pandas.read_csv(io.StringIO(f"a\n{text}\n"))["a"].isna().all()
    assert harmless(text) == f"'{text}'"
    assert list(pandas.read_csv(io.StringIO(f"a\n{harmless(text)}\n"))["a"]) == [f"'{text}'"]


@pytest.mark.parametrize(
    "name",
    [
        "prompt_id", "output_path", "run_id", "category", "difficulty", "level", "width", "height",
        "num_inference_steps", "evaluations", "token_count_used", "shift",
    ],
)  # fmt: skip
def test_an_axis_named_like_any_column_gets_one_of_its_own(name):
    own = Axis(name, (Level("a", {"shift": 1.0}), Level("b", {"shift": 2.0})))
    assert axis_columns(sample_manifest(sample_plan(axes=[own]))) == {name: f"axis_{name}"}


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


@pytest.mark.parametrize(
    ("value", "field"), [(" NA ", "' NA '"), ("-inf", "'-inf"), ("inf", "inf"), ("", ""), ("nannan", "nannan")]
)
def test_a_text_near_a_number_or_a_missing_value(value, field):
    assert harmless(value) == field


def test_a_prompts_detail_named_like_the_column_of_an_axis_gets_one_of_its_own():
    details = {"mood": "calm", "speed": "slow", "steps": "4", "seed": "x", "category": "y", "shift": "z", "width": "w"}
    prompts = [replace(CAT, details=details)]
    levels = Axis("speed", (Level("usual", {}), Level("quick", {"shift": 2.0})))
    plan = sample_plan(axes=[levels], prompts=prompts)
    row, quick = summary_rows(sample_manifest(plan), sample_records(plan, lambda run: {}))
    assert (row["speed"], row["prompt_speed"], row["mood"], row["steps"]) == ("usual", "slow", "calm", "4")
    assert [row[f"prompt_{name}"] for name in ("seed", "category", "shift", "width")] == ["x", "y", "z", "w"]
    assert (quick["seed"], quick["category"], quick["shift"], quick["width"]) == (42, "animals", 2.0, 64)


def test_a_level_without_a_value_has_its_name_in_the_column_of_its_axis():
    levels = (Level("none", {"system_prompt": None}), Level("x", {"system_prompt": "x"}))
    plan = sample_plan(axes=[Axis("system_prompt", levels)], prompts=1)
    rows = summary_rows(sample_manifest(plan), sample_records(plan, lambda run: {}))
    assert [row["system_prompt"] for row in rows] == ["none", "x"]


def test_an_axis_over_a_parameter_of_another_version_has_a_column_of_names():
    manifest = sample_manifest(sample_plan(prompts=1))
    unknown = replace(manifest.experiment, axes=(axis("of_another_version", 1.0, 2.0),))
    assert axis_columns(replace(manifest, experiment=unknown)) == {"of_another_version": "of_another_version"}


def sample(**options):
    plan = sample_plan(axes=[axis("shift", 2.0, 3.0)], prompts=3, **options)

    def scores(run):
        number = int(run.prompt.id[-3:])
        is_out = number == 2 and run.params.shift == 3.0
        return "out of memory" if is_out else {"image_reward": number + run.params.shift, "image_reward_seeds": 4.0}

    return sample_manifest(plan), sample_records(plan, scores)


def test_totals_count_what_failed_and_only_the_time_of_what_did_not():
    manifest, records = sample()
    values = summarize(manifest, records).values
    assert (values["total_runs"], values["successful_runs"], values["failed_runs"]) == (6, 5, 1)
    assert values["total_time_seconds"] == 2.25  # nine steps of 0.05 s each, five times
    assert values["image_reward"] == {"mean": 3.2, "min": 2.0, "max": 4.0, "count": 5}  # 2, 3, 4, 3 and 4
    assert values["levels"]["3.0"] == {
        "total_runs": 3,
        "successful_runs": 2,
        "failed_runs": 1,
        "total_time_seconds": 0.9,
        "image_reward": {"mean": 3.5, "min": 3.0, "max": 4.0, "count": 2},
        "siglip_score": {"mean": None, "min": None, "max": None, "count": 0},
    }


def test_a_summary_names_the_experiment_its_baseline_and_who_analysed_it():
    manifest, records = sample()
    seen = PastAnalysis("2026-01-01", "analyze.py", frozenset({"image_reward"}), 5, frozenset({("a", 1), ("a", 2)}))
    values = summarize(replace(manifest, analyses=(seen,)), records).values
    assert (values["experiment"], values["variable_name"], values["baseline"]) == ("shift_sweep", "shift", "3.0")
    assert values["primary"] is None
    assert values["analyses"] == [{"when": "2026-01-01", "by": "analyze.py", "pictures": 5, "prompts": 1}]
    assert datetime.fromisoformat(values["timestamp"]).tzinfo is UTC


def test_a_finished_run_has_its_scores_and_its_picture_in_its_row():
    manifest, records = sample()
    row = summary_rows(manifest, records)[0]
    assert (row["image_reward"], row["image_reward_seeds"], row["siglip_score"], row["error"]) == (2.0, 4.0, None, None)
    assert row["output_path"] == f"results/images/{row['run_id']}.png"


def test_the_total_time_takes_what_a_record_says_of_its_run():
    manifest, records = sample()
    finished = [record for record in records if record.is_finished]
    measured = replace(finished[0], elapsed_seconds=0.0)  # shared its work with another: nothing beside 0.45 s alone
    unknown = replace(finished[1], generation_time_seconds=None)
    assert summarize(manifest, [measured]).values["total_time_seconds"] == 0.0
    assert summarize(manifest, [unknown]).values["total_time_seconds"] == 0.0
    rounded = replace(finished[2], elapsed_seconds=1.23456)
    assert summarize(manifest, [measured, unknown, rounded]).values["total_time_seconds"] == 1.235


def test_the_columns_are_those_promised_in_their_order():
    manifest, records = sample()
    assert columns(manifest, records) == [
        *("prompt_id", "seed", "variable_name", "variable_value", "generation_time_seconds", "token_count"),
        *("image_reward", "siglip_score", "error", "output_path", "run_id", "category", "difficulty", "level"),
        *("shift", "width", "height", "num_inference_steps", "evaluations", "token_count_used", "image_reward_seeds"),
    ]
    failed = next(row for row in summary_rows(manifest, records) if row["error"])
    assert failed == {
        "prompt_id": "text_rendering_002",
        "seed": 42,
        "variable_name": "shift",
        "variable_value": "3.0",
        "generation_time_seconds": 0.45,
        "token_count": 20,
        "image_reward": None,
        "siglip_score": None,
        "error": "out of memory",
        "output_path": None,
        "run_id": "shift_sweep_text_rendering_002_shift_3.0_seed42",
        "category": "text_rendering",
        "difficulty": "easy",
        "level": "3.0",
        "shift": 3.0,
        "width": 64,
        "height": 64,
        "num_inference_steps": 9,
        "evaluations": 9,
        "token_count_used": 20,
        "image_reward_seeds": None,
    }
