"""Averages over the other axes of a grid, held against the margin together with its combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_results import axis, noisy_scores, sample_manifest, sample_plan, sample_records, write_results

from experiments.metrics import METRICS
from experiments.reporting.report_page import write_report
from experiments.stats import paired_statistics as statistics
from experiments.stats.equivalence import margin_p_values
from experiments.stats.findings import MeasureAnalysis, analyse
from experiments.stats.verdict import sentences
from experiments.store.manifest_json import manifest_from_values, manifest_values
from experiments.store.result_store import ResultStore

MARGIN = 0.1
STEPS, SHIFT, LAYER = axis("num_inference_steps", 9, 4), axis("shift", 3.0, 1.0), axis("hidden_layer", -2)
EFFECTS = {"4": 0.03, "1.0": -0.02}


def scores(run: Any) -> dict[str, float]:
    """Additive effects, and of each cell a noise of its own, which an average over cells has less of."""
    number = int(run.prompt.id[-3:])
    noise = 0.05 * np.random.default_rng([number, *map(ord, run.cell.name)]).normal()
    return {"image_reward": number + sum(EFFECTS.get(name, 0.0) for name in run.cell.levels.values()) + noise}


def analysed(*axes: Any, margins: bool = True, prompts: int = 12) -> tuple[MeasureAnalysis, list[str], dict[str, Any]]:
    plan = sample_plan(axes=axes, prompts=prompts)
    values = manifest_values(plan, sample_manifest(plan).conditions)
    if margins:
        values["margins"] = {"image_reward": {"margin": MARGIN, "named": "2026-01-01T00:00:00+00:00"}}
    records = sample_records(plan, scores)
    analysis = analyse(manifest_from_values(values, Path("manifest.json")), records, METRICS)
    result = next(item for item in analysis.measures if item.measure.column == "image_reward")
    table = {(record.prompt, *record.levels.values()): record.scores["image_reward"] for record in records}
    return result, sentences(analysis, result), table


def contrasts(table: dict[Any, float]) -> dict[str, np.ndarray]:
    """Every contrast of the grid by prompt, computed from the scores: three combinations and two averages."""
    prompts = sorted({key[0] for key in table})

    def cell(steps: str, shift: str) -> np.ndarray:
        return np.array([table[prompt, steps, shift] for prompt in prompts])

    base = cell("9", "3.0")
    return {
        "9 x 1.0": cell("9", "1.0") - base,
        "4 x 3.0": cell("4", "3.0") - base,
        "4 x 1.0": cell("4", "1.0") - base,
        "4": (cell("4", "3.0") - base + cell("4", "1.0") - cell("9", "1.0")) / 2,
        "1.0": (cell("9", "1.0") - base + cell("4", "1.0") - cell("4", "3.0")) / 2,
    }


def test_averages_are_tested_against_the_margin_and_corrected_together_with_the_combinations() -> None:
    result, said, table = analysed(STEPS, SHIFT)
    expected = contrasts(table)
    alone = {name: margin_p_values(by[None, None], MARGIN).max() for name, by in expected.items()}
    together = dict(zip(alone, statistics.holm(np.array(list(alone.values()))), strict=True))
    found = [result.margin, *(effect.margin for effect in result.main_effects)]
    standings = [item for answer in found for item in answer.standings]
    assert {item.level: item.p_alone for item in standings} == pytest.approx(alone)
    assert {item.level: item.p_as_good for item in standings} == pytest.approx(together)
    steps = result.main_effects[0].margin.standings[0]
    low, high = statistics.interval_of_difference(expected["4"], alpha=0.10)
    assert (steps.prompts, steps.difference.mean) == (12, pytest.approx(expected["4"].mean()))
    assert (steps.difference.low, steps.difference.high) == pytest.approx((low, high))
    axis_said = [sentence for sentence in said if sentence.startswith("Averaged over the other axes: ")]
    assert [sentence.split(": ", 1)[1].split()[0] for sentence in axis_said] == [
        "num_inference_steps", "num_inference_steps", "shift", "shift"
    ]  # fmt: skip
    assert axis_said[1].startswith(
        "Averaged over the other axes: num_inference_steps 4 is as good as 9 within 0.1 (90 % interval "
    )


def test_without_a_margin_averages_say_nothing_of_one() -> None:
    result, said, _ = analysed(STEPS, SHIFT, margins=False)
    assert [effect.margin.standings for effect in result.main_effects] == [(), ()]
    assert not any("as good" in sentence for sentence in said if sentence.startswith("Averaged"))


def test_where_the_other_axes_have_one_level_the_combinations_say_it_alone() -> None:
    result, _, _ = analysed(STEPS, LAYER)
    assert [effect.margin for effect in result.main_effects] == [None]
    (standing,) = result.margin.standings
    assert standing.p_as_good == standing.p_alone, "one question, nothing to correct for"


def test_the_report_draws_the_margin_around_the_averages_too(tmp_path: Path) -> None:
    folder = write_results(
        tmp_path / "r", sample_plan(axes=(STEPS, SHIFT), prompts=12), noisy_scores({}, spread=0.02), image_size=8
    )
    plain = write_report(folder).read_text()
    ResultStore(folder).name_margins({"image_reward": MARGIN})
    page = write_report(folder).read_text()
    combinations, averages = 4, 2 + 2
    assert [text.count('<rect class="margin"') for text in (plain, page)] == [0, combinations + averages]
