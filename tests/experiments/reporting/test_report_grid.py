"""The report's pictures: two axes of one prompt, one zoom, the baseline under a key, filters, orders, favourites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect
from report_tab import report_tab
from sample_results import SHIFT, STEPS, axis, noisy_scores, sample_plan, write_results
from scipy import stats

from experiments.reporting.report_page import write_report
from experiments.store.result_store import ResultStore

THINK = axis("force_think_block", False, True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    baseline = {"shift": "3.0", "num_inference_steps": "9", "force_think_block": "False"}
    plan = sample_plan(axes=(SHIFT, STEPS, THINK), baseline=baseline, prompts=5, name="three")
    folder = write_results(tmp_path_factory.mktemp("grid") / "three", plan, noisy_scores({"2.0": 0.4}), image_size=32)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def shared(browser: Any, folder: Path) -> Iterator[Any]:
    with report_tab(browser, folder) as page:
        yield page


@pytest.fixture
def page(shared: Any, folder: Path) -> Any:
    shared.goto((folder / "report.html").as_uri())
    return shared


def shown_runs(page: Any) -> list[list[str]]:
    """Run ids of the table of one prompt, row by row."""
    return page.evaluate(
        "() => [...document.querySelectorAll('#cross-table tbody tr')].map((row) =>"
        " [...row.querySelectorAll('td')].map((cell) => data.run.id[cell.dataset.run]))".replace(
            "data.run.id", "JSON.parse(document.getElementById('grid-data').textContent).run.id"
        )
    )


def test_one_prompt_stands_in_true_rows_and_columns_and_a_third_axis_is_a_slider(page: Any, folder: Path) -> None:
    records = {record.run_id: record for record in ResultStore(folder).runs()}
    page.locator("#cross summary").click()
    page.select_option("#cross-controls [name=cross-prompt]", "2")
    page.select_option("#cross-controls [name=cross-rows]", label="num_inference_steps")
    page.select_option("#cross-controls [name=cross-columns]", label="shift")
    for think in ("False", "True"):
        page.locator("#cross-sliders input").fill("1" if think == "True" else "0")
        runs = [[records[name] for name in row] for row in shown_runs(page)]
        assert [[record.levels["shift"] for record in row] for row in runs] == [["1.0", "2.0", "3.0", "4.0"]] * 2
        assert [row[0].levels["num_inference_steps"] for row in runs] == ["4", "9"]
        assert {record.levels["force_think_block"] for row in runs for record in row} == {think}
        assert len({record.prompt_id for row in runs for record in row}) == 1


def test_all_pictures_share_one_zoom_whose_point_stays_under_the_pointer(page: Any) -> None:
    page.locator("#cross summary").click()
    window = page.locator(".cross-window").nth(1)
    window.scroll_into_view_if_needed()
    box = window.bounding_box()
    at = (box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.move(*at)
    page.mouse.wheel(0, -600)
    expect(page.locator("#cross-zoom")).not_to_have_text("1.0 ×")
    boxes = page.evaluate(
        "() => [...document.querySelectorAll('.cross-layers')].map((layer) => {"
        " const inner = layer.getBoundingClientRect(); const outer = layer.parentElement.getBoundingClientRect();"
        " return [(inner.x - outer.x) / outer.width, (inner.y - outer.y) / outer.height, inner.width / outer.width]; })"
    )
    assert np.ptp(np.array(boxes), axis=0) == pytest.approx([0, 0, 0], abs=1e-3)
    left, top, zoom = boxes[0]
    assert zoom > 2
    # the point at (0.75, 0.25) of a picture is where it was
    assert left + 0.75 * zoom == pytest.approx(0.75, abs=5e-3)
    assert top + 0.25 * zoom == pytest.approx(0.25, abs=5e-3)


def test_a_held_key_shows_the_baseline_and_another_what_differs(page: Any) -> None:
    page.locator("#cross summary").click()
    table = page.locator("#cross-table")
    table.focus()
    base = page.locator("#cross-table .base").first
    assert base.evaluate("image => getComputedStyle(image).visibility") == "hidden"
    page.keyboard.down("b")
    assert base.evaluate("image => getComputedStyle(image).visibility") == "visible"
    assert base.evaluate("image => getComputedStyle(image).mixBlendMode") == "normal"
    page.keyboard.up("b")
    assert base.evaluate("image => getComputedStyle(image).visibility") == "hidden"
    page.keyboard.press("d")
    assert base.evaluate("image => getComputedStyle(image).mixBlendMode") == "difference"
    assert page.locator("#cross-difference").get_attribute("aria-pressed") == "true"
    alone = page.locator("#cross-table td.is-baseline .cross-window").screenshot()
    from io import BytesIO

    from PIL import Image

    middle = np.asarray(Image.open(BytesIO(alone)).convert("RGB"))[20:-20, 20:-20]
    assert middle.max() == 0, "the baseline differs from itself"


def test_a_held_key_shows_the_baseline_of_every_row_of_the_sheet(page: Any) -> None:
    first = page.locator("#sheet .sheet-body .sheet-row").first
    sources = "row => [...row.querySelectorAll('.cell img')].map((image) => image.getAttribute('src'))"
    before = first.evaluate(sources)
    assert len(set(before)) == 16
    page.locator("#sheet .cell").first.focus()
    page.keyboard.down("b")
    assert set(first.evaluate(sources)) == {
        source for source in before if "3.0" in source and "_9_" in source and "alse" in source
    }
    page.keyboard.up("b")
    assert first.evaluate(sources) == before


def test_rows_are_filtered_by_a_range_of_the_score(page: Any, folder: Path) -> None:
    best = {}
    for record in ResultStore(folder).runs():
        value = record.scores["image_reward"]
        best[record.prompt_id] = max(value, best.get(record.prompt_id, value))
    least = sorted(best.values())[2] - 0.001
    page.locator("#controls [name=least]").fill(str(least))
    assert page.locator("#count").text_content().startswith("3 of 5 rows")
    page.locator("#controls [name=least]").fill("99")
    assert page.locator("#count").text_content().startswith("0 of 5 rows")


def test_rows_are_ordered_by_how_much_the_judges_disagree(page: Any, folder: Path) -> None:
    rows: dict[str, list[tuple[float, float]]] = {}
    for record in ResultStore(folder).runs():
        rows.setdefault(record.prompt_id, []).append((record.scores["image_reward"], record.scores["siglip_score"]))
    agreement = {name: stats.spearmanr(values).statistic for name, values in rows.items()}
    page.select_option("#controls [name=order]", "judges")
    shown = page.locator("#sheet .row-head b").all_text_contents()
    assert shown == sorted(agreement, key=lambda name: agreement[name])


def test_favourites_last_over_a_reload_filter_rows_and_are_exported(page: Any, folder: Path) -> None:
    page.locator("#sheet .cell").nth(1).focus()
    star = page.locator("#sheet .cell").nth(1).locator(".star")
    star.click()
    assert star.get_attribute("aria-pressed") == "true"
    assert not page.locator("#viewer").evaluate("dialog => dialog.open"), "the star opens no picture"
    page.goto((folder / "report.html").as_uri())
    assert page.locator("#sheet .cell").nth(1).locator(".star").get_attribute("aria-pressed") == "true"
    page.locator("#controls [name=kept]").check()
    assert page.locator("#count").text_content().startswith("1 of 5 rows")
    with page.expect_download() as download:
        page.locator("#favourites-export").click()
    kept = json.loads(Path(download.value.path()).read_text())["favourites"]
    record = ResultStore(folder).runs()[1]
    assert [(one["run_id"], one["prompt"], one["level"]) for one in kept] == [
        (record.run_id, record.prompt, record.level)
    ]
    assert kept[0]["scores"]["ImageReward"] == pytest.approx(record.scores["image_reward"], rel=1e-5)
    page.locator("#sheet .cell").nth(1).locator(".star").click()
    assert page.locator("#favourites-export").is_hidden()


def test_a_thumbnail_that_nobody_made_is_the_whole_picture(browser: Any, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "bare", sample_plan(prompts=1), noisy_scores({}), image_size=8)
    write_report(folder)
    for thumbnail in (folder / "thumbnails").iterdir():
        thumbnail.unlink()
    page = browser.new_page()
    page.goto((folder / "report.html").as_uri())
    page.locator("#sheet").scroll_into_view_if_needed()
    for place in range(4):
        expect(page.locator("#sheet img").nth(place)).to_have_js_property("naturalWidth", 8)
    assert "/images/" in page.locator("#sheet img").first.evaluate("image => image.src")
    page.close()
