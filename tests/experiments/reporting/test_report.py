"""The report in a real browser, opened from disk, and the numbers behind its marks."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import re
import shutil
from pathlib import Path

import pytest
from hostile_text import HOSTILE
from PIL import Image
from sample_results import (
    SHIFT,
    STEPS,
    axis,
    noisy_scores,
    sample_plan,
    sample_prompts,
    write_results,
)
from web_server import wait_until

from experiments.metrics import PSNRScorer, SSIMScorer
from experiments.metrics.missing_scores import score_results
from experiments.reporting.report_page import overall_of, write_report
from experiments.store.result_store import ResultStore


@pytest.fixture
def open_report(browser):
    """Open a page; at the end nothing may have gone wrong in it or been asked of another place."""
    contexts, complaints, requests = [], [], []

    def open_page(path: Path, *, anchor="", width=1400, height=900, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + anchor)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """12 prompts x 4 levels x 2 seeds; one run failed."""
    noise = noisy_scores({"4.0": 0.5}, spread=0.05)

    def scores(run):
        is_lost = run.prompt.id == "animals_000" and run.cell.levels["shift"] == "2.0" and run.params.seed == 1
        return "CUDA out of memory" if is_lost else noise(run)

    folder = write_results(tmp_path_factory.mktemp("report") / "sweep", sample_plan(seeds=(1, 2)), scores)
    return write_report(folder)


def shown_prompts(page) -> list[str]:
    """Prompt ids of the rows in view, from top to bottom."""
    heads = page.locator(".sheet-body .sheet-row").evaluate_all(
        "rows => rows.sort((a, b) => a.offsetTop - b.offsetTop).map(row => row.querySelector('b').textContent)"
    )
    return heads


def cell(page, row: int, level: int):
    return page.locator(f'.cell[data-row="{row}"][data-level="{level}"]')


def viewer_title(page) -> str:
    return page.locator(".viewer-title").inner_text()


def test_verdict_plots_and_grid_are_on_the_page(open_report, sweep):
    page = open_report(sweep)
    assert "shift 4.0 beats 3.0 by 0.49" in page.locator("#verdict").inner_text()
    told = "Over ImageReward and SigLIP 2: 4.0 beats shift 3.0 by ImageReward, and can't be told apart from it by "
    first = page.locator("#verdict > h2 + .overall").inner_text()  # before every measure's own
    assert first == overall_of(sweep) == f"{told}SigLIP 2; no score tells 1.0 and 2.0 from it."
    assert "1 run failed and is left out" in page.locator("#verdict").inner_text()
    assert "CUDA out of memory" in page.locator("#verdict .failures").text_content()
    assert page.locator("article[data-measure=image_reward] .plot-row .point").count() == 4 + 3
    assert page.locator("#count").inner_text() == "24 of 24 rows, 95 pictures"
    assert page.locator("#frontier .dot").count() == 2 * 4
    assert "rules of thumb" in page.locator("#plots").inner_text()


def test_failed_run_says_why_in_its_place(open_report, sweep):
    page = open_report(sweep)
    assert cell(page, 0, 1).inner_text() == "failed: CUDA out of memory"


def test_prompts_with_markup_are_shown_and_never_run(open_report, tmp_path):
    first, second = sample_prompts(2)
    prompts = [
        dataclasses.replace(first, text=HOSTILE, must_show=(HOSTILE,)),
        dataclasses.replace(second, text=f"{HOSTILE} again", must_show=(HOSTILE,)),
    ]
    plan = sample_plan(axes=[axis("thinking_content", "plain", HOSTILE)], prompts=prompts)
    plan = dataclasses.replace(plan, experiment=dataclasses.replace(plan.experiment, description=HOSTILE))
    noise = noisy_scores({})
    folder = write_results(
        tmp_path / "r",
        plan,
        lambda run: (
            HOSTILE if run.prompt.id.endswith("1") and run.cell.levels["thinking_content"] == "plain" else noise(run)
        ),
    )
    page = open_report(write_report(folder))
    assert page.locator(".lead").text_content() == HOSTILE
    assert page.locator(".row-head .prompt").first.text_content() == HOSTILE
    assert page.locator(".failures li").first.text_content() == f"1 × {HOSTILE}"
    cell(page, 0, 1).click()
    assert HOSTILE in page.locator("#details").text_content()
    assert page.locator("#details pre").text_content().startswith(f"<|im_start|>user\n{HOSTILE}")
    assert page.evaluate("window.wasRun") is None
    assert page.locator("#sheet b b, #details b, .lead b").count() == 0


def test_filters_keep_category_words_and_seed(open_report, sweep):
    page = open_report(sweep)
    page.select_option("[name=category]", "landscapes")
    assert page.locator("#count").inner_text() == "8 of 24 rows, 32 pictures"
    page.select_option("[name=seed]", "2")
    assert page.locator("#count").inner_text() == "4 of 24 rows, 16 pictures"
    page.fill("[name=text]", "LAKE take 4")
    assert shown_prompts(page) == ["landscapes_004"]
    page.fill("[name=text]", "volcano")
    assert page.locator("#sheet .empty").inner_text() == "No prompt matches these filters."


def test_orders_follow_score_and_disagreement(open_report, sweep):
    page = open_report(sweep)
    data = json.loads(page.locator("#grid-data").text_content())
    table: dict[int, list[float]] = {}
    for row, value in zip(data["run"]["row"], data["run"]["values"][0], strict=True):
        if value is not None:
            table.setdefault(row, []).append(value)
    names = [data["prompts"][prompt]["id"] for prompt, _ in data["rows"]]

    def ordered(key):
        return [names[row] for row in sorted(table, key=key)]

    page.select_option("[name=order]", "best")
    expected = ordered(lambda row: -sum(table[row]) / len(table[row]))
    assert shown_prompts(page)[:3] == expected[:3]
    page.select_option("[name=order]", "worst")
    assert shown_prompts(page)[:3] == expected[::-1][:3]
    page.select_option("[name=order]", "disagreement")
    assert shown_prompts(page)[:3] == ordered(lambda row: min(table[row]) - max(table[row]))[:3]
    page.locator(".column-head").nth(3).click()
    assert page.locator("[name=order]").input_value() == "level 3"


def test_arrow_keys_move_through_grid_and_viewer(open_report, sweep):
    page = open_report(sweep)
    cell(page, 0, 0).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.level]") == ["1", "1"]
    page.keyboard.press("Enter")
    assert viewer_title(page) == "shift 2.0\nanimals_000 · seed 2"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert viewer_title(page) == "shift 3.0\nlandscapes_001 · seed 1"
    page.keyboard.press("Escape")
    assert page.locator("#viewer[open]").count() == 0
    page.locator("[data-row='2'][data-level='2']:focus").wait_for()  # the viewer hands on the focus once it has closed
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.level]") == ["2", "2"]


def test_end_and_page_keys_bring_the_far_cell_into_view(open_report, sweep):
    page = open_report(sweep, width=700)
    page.select_option("[name=size]", "l")
    cell(page, 0, 0).focus()
    for key in ("End", *["PageDown"] * 6):
        page.keyboard.press(key)
    assert page.evaluate("[document.activeElement.dataset.row, document.activeElement.dataset.level]") == ["23", "3"]
    inside = page.evaluate(
        "() => { const a = document.activeElement.getBoundingClientRect(), s = document.getElementById('sheet')"
        ".getBoundingClientRect(); return a.left >= s.left && a.right <= s.right && a.bottom <= s.bottom + 1; }"
    )
    assert inside


def test_two_pictures_meet_under_the_slider(open_report, sweep):
    page = open_report(sweep)
    cell(page, 1, 3).click()
    page.keyboard.press("c")
    assert page.locator("#stage img").count() == 2
    assert page.locator("#stage .side").all_inner_texts() == ["3.0", "4.0"]
    page.locator("#split").fill("20")
    clip = page.locator("#stage .over").evaluate("image => getComputedStyle(image).clipPath")
    assert clip == "inset(0px calc(100% - 20%) 0px 0px)" or "80%" in clip
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 50)
    page.mouse.up()
    assert float(page.locator("#split").input_value()) == pytest.approx(75, abs=1)
    page.keyboard.press("c")
    assert page.locator("#stage img").count() == 1


def test_any_picture_can_be_pinned_and_compared(open_report, sweep):
    page = open_report(sweep)
    cell(page, 1, 0).click()
    page.keyboard.press("p")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    assert page.locator("#stage .side").all_inner_texts() == ["animals_000, 1.0, seed 2", "2.0"]


def colours(page) -> list[int]:
    """Red, green and blue in the middle of what the stage shows."""
    box = page.locator("#stage").bounding_box()
    data = page.screenshot(
        clip={"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "width": 2, "height": 2}
    )
    return list(Image.open(io.BytesIO(data)).convert("RGB").getpixel((0, 0)))


def test_the_farthest_pairs_come_first_and_flip_and_differ_by_keys_alone(open_report, tmp_path):
    plan = sample_plan(prompts=2, baseline={"shift": "3.0"})
    store = ResultStore(write_results(tmp_path / "pairs", plan, lambda run: {}))
    reds = {"1.0": 110, "2.0": 90, "3.0": 100, "4.0": 100}
    for record in store.runs():
        is_far = record.prompt_id == "landscapes_001" and record.level == "2.0"
        data = io.BytesIO()
        Image.new("RGB", (64, 64), (reds[record.level] - 15 * is_far, 50, 50)).save(data, "PNG")
        record.image_path.write_bytes(data.getvalue())
        path = store.metadata / f"{record.run_id}.json"
        values = json.loads(path.read_text())
        values["image"] |= {"bytes": len(data.getvalue())}
        path.write_text(json.dumps(values))
    score_results(store, [PSNRScorer(), SSIMScorer()])
    page = open_report(write_report(store.folder))
    shown = page.locator(".pair b").all_inner_texts()
    assert [text.split(":")[0] for text in shown] == ["2.0", "1.0", "2.0", "1.0"]  # 4.0 is equal and no pair
    assert shown[0] == f"2.0: PSNR {10 * math.log10(255**2 * 3 / 25**2):.2f} dB"
    assert page.locator("#pair-count").inner_text() == "4 pairs that differ"
    page.locator(".pair").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#stage .side").all_inner_texts() == ["2.0"]
    assert colours(page) == [75, 50, 50]
    page.keyboard.press("f")
    assert page.locator("#stage .side").all_inner_texts() == ["3.0"]
    assert colours(page) == [100, 50, 50]
    page.keyboard.press("f")
    page.keyboard.down("f")
    page.wait_for_timeout(500)
    assert colours(page) == [100, 50, 50]
    page.keyboard.up("f")
    assert colours(page) == [75, 50, 50]
    page.keyboard.press("d")
    assert colours(page) == [25 * 8, 0, 0]
    assert page.locator("#stage .side").all_inner_texts() == ["3.0", "2.0"]
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.querySelector('.pair')")
    page.locator("#pair-controls [name=level]").select_option(label="1.0")
    assert page.locator(".pair").count() == 2
    page.locator("#controls [name=text]").fill("lake")
    page.locator("#controls [name=measure]").select_option(label="PSNR")
    assert cell(page, 0, 3).locator(".score").inner_text() == "∞"
    page.locator(".pair").first.click()  # its row is hidden by the filter
    assert page.locator("#viewer-level").inner_text() == "shift 1.0"


def test_parameters_and_formatted_prompt_are_one_click_away(open_report, sweep):
    page = open_report(sweep)
    cell(page, 0, 3).click()
    text = page.locator("#details").inner_text()
    assert "<|im_start|>user\nA tabby cat lies curled in a pool of sunlight, take 0.<|im_end|>" in text
    parameters = dict(re.findall(r"(\w+)\t(.*)", page.locator("#details .parameters").inner_text()))
    assert parameters["shift"] == "4"
    assert parameters["seed"] == "1"
    assert parameters["system_prompt"] == "none"
    assert parameters["negative_prompt"] == "empty"
    record = page.locator("#details a", has_text="Whole record").get_attribute("href")
    assert (sweep.parent / record).is_file()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (390, "light")])
def test_page_fits_its_window(open_report, sweep, width, scheme):
    page = open_report(sweep, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
    if width == 390:
        cell(page, 0, 0).click()
        assert page.locator("#viewer").bounding_box()["width"] == 390


def test_theme_button_switches(open_report, sweep):
    page = open_report(sweep)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_heads_stay_in_view_while_the_grid_scrolls(open_report, sweep):
    page = open_report(sweep, width=600)
    page.locator("#sheet").evaluate("sheet => { sheet.scrollTop = 900; sheet.scrollLeft = 150; }")
    page.wait_for_timeout(100)
    sheet = page.locator("#sheet").bounding_box()
    assert page.locator(".column-head").first.bounding_box()["y"] == pytest.approx(sheet["y"], abs=3)
    assert page.locator(".row-head").first.bounding_box()["x"] == pytest.approx(sheet["x"], abs=3)


def test_of_5000_pictures_only_those_near_the_view_are_in_the_page(open_report, tmp_path):
    plan = sample_plan(axes=[axis("shift", *[float(n) for n in range(1, 11)])], prompts=50, seeds=tuple(range(10)))
    folder = write_results(tmp_path / "r", plan, noisy_scores({}), image_size=32)
    _fake_thumbnails(folder)
    page = open_report(write_report(folder), anchor="#pictures")
    wait_until(lambda: page.evaluate("document.querySelector('.cell img')?.naturalWidth > 0"))
    assert page.locator("#count").inner_text() == "500 of 500 rows, 5000 pictures"
    assert page.locator(".cell").count() < 500
    page.locator("#sheet").evaluate("sheet => { sheet.scrollTop = sheet.scrollHeight; }")
    wait_until(lambda: page.evaluate("document.querySelector('.cell[data-row=\"499\"] img')?.naturalWidth > 0"))
    assert page.locator(".cell").count() < 500


def _fake_thumbnails(folder: Path) -> None:
    """Put one small picture in the place of every thumbnail, newer than the pictures: making them isn't measured."""
    (folder / "thumbnails").mkdir()
    small = folder / "small.webp"
    Image.new("RGB", (256, 256), "teal").save(small)
    for path in (folder / "images").iterdir():
        os.link(small, folder / "thumbnails" / f"{path.stem}.webp")


def test_bundle_shows_its_pictures_far_from_the_folder(open_report, tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=2), noisy_scores({}))
    path = write_report(folder, bundle=True, output=tmp_path / "sent.html")
    shutil.rmtree(folder)
    page = open_report(path, anchor="#pictures")
    widths = "[...document.querySelectorAll('.cell img')].map((image) => image.naturalWidth)"
    wait_until(lambda: set(page.evaluate(widths)) == {64})
    cell(page, 0, 0).click()
    assert page.locator("#stage img").get_attribute("src").startswith("data:image/webp;base64,")


def test_grid_experiment_shows_heat_maps(open_report, tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(axes=[SHIFT, STEPS]), noisy_scores({"4.0": 0.4}))
    page = open_report(write_report(folder))
    table = page.locator("#grids .heat").first
    assert table.locator("td").count() == 8
    assert "num_inference_steps" in table.locator("thead").inner_text()
    assert page.locator("#plots details").count() == 2 * 3


def test_levels_are_explained_and_missing_scores_are_offered(open_report, tmp_path):
    plan = sample_plan(axes=[axis("system_prompt", "You are a painter.", HOSTILE)], prompts=2)
    folder = write_results(tmp_path / "r", plan, lambda run: {})
    page = open_report(write_report(folder))
    assert json.dumps(HOSTILE, ensure_ascii=False) in page.locator(".levels").text_content()
    assert "uv run experiments/score.py" in page.locator("#verdict").inner_text()


def test_columns_beside_the_main_ones_are_folded_away(open_report, tmp_path):
    noise = noisy_scores({})
    scores = lambda run: {**noise(run), "image_reward_chunked": 0.1 * run.params.shift}  # noqa: E731
    page = open_report(write_report(write_results(tmp_path / "r", sample_plan(), scores)))
    assert not page.locator("[data-measure=image_reward_chunked]").is_visible()
    page.locator("#plots > details > summary").click()
    assert page.locator("[data-measure=image_reward_chunked]").is_visible()
    assert page.locator("#verdict dt").all_inner_texts() == ["ImageReward", "SigLIP 2", "Generation time"]


def test_pictures_with_nothing_to_compare_are_not_called_unfinished(open_report, tmp_path):
    plan = sample_plan(axes=[axis("shift", 3.0)], prompts=2)
    page = open_report(write_report(write_results(tmp_path / "r", plan, lambda run: {})))
    assert "The finished pictures have nothing to compare yet" in page.locator("#verdict").inner_text()
    assert page.locator("#count").inner_text().endswith("pictures")


def test_experiment_without_pictures_still_has_a_page(open_report, tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=2), lambda run: "non-finite latents")
    page = open_report(write_report(folder))
    assert "No picture is finished" in page.locator("#verdict").inner_text()
    assert page.locator("#count").inner_text() == "2 of 2 rows, 0 pictures"
