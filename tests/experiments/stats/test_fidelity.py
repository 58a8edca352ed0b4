"""What is said of distances from the baseline: how far and how sure, never who wins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sample_results import sample_manifest, sample_plan, sample_records

from experiments.metrics import METRICS, metric_named, metric_of_column
from experiments.planning.design import Run
from experiments.stats.fidelity import fidelity_notes, fidelity_of, fidelity_sentences, fidelity_summaries
from experiments.stats.findings import MeasureAnalysis, analyse
from experiments.stats.levels import Estimate, LevelSummary, estimate_of
from experiments.stats.measures import Measure
from experiments.stats.verdict import sentences
from llm_dit.errors import LlmDitError

BASE = "99.0"
NEAR_AND_FAR = (("1.5", 0.5), ("2.5", 0.8))


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


def measure_of(name: str) -> Measure:
    metric = metric_named(name)
    return Measure(name, metric.title, "", metric)


def summary(level: str, mean: float, *, equal: int = 0) -> LevelSummary:
    """Of 4 pictures; where all are equal and their value has no bound, there is no mean."""
    estimate = None if math.isinf(mean) else Estimate(mean, mean - 0.1, mean + 0.1)
    return LevelSummary(level, 4, 2, estimate, None, equal)


@pytest.mark.parametrize(
    ("levels", "more"),
    [
        (5, ""),
        (6, "; another level lies closer to it, see the table."),
        (8, "; 3 other levels lie closer to it, see the table."),
    ],
)
def test_the_five_farthest_are_told_and_the_others_counted(levels: int, more: str):
    summaries = [summary(BASE, math.inf, equal=4), *(summary(f"{i}.5", 40.0 - i) for i in range(levels))]
    (told,) = fidelity_sentences(measure_of("psnr_db"), summaries, "shift", BASE)
    named = [clause.split(" has ")[0] for clause in told.removeprefix(f"Beside shift {BASE}: ").split("; ")]
    assert len(named) == 5 + bool(more)
    assert named[:5] == [f"{i}.5" for i in reversed(range(levels - 5, levels))]
    assert told.endswith(more) and ("closer" in told) == bool(more)


def test_of_a_distance_the_larger_is_the_farther_and_decimals_follow_the_interval():
    levels = [LevelSummary(name, 4, 2, Estimate(mean, mean - 0.4, mean + 0.4), None) for name, mean in NEAR_AND_FAR]
    assert fidelity_sentences(measure_of("lpips"), levels, "shift", BASE) == [
        f"Beside shift {BASE}: 2.5 has LPIPS 0.8 (95 % interval 0.4 to 1.2, 2 prompts); "
        "1.5 has LPIPS 0.5 (95 % interval 0.1 to 0.9, 2 prompts)."
    ]


@pytest.mark.parametrize(("levels", "more"), [(5, ""), (6, " and 1 more")])
def test_five_equal_levels_are_named_and_five_with_some_equal_pictures(levels: int, more: str):
    psnr = measure_of("psnr_db")
    same = [summary(f"{i}.5", math.inf, equal=4) for i in range(levels)]
    assert fidelity_sentences(psnr, [summary(BASE, math.inf, equal=4), *same], "shift", BASE) == [
        f"The same pictures as shift {BASE}, pixel for pixel: {', '.join(f'{i}.5 (all 4)' for i in range(5))}{more}."
    ]
    some = [summary(f"{i}.5", 30.0, equal=1) for i in range(levels)]
    (note,) = fidelity_notes([summary(BASE, math.inf, equal=4), *same, *some], BASE, psnr)
    assert note.endswith(f" mean: {', '.join(f'{i}.5 (1 of 4)' for i in range(5))}{more}.")
    (note,) = fidelity_notes([summary("a", 30.0, equal=1)], "b", psnr)
    assert note.startswith("Pictures equal to “b”'s ") and note.endswith(" mean: “a” (1 of 4).")
    assert fidelity_notes(some, BASE, measure_of("ssim")) == []  # equal pictures have a number there


def test_equal_pictures_of_a_bounded_distance_are_in_the_mean_and_counted_once():
    result, told = analysed(
        "ssim", lambda run: {"1.0": 0.5, "2.0": 1.0 - 0.5 * (run.seed == 1)}.get(level_of(run), 1.0)
    )
    assert [(level.runs, level.equal, level.estimate.mean) for level in result.levels] == [
        (12, 0, 0.5),
        (12, 6, 0.75),
        (12, 12, 1.0),
        (12, 12, 1.0),
    ]
    assert told[1:] == ["The same pictures as shift 3.0, by SSIM: 4.0 (all 12)."]
    assert "4.0" not in told[0]


def test_pictures_without_the_score_or_of_other_weights_are_not_counted():
    plan = sample_plan(prompts=6, baseline={"shift": "3.0"})
    numbers = {record.run_id: index for index, record in enumerate(sample_records(plan, lambda run: {}))}
    records = []
    for record in sample_records(plan, lambda run: {}):
        prompt = numbers[record.run_id] // 4
        scores = {} if prompt == 0 else {"lpips": 0.0 if prompt == 1 else 0.25, "image_reward": math.nan}
        records.append(replace(record, scores=scores, scores_of={"lpips": "other" if prompt == 5 else "alex"}))
    frame = pd.DataFrame(
        [
            {"cell": record.level, "prompt_id": record.prompt_id, "seed": 42, "image_reward": math.nan, **record.scores}
            for record in records
            if record.scores_of["lpips"] == "alex"
        ]
    )
    levels = fidelity_summaries(frame, records, ["1.0", "2.0"], measure_of("lpips"))
    assert [(level.runs, level.prompts, level.equal) for level in levels] == [(4, 4, 1)] * 2  # prompts 1 to 4
    assert [level.estimate.mean for level in levels] == [0.75 / 4] * 2


def test_a_metric_that_needs_no_pair_has_no_distance():
    with pytest.raises(AssertionError, match=r"^image_reward is no measure of pairs$"):
        fidelity_of(measure_of("image_reward"))
