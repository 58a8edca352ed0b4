"""Results on disk: whole or not at all, readable after anything, and summed up as promised."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.design import plan_experiment
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit.atomic_file import write_atomically
from llm_dit.errors import OutputError

PROMPTS = (Prompt("animal_001", "animals", "easy", "A cat"), Prompt("simple_001", "simple_objects", "hard", "A cup"))
FIRST_COLUMNS = (
    "prompt_id,seed,variable_name,variable_value,generation_time_seconds,token_count,image_reward,siglip_score,error,"
    "output_path"
)


def make(folder, *sweeps, prompts=PROMPTS, seeds=(42,), name="trial", pipeline=None, **options):
    experiment = experiment_from_sweeps(sweeps or ("shift=2,3",), name)
    plan = plan_experiment(experiment, prompts, seeds)
    store = ResultStore(folder / name)
    outcome = run_plan(plan, OneDevice.of(pipeline or FakePipeline()), store, **options)
    return store, outcome


def rows(store):
    with (store.folder / "trial_summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_has_the_layout_and_the_names_promised(tmp_path):
    store, _ = make(tmp_path, "shift=1..6", name="shift_sweep", prompts=PROMPTS[:1])
    stem = "shift_sweep_animal_001_shift_3.0_seed42"
    assert (store.folder / "images" / f"{stem}.png").is_file()
    assert (store.folder / "metadata" / f"{stem}.json").is_file()
    assert {path.name for path in store.folder.glob("*.*")} >= {
        "shift_sweep_summary.csv",
        "shift_sweep_summary.json",
        "manifest.json",
    }


def test_the_csv_begins_with_the_columns_promised_and_has_one_per_axis(tmp_path):
    store, _ = make(tmp_path, "shift=2,3", "num_inference_steps=6,9")
    lines = (store.folder / "trial_summary.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(FIRST_COLUMNS + ",")
    row = rows(store)[1]
    assert row["variable_name"] == "shift x num_inference_steps"
    assert row["variable_value"] == "2.0 x 9"
    assert (row["shift"], row["num_inference_steps"], row["width"], row["seed"]) == ("2.0", "9", "64", "42")
    name = "trial_animal_001_shift_2.0_num_inference_steps_9_seed42.png"
    assert row["output_path"] == str(store.folder / "images" / name)
    assert row["image_reward"] == row["error"] == ""


def test_output_path_opens_from_where_the_command_ran_also_after_the_folder_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store, _ = make(Path("results"))
    assert rows(store)[0]["output_path"] == "results/trial/images/trial_animal_001_shift_2.0_seed42.png"
    Path("results").rename("kept")
    moved = ResultStore("kept/trial")
    moved.write_summary()
    assert [Path(row["output_path"]).is_file() for row in rows(moved)] == [True] * 4
    assert rows(moved)[0]["output_path"] == "kept/trial/images/trial_animal_001_shift_2.0_seed42.png"


def test_what_a_list_says_of_a_prompt_and_its_choices_are_columns(tmp_path):
    said = {"colour": "red", "seed": "of the list"}
    store, _ = make(tmp_path, prompts=[Prompt("x", "a", "", "A red cat", details=said), PROMPTS[0]])
    assert [(row["colour"], row["prompt_seed"], row["seed"]) for row in rows(store)] == [
        ("red", "of the list", "42"), ("red", "of the list", "42"), ("", "", "42"), ("", "", "42"),
    ]  # fmt: skip


def test_the_json_summary_has_the_keys_promised_in_total_and_per_level(tmp_path):
    store, _ = make(tmp_path)
    for value, record in enumerate(store.runs()):
        store.write_scores(record, {"image_reward": float(value)}, metric="image_reward", model="m")
        path = store.metadata / f"{record.run_id}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["run"]["elapsed_seconds"] = [0.5, 1.25, 2.0, 4.0][value]
        path.write_text(json.dumps(content), encoding="utf-8")
    summary = dict(store.write_summary().values)
    assert summary["experiment"] == "trial"
    assert (summary["total_runs"], summary["successful_runs"], summary["failed_runs"]) == (4, 4, 0)
    assert summary["total_time_seconds"] == 0.5 + 1.25 + 2.0 + 4.0
    assert summary["image_reward"] == {"mean": 1.5, "min": 0.0, "max": 3.0, "count": 4}
    assert summary["siglip_score"] == {"mean": None, "min": None, "max": None, "count": 0}
    assert summary["levels"]["2.0"]["image_reward"] == {"mean": 1.0, "min": 0.0, "max": 2.0, "count": 2}
    assert summary["levels"]["3.0"]["total_runs"] == 2
    on_disk = json.loads((store.folder / "trial_summary.json").read_text())
    assert on_disk == summary


def test_runs_come_back_with_everything_needed_to_make_them_again(tmp_path):
    store, _ = make(tmp_path)
    record = store.runs()[0]
    assert (record.run_id, record.prompt_id, record.prompt) == (
        "trial_animal_001_shift_2.0_seed42",
        "animal_001",
        "A cat",
    )
    assert (record.category, record.difficulty, record.seed) == ("animals", "easy", 42)
    assert (record.level, record.levels) == ("2.0", {"shift": "2.0"})
    assert record.parameters["shift"] == 2.0
    assert record.parameters["height"] == record.parameters["width"] == 64
    assert record.identity.startswith("r1:")
    kept = {"formatted_prompt", "token_count", "token_count_used", "sigmas", "evaluations", "stage_times_s", "versions"}
    assert kept | {"model_fingerprint", "numerics"} <= record.metadata.keys()
    assert record.image_path.is_file()
    assert record.is_finished


def test_runs_are_ordered_by_prompt_seed_and_level(tmp_path):
    store, _ = make(tmp_path, "shift=3,1", seeds=(7, 2))
    assert [(record.prompt_id, record.seed, record.level) for record in store.runs()] == [
        (prompt, seed, level) for prompt in ("animal_001", "simple_001") for seed in (7, 2) for level in ("3.0", "1.0")
    ]


def test_the_manifest_resolves_axes_levels_and_baseline(tmp_path):
    store, _ = make(tmp_path, "shift=2,3", "num_inference_steps=6,9")
    manifest = store.manifest()
    assert [(axis.name, [level.name for level in axis.levels]) for axis in manifest.axes] == [
        ("shift", ["2.0", "3.0"]),
        ("num_inference_steps", ["6", "9"]),
    ]
    assert manifest.baseline == {"shift": "3.0", "num_inference_steps": "9"}
    assert manifest.baseline_name == "3.0 x 9"
    assert manifest.combinations[1].levels == {"shift": "2.0", "num_inference_steps": "9"}
    assert [prompt.id for prompt in manifest.prompts] == ["animal_001", "simple_001"]
    assert manifest.raw["conditions"]["fingerprint"] == "f" * 64


def test_a_second_category_adds_to_manifest_and_summary_and_overwrites_nothing(tmp_path):
    store, _ = make(tmp_path, prompts=PROMPTS[:1])
    before = {path: path.stat().st_mtime_ns for path in store.images.iterdir()}
    make(tmp_path, prompts=PROMPTS[1:], seeds=(43,))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [(row["prompt_id"], row["seed"]) for row in rows(store)] == [
        ("animal_001", "42"),
        ("animal_001", "42"),
        ("simple_001", "43"),
        ("simple_001", "43"),
    ]
    assert store.manifest().seeds == (42, 43)


def test_a_torn_or_missing_file_is_not_a_result(tmp_path):
    store, _ = make(tmp_path, "shift=1..5", prompts=PROMPTS[:1])
    ids = [record.run_id for record in store.runs()]
    torn = store.metadata / f"{ids[0]}.json"
    torn.write_bytes(torn.read_bytes()[:-20])
    image = store.image_path(ids[1])
    image.write_bytes(image.read_bytes()[:-1])
    store.image_path(ids[2]).unlink()
    (store.metadata / f"{ids[3]}.json").write_bytes(b"")
    assert [record.run_id for record in store.results()[0]] == [ids[4]]
    assert [record.run_id for record in store.runs()] == [ids[4]]
    assert store.write_summary().values["total_runs"] == 1


@pytest.mark.parametrize("content", [b"[]", b"null", b"{}", b'{"run": 3}', b'{"run": {}}', b"\xff\xfe", b"[" * 100_000])
def test_a_metadata_file_with_anything_else_in_it_is_not_a_result(tmp_path, content):
    store, _ = make(tmp_path, prompts=PROMPTS[:1])
    path = store.metadata / "trial_animal_001_shift_2.0_seed42.json"
    path.write_bytes(content)
    assert [record.level for record in store.runs()] == ["3.0"]


def test_a_metadata_file_copied_to_another_name_is_not_that_run(tmp_path):
    store, _ = make(tmp_path, prompts=PROMPTS[:1])
    content = (store.metadata / "trial_animal_001_shift_2.0_seed42.json").read_bytes()
    (store.metadata / "trial_animal_001_shift_9.0_seed42.json").write_bytes(content)
    assert len(store.runs()) == 2


def test_the_summary_is_rebuilt_from_the_metadata_alone(tmp_path):
    store, _ = make(tmp_path)
    path = store.folder / "trial_summary.csv"
    before = path.read_bytes()
    path.unlink()
    (store.folder / "trial_summary.json").unlink()
    store.write_summary()
    assert path.read_bytes() == before


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_scores_are_added_and_a_rescored_metric_replaces_its_own_columns(tmp_path):
    store, _ = make(tmp_path, prompts=PROMPTS[:1])
    record = store.runs()[0]
    store.write_scores(record, {"image_reward": 1.0, "image_reward_truncated": True}, metric="image_reward", model="a")
    store.write_scores(record, {"siglip_score": 0.2}, metric="siglip_score", model="s")
    updated = store.write_scores(record, {"image_reward": 2.0}, metric="image_reward", model="b")
    assert updated.scores == {"image_reward": 2.0, "image_reward_truncated": True, "siglip_score": 0.2}
    assert updated.scores_of == {"image_reward": "b", "siglip_score": "s"}
    assert [run.scores_of.get("image_reward") for run in store.runs()] == ["b", None]
    store.write_summary()
    assert rows(store)[0]["image_reward"] == "2.0"
    assert rows(store)[0]["image_reward_truncated"] == "True"
    assert store.runs()[0].identity == record.identity


def test_the_frame_has_typed_columns(tmp_path):
    store, _ = make(tmp_path)
    frame = store.to_frame()
    assert list(frame.columns[:4]) == ["prompt_id", "seed", "variable_name", "variable_value"]
    assert frame["seed"].dtype.kind == "i"
    assert list(frame["shift"]) == [2.0, 3.0, 2.0, 3.0]
    assert frame["shift"].dtype.kind == "f"
    assert frame["generation_time_seconds"].dtype.kind == "f"


def test_any_text_survives_in_levels_and_summaries(tmp_path):
    texts = ["a/b\\c..", "Größe 猫", "x" * 10_000, "Warm", "warm", '=1+1,\n"q"']
    sweep = "system_prompt=" + json.dumps(texts)
    store, outcome = make(tmp_path, sweep, prompts=PROMPTS[:1])
    assert (outcome.made, outcome.failed) == (6, ())
    assert [record.parameters["system_prompt"] for record in store.runs()] == texts
    assert len(rows(store)) == 6
    assert all(len(path.name) < 230 and path.name.isascii() for path in store.images.iterdir())


def test_a_folder_that_is_no_experiment_is_said_to_be_none(tmp_path):
    with pytest.raises(OutputError, match="does not exist; give the folder of an experiment"):
        ResultStore(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OutputError, match="is damaged; run the experiment's command again"):
        ResultStore(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(OutputError, match="has format 99"):
        ResultStore(tmp_path).manifest()


def test_a_second_process_is_told_who_holds_the_folder(tmp_path):
    store = ResultStore(tmp_path / "trial")
    store.create()
    code = (
        "import sys; from experiments.store.result_store import ResultStore\n"
        f"with ResultStore({str(store.folder)!r}).lock(command='other', planned=7):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        holder = store.holder()
        assert (holder["pid"], holder["command"], holder["planned"]) == (process.pid, "other", 7)
        with pytest.raises(OutputError, match=rf"in use by process {process.pid} on "):
            make(tmp_path)
    finally:
        process.kill()
        process.communicate()
    # a killed holder leaves its file but not the lock
    assert (store.folder / ".holder.json").exists()
    assert store.holder() is None
    _, outcome = make(tmp_path)
    assert outcome.made == 4


def test_a_folder_that_cant_be_made_is_one_clear_sentence(tmp_path):
    (tmp_path / "trial").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"trial can't be made"):
        make(tmp_path)


def test_reading_changes_nothing_in_the_folder(tmp_path):
    store, _ = make(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}
    store.runs()
    store.to_frame()
    assert store.holder() is None
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")} == before


def test_an_axis_named_like_a_column_gets_a_column_of_its_own(tmp_path):
    store, _ = make(tmp_path, "seed=5,6", prompts=PROMPTS[:1])
    assert [(row["seed"], row["axis_seed"]) for row in rows(store)] == [("5", "5"), ("6", "6")]


def test_a_name_that_is_no_unicode_is_written_as_its_escape(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    store, outcome = make(tmp_path / folder, about={"command": f"run_ablation.py --output-dir {folder}"})
    assert outcome.made == 4
    assert json.loads((store.folder / "manifest.json").read_text(encoding="utf-8"))["command"].endswith("caf\udce9")
    assert store.write_summary().values["successful_runs"] == 4


def test_whoever_holds_the_folder_clears_away_what_killed_writers_left(tmp_path):
    store, _ = make(tmp_path)
    left = [folder / ".partial-abc" for folder in (store.folder, store.images, store.metadata, store.failed)]
    for path in left:
        path.write_bytes(b"x")
    with store.lock(command="score.py"):
        assert not any(path.exists() for path in left)


def test_a_full_disk_is_one_sentence_for_scores_and_summary(tmp_path, monkeypatch):
    store, _ = make(tmp_path)
    record = store.runs()[0]
    before = {path: path.read_bytes() for path in store.folder.rglob("*.*") if path.is_file()}

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"scores of .* could not be written: No space left on device"):
        store.write_scores(record, {"image_reward": 1.0}, metric="image_reward", model="m")
    with pytest.raises(OutputError, match="summary could not be written: No space left on device"):
        store.write_summary()
    assert {path: path.read_bytes() for path in store.folder.rglob("*.*") if path.is_file()} == before


def test_a_device_is_written_and_never_replaced():
    controller, terminal = os.openpty()
    device = Path(os.ttyname(terminal))
    write_atomically(device, b"x")
    assert os.read(controller, 1) == b"x"
    assert device.is_char_device()
    os.close(controller)
    os.close(terminal)
