"""What leaves the lab is read back by the tools that it is for."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from sample_results import SHIFT, STEPS, Scores, noisy_scores, sample_plan, sample_prompts, write_results

from experiments import analyze, export
from experiments.exports.figures import write_figures
from experiments.exports.table_files import csv_text, json_text, latex_escaped, latex_text
from experiments.metrics import METRICS
from experiments.planning.design import Run
from experiments.prompts import Prompt
from experiments.reporting.frontier import LABEL_PERCENT, apart
from experiments.reporting.number_tables import NumberTable, number_cell, text_cell
from experiments.stats.findings import analyse
from experiments.store.result_store import ResultStore

AXES = {"axes": (SHIFT, STEPS), "baseline": {"shift": "3.0", "num_inference_steps": "9"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 prompts, 2 seeds, 8 levels; one text is what a spreadsheet takes for a formula, one has GenEval's fields."""
    listed = sample_prompts(5)
    odd = Prompt("odd", "signs", "easy", "=1+1, a sign", details={"tag": "counting", "include": '[{"class": "sign"}]'})
    plan = sample_plan(prompts=[*listed, odd], seeds=(1, 2), name="out", **AXES)
    draw = noisy_scores({"2.0": 0.5})

    def scores(run: Run) -> Scores:
        """One measure: each further one has as many figures again."""
        return {"image_reward": draw(run)["image_reward"]}

    return write_results(tmp_path_factory.mktemp("exports") / "out", plan, scores, image_size=8)


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "paper"
    kinds = "figures,tables,results,parquet,dataset,geneval"
    told = CliRunner().invoke(export.main, [str(folder), "-o", str(output), "--what", kinds])
    assert told.exit_code == 0, told.output
    return output


def test_every_plot_is_a_whole_svg_and_pdf(exported: Path) -> None:
    figures = exported / "figures"
    names = {path.stem for path in figures.iterdir()}
    of_one = {"levels", "levels_shift", "levels_num_inference_steps", "grid_shift_num_inference_steps"}
    wanted = {f"image_reward_{name}" for name in (*of_one, "and_time")}
    assert wanted <= names
    assert {path.suffix for path in figures.iterdir()} == {".svg", ".pdf"}
    for path in figures.glob("image_reward_*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    for path in figures.glob("image_reward_*.pdf"):
        content = path.read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.count(b"/Type /Page ") == 1
        assert b"/Subtype /Type3" not in content, "letters are no text in it"


def test_equal_numbers_give_equal_figures(exported: Path, folder: Path, tmp_path: Path) -> None:
    store = ResultStore(folder)
    analysis = analyse(store.manifest(), store.runs(), METRICS)
    few = dataclasses.replace(analysis, measures=analysis.measures[:1])
    again = write_figures(tmp_path, few)
    assert len(again) == 2 * 4  # combinations, two axes and their grid, in two formats
    for path in again:
        assert path.read_bytes() == (exported / "figures" / path.name).read_bytes()


def test_tables_hold_the_numbers_of_the_analysis(exported: Path, folder: Path) -> None:
    store = ResultStore(folder)
    analysis = analyse(store.manifest(), store.runs(), METRICS)
    result = next(item for item in analysis.measures if item.measure.column == "image_reward")
    read = pd.read_csv(exported / "tables" / "image_reward.csv").set_index("shift x num_inference_steps")
    told = json.loads((exported / "tables" / "image_reward.json").read_text())
    by_level = {row["shift x num_inference_steps"]: row for row in told["rows"]}
    for comparison in result.comparisons:
        assert comparison.difference is not None
        assert read.loc[comparison.level, "difference"] == comparison.difference.mean
        assert read.loc[comparison.level, "p corr."] == comparison.p_holm
        assert by_level[comparison.level]["difference"] == comparison.difference.mean
        assert by_level[comparison.level]["low"] == comparison.difference.low
    for summary in result.levels:
        assert summary.estimate is not None
        assert read.loc[summary.level, "mean"] == summary.estimate.mean
    assert np.isnan(read.loc["3.0 x 9", "difference"])
    assert by_level["3.0 x 9"]["difference"] is None


def test_latex_is_escaped_and_has_a_cell_for_every_column() -> None:
    rows = ((text_cell("50% of a_b & $c"), number_cell(-0.25, 2)), (text_cell("plain"), number_cell(None, 2)))
    text = latex_text(NumberTable("t", "a title", ("level", "difference"), rows))
    assert r"50\% of a\_b \& \$c & $-$0.25 \\" in text
    assert r"plain &  \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert latex_escaped("-0.5 to -0.1, all-pairs, 2026-01-02") == "$-$0.5 to $-$0.1, all-pairs, 2026-01-02"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed here")
def test_tables_run_through_latex(exported: Path, tmp_path: Path) -> None:
    assert overfull(exported / "tables", tmp_path) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed here")
@pytest.mark.slow
def test_tables_of_every_question_run_through_latex(tmp_path: Path) -> None:
    baseline = {"shift": "3.0", "num_inference_steps": "9"}
    plan = sample_plan(axes=(SHIFT, STEPS), baseline=baseline, prompts=12, name="asked")
    folder = write_results(tmp_path / "asked", plan, noisy_scores({"2.0": 0.4}), image_size=8)
    asked = ["--by", "category", "--all-pairs", "--trend", "shift", "--per-prompt", "--correlate"]
    told = CliRunner().invoke(analyze.main, [str(folder), *asked, "--tables", str(tmp_path / "tables")])
    assert told.exit_code == 0, told.output
    names = {path.stem for path in (tmp_path / "tables").glob("*.tex")}
    assert {"correlations", "image_reward_by_category", "image_reward_prompts", "image_reward_slopes_shift"} <= names
    assert overfull(tmp_path / "tables", tmp_path) == []


def overfull(tables: Path, place: Path) -> list[str]:
    """Set all tables on a page of LaTeX's article; return what it says of those that are wider."""
    inputs = "\n\n".join(rf"\input{{{path}}}" for path in sorted(tables.glob("*.tex")))
    document = (
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}\parindent0pt {inputs}\end{{document}}"
    )
    (place / "paper.tex").write_text(document)
    subprocess.run(["pdflatex", "-halt-on-error", "paper.tex"], cwd=place, check=True, capture_output=True)
    log = (place / "paper.log").read_text(errors="replace").splitlines()
    return [line for line in log if "Overfull" in line]


def test_a_paper_gets_intervals_beside_their_numbers_and_stacked_headings() -> None:
    cells = [text_cell("a"), *(number_cell(value, 2) for value in (0.5, 0.25, 0.75, 1.0, -0.5, -0.75, -0.25, 0.04))]
    columns = (
        "shift x num_inference_steps",
        "mean",
        "mean low",
        "mean high",
        "sd",
        "difference",
        "low",
        "high",
        "p corr.",
    )
    text = latex_text(NumberTable("t", "t", columns, (tuple(cells),)))
    assert r"a & 0.50 & $-$0.50 [$-$0.75, $-$0.25] & 0.04 \\" in text
    assert (
        r"\shortstack[l]{shift x \\{}num\_inference\_ \\{}steps} & mean & \shortstack[r]{difference \\{}[95~\%]}"
        in text
    )
    assert "% not here, but in the CSV and JSON: mean low, mean high, sd" in text
    alone = NumberTable("t", "t", ("level", "mean", "mean low", "mean high"), (tuple(cells[:4]),))
    assert r"a & 0.50 [0.25, 0.75] \\" in latex_text(alone)
    unbounded = NumberTable("t", "t", alone.columns, ((*cells[:2], number_cell(None, 2), number_cell(None, 2)),))
    assert r"a & 0.50 \\" in latex_text(unbounded)


def test_two_columns_of_one_heading_keep_apart() -> None:
    table = NumberTable("t", "t", ("level", "low", "low"), ((text_cell("a"), number_cell(1, 0), number_cell(2, 0)),))
    assert next(csv.DictReader(csv_text(table).splitlines())) == {"level": "a", "low": "1", "low 2": "2"}
    assert json.loads(json_text(table))["rows"] == [{"level": "a", "low": 1, "low 2": 2}]


def test_parquet_and_csv_read_back_with_the_prompts_texts(exported: Path, folder: Path) -> None:
    records = {record.run_id: record for record in ResultStore(folder).runs()}
    parquet = pd.read_parquet(exported / "results.parquet").set_index("run_id")
    assert len(parquet) == len(records) == 96
    for name, record in records.items():
        assert parquet.loc[name, "prompt"] == record.prompt
        assert parquet.loc[name, "image_reward"] == record.scores["image_reward"]
        assert parquet.loc[name, "num_inference_steps"] == record.parameters["num_inference_steps"]
    table = pd.read_csv(exported / "results.csv").set_index("run_id")
    assert set(table.loc[table["prompt_id"] == "odd", "prompt"]) == {"'=1+1, a sign"}, "no spreadsheet runs it"


def test_hugging_face_datasets_reads_the_folder(exported: Path, folder: Path, tmp_path: Path) -> None:
    import datasets

    read = datasets.load_dataset(
        "imagefolder", data_dir=str(exported / "dataset"), cache_dir=str(tmp_path), split="train"
    )
    records = {record.run_id: record for record in ResultStore(folder).runs()}
    assert len(read) == 96
    for row in (read[0], read[40], read[95]):
        record = records[row["run_id"]]
        assert record.image_path is not None
        assert (np.asarray(row["image"]) == np.asarray(Image.open(record.image_path))).all()
        assert row["prompt"] == record.prompt
        assert row["image_reward"] == pytest.approx(record.scores["image_reward"])
        assert row["level"] == record.level


def test_an_exported_picture_is_a_copy(exported: Path, folder: Path) -> None:
    copy = next((exported / "dataset" / "images").iterdir())
    assert copy.stat().st_ino != (folder / "images" / copy.name).stat().st_ino
    assert copy.read_bytes() == (folder / "images" / copy.name).read_bytes()


def test_geneval_s_folders_have_a_prompt_and_its_samples_each(exported: Path, folder: Path) -> None:
    levels = sorted((exported / "geneval").iterdir())
    assert len(levels) == 8
    for level in levels:
        assert [path.name for path in sorted(level.iterdir())] == [f"{index:05}" for index in range(6)]
        for prompt in level.iterdir():
            assert [path.name for path in sorted((prompt / "samples").iterdir())] == ["0000.png", "0001.png"]
    (line,) = (levels[0] / "00005" / "metadata.jsonl").read_text().splitlines()
    assert json.loads(line) == {"tag": "counting", "include": [{"class": "sign"}], "prompt": "=1+1, a sign"}
    (line,) = (levels[0] / "00000" / "metadata.jsonl").read_text().splitlines()
    assert json.loads(line)["tag"] == "animals"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--what", "tabels"], "--what 'tabels' is nothing that can be exported; did you mean 'tables'?"),
        (["-o", "{folder}"], "holds the results themselves; give --output another folder."),
    ],
)
def test_what_cannot_be_exported_is_refused(folder: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    given = [flag.format(folder=folder) for flag in flags]
    target = [] if "-o" in given else ["-o", str(tmp_path / "x")]
    told = CliRunner().invoke(export.main, [str(folder), *target, *given])
    assert told.exit_code == 2
    assert message in told.output
    assert not (tmp_path / "x").exists()


def test_labels_beside_a_plot_never_cover_each_other() -> None:
    generator = np.random.default_rng(0)
    for count in (1, 2, 7, 12, 15, 30):
        wanted = list(generator.uniform(0, 100, count) if count % 2 else np.full(count, 97.0))
        placed = apart(wanted)
        assert min(placed) >= 0
        assert max(placed) <= 100
        assert [placed[index] for index in np.argsort(wanted, kind="stable")] == sorted(placed)
        gaps = np.diff(sorted(placed))
        assert (gaps >= min(LABEL_PERCENT, 100 / count) - 0.02).all()
    assert apart([20.0, 50.0, 80.0]) == [20.0, 50.0, 80.0]
    assert apart([50.0, 50.0]) == [50.0 - LABEL_PERCENT / 2, 50.0 + LABEL_PERCENT / 2]
