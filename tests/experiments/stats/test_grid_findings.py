"""Findings of crossed axes: averages over the other axis, and interactions."""

from __future__ import annotations

import pytest
from made_up_scores import analysed, measure, prompt_number
from sample_results import (
    SHIFT,
    STEPS,
    axis,
    noisy_scores,
    sample_plan,
)

from experiments.stats.verdict import sentences


def test_interaction_says_when_prompts_are_too_few():
    analysis = analysed(sample_plan(axes=[SHIFT, STEPS], prompts=4), grid_scores(0.8))
    assert sentences(analysis, measure(analysis))[-1] == (
        "Whether shift and num_inference_steps depend on each other can't be shown with 4 prompts: it takes at least 6."
    )


def grid_scores(interaction: float):
    """Additive effects of 0.3 per shift and 0.1 per 5 steps, plus `interaction` at the far corner, and small noise."""
    noise = noisy_scores({}, spread=0.01)

    def scores(run):
        shift, steps = run.params.shift, run.params.num_inference_steps
        corner = interaction * (shift == 4.0 and steps == 9)
        return {"image_reward": noise(run)["image_reward"] + 0.3 * shift + 0.02 * steps + corner}

    return scores


def test_main_effects_of_a_grid_average_over_the_other_axis():
    plan = sample_plan(axes=[SHIFT, STEPS], baseline={"shift": "3.0", "num_inference_steps": "9"})
    shift, steps = measure(analysed(plan, grid_scores(0.0))).main_effects
    assert (shift.axis, steps.axis) == ("shift", "num_inference_steps")
    assert [item.level for item in shift.comparisons] == ["1.0", "2.0", "4.0"]
    assert [item.difference.mean for item in shift.comparisons] == pytest.approx([-0.6, -0.3, 0.3], abs=0.03)
    assert steps.comparisons[0].difference.mean == pytest.approx(-0.1, abs=0.02)
    assert shift.comparisons[0].pairs == 24
    assert steps.comparisons[0].pairs == 48


def test_interaction_table_shows_what_is_not_additive():
    plan = sample_plan(axes=[SHIFT, STEPS])
    (table,) = measure(analysed(plan, grid_scores(0.8))).interactions
    # one cell c of a 4 x 2 grid leaves c * (1 - 1/4) * (1 - 1/2) there, and -c * 1/4 * 1/2 elsewhere in its column
    assert table.deviations[3][1].difference.mean == pytest.approx(0.8 * 3 / 8, abs=0.02)
    assert table.deviations[0][1].difference.mean == pytest.approx(-0.8 / 8, abs=0.02)
    assert table.deviations[3][1].is_found
    assert {item.baseline for row in table.deviations for item in row} == {"the sum of both axes"}
    assert table.means[3][1].mean - table.means[0][0].mean == pytest.approx(0.9 + 0.1 + 0.8, abs=0.03)
    assert table.prompts == 12


def test_additive_grid_shows_no_interaction():
    analysis = analysed(sample_plan(axes=[SHIFT, STEPS], seeds=(2,)), grid_scores(0.0))
    lines = sentences(analysis, measure(analysis))
    assert lines[0].startswith("shift x num_inference_steps 4.0 x 9 beats 3.0 x 9 by ")
    assert lines[1].startswith("Averaged over the other axes: shift 4.0 beats 3.0 by ")
    assert lines[3].startswith("No sign that shift and num_inference_steps depend on each other, with 12 prompts")


def test_axis_with_one_level_has_no_effect_to_show():
    analysis = analysed(sample_plan(axes=[axis("shift", 3.0), STEPS], prompts=7), grid_scores(0.0))
    result = measure(analysis)
    assert [effect.axis for effect in result.main_effects] == ["num_inference_steps"]
    assert result.interactions == ()


def test_interaction_uses_only_prompts_with_every_combination():
    scores = grid_scores(0.0)
    plan = sample_plan(axes=[SHIFT, STEPS])

    def holes(run):
        return "failed" if prompt_number(run) == 4 and run.params.shift == 2.0 else scores(run)

    result = measure(analysed(plan, holes))
    assert result.interactions[0].prompts == 11
    assert [item.prompts for item in result.main_effects[0].comparisons] == [12, 11, 12]
