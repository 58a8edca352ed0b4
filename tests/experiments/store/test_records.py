"""Records are whole, or named and made again, whatever stands in their files."""

import json
import math

import pytest
from fake_pipeline import FakePipeline

from experiments.metrics import METRICS
from experiments.metrics.missing_scores import score_results
from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.reporting.report_page import write_report
from experiments.running.execution import run_plan
from experiments.stats.findings import analyse
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError

CAT, CUP = Prompt("animal_001", "animals", "easy", "A cat"), Prompt("simple_001", "simple_objects", "hard", "A cup")
FIRST = "trial_animal_001_shift_2.0_seed42"


def make(folder, **options):
    store = ResultStore(folder)
    plan = plan_experiment(experiment_from_sweeps(["shift=2,3"], "trial"), (CAT, CUP), [42])
    notes = []
    outcome = run_plan(plan, FakePipeline(), store, on_start=lambda work: notes.extend(work.notes), **options)
    return store, outcome, notes


def changed(store, place, value):
    path = store.metadata / f"{FIRST}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    *blocks, name = place.split(".")
    block = values
    for part in blocks:
        block = block.setdefault(part, {})
    block[name] = value
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("scores.image_reward", math.nan, "the score image_reward is nan, not a number"),
        ("scores.image_reward", [1.0], "the score image_reward is [1.0], not a number"),
        ("scores.image_reward", "good", "the score image_reward is 'good', not a number"),
        ("scores", [], "scores are not a table"),
        ("scores_of", {"image_reward": 3}, "scores_of are not texts"),
        ("run.generation_time_seconds", "fast", "generation_time_seconds is not a duration"),
        ("run.generation_time_seconds", -1.0, "generation_time_seconds is not a duration"),
        ("run.elapsed_seconds", math.inf, "elapsed_seconds is not a duration"),
        ("run.seed", "42", "seed is not a whole number"),
        ("run.levels", {"shift": 2.0}, "levels are not names"),
        ("run.prompt", None, "prompt is not a text"),
        ("run.token_count", "many", "token_count is not a whole number"),
        ("evaluations", "9", "evaluations is not a whole number"),
        ("parameters", [], "the blocks run and parameters are not there"),
        ("image.bytes", "1", "the image's bytes is not a whole number"),
        ("image.file", "../../secret.png", "the image's file is not inside of the folder"),
        ("image", [1], "the block image is not there"),
        ("numerics", {"dtype": None}, "numerics are not texts"),
    ],
)
def test_a_wrong_value_stops_nothing_is_named_and_made_again(tmp_path, place, value, problem):
    store, _, _ = make(tmp_path)
    changed(store, place, value)
    assert [str(found) for found in store.damaged_runs()] == [f"{FIRST} ({problem})"]
    assert len(store.runs()) == 3
    analyse(store.manifest(), store.runs(), METRICS)
    store.write_summary()
    assert problem.split(" is ")[0] in write_report(tmp_path).read_text(encoding="utf-8").replace("&#39;", "'")
    _, outcome, notes = make(tmp_path)
    assert (outcome.made, outcome.skipped) == (1, 3)
    assert notes[0] == f"1 result is damaged, and made again where this command asks for them: {FIRST} ({problem})."
    assert len(store.runs()) == 4
    assert store.damaged_runs() == []


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_picture_damaged_at_equal_size_is_found_by_verify_and_made_again(tmp_path):
    store, _, _ = make(tmp_path)
    before = store.image_path(FIRST).read_bytes()
    flip_a_byte(store.image_path(FIRST))
    assert make(tmp_path)[1].made == 0
    _, outcome, notes = make(tmp_path, verify=True)
    assert (outcome.made, outcome.skipped) == (1, 3)
    assert f"{FIRST} (its picture is not the one that was written" in notes[0]
    assert store.image_path(FIRST).read_bytes() == before


def test_the_report_names_a_picture_that_is_not_the_one_written_even_beside_a_fresh_thumbnail(tmp_path):
    store, _, _ = make(tmp_path)
    write_report(tmp_path)
    flip_a_byte(store.image_path(FIRST))
    for bundle in (False, True):
        page = write_report(tmp_path, bundle=bundle).read_text(encoding="utf-8")
        assert f"{FIRST}: its picture is not the one that was written" in page


def test_a_damaged_picture_gets_no_score(tmp_path):
    class Scorer:
        metric = METRICS[0]

        def score_rows(self, rows):
            return [{"image_reward": 1.0} for _ in rows]

    store, _, _ = make(tmp_path)
    flip_a_byte(store.image_path(FIRST))
    result = score_results(store, [Scorer()])
    assert len(result.unreadable) == 1
    assert result.scored == {"image_reward": 3}


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 1, "experiment": []}', "", "\x00"])
def test_a_damaged_manifest_is_written_anew_and_costs_no_result(tmp_path, content):
    store, _, _ = make(tmp_path)
    store.write_summary()
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(OutputError, match="run the experiment's command again, which writes it anew"):
        store.manifest()
    _, outcome, notes = make(tmp_path)
    assert (outcome.made, outcome.skipped) == (0, 4)
    assert notes == [f"{tmp_path}: the manifest was damaged and is written anew from this command."]
    assert len(store.runs()) == 4


def test_a_manifest_of_a_later_version_is_left_alone(tmp_path):
    make(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(OutputError, match="has format 2"):
        make(tmp_path, overwrite=True)
