"""Records are whole, or named and made again, whatever stands in their files."""

import hashlib
import json
import math
from dataclasses import replace

import pytest
from fake_pipeline import FakePipeline
from sample_results import sample_metadata, sample_plan

from experiments.metrics import METRICS
from experiments.metrics.missing_scores import score_results
from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.reporting.report_page import write_report
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.stats.findings import analyse
from experiments.store.records import RUN_TEXTS, DamagedRecord, RunRecord, read_record, record_from_metadata
from experiments.store.result_store import ResultStore
from experiments.store.verification import hash_problem, size_problem, unfit_pictures
from llm_dit.errors import OutputError

CAT, CUP = Prompt("animal_001", "animals", "easy", "A cat"), Prompt("simple_001", "simple_objects", "hard", "A cup")
FIRST = "trial_animal_001_shift_2.0_seed42"


def make(folder, **options):
    store = ResultStore(folder)
    plan = plan_experiment(experiment_from_sweeps(["shift=2,3"], "trial"), (CAT, CUP), [42])
    notes = []
    outcome = run_plan(
        plan, OneDevice.of(FakePipeline()), store, on_start=lambda work: notes.extend(work.notes), **options
    )
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


def written(place="", value=None):
    """A record's file, changed in one place."""
    run = next(sample_plan().runs())
    metadata = sample_metadata(run, {"image_reward": 0.5}, picture=b"a picture")
    *blocks, name = place.split(".")
    block = metadata
    for part in blocks:
        block = block[part]
    if name:
        block[name] = value
    return metadata


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("run", [], "the blocks run and parameters are not there"),
        ("parameters", None, "the blocks run and parameters are not there"),
        *((f"run.{name}", 3, f"{name} is not a text") for name in RUN_TEXTS),
        ("run.seed", True, "seed is not a whole number"),
        ("run.seed", 42.0, "seed is not a whole number"),
        ("run.levels", {}, "levels are not names"),
        ("run.levels", ["2.0"], "levels are not names"),
        ("run.generation_time_seconds", True, "generation_time_seconds is not a duration"),
        ("run.elapsed_seconds", math.nan, "elapsed_seconds is not a duration"),
        ("run.session", 3, "session is not a text"),
        ("run.is_warm_up", 1, "session is not a text"),
        ("run.token_count", True, "token_count is not a whole number"),
        ("parameters.prompt", None, "the parameter prompt is not a text"),
        ("numerics", [], "numerics are not texts"),
        ("scores_of", ["tiny"], "scores_of are not texts"),
        ("model_fingerprint", None, "model_fingerprint is not a text"),
        ("scores", None, "scores are not a table"),
        ("scores.image_reward", -math.inf, "the score image_reward is -inf, not a number"),
        ("scores.image_reward", "x" * 50, f"the score image_reward is '{'x' * 19}, not a number"),
        ("evaluations", True, "evaluations is not a whole number"),
        ("token_count_used", 20.0, "token_count_used is not a whole number"),
        ("error", 3, "error is not a text"),
        ("image", None, "the block image is not there"),
        ("image.file", None, "the image's file is not inside of the folder"),
        ("image.file", "/etc/secret.png", "the image's file is not inside of the folder"),
        ("image.file", "\\secret.png", "the image's file is not inside of the folder"),
        ("image.file", "images\\..\\..\\secret.png", "the image's file is not inside of the folder"),
        *(
            (f"image.{name}", 64.0, f"the image's {name} is not a whole number")
            for name in ("bytes", "width", "height")
        ),
        ("image.sha256", 3, "the image's sha256 is not a text"),
        ("run.load_seconds", [1.0], "load_seconds are not durations"),
        ("run.load_seconds", {"transformer": -1.0}, "load_seconds are not durations"),
        ("pair_scores", [], "pair_scores are not a table"),
        ("pair_scores", {"ssim": 0.5}, "the pair score ssim is not a table"),
        ("pair_scores", {"ssim": {"values": None}}, "the pair score ssim is not a table"),
        ("pair_scores", {"ssim": {"values": {}, "model": 3}}, "model of the pair score ssim is not a text"),
        (
            "pair_scores",
            {"ssim": {"values": {"ssim": None}, "model": "m", "picture": "a", "baseline": "b"}},
            "the score ssim is None, not a number",
        ),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(tmp_path, place, value, problem):
    assert read_record(written(place, value), tmp_path) == problem
    assert record_from_metadata(written(place, value), tmp_path) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("run.generation_time_seconds", None),
        ("run.generation_time_seconds", 0),
        ("run.elapsed_seconds", 0.5),
        ("run.is_warm_up", True),
        ("run.token_count", None),
        ("scores.image_reward", None),
        ("scores.image_reward_truncated", True),
        ("scores.image_reward", 1),
        ("evaluations", None),
        ("token_count_used", None),
        ("image.file", "images/a..b.png"),
        ("image.sha256", "ab"),
        ("run.load_seconds", {"transformer": 1.5}),
        ("error", "it failed"),
    ],
)
def test_what_a_record_may_hold_or_lack_is_read(tmp_path, place, value):
    assert isinstance(read_record(written(place, value), tmp_path), RunRecord)


def test_a_record_says_what_stands_in_its_file_and_the_usual_where_nothing_stands(tmp_path):
    metadata = written("run.levels", {"shift": "2.0", "steps": "9"})
    del metadata["run"]["session"]
    for name in ("numerics", "scores", "scores_of", "model_fingerprint"):
        del metadata[name]
    record = read_record(metadata, tmp_path)
    assert record.level == "2.0 x 9"
    assert record.image_path == tmp_path / metadata["image"]["file"]
    assert (record.numerics, record.scores, record.scores_of) == ({}, {}, {})
    assert (record.fingerprint, record.session, record.is_warm_up) == ("", "", False)
    assert (record.elapsed_seconds, record.token_count, record.is_finished) == (None, 20, True)
    failed = written("error", "out of memory")
    del failed["image"]
    failed = read_record(failed, tmp_path)
    assert (failed.error, failed.image_path, failed.is_finished) == ("out of memory", None, False)


def test_a_picture_is_missing_shorter_another_or_the_one_written(tmp_path):
    record = read_record(written(), tmp_path)
    assert size_problem(record) == "its picture is missing"
    assert hash_problem(record) is None  # none was written
    hashed = written("image.sha256", hashlib.sha256(b"a picture").hexdigest())
    hashed = read_record(hashed, tmp_path)
    assert hash_problem(hashed) == "its picture can't be read: No such file or directory"
    record.image_path.parent.mkdir()
    record.image_path.write_bytes(b"a picture")
    assert (size_problem(hashed), hash_problem(hashed), unfit_pictures([hashed])) == (None, None, [])
    record.image_path.write_bytes(b"A picture")
    problem = "its picture is not the one that was written; --verify makes it again"
    assert (size_problem(hashed), hash_problem(hashed)) == (None, problem)
    failed = replace(hashed, error="out of memory", image_path=None)
    assert unfit_pictures([failed, hashed]) == [DamagedRecord(hashed.run_id, problem)]
    record.image_path.write_bytes(b"a")
    assert size_problem(hashed) == "its picture has another size than was written"


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
