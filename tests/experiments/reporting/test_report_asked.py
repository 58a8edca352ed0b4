"""Asked in the page: all measures together say what the command says, and numbers in sentences lead to their pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asked_page import ASK, ask, told_by_command
from report_tab import report_tab
from sample_results import SHIFT, STEPS, axis, noisy_scores, sample_plan, write_results

from experiments.planning.design import Run
from experiments.reporting.report_page import write_report
from experiments.stats.beside import name_choices
from experiments.stats.notes import OUT_OF_TURN
from experiments.stats.questions.answering import Asked
from experiments.stats.questions.narrowing import conditions_from_flags
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore

BASELINE = {"shift": "3.0", "num_inference_steps": "9"}
BY_REWARD = {"measure": "0"}
TIME = 2
"""Place of the generation time among the page's measures."""


def contrary(run: Run) -> dict[str, Any]:
    """Shift 2.0 is better by one score, on landscapes most, and worse by the other; fewer steps take less time."""
    values = noisy_scores({"2.0": 0.6, "1.0": -0.5}, spread=0.05)(run)
    if run.prompt.category == "landscapes" and run.cell.levels["shift"] == "2.0":
        values["image_reward"] += 1.0
    values["siglip_score"] += {"2.0": -0.4, "1.0": -0.3}.get(run.cell.levels["shift"], 0.0)
    steps, place = float(run.cell.levels["num_inference_steps"]), int(run.prompt.id[-3:])
    slight = {"1.0": 0.002}.get(run.cell.levels["shift"], 0.0)  # found, and too little to be told beside scores
    return {**values, "generation_time_seconds": 0.05 * steps + 0.001 * place + slight}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = sample_plan(axes=(SHIFT, STEPS), baseline=BASELINE, prompts=14, name="asked")
    folder = write_results(tmp_path_factory.mktemp("asked") / "asked", plan, contrary, image_size=8)
    for file in sorted((folder / "metadata").iterdir()):
        values = json.loads(file.read_text())
        place = int(values["run"]["prompt_id"][-3:])
        own = {"is_warm_up": place == 1, "session": "a later one" if place in (2, 9) else "the first one"}
        file.write_text(json.dumps({**values, "run": {**values["run"], **own}}))
    name_choices([ResultStore(folder)], None, ("image_reward=0.3",))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(browser: Any, folder: Path) -> Iterator[Any]:
    with report_tab(browser, folder) as opened:
        yield opened


QUESTIONS: list[tuple[dict[str, Any], Asked]] = [
    ({}, Asked()),
    ({"axis num_inference_steps": "1"}, Asked(conditions_from_flags(["num_inference_steps=9"]))),
    ({"property category": "animals"}, Asked(conditions_from_flags(["category=animals"]))),
    ({"baseline": "2.0 x 4", "correlate": True}, Asked(baseline="2.0 x 4", correlate=True)),
]


@pytest.mark.parametrize("at", [0, 2, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 3))])
def test_all_measures_together_and_the_times_that_compare_are_those_of_the_command(
    page: Any, folder: Path, at: int
) -> None:
    controls, asked = QUESTIONS[at]
    for measure, column in ((0, "image_reward"), (TIME, "generation_time_seconds")):
        shown = ask(page, {**controls, "measure": str(measure)}, "3.0 x 9")
        _tables, sentences, notes = told_by_command(folder, asked, column)
        assert shown["sentences"] == sentences
        assert shown["notes"] == notes
    assert "the scores contradict each other about 2.0" in told_by_command(folder, Asked())[1][0]
    assert any("Time is compared for" in note for note in told_by_command(folder, Asked())[2])


def test_of_times_that_were_not_taken_in_turn_the_page_says_what_the_command_says(browser: Any, tmp_path: Path) -> None:
    plan = sample_plan(axes=(SHIFT, axis("quantization", "none", "int8")), prompts=7, name="apart")
    folder = write_results(tmp_path / "apart", plan, noisy_scores({}), image_size=8)
    write_report(folder)
    with report_tab(browser, folder) as page:
        for controls, asked, is_told in (
            ({}, Asked(), True),
            ({"axis quantization": "1"}, Asked(conditions_from_flags(["quantization=int8"])), False),
        ):
            page.evaluate(ASK, {"axis quantization": ""})
            shown = page.evaluate(ASK, {**controls, "measure": str(TIME)})
            _tables, _sentences, notes = told_by_command(folder, asked, "generation_time_seconds")
            assert shown["notes"] == notes
            assert (OUT_OF_TURN in notes) == is_told


def test_of_many_runs_the_sentence_over_all_measures_comes_after_the_rest(browser: Any, folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert text.count("MOST_RUNS_AT_ONCE = 5000") == 1
    many = folder / "many.html"
    many.write_text(text.replace("MOST_RUNS_AT_ONCE = 5000", "MOST_RUNS_AT_ONCE = 1"), encoding="utf-8")
    context = browser.new_context(bypass_csp=True)  # which lets no script run but the report's own
    page = context.new_page()
    page.goto(many.as_uri())
    page.evaluate(
        """() => {
          const answers = document.getElementById('answers');
          globalThis.seen = [];
          const note = () => globalThis.seen.push(answers.querySelector('.overall')?.textContent);
          new MutationObserver(note).observe(answers, { childList: true, subtree: true, characterData: true });
          document.getElementById('ask-open').open = true;
        }"""
    )
    page.locator("#answers .overall", has_text=told_by_command(folder, Asked())[1][0]).wait_for()
    seen = page.evaluate("() => globalThis.seen")
    assert seen[0] == "All measures together …"
    context.close()
    many.unlink()


def records_of(folder: Path, **levels: str) -> list[RunRecord]:
    return [record for record in ResultStore(folder).runs() if levels.items() <= record.levels.items()]


def changes(folder: Path, level: str, base: str, category: str = "", *, steps: str = "9") -> list[float]:
    """Image rewards at one shift minus those at another, at the same number of steps."""
    values = {
        shift: {
            record.prompt_id: float(record.scores["image_reward"])
            for record in records_of(folder, shift=shift, num_inference_steps=steps)
            if category in ("", record.category)
        }
        for shift in (level, base)
    }
    return sorted(
        (value - values[base][name] for name, value in values[level].items()), key=lambda change: -abs(change)
    )


def behind(page: Any, line: str, nth: int = 0) -> tuple[str, list[str]]:
    """Click a number in the sentence that begins so; return the title of what opens, and each pair's text."""
    page.locator("#answers > p:not(.note)").filter(has_text=line).first.locator("button").nth(nth).click()
    while page.locator("#behind-more").is_visible():
        page.locator("#behind-more").click()
    title = page.locator("#behind-title").text_content()
    shown = [text.partition(": ")[2] for text in page.locator("#behind-list b").all_text_contents()]
    page.keyboard.press("Escape")
    return str(title), shown


def test_an_amount_in_an_answer_leads_to_its_pairs(page: Any, folder: Path) -> None:
    ask(page, {**BY_REWARD, "axis num_inference_steps": "1"}, "3.0")
    title, shown = behind(page, "shift 2.0 beats 3.0 by")
    assert title == "ImageReward: 2.0 minus 3.0, 14 pairs, the largest difference first"
    assert [float(text) for text in shown] == pytest.approx(changes(folder, "2.0", "3.0"), abs=0.0051)
    title, shown = behind(page, "shift 4.0 is as good as 3.0 within 0.3 (90 % interval", 2)
    assert title.startswith("ImageReward: 1.0 minus 3.0, 14 pairs"), "its interval against the margin"
    assert [float(text) for text in shown] == pytest.approx(changes(folder, "1.0", "3.0"), abs=0.0051)


def test_an_amount_averaged_over_an_axis_leads_to_pairs_at_all_its_levels(page: Any, folder: Path) -> None:
    ask(page, {**BY_REWARD}, "3.0 x 9")
    title, shown = behind(page, "Averaged over the other axes: shift 2.0 beats 3.0")
    assert title == "ImageReward: shift 2.0 minus 3.0, 28 pairs, the largest difference first"
    both = changes(folder, "2.0", "3.0") + changes(folder, "2.0", "3.0", steps="4")
    assert [float(text) for text in shown] == pytest.approx(sorted(both, key=lambda change: -abs(change)), abs=0.0051)


def test_amounts_of_groups_and_of_their_disagreement_lead_to_the_groups_pairs(page: Any, folder: Path) -> None:
    ask(page, {**BY_REWARD, "axis num_inference_steps": "1", "by": "category"}, "3.0")
    wanted = changes(folder, "2.0", "3.0", "landscapes")
    for line in ("category “landscapes”: ", "The answer differs by category: shift 2.0 is"):
        title, shown = behind(page, line)
        assert (
            title
            == f"ImageReward: 2.0 minus 3.0, category landscapes, {len(wanted)} pairs, the largest difference first"
        )
        assert [float(text) for text in shown] == pytest.approx(wanted, abs=0.0051)


def test_a_slope_and_a_correlation_lead_to_their_pairs(page: Any, folder: Path) -> None:
    ask(page, {**BY_REWARD, "axis num_inference_steps": "1", "trend": "shift", "correlate": True}, "3.0")
    title, shown = behind(page, "It rises along shift, by")
    along = [change for level in ("2.0", "3.0", "4.0") for change in changes(folder, level, "1.0")]
    assert title.startswith("ImageReward: along shift beside its lowest level, 42 pairs")
    assert [float(text) for text in shown] == pytest.approx(sorted(along, key=lambda change: -abs(change)), abs=0.0051)
    title, shown = behind(page, "Within a prompt, ImageReward and SigLIP 2")
    beside = [change for level in ("1.0", "2.0", "4.0") for change in changes(folder, level, "3.0")]
    assert title == "ImageReward: beside 3.0, with SigLIP 2, 42 pairs, the largest difference first"
    assert [float(text.partition(",")[0]) for text in shown] == pytest.approx(
        sorted(beside, key=lambda change: -abs(change)), abs=0.0051
    )
    assert all(", SigLIP 2 " in text for text in shown)
    page.locator("#answers table[data-name=correlations] tbody tr").first.locator("button").click()
    assert page.locator("#behind-title").text_content() == title
    page.keyboard.press("Escape")
