"""All experiments in one table: what each found, from its report where that is of the runs there now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sample_results import noisy_scores, sample_plan, write_results

from experiments import overview
from experiments.reporting.overview import overview_of
from experiments.reporting.report_page import best_of, write_report


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a winner and a report, one without either, and one that can't be read."""
    results = tmp_path_factory.mktemp("results")
    won = write_results(results / "won", sample_plan(name="won"), noisy_scores({"2.0": 0.8, "4.0": 0.4}), image_size=8)
    write_report(won)
    write_results(results / "open", sample_plan(name="open", prompts=7), noisy_scores({}), image_size=8)
    (results / "damaged").mkdir()
    (results / "damaged" / "manifest.json").write_text("{")
    (results / "no experiment").mkdir()
    return results


def test_each_experiment_is_told_with_its_size_its_verdict_and_its_best_level(results: Path) -> None:
    entries = {entry.name: entry for entry in overview_of(results)}
    assert set(entries) == {"won", "open", "damaged"}
    won, undecided = entries["won"], entries["open"]
    assert (won.question, won.varies, won.done, won.planned) == ("What does it change?", "shift", 48, 48)
    assert won.best == "2.0"
    assert won.verdict.startswith("shift 2.0 beats 3.0 by 0.")
    assert undecided.best == "none found better than 3.0"
    assert undecided.verdict.startswith("No level can be told apart from shift 3.0 with 7 prompts")
    assert "damaged" in entries["damaged"].problem
    assert overview_of(results)[-1].name == "damaged"


def test_a_report_of_other_runs_is_not_believed(results: Path) -> None:
    folder = results / "won"
    assert best_of(folder / "report.html") == "2.0"
    changed = [path for path in (folder / "metadata").iterdir() if "shift_4.0" in path.name]
    before = {path: path.read_text() for path in changed}
    for path, text in before.items():
        values = json.loads(text)
        values["scores"]["image_reward"] += 5
        path.write_text(json.dumps(values))
    assert {entry.name: entry.best for entry in overview_of(results)}["won"] == "4.0"
    for path, text in before.items():
        path.write_text(text)


def test_the_command_prints_the_table_and_writes_it(results: Path, tmp_path: Path) -> None:
    told = CliRunner(env={"COLUMNS": "400"}).invoke(overview.main, [str(results), "--tables", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    assert "none found better than 3.0" in told.output
    rows = json.loads((tmp_path / "out" / "overview.json").read_text())["rows"]
    assert {row["experiment"]: row["pictures"] for row in rows} == {"won": 48, "open": 28, "damaged": None}


def test_the_command_breaks_no_word_on_a_terminal_of_eighty_columns(results: Path) -> None:
    told = CliRunner(env={"COLUMNS": "80"}).invoke(overview.main, [str(results)])
    assert ["won", "shift", "48", "48", "2.0"] in [line.split() for line in told.output.splitlines()]
    assert "\nwon: What does it change? shift 2.0 beats 3.0 by 0." in told.output
    assert "\ndamaged: " in told.output


@pytest.mark.parametrize(
    ("question", "told"),
    [("Why?", "Why?"), ("It is.", "It is."), ("A sweep: steps=1,4", "A sweep: steps=1,4."), ("", "")],
)
def test_a_question_without_an_end_gets_one_before_the_verdict(question: str, told: str) -> None:
    assert overview.as_sentence(question) == told


@pytest.mark.parametrize(
    ("place", "message"), [("won", "won holds no experiments; did you mean"), ("x", "x does not exist")]
)
def test_a_folder_without_experiments_is_refused(results: Path, place: str, message: str) -> None:
    told = CliRunner().invoke(overview.main, [str(results / place)])
    assert told.exit_code == 2
    assert message in told.output
