"""Questions about parts that hold nothing, or little: what cannot be told is refused or left empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sample_results import (
    CONDITIONS,
    SHIFT,
    STEPS,
    noisy_scores,
    sample_manifest,
    sample_plan,
    sample_records,
)

from experiments.metrics import METRICS
from experiments.stats.levels import Estimate
from experiments.stats.margin_sentences import margin_sentence
from experiments.stats.margins import MarginAnswer, MarginStanding
from experiments.stats.measures import Measure
from experiments.stats.questions.answering import Asked, answer
from experiments.stats.questions.narrowing import conditions_from_flags, narrowed
from experiments.store.manifest_json import manifest_from_values, manifest_values
from llm_dit.errors import LlmDitError
from llm_dit.parameters import GenerationParams

GRID = {"axes": (SHIFT, STEPS), "baseline": {"shift": "3.0", "num_inference_steps": "9"}}
REWARD = next(metric for metric in METRICS if metric.name == "image_reward")


def test_a_part_of_which_no_run_is_finished_is_refused() -> None:
    plan = sample_plan()

    def scores(run):
        return "failed" if run.prompt.category == "animals" else noisy_scores({})(run)

    with pytest.raises(LlmDitError, match="--where category=animals: no finished run is like that; leave one out"):
        narrowed(sample_manifest(plan), sample_records(plan, scores), conditions_from_flags(["category=animals"]))


def test_combinations_that_are_no_grid_of_levels_are_refused() -> None:
    plan = sample_plan(**GRID)
    resolved: dict[int, GenerationParams] = {
        index: plan.params(index, plan.prompts[0], 42).model_copy(
            update={"width": 64, "height": 64, "guidance_scale": 2.0 if index < 3 else 0.0}
        )
        for index in range(len(plan.cells))
    }
    manifest = manifest_from_values(manifest_values(plan, CONDITIONS, resolved), Path("manifest.json"))
    with pytest.raises(LlmDitError, match="guidance_scale=2 picks 3 combinations that are no grid of levels; name"):
        narrowed(manifest, sample_records(plan, noisy_scores({})), conditions_from_flags(["guidance_scale=2"]))


def test_distances_from_another_baseline_are_left_out() -> None:
    plan = sample_plan()
    records = [
        replace(
            record,
            scores={**record.scores, "ssim": 0.5},
            pair_scores={"ssim": {"values": {"ssim": 0.5}, "model": "m", "picture": "a", "baseline": "b"}},
        )
        for record in sample_records(plan, noisy_scores({}))
    ]
    manifest = sample_manifest(plan)
    other = next(cell.name for cell in manifest.combinations if cell.name != manifest.baseline_name)
    part = narrowed(manifest, records, (), other)
    assert any(f"Distances (ssim) are from {manifest.baseline_name}" in note for note in part.notes)
    assert {"ssim"} & {name for record in part.records for name in record.scores} == set()
    kept = narrowed(manifest, records, conditions_from_flags(["category=animals"]))
    assert all(record.scores["ssim"] == 0.5 for record in kept.records)


def test_a_level_without_pictures_has_no_spread() -> None:
    plan = sample_plan()

    def scores(run):
        return "failed" if run.cell.levels["shift"] == "2.0" else noisy_scores({})(run)

    answers = answer(sample_manifest(plan), sample_records(plan, scores), METRICS, Asked(per_prompt=True))
    spreads = {spread.level: spread for item in answers.answers[:1] for spread in item.spreads}
    assert (spreads["2.0"].prompts, spreads["2.0"].quarters) == (0, None)
    assert spreads["1.0"].prompts == 12


def correlation_of(scores):
    plan = sample_plan()
    answers = answer(sample_manifest(plan), sample_records(plan, scores), METRICS, Asked(correlate=True))
    wanted = ("image_reward", "siglip_score")
    return next(item for item in answers.correlations if (item.first.column, item.second.column) == wanted)


def test_measures_that_no_picture_has_both_of_are_not_correlated() -> None:
    def scores(run):
        values = noisy_scores({})(run)
        name = "image_reward" if run.cell.levels["shift"] in ("1.0", "2.0") else "siglip_score"
        return {name: values[name]}

    found = correlation_of(scores)
    assert (found.prompts, found.within, found.over_prompts) == (0, None, None)


def test_a_correlation_that_one_prompt_alone_makes_has_no_interval() -> None:
    def scores(run):
        values = noisy_scores({})(run)
        is_first = run.prompt.id.endswith("000") and run.prompt.category == "animals"
        return values if is_first else {"image_reward": 1.0, "siglip_score": 0.25}

    found = correlation_of(scores)
    assert found.within is not None
    assert (found.low, found.high) == (None, None)


def test_a_margin_that_nothing_could_have_shown_is_told_without_what_it_takes() -> None:
    measure = Measure("image_reward", "ImageReward", "How good", REWARD)
    open_ = MarginStanding("2.0", 12, Estimate(0.0, -1.0, 1.0), 0.5, 0.5, 0.5)
    said = margin_sentence(measure, "shift", "3.0", MarginAnswer(0.5, (open_,), None, 6))
    assert "2.0 is not shown to be as good as 3.0 within 0.5" in said
    assert "would show" not in said
    assert "takes at least" not in said
