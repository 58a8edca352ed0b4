"""Any number of the report leads to the pairs behind it, the largest difference first; by keyboard too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from report_tab import report_tab
from sample_results import SHIFT, STEPS, noisy_scores, sample_plan, write_results

from experiments.reporting.report_page import write_report
from experiments.store.records import RunRecord
from experiments.store.result_store import ResultStore

BASELINE = {"shift": "3.0", "num_inference_steps": "9"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = sample_plan(axes=(SHIFT, STEPS), baseline=BASELINE, prompts=8, name="behind")
    scores = noisy_scores({"2.0": 0.5, "1.0": -0.4}, spread=0.05)
    folder = write_results(tmp_path_factory.mktemp("behind") / "behind", plan, scores, image_size=16)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def records(folder: Path) -> list[RunRecord]:
    return ResultStore(folder).runs()


@pytest.fixture(scope="module")
def page(browser: Any, folder: Path) -> Iterator[Any]:
    with report_tab(browser, folder) as opened:
        yield opened


def changes(
    records: list[RunRecord],
    levels: dict[str, str],
    value: Callable[[RunRecord], float] = lambda record: float(record.scores["image_reward"] or 0),
) -> list[float]:
    """Runs with these levels minus those with the baseline's, within prompt, seed and the other axes' levels."""

    def rest(record: RunRecord) -> tuple[Any, ...]:
        return record.prompt_id, record.seed, *(record.levels[name] for name in BASELINE if name not in levels)

    own = {name: BASELINE[name] for name in levels}
    base = {rest(item): value(item) for item in records if own.items() <= item.levels.items()}
    found = [value(item) - base[rest(item)] for item in records if levels.items() <= item.levels.items()]
    return sorted(found, key=lambda change: -abs(change))


def shown(page: Any) -> list[float]:
    while page.locator("#behind-more").is_visible():
        page.locator("#behind-more").click()
    return [
        float(text.rpartition(":")[2].removesuffix("s")) for text in page.locator("#behind-list b").all_inner_texts()
    ]


def told(page: Any) -> str:
    text: str = page.locator("#behind-title").inner_text()
    return text


CARD = "#plots article[data-measure=image_reward]"
PLACES = {
    "a row of the numbers": ("#numbers table[data-column=image_reward] tr", "2.0 x 9", "2.0 x 9 minus 3.0 x 9, 8"),
    "a row of the plot": (f"{CARD} > .plot .plot-row", "2.0 x 9", "2.0 x 9 minus 3.0 x 9, 8"),
    "an axis, averaged": (f"{CARD} [data-axes*=shift] .plot-row", "2.0", "shift 2.0 minus 3.0, 16"),
    "a point of quality and time": ("#frontier .legend li", "2.0 x 9", "2.0 x 9 minus 3.0 x 9, 8"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_number_leads_to_its_pairs(page: Any, records: list[RunRecord], name: str) -> None:
    rows, level, expected = PLACES[name]
    row = page.locator(rows, has=page.locator(f"xpath=.//*[contains(., '{level}')]")).filter(has_text=level).first
    row.locator("button.number-link").click()
    assert told(page) == f"ImageReward: {expected} pairs, the largest difference first"
    levels = {"shift": "2.0"} if name == "an axis, averaged" else {"shift": "2.0", "num_inference_steps": "9"}
    assert shown(page) == pytest.approx(changes(records, levels), abs=0.0051)
    page.keyboard.press("Escape")
    assert row.locator("button.number-link").evaluate("button => button === document.activeElement")


def test_a_cell_of_the_map_leads_to_its_pairs(page: Any, records: list[RunRecord]) -> None:
    cells = page.locator("#grids article[data-column=image_reward] tbody tr").nth(1).locator("td")
    cells.first.locator("button").click()
    assert told(page) == "ImageReward: 2.0 x 4 minus 3.0 x 9, 8 pairs, the largest difference first"
    assert shown(page) == pytest.approx(changes(records, {"shift": "2.0", "num_inference_steps": "4"}), abs=0.0051)
    page.keyboard.press("Escape")
    assert page.locator("#grids .heat button").count() == 3 * (4 * 2 - 1), "the baseline has no pairs with itself"


def test_amounts_in_the_verdict_lead_to_their_pairs(page: Any, records: list[RunRecord]) -> None:
    verdict = page.locator("#verdict dd[data-column=image_reward] > p")
    first = verdict.first.inner_text()
    assert first.startswith("shift x num_inference_steps 2.0 x ")
    verdict.first.locator("button").first.click()
    level = first.removeprefix("shift x num_inference_steps ").partition(" beats")[0]
    shift, steps = level.split(" x ")
    assert shown(page) == pytest.approx(changes(records, {"shift": shift, "num_inference_steps": steps}), abs=0.0051)
    page.keyboard.press("Escape")
    averaged = verdict.filter(has_text="Averaged over the other axes: shift 2.0 beats 3.0").first
    averaged.locator("button").first.click()
    assert told(page).startswith("ImageReward: shift 2.0 minus 3.0, 16 pairs")
    page.keyboard.press("Escape")
    assert verdict.first.inner_text() == first, "the sentence stays as it is"


def test_the_keyboard_opens_a_pair_and_comes_back(page: Any, records: list[RunRecord]) -> None:
    page.locator("#numbers summary", has_text="Generation time").click()
    button = page.locator("#numbers table[data-column=generation_time_seconds] tr button").first
    button.focus()
    page.keyboard.press("Enter")
    assert told(page).startswith("Generation time: 1.0 x 4 minus 3.0 x 9, ")
    page.locator("#behind-list button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer").evaluate("dialog => dialog.open")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert button.evaluate("button => button === document.activeElement")


def test_the_pointer_may_click_any_number_of_a_row(page: Any) -> None:
    page.locator("#numbers table[data-column=image_reward] tr", has_text="1.0 x 9").locator("td").nth(2).click()
    assert told(page).startswith("ImageReward: 1.0 x 9 minus 3.0 x 9, 8 pairs")
    page.keyboard.press("Escape")
    page.locator("#frontier .dot[data-behind]").last.locator("circle").click()
    assert page.locator("#behind").evaluate("dialog => dialog.open")
    page.keyboard.press("Escape")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_pairs_are_shown(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.locator("#numbers button.number-link").first.click()
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found = page.evaluate(
        "() => axe.run().then((found) => found.violations.map((item) => [item.id, item.nodes[0].html]))"
    )
    page.keyboard.press("Escape")
    assert found == []
    found = page.evaluate(
        "() => axe.run().then((found) => found.violations.map((item) => [item.id, item.nodes[0].html]))"
    )
    assert found == []
