"""What is said of distances from the baseline: how far and how sure, never who wins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sample_results import sample_manifest, sample_plan, sample_records

from experiments.metrics import METRICS, metric_named, metric_of_column
from experiments.planning.design import Run
from experiments.stats.findings import MeasureAnalysis, analyse
from experiments.stats.levels import estimate_of
from experiments.stats.verdict import sentences
from llm_dit.errors import LlmDitError


def analysed(column: str, value: Callable[[Run], float], **plan: object) -> tuple[MeasureAnalysis, list[str]]:
    made = sample_plan(baseline={"shift": "3.0"}, **{"prompts": 6, "seeds": (1, 2), **plan})
    runs = {run.run_id: run for run in made.runs()}
    records = [
        replace(record, scores={column: value(runs[record.run_id])}) for record in sample_records(made, lambda run: {})
    ]
    analysis = analyse(sample_manifest(made), records, METRICS)
    result = next(found for found in analysis.measures if found.measure.column == column)
    return result, sentences(analysis, result)


def level_of(run: Run) -> str:
    return run.cell.levels["shift"]


def decibels(run: Run) -> float:
    """Level 1.0 about 20 dB and 2.0 about 30 dB away, by prompt and seed; 3.0 is the baseline, 4.0 equal to it."""
    prompt = int(run.prompt.id[-3:])
    return {"1.0": 20.0 + prompt + run.seed, "2.0": 30.0 + prompt}.get(level_of(run), math.inf)


def test_levels_are_told_by_distance_with_interval_the_farthest_first_and_equal_ones_apart():
    result, told = analysed("psnr_db", decibels)
    by_prompt = 21.5 + np.array([0, 3, 1, 4, 2, 5])  # in the order of ids; seeds of a prompt are averaged first
    estimate = estimate_of(by_prompt)
    assert result.levels[0].estimate == estimate
    assert estimate.low is not None
    assert estimate.high is not None
    assert told == [
        f"Beside shift 3.0: 1.0 has PSNR 24.0 dB (95 % interval {estimate.low:.1f} to {estimate.high:.1f}, 6 prompts); "
        f"2.0 has PSNR 32.5 dB (95 % interval {estimate.low + 8.5:.1f} to {estimate.high + 8.5:.1f}, 6 prompts).",
        "The same pictures as shift 3.0, pixel for pixel: 4.0 (all 12).",
    ]
    assert [(level.runs, level.equal, level.prompts) for level in result.levels] == [
        (12, 0, 6),
        (12, 0, 6),
        (12, 12, 6),
        (12, 12, 6),
    ]
    assert (result.comparisons, result.notes) == ((), ())


def test_a_distance_is_told_the_other_way_round_and_nobody_wins():
    def similarity(run: Run) -> float:
        return {"1.0": 0.9, "2.0": 0.95, "3.0": 1.0, "4.0": 0.6}[level_of(run)] + 0.001 * run.seed * (
            level_of(run) < "3"
        )

    _, (told,) = analysed("ssim", similarity)
    assert [told.index(f"{name} has SSIM") for name in ("4.0", "1.0", "2.0")] == sorted(
        told.index(f"{name} has SSIM") for name in ("4.0", "1.0", "2.0")
    )
    assert not any(word in told for word in ("beats", "loses", "better", "worse", "faster"))


def test_infinite_pictures_are_left_out_of_the_mean_and_counted():
    result, told = analysed("psnr_db", lambda run: math.inf if run.seed == 1 else decibels(run))
    assert result.levels[1].estimate is not None
    assert result.levels[1].estimate.mean == pytest.approx(32.5)
    assert result.notes == (
        "Pictures equal to 3.0's pixel for pixel have no bound here and are left out of the mean: "
        "1.0 (6 of 12), 2.0 (6 of 12).",
    )
    assert "2.0 has PSNR" in told[0]


def test_one_prompt_has_no_interval_and_nothing_to_compare_is_said():
    _, told = analysed("psnr_db", decibels, prompts=1, seeds=(1,))
    assert told[0] == (
        "Beside shift 3.0: 1.0 has PSNR 21.000 dB (1 prompt, no interval); "
        "2.0 has PSNR 30.000 dB (1 prompt, no interval)."
    )
    _, (alone,) = analysed("psnr_db", lambda run: math.inf if level_of(run) == "3.0" else math.nan)
    assert alone == "Nothing can be compared with shift 3.0: no other level has pictures beside its."


@pytest.mark.parametrize("name", [metric.name for metric in METRICS if metric.fidelity])
def test_no_metric_of_pairs_can_decide_between_levels(name: str):
    assert not metric_named(name).can_decide
    with pytest.raises(LlmDitError, match="no better direction"):
        metric_of_column(name)
