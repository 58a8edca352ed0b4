"""One plan of tests for a grid: many contrasts of the same prompts, and one error for all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sample_results import SHIFT, STEPS, axis, noisy_scores, sample_manifest, sample_plan, sample_records

from experiments.metrics import METRICS
from experiments.stats import paired_statistics as statistics
from experiments.stats.findings import analyse

EXPERIMENTS = 1000


def grid_contrasts(cells: np.ndarray) -> np.ndarray:
    """Return all contrasts that a grid of two axes tests, from the prompts' numbers [rows, columns, prompts]."""
    rows, columns, prompts = cells.shape
    to_baseline = (cells - cells[0, 0]).reshape(-1, prompts)[1:]
    row_effects = (cells - cells[:1]).mean(axis=1)[1:]
    column_effects = (cells - cells[:, :1]).mean(axis=0)[1:]
    additive = cells.mean(axis=0, keepdims=True) + cells.mean(axis=1, keepdims=True) - cells.mean(axis=(0, 1))
    return np.vstack([to_baseline, row_effects, column_effects, (cells - additive).reshape(rows * columns, prompts)])


@pytest.mark.parametrize("prompts", [7, 30])
def test_one_contrast_alone_has_the_p_value_of_its_own_test(prompts: int) -> None:
    differences = np.random.default_rng(prompts).normal(0.3, 1.0, prompts)
    together = statistics.sign_flip_p_values_together(differences[None, :])
    assert together[0] == pytest.approx(float(statistics.sign_flip_p_value(differences)))


def test_the_step_down_equals_its_definition() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1.0, (3, 7))
    length = np.sqrt((differences**2).sum(axis=1))
    seen = np.abs(differences.sum(axis=1)) / length
    order = np.argsort(-seen)
    expected, least = np.empty(3), 0.0
    for place, contrast in enumerate(order):
        flips = [
            np.abs((differences * signs).sum(axis=1) / length)[order[place:]].max() >= seen[contrast] - 1e-12
            for signs in itertools.product((-1, 1), repeat=7)
        ]
        least = max(least, float(np.mean(flips)))
        expected[contrast] = least
    assert statistics.sign_flip_p_values_together(differences) == pytest.approx(expected)


def test_contrasts_that_say_the_same_cost_nothing() -> None:
    differences = np.random.default_rng(4).normal(0.8, 1.0, 9)
    alone = float(statistics.sign_flip_p_value(differences))
    same = statistics.sign_flip_p_values_together(np.vstack([differences, -differences, 100 * differences]))
    assert same == pytest.approx([alone] * 3)


def test_correction_never_makes_a_p_value_smaller_and_other_contrasts_cost_something() -> None:
    differences = np.random.default_rng(5).normal(0.5, 1.0, (6, 12))
    corrected = statistics.sign_flip_p_values_together(differences)
    raw = statistics.sign_flip_p_value(differences)
    assert (corrected >= raw - 1e-12).all()
    assert corrected.min() > raw.min()
    assert (corrected <= statistics.holm(raw) + 0.05).all()


def test_missing_prompts_and_equal_arms_have_their_place() -> None:
    differences = np.random.default_rng(6).normal(1.0, 0.5, (3, 8))
    differences[1, 3:] = np.nan
    differences[2] = 0.0
    p_values = statistics.sign_flip_p_values_together(differences)
    assert p_values[0] <= 0.05
    assert p_values[1] >= 2 / 2**3
    assert p_values[2] == 1.0


@pytest.mark.parametrize("draw", ["standard_normal", "heavy"])
def test_a_grid_without_effects_claims_anything_in_at_most_five_percent(draw: str) -> None:
    generator = np.random.default_rng(7)
    shape = (EXPERIMENTS, 3, 3, 10)
    cells = generator.standard_t(3, shape) if draw == "heavy" else generator.standard_normal(shape)
    claims = [statistics.sign_flip_p_values_together(grid_contrasts(one)).min() <= 0.05 for one in cells]
    assert np.mean(claims) <= 0.065  # 5 % and two standard errors


def test_a_strong_interaction_of_two_by_two_is_found_with_seven_prompts() -> None:
    cells = np.random.default_rng(8).normal(0, 0.5, (400, 2, 2, 7))
    cells[:, 1, 1] += 1.8
    found = [statistics.sign_flip_p_values_together(grid_contrasts(one))[-4:].min() <= 0.05 for one in cells]
    assert np.mean(found) >= 0.5  # Holm over four cells that are one contrast found none


def test_combinations_axes_and_interaction_of_an_analysis_are_corrected_together() -> None:
    plan = sample_plan(
        axes=[axis("shift", 3.0, 4.0), STEPS], prompts=8, baseline={"shift": "3.0", "num_inference_steps": "4"}
    )
    records = sample_records(plan, noisy_scores({"4.0": 0.2}))
    result = next(
        one for one in analyse(sample_manifest(plan), records, METRICS).measures if one.measure.column == "image_reward"
    )
    numbers = {(record.level, record.prompt_id): record.scores["image_reward"] for record in records}
    prompts = sorted({record.prompt_id for record in records})
    cells = np.array(
        [[[numbers[f"{shift} x {steps}", prompt] for prompt in prompts] for steps in (4, 9)] for shift in (3.0, 4.0)]
    )
    expected = statistics.sign_flip_p_values_together(grid_contrasts(cells))
    effects = [item for effect in result.main_effects for item in effect.comparisons]
    rest = [item for row in result.interactions[0].deviations for item in row]
    assert [item.p_holm for item in (*result.comparisons, *effects, *rest)] == pytest.approx(expected.tolist())


def test_a_grid_without_effects_says_so_in_every_sentence() -> None:
    plan = sample_plan(axes=[SHIFT, STEPS], prompts=9)
    result = analyse(sample_manifest(plan), sample_records(plan, noisy_scores({})), METRICS).measures[0]
    everything = [*result.comparisons, *(item for effect in result.main_effects for item in effect.comparisons)]
    assert not any(item.is_found for item in everything)
    assert all(item.can_be_found for item in everything)
