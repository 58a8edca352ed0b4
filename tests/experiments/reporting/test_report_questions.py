"""What the report's page answers by itself is what the command answers, to the last digits."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asked_page import ASK, NOTHING_ASKED, ask, told_by_command
from report_tab import report_tab
from sample_results import SHIFT, STEPS, noisy_scores, sample_plan, write_results

from experiments.reporting.number_tables import NumberTable
from experiments.reporting.report_page import write_report
from experiments.stats.questions.answering import Asked
from experiments.stats.questions.narrowing import conditions_from_flags
from experiments.store.result_store import ResultStore

GRID = {"axes": (SHIFT, STEPS), "baseline": {"shift": "3.0", "num_inference_steps": "9"}}


def scores_of(run) -> dict[str, Any]:
    """An effect on landscapes only, a number that follows another, and one picture of 25 without a score."""
    values = dict(noisy_scores({"1.0": -0.4, "4": -0.1})(run))
    if run.prompt.category == "landscapes" and "2.0" in run.cell.levels.values():
        values["image_reward"] += 0.5
    values["siglip_score"] += 0.05 * values["image_reward"]
    if run.run_id.endswith("seed2") and run.prompt.id.endswith("7") and run.cell.levels["shift"] == "4.0":
        values["image_reward"] = None
    return values


@pytest.fixture(scope="module", params=[12, 21], ids=["every sign pattern", "random sign patterns"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = sample_plan(prompts=request.param, seeds=(1, 2), name="asked", **GRID)
    return write_results(tmp_path_factory.mktemp("page") / "asked", plan, scores_of, image_size=8)


@pytest.fixture(scope="module")
def page(browser: Any, folder: Path) -> Iterator[Any]:
    write_report(folder)
    with report_tab(browser, folder) as opened:
        yield opened


def assert_equal(table: dict[str, Any], expected: NumberTable) -> None:
    """Every column of the page's table has the command's numbers; the command may have more columns."""
    own = {heading: index for index, heading in enumerate(expected.columns)}
    for at, heading in enumerate(table["columns"]):
        assert heading in own, (table["name"], heading)
        for row, wanted in zip(table["rows"], expected.rows, strict=True):
            value = wanted[own[heading]].value
            if value is None:
                assert row[at] == "", (table["name"], heading, row)
            elif isinstance(value, str):
                assert row[at] == value
            else:
                assert math.isclose(float(row[at]), value, rel_tol=1e-9, abs_tol=1e-12), (table["name"], heading, row)


QUESTIONS = [
    ({}, Asked()),
    ({"axis num_inference_steps": "0"}, Asked(conditions_from_flags(["num_inference_steps=4"]))),
    (
        {"property category": "landscapes", "axis num_inference_steps": "0", "pairs": True, "trend": "shift"},
        Asked(conditions_from_flags(["category=landscapes", "num_inference_steps=4"]), all_pairs=True, trend="shift"),
    ),
    ({"baseline": "2.0 x 4", "pairs": True}, Asked(baseline="2.0 x 4", all_pairs=True)),
    (
        {"axis num_inference_steps": "1", "by": "category", "prompts": True},
        Asked(conditions_from_flags(["num_inference_steps=9"]), by="category", per_prompt=True),
    ),
    ({"by": "num_inference_steps"}, Asked(by="num_inference_steps")),
    ({"seed": "2", "trend": "shift", "prompts": True}, None),
    ({"correlate": True}, Asked(correlate=True)),
]


@pytest.mark.parametrize("at", range(len(QUESTIONS)))
def test_the_page_answers_as_the_command_does(page: Any, folder: Path, at: int) -> None:
    controls, asked = QUESTIONS[at]
    if asked is None:
        asked = Asked(conditions_from_flags(["seed=2"]), trend="shift", per_prompt=True)
    shown = ask(page, controls, "3.0 x 9")
    expected, sentences, notes = told_by_command(folder, asked)
    assert {table["name"] for table in shown["tables"]} == set(expected)
    for table in shown["tables"]:
        assert_equal(table, expected[table["name"]])
    assert shown["sentences"] == sentences
    assert shown["notes"] == notes


def test_the_page_tells_the_command_that_says_the_same(page: Any, folder: Path) -> None:
    page.evaluate(ASK, {**NOTHING_ASKED})
    shown = page.evaluate(ASK, {**NOTHING_ASKED, "property category": "animals", "axis num_inference_steps": "0"})
    assert shown["command"] == (
        f"uv run experiments/analyze.py {folder} --where category=animals --where num_inference_steps=4 "
        "--measure image_reward"
    )


def test_a_click_on_a_difference_shows_the_pairs_behind_it_the_largest_first(page: Any, folder: Path) -> None:
    page.evaluate(ASK, {**NOTHING_ASKED, "property category": "landscapes", "axis num_inference_steps": "0"})
    page.locator("#answers table").first.locator("tr", has_text="2.0").locator("button").click()
    records = [
        record
        for record in ResultStore(folder).runs()
        if record.category == "landscapes" and record.levels["num_inference_steps"] == "4"
    ]
    base = {(r.prompt_id, r.seed): r.scores["image_reward"] for r in records if r.levels["shift"] == "3.0"}
    changes = [r.scores["image_reward"] - base[r.prompt_id, r.seed] for r in records if r.levels["shift"] == "2.0"]
    shown = page.locator("#behind-list b").all_text_contents()
    expected = sorted(changes, key=lambda change: -abs(change))
    assert [float(text.rpartition(":")[2]) for text in shown] == pytest.approx(expected, abs=0.0051)
    assert f"{len(changes)} pairs, the largest difference first" in page.locator("#behind-title").text_content()
    page.locator("#behind-list button").first.click()
    assert page.locator("#viewer").evaluate("dialog => dialog.open")
    page.keyboard.press("Escape")
    assert page.locator("#behind").evaluate("dialog => dialog.open")
    page.keyboard.press("Escape")


def test_questions_of_this_browser_are_counted_beside_the_manifests(page: Any, folder: Path) -> None:
    ask(page, {}, "3.0 x 9")
    first = page.evaluate(ASK, {**NOTHING_ASKED, "property category": "animals"})
    assert any(
        note.startswith("With this one, 2 questions have been asked of these results") for note in first["notes"]
    )
    page.evaluate(ASK, {**NOTHING_ASKED, "pairs": True})
    again = page.evaluate(ASK, {**NOTHING_ASKED, "property category": "animals"})
    assert any(
        note.startswith("With this one, 3 questions have been asked of these results") for note in again["notes"]
    )
    kept = page.evaluate("() => Object.entries(localStorage).filter(([key]) => key.startsWith('asked '))")
    assert [json.loads(text) for _key, text in kept] == [["where category=animals", "all pairs"]]
    nothing = page.evaluate(ASK, {**NOTHING_ASKED})
    assert not any("questions have been asked of these results" in note for note in nothing["notes"])


def test_where_results_were_extended_the_page_gives_the_command_instead(browser: Any, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "grown", sample_plan(prompts=8, name="grown"), noisy_scores({}), image_size=8)
    write_report(folder)
    grown = sample_plan(prompts=12, name="grown")
    analyses = json.loads((folder / "manifest.json").read_text())["analyses"]
    shutil.rmtree(folder)
    write_results(folder, grown, noisy_scores({}), image_size=8)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "analyses": analyses}))
    write_report(folder)
    page = browser.new_page()
    page.goto((folder / "report.html").as_uri())
    shown = page.evaluate(ASK, {**NOTHING_ASKED, "property category": "animals"})
    assert (shown["tables"], shown["sentences"], shown["notes"]) == ([], [], [])
    assert shown["terminal"].startswith("These results were extended after they had been analysed.")
    assert shown["command"] == f"uv run experiments/analyze.py {folder} --where category=animals --measure image_reward"
    page.close()
