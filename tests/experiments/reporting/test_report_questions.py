"""What the report's page answers by itself is what the command answers, to the last digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_results import SHIFT, STEPS, noisy_scores, sample_plan, write_results

from experiments.metrics import METRICS
from experiments.reporting.number_tables import NumberTable, answer_tables, correlations_table, measure_table
from experiments.reporting.report_page import write_report
from experiments.stats.questions.answering import Asked, answer
from experiments.stats.questions.narrowing import conditions_from_flags
from experiments.store.result_store import ResultStore

ASK = """
(wanted) => {
  document.getElementById('ask-open').open = true;
  const form = document.getElementById('ask-controls').elements;
  for (const [name, value] of Object.entries(wanted)) {
    if (typeof value === 'boolean') form[`ask-${name}`].checked = value;
    else form[`ask-${name}`].value = value;
  }
  document.getElementById('ask-controls').dispatchEvent(new Event('input'));
  return new Promise((resolve) => setTimeout(() => resolve({
    tables: [...document.querySelectorAll('#answers table')].map((table) => ({
      name: table.dataset.name,
      columns: [...table.querySelectorAll('thead th')].map((head) => head.textContent),
      rows: [...table.querySelectorAll('tbody tr')].map((row) => [...row.children].map((cell) => cell.dataset.value)),
    })),
    sentences: [...document.querySelectorAll('#answers > p')].map((line) => line.textContent),
    command: document.querySelector('#answers code').textContent,
  }), 50));
}
"""
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
    opened = browser.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto((folder / "report.html").as_uri())
    yield opened
    opened.close()
    assert problems == []


def told_by_command(folder: Path, asked: Asked) -> tuple[dict[str, NumberTable], Any]:
    store = ResultStore(folder)
    found = answer(store.manifest(), store.runs(), METRICS, asked)
    result = next(item for item in found.analysis.measures if item.measure.column == "image_reward")
    tables = [measure_table(found.analysis, result)]
    of_measure = found.of(result.measure)
    if of_measure is not None:
        tables += answer_tables(of_measure, with_slopes=asked.per_prompt)
    if found.correlations:
        tables.append(correlations_table(found.correlations))
    return {table.name: table for table in tables}, of_measure


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
NOTHING_ASKED = {
    "property category": "",
    "seed": "",
    "axis shift": "",
    "axis num_inference_steps": "",
    "by": "",
    "trend": "",
    "pairs": False,
    "prompts": False,
    "correlate": False,
}


@pytest.mark.parametrize("at", range(len(QUESTIONS)))
def test_the_page_answers_as_the_command_does(page: Any, folder: Path, at: int) -> None:
    controls, asked = QUESTIONS[at]
    if asked is None:
        asked = Asked(conditions_from_flags(["seed=2"]), trend="shift", per_prompt=True)
    page.evaluate(ASK, {**NOTHING_ASKED})
    page.evaluate(ASK, {**NOTHING_ASKED, "baseline": "3.0 x 9"})
    shown = page.evaluate(ASK, {**NOTHING_ASKED, **controls})
    expected, of_measure = told_by_command(folder, asked)
    assert {table["name"] for table in shown["tables"]} == set(expected)
    for table in shown["tables"]:
        if table["name"] != "correlations":
            assert_equal(table, expected[table["name"]])
    if asked.correlate:
        table = next(table for table in shown["tables"] if table["name"] == "correlations")
        assert_equal(table, expected["correlations"])
    if asked.by is not None and of_measure.grouped is not None:
        found = [item for item in of_measure.grouped.disagreements if item.is_found]
        sentence = next(line for line in shown["sentences"] if f"differs by {asked.by}" in line)
        assert sentence.startswith("The answer differs") == bool(found)
        assert all(f"{item.level} (p " in sentence for item in found)
    if asked.trend is not None:
        sentence = next(line for line in shown["sentences"] if f"along {asked.trend}" in line)
        assert sentence.startswith("It ") == of_measure.trend.is_found
        assert ("The line bends" in sentence) == of_measure.trend.is_bent


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
