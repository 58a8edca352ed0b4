"""Plots prompt by prompt, in the page and as files, show the numbers that the statistics have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_tab import report_tab
from sample_results import SHIFT, axis, noisy_scores, sample_manifest, sample_plan, sample_records, write_results

from experiments.exports.prompt_figures import prompt_figures, stacked
from experiments.metrics import METRICS
from experiments.reporting.report_page import write_report
from experiments.stats.questions.over_prompts import PromptNumbers, numbers_over_prompts
from experiments.store.result_store import ResultStore

THINK = axis("force_think_block", False, True)
BASELINE = {"shift": "3.0", "force_think_block": "False"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = sample_plan(axes=(SHIFT, THINK), baseline=BASELINE, prompts=7, seeds=(1, 2), name="prompts")
    scores = noisy_scores({"2.0": 0.5, "1.0": -0.4}, spread=0.2)
    folder = write_results(tmp_path_factory.mktemp("prompts") / "prompts", plan, scores, image_size=16)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def numbers(folder: Path) -> PromptNumbers:
    store = ResultStore(folder)
    found = numbers_over_prompts(store.manifest(), store.runs(), METRICS)
    return next(item for item in found if item.measure.column == "image_reward")


@pytest.fixture(scope="module")
def page(browser: Any, folder: Path) -> Iterator[Any]:
    with report_tab(browser, folder) as opened:
        opened.locator("#plots article[data-column=image_reward] .prompt-by-prompt .disclosure").click()
        yield opened


PLOTS = "#plots article[data-column=image_reward] .prompt-by-prompt"


def test_a_prompts_numbers_are_means_over_its_seeds_and_the_other_axes() -> None:
    plan = sample_plan(axes=(SHIFT, THINK), baseline=BASELINE, prompts=2, seeds=(1, 2))

    def scores(run: Any) -> dict[str, float]:
        place = int(run.prompt.id[-1])
        thinks = run.cell.levels["force_think_block"] == "True"
        slope = (place + 1) * float(run.cell.levels["shift"])
        return {"image_reward": 10 * place + slope + 0.5 * thinks + 0.1 * (run.params.seed or 0)}

    (found, *_time) = numbers_over_prompts(sample_manifest(plan), sample_records(plan, scores), METRICS)
    first, second = (prompt.id for prompt in plan.prompts)
    assert found.differences["1.0 x True"] == pytest.approx({first: -1.5, second: -3.5})
    assert found.differences["4.0 x False"] == pytest.approx({first: 1.0, second: 2.0})
    assert [lines.axis for lines in found.lines] == ["shift"]
    assert found.lines[0].values == (1.0, 2.0, 3.0, 4.0)
    assert found.lines[0].numbers[first] == pytest.approx((1.4, 2.4, 3.4, 4.4))
    assert found.lines[0].numbers[second] == pytest.approx((12.4, 14.4, 16.4, 18.4))


def test_the_page_has_a_dot_for_every_prompts_difference(page: Any, numbers: PromptNumbers) -> None:
    rows = page.locator(f"{PLOTS} .by-prompt .plot-row:not(.plot-head, .plot-foot)")
    assert rows.count() == len(numbers.differences) == 7
    for at, (level, differences) in enumerate(numbers.differences.items()):
        row = rows.nth(at)
        assert row.locator(".level").inner_text() == level
        dots = row.locator(".prompt-dot").evaluate_all(
            "dots => dots.map((dot) => [dot.dataset.prompt, Number(dot.dataset.value)])"
        )
        assert dict(dots) == pytest.approx(dict(differences), rel=1e-9, abs=1e-12)
        above = sum(value > 0 for value in differences.values())
        assert row.locator("button").inner_text() == f"{above} of 7 above 0"


def test_the_page_has_a_line_for_every_prompt_about_its_own_mean(page: Any, numbers: PromptNumbers) -> None:
    drawn = page.locator(f"{PLOTS} .prompt-line").evaluate_all(
        "lines => lines.map((line) => [line.dataset.prompt, JSON.parse(line.dataset.values)])"
    )
    (lines,) = numbers.lines
    assert {name for name, _values in drawn} == set(lines.numbers)
    for name, values in drawn:
        own = lines.numbers[name]
        assert values == pytest.approx([value - sum(own) / 4 for value in own], rel=1e-9, abs=1e-12)
    rising = sum(-1.5 * a - 0.5 * b + 0.5 * c + 1.5 * d > 0 for a, b, c, d in lines.numbers.values())
    assert f"Along shift: it rises for {rising} of 7 prompts." in page.locator(f"{PLOTS} figcaption").inner_text()


def test_a_prompts_line_leads_to_its_pairs(page: Any) -> None:
    name = page.locator(f"{PLOTS} .prompt-line").last.get_attribute("data-prompt")
    page.locator(f"{PLOTS} .prompt-line").last.dispatch_event("click")
    # three levels beside the lowest, with and without a think block, two seeds
    assert page.locator("#behind-title").inner_text() == (
        f"ImageReward: {name}, along shift beside its lowest level, 12 pairs, the largest difference first"
    )
    page.keyboard.press("Escape")


def test_files_have_the_same_plots(numbers: PromptNumbers) -> None:
    figures = dict(prompt_figures([numbers], "shift x force_think_block", "3.0 x False"))
    assert set(figures) == {"image_reward_prompts", "image_reward_slopes_shift"}
    dots = [line for line in figures["image_reward_prompts"].axes[0].lines if line.get_marker() == "o"]
    for line, differences in zip(dots, numbers.differences.values(), strict=True):
        assert list(line.get_xdata()) == pytest.approx(sorted(differences.values()))
    lines = figures["image_reward_slopes_shift"].axes[0].lines
    assert len(lines) == 7 + 1 + 1, "a line a prompt, the mean of all, and the zero"
    own = list(numbers.lines[0].numbers.values())
    centred = [[value - sum(row) / 4 for value in row] for row in own]
    means = [sum(column) / 7 for column in zip(*centred, strict=True)]
    assert json.loads(json.dumps(list(lines[7].get_ydata()))) == pytest.approx(means)


def test_dots_of_almost_the_same_place_are_moved_apart() -> None:
    assert list(stacked([0.0, 0.001, 0.002, 0.5], 1.0)) == pytest.approx([0.0, -0.15, 0.15, 0.0])
