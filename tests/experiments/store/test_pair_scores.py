"""Scores beside the baseline's picture: known by both pictures, infinite where they are equal, never out of date."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from sample_results import sample_plan, write_results

from experiments.analyze import main as analyze
from experiments.metrics import PSNRScorer, SSIMScorer
from experiments.metrics.missing_scores import ScoringResult, score_results
from experiments.planning.design import Plan
from experiments.score import main as score
from experiments.store.pair_scores import picture_hash
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError

LEVELS = 4
PROMPTS = 3


def results(folder: Path, **plan: object) -> tuple[ResultStore, Plan]:
    made = sample_plan(prompts=PROMPTS, baseline={"shift": "3.0"}, **plan)
    return ResultStore(write_results(folder, made, lambda run: {})), made


def scored(store: ResultStore) -> ScoringResult:
    return score_results(store, [PSNRScorer(), SSIMScorer()])


def redraw(store: ResultStore, run_id: str, colour: int) -> None:
    """Draw a run anew, as a command would: another picture and a record without scores."""
    path = store.metadata / f"{run_id}.json"
    record = json.loads(path.read_text())
    data = io.BytesIO()
    Image.new("RGB", (64, 64), (colour, 0, 0)).save(data, "PNG")
    store.image_path(run_id).write_bytes(data.getvalue())
    record["image"]["bytes"] = len(data.getvalue())
    for name in ("scores", "scores_of", "pair_scores"):
        record.pop(name, None)
    path.write_text(json.dumps(record))


def test_a_pictures_hash_is_that_of_its_file_where_the_record_says_none(tmp_path: Path):
    store, _ = results(tmp_path / "r")
    record = store.runs()[0]
    assert record.image_path is not None
    assert "sha256" not in record.metadata["image"]
    assert picture_hash(record) == hashlib.sha256(record.image_path.read_bytes()).hexdigest()
    said = replace(record, metadata={**record.metadata, "image": {**record.metadata["image"], "sha256": "ab"}})
    assert picture_hash(said) == "ab"
    record.image_path.unlink()
    with pytest.raises(OutputError, match=r"\.png can't be read: No such file or directory\."):
        picture_hash(record)


def test_every_picture_is_held_against_the_baselines_of_its_prompt_and_seed(tmp_path: Path):
    store, _ = results(tmp_path / "r", seeds=(1, 2))
    result = scored(store)
    assert (result.scored, result.unpaired) == ({"psnr_db": 24, "ssim": 24}, 0)
    again = scored(store)
    assert (again.scored, again.present) == ({"psnr_db": 0, "ssim": 0}, {"psnr_db": 24, "ssim": 24})
    for record in store.runs():
        own = record.level == "3.0"
        assert (record.scores["psnr_db"] == math.inf, record.scores["ssim"] == 1.0) == (own, own)
    baselines = store.baselines(store.runs())
    assert {(run.prompt_id, run.seed, run.level) for run in baselines.values()} == {
        (record.prompt_id, record.seed, "3.0") for record in store.runs()
    }


def test_a_new_baseline_picture_makes_the_scores_of_its_pairs_anew_and_no_others(tmp_path: Path):
    store, _ = results(tmp_path / "r")
    scored(store)
    before = {record.run_id: record.scores["psnr_db"] for record in store.runs()}
    changed = next(record for record in store.runs() if record.level == "3.0")
    redraw(store, changed.run_id, 200)
    stale = [record for record in store.runs() if "psnr_db" not in record.scores]
    assert len(stale) == LEVELS  # until they are scored they have no value, rather than the old one
    assert {record.prompt_id for record in stale} == {changed.prompt_id}
    assert scored(store).scored == {"psnr_db": LEVELS, "ssim": LEVELS}
    after = {record.run_id: record.scores["psnr_db"] for record in store.runs()}
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {record.run_id for record in stale} - {changed.run_id}


def test_another_baseline_makes_every_score_anew(tmp_path: Path):
    store, _ = results(tmp_path / "r")
    scored(store)
    raw = json.loads((store.folder / "manifest.json").read_text())
    raw["experiment"]["baseline"] = {"shift": "1.0"}
    (store.folder / "manifest.json").write_text(json.dumps(raw))
    assert all("psnr_db" not in record.scores for record in store.runs())
    assert scored(store).scored["psnr_db"] == LEVELS * PROMPTS
    assert {record.level for record in store.runs() if record.scores["psnr_db"] == math.inf} == {"1.0"}


def test_pictures_without_a_partner_are_left_out_and_said(tmp_path: Path):
    store, _ = results(tmp_path / "r")
    gone = next(record for record in store.runs() if record.level == "3.0")
    (store.metadata / f"{gone.run_id}.json").unlink()
    done = CliRunner().invoke(score, [str(store.folder), "--metric", "psnr_db"])
    assert done.stdout == (
        "psnr_db: 8 images scored, 0 had their score already.\n"
        "3 images have no picture of the baseline with their prompt and seed, so no distance.\n"
    )
    assert sum("psnr_db" in record.scores for record in store.runs()) == 8


def test_infinity_is_strict_json_on_disk_and_a_number_in_the_table(tmp_path: Path):
    store, plan = results(tmp_path / "r")
    done = CliRunner().invoke(score, [str(store.folder), "--metric", "psnr_db", "--metric", "ssim"])
    assert done.exit_code == 0, done.output

    for path in store.folder.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (kept,) = {
        json.dumps(
            json.loads((store.metadata / f"{record.run_id}.json").read_text())["pair_scores"]["psnr_db"]["values"]
        )
        for record in store.runs()
        if record.level == "3.0"
    }
    assert kept == '{"psnr_db": "infinite"}'
    text = (store.folder / f"{plan.experiment.name}_summary.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["psnr_db"] for row in rows if row["level"] == "3.0"} == {"inf"}
    read = pd.read_csv(io.StringIO(text))
    assert (read["psnr_db"] == math.inf).sum() == PROMPTS
    assert read["psnr_db"].dtype == float
    summary = json.loads((store.folder / f"{plan.experiment.name}_summary.json").read_text())
    assert summary["levels"]["3.0"]["psnr_db"] == {
        "mean": None,
        "min": None,
        "max": None,
        "count": PROMPTS,
        "infinite": PROMPTS,
    }
    other = summary["levels"]["1.0"]["psnr_db"]
    assert (other["count"], other["infinite"]) == (PROMPTS, 0)
    assert other["min"] <= other["mean"] <= other["max"]


def test_levels_of_equal_pictures_are_said_to_be_equal_everywhere(tmp_path: Path):
    from experiments.reporting.report_page import write_report

    store, _ = results(tmp_path / "r")
    for record in store.runs():
        redraw(store, record.run_id, 100)
    scored(store)
    printed = CliRunner().invoke(analyze, [str(store.folder), "--measure", "psnr_db", "--measure", "ssim"]).output
    said = " ".join(printed.split())
    assert "PSNR: The same pictures as shift 3.0, pixel for pixel: 1.0 (all 3), 2.0 (all 3), 4.0 (all 3)." in said
    assert "SSIM: The same pictures as shift 3.0, by SSIM: 1.0 (all 3), 2.0 (all 3), 4.0 (all 3)." in said
    page = write_report(store.folder).read_text()
    assert '<span class="number"><span class="behind-here">infinite</span></span>' in page
    data = page.partition('id="grid-data">')[2].partition("</script>")[0]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (3, "pair_scores are not a table"),
        ({"psnr_db": 3}, "the pair score psnr_db is not a table"),
        ({"psnr_db": {"values": {}, "model": "m", "picture": "p"}}, "baseline of the pair score psnr_db is not a text"),
        (
            {"psnr_db": {"values": {"psnr_db": "much"}, "model": "m", "picture": "p", "baseline": "b"}},
            "the score psnr_db is 'much', not a number",
        ),
    ],
)
def test_a_damaged_pair_score_is_named(tmp_path: Path, values: object, problem: str):
    store, _ = results(tmp_path / "r")
    path = sorted(store.metadata.glob("*.json"))[0]
    path.write_text(json.dumps({**json.loads(path.read_text()), "pair_scores": values}))
    (damaged,) = store.damaged_runs()
    assert damaged.problem == problem
