"""Grids from small tables of runs: which contrasts there are, and what is left beside the sum of two axes."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sample_results import axis, sample_manifest, sample_plan

from experiments.stats import paired_statistics as statistics
from experiments.stats import power
from experiments.stats.extension import COST, Look
from experiments.stats.grids import Grid, analyse_grid
from experiments.stats.levels import Comparison, Estimate

SHIFTS, STEPS, LAYERS = axis("shift", 3.0, 4.0), axis("num_inference_steps", 4, 9), axis("hidden_layer", -2, -3, -4)
BASELINE = {"shift": "3.0", "num_inference_steps": "4", "hidden_layer": "-2"}
EFFECT = {"3.0": 0.0, "4.0": 1.0, "4": 0.0, "9": 0.25, "-2": 0.0, "-3": 0.5, "-4": -0.5}


def grid_of(axes, *, prompts: int = 7, corner: float = 0.0, missing=(), looks=()) -> Grid:
    """A grid whose axes add up, but for what the cell of the last levels has besides; prompts differ in it slightly."""
    manifest = sample_manifest(
        sample_plan(axes=axes, prompts=1, baseline={item.name: BASELINE[item.name] for item in axes})
    )
    rows = []
    cells = list(itertools.product(*([level.name for level in item.levels] for item in axes)))
    for number, names in itertools.product(range(prompts), cells):
        if (number, *names) in missing:
            continue
        extra = corner * (1 + number / 100) if names == cells[-1] else 0.0
        value = 10.0 * number + sum(EFFECT[name] for name in names) + extra
        levels = {f"axis {index}": name for index, name in enumerate(names)}
        rows.append({"prompt_id": f"p{number}", "seed": 1, "cell": " x ".join(names), **levels, "reward": value})
    return analyse_grid(manifest, pd.DataFrame(rows), "reward", [" x ".join(names) for names in cells], looks)


def means_of(comparisons) -> dict[str, float]:
    return {item.level: round(item.difference.mean, 9) for item in comparisons}


def test_combinations_and_axes_stand_beside_their_own_baselines() -> None:
    grid = grid_of([SHIFTS, LAYERS])
    assert {item.baseline for item in grid.comparisons} == {"3.0 x -2"}
    assert means_of(grid.comparisons) == {
        "3.0 x -3": 0.5, "3.0 x -4": -0.5, "4.0 x -2": 1.0, "4.0 x -3": 1.5, "4.0 x -4": 0.5
    }  # fmt: skip
    shift, layer = grid.main_effects
    assert (shift.axis, shift.baseline, layer.axis, layer.baseline) == ("shift", "3.0", "hidden_layer", "-2")
    assert means_of(shift.comparisons) == {"4.0": 1.0}
    assert means_of(layer.comparisons) == {"-3": 0.5, "-4": -0.5}
    assert {item.baseline for item in layer.comparisons} == {"-2"}
    assert [(level.level, level.runs, level.prompts) for level in layer.levels] == [
        ("-2", 14, 7), ("-3", 14, 7), ("-4", 14, 7)
    ]  # fmt: skip
    assert layer.levels[0].estimate.mean == pytest.approx(30.5)  # 0 to 60, and half the shift's 1
    assert (shift.comparisons[0].pairs, shift.comparisons[0].prompts) == (21, 7)
    assert grid.false_claims == 0.05


def test_axes_that_add_up_leave_nothing_and_a_corner_leaves_its_share() -> None:
    (none,) = grid_of([SHIFTS, LAYERS]).interactions
    assert [abs(item.difference.mean) < 1e-9 for row in none.deviations for item in row] == [True] * 6
    (table,) = grid_of([SHIFTS, LAYERS], corner=1.0).interactions
    assert (table.row_axis, table.column_axis, table.prompts) == ("shift", "hidden_layer", 7)
    assert (table.rows, table.columns) == (("3.0", "4.0"), ("-2", "-3", "-4"))
    assert [[item.level for item in row] for row in table.deviations] == [
        ["3.0 x -2", "3.0 x -3", "3.0 x -4"], ["4.0 x -2", "4.0 x -3", "4.0 x -4"]
    ]  # fmt: skip
    # of a cell c in a 2 x 3 grid: c (1 - 1/2) (1 - 1/3) there, -c (1/2) (1/3) opposite, and so on; c is 1.03 on average
    shares = [[1 / 6, 1 / 6, -1 / 3], [-1 / 6, -1 / 6, 1 / 3]]
    found = [[item.difference.mean for item in row] for row in table.deviations]
    assert np.array(found) == pytest.approx(1.03 * np.array(shares))
    assert {item.baseline for row in table.deviations for item in row} == {"the sum of both axes"}
    assert [[mean.mean for mean in row] for row in table.means] == [
        [pytest.approx(30 + value) for value in row] for row in ((0.0, 0.5, -0.5), (1.0, 1.5, 0.5 + 1.03))
    ]


def test_every_pair_of_three_axes_has_its_table_averaged_over_the_third() -> None:
    grid = grid_of([SHIFTS, STEPS, LAYERS], corner=1.2)
    assert [(table.row_axis, table.column_axis) for table in grid.interactions] == [
        ("shift", "num_inference_steps"), ("shift", "hidden_layer"), ("num_inference_steps", "hidden_layer")
    ]  # fmt: skip
    first, _, last = grid.interactions
    # the corner is one of three layers, and one of two shifts
    assert first.deviations[1][1].difference.mean == pytest.approx(1.2 * 1.03 / 3 / 4)
    assert last.deviations[1][2].difference.mean == pytest.approx(1.2 * 1.03 / 2 / 3)
    assert [effect.axis for effect in grid.main_effects] == ["shift", "num_inference_steps", "hidden_layer"]
    assert grid.main_effects[0].comparisons[0].difference.mean == pytest.approx(1 + 1.2 * 1.03 / 6)


def test_an_axis_of_one_level_has_no_effect_and_no_table() -> None:
    grid = grid_of([axis("shift", 3.0), STEPS, LAYERS])
    assert [effect.axis for effect in grid.main_effects] == ["num_inference_steps", "hidden_layer"]
    assert [(table.row_axis, table.column_axis) for table in grid.interactions] == [
        ("num_inference_steps", "hidden_layer")
    ]


def test_a_prompt_without_a_combination_is_none_of_the_table_and_a_combination_without_runs_has_no_mean() -> None:
    (table,) = grid_of([SHIFTS, STEPS], missing={(2, "4.0", "9")}).interactions
    assert table.prompts == 6
    assert table.means[1][1].mean == pytest.approx(np.mean([0, 10, 30, 40, 50, 60]) + 1.25)
    nowhere = {(number, "4.0", "9") for number in range(7)}
    (table,) = grid_of([SHIFTS, STEPS], missing=nowhere).interactions
    assert (table.prompts, table.means[1][1]) == (0, None)
    assert [(item.pairs, item.difference) for row in table.deviations for item in row] == [(0, None)] * 4


def test_all_contrasts_of_a_grid_are_one_plan_of_tests() -> None:
    grid = grid_of([SHIFTS, STEPS], corner=0.5)
    effects = [item for effect in grid.main_effects for item in effect.comparisons]
    rest = [item for row in grid.interactions[0].deviations for item in row]
    everything = [*grid.comparisons, *effects, *rest]
    # every contrast has one sign for all seven prompts, so that any pattern is as extreme only where nothing flips
    assert [item.p_holm for item in everything] == [pytest.approx(2 / 2**7)] * len(everything)
    assert [item.p_value for item in everything] == [pytest.approx(2 / 2**7)] * len(everything)
    assert {(item.tests, item.cost) for item in everything} == {(1, 1.0)}


def grid_of_numbers(table: np.ndarray, present: np.ndarray) -> Grid:
    """The grid of two shifts and two numbers of steps, [prompts, shifts, steps], of the runs that are present."""
    manifest = sample_manifest(sample_plan(axes=[SHIFTS, STEPS], prompts=1, baseline=dict(list(BASELINE.items())[:2])))
    rows = [
        {
            "prompt_id": f"p{number}",
            "seed": 1,
            "cell": f"{shift} x {steps}",
            "axis 0": shift,
            "axis 1": steps,
            "reward": table[number, row, column],
        }
        for number in reversed(range(len(table)))
        for (row, shift), (column, steps) in itertools.product(enumerate(("3.0", "4.0")), enumerate("49"))
        if present[number, row, column]
    ]
    names = ["3.0 x 4", "3.0 x 9", "4.0 x 4", "4.0 x 9"]
    return analyse_grid(manifest, pd.DataFrame(rows), "reward", names, ())


def contrasts_of(grid: Grid) -> list[Comparison]:
    effects = [item for effect in grid.main_effects for item in effect.comparisons]
    return [*grid.comparisons, *effects, *(item for row in grid.interactions[0].deviations for item in row)]


@pytest.mark.parametrize("prompts", [2, 7])
def test_p_values_of_a_grid_are_those_of_the_contrasts_written_out(prompts: int) -> None:
    table = np.random.default_rng(1).normal(size=(prompts, 2, 2)) + np.array([[0.0, 0.5], [1.0, 2.0]])
    cells = (table - table[:, :1, :1]).reshape(prompts, 4)[:, 1:]
    axes = [(table[:, 1] - table[:, 0]).mean(axis=1), (table[:, :, 1] - table[:, :, 0]).mean(axis=1)]
    corner = (table[:, 1, 1] - table[:, 1, 0] - table[:, 0, 1] + table[:, 0, 0]) / 4
    contrasts = np.stack([*cells.T, *axes, corner, -corner, -corner, corner])
    found = contrasts_of(grid_of_numbers(table, np.ones(table.shape, dtype=bool)))
    expected = statistics.sign_flip_p_values_together(contrasts)
    assert [item.p_holm for item in found] == pytest.approx(expected.tolist())
    assert [item.difference.mean for item in found] == pytest.approx(contrasts.mean(axis=1).tolist())


def test_contrasts_of_one_prompt_take_no_part_in_the_correction_of_the_others() -> None:
    table, present = np.random.default_rng(1).normal(size=(7, 2, 2)), np.ones((7, 2, 2), dtype=bool)
    present[1:, 1, 1] = False  # the corner has one prompt only
    right, down = table[:, 0, 1] - table[:, 0, 0], table[:, 1, 0] - table[:, 0, 0]
    shift, steps = down.copy(), right.copy()
    shift[0], steps[0] = (table[0, 1] - table[0, 0]).mean(), (table[0, :, 1] - table[0, :, 0]).mean()
    expected = statistics.sign_flip_p_values_together(np.stack([right, down, shift, steps]))
    found = contrasts_of(grid_of_numbers(table, present))
    p_values = [found[index].p_holm for index in (0, 1, 3, 4)]
    assert p_values == pytest.approx(expected.tolist())
    assert max(p_values) < 1
    assert [found[index].p_holm for index in (2, 5, 6, 7, 8)] == [None] * 5


def test_what_a_grid_detects_is_reckoned_for_its_combinations() -> None:
    corner = grid_of([SHIFTS, STEPS], prompts=9, corner=0.5).comparisons[2]
    effect = power.detectable_effect(9, alpha=0.05 / 3, estimated_from=9)
    assert corner.detectable == pytest.approx(effect * np.std(np.arange(9) / 200, ddof=1))
    (single,) = grid_of([axis("shift", 3.0), STEPS], prompts=9, corner=0.5).comparisons
    effect = power.detectable_effect(9, alpha=0.05, estimated_from=9)
    assert single.detectable == pytest.approx(effect * np.std(np.arange(9) / 200, ddof=1))


def test_a_grid_of_one_combination_has_nothing_to_compare() -> None:
    grid = grid_of([axis("shift", 3.0), axis("num_inference_steps", 4)])
    assert (grid.comparisons, grid.main_effects, grid.interactions) == ((), (), ())


def test_looks_before_are_corrected_for_in_all_contrasts() -> None:
    look = Look(frozenset((f"p{number}", 1) for number in range(7)), 7, 1)
    grid = grid_of([SHIFTS, STEPS], prompts=9, corner=0.5, looks=(look,))
    assert {item.cost for item in grid.comparisons} == {COST}
    assert 0.05 < grid.false_claims <= 0.10  # two looks at 5 %
    for item in (*grid.comparisons, *grid.main_effects[0].comparisons, *grid.interactions[0].deviations[0]):
        assert item.p_holm >= COST * statistics.smallest_p_value(9)


def test_one_prompt_has_means_and_no_test() -> None:
    grid = grid_of([SHIFTS, STEPS], prompts=1)
    assert [item.p_holm for item in grid.comparisons] == [None] * 3
    assert grid.comparisons[0].difference == Estimate(0.25, None, None)
    assert grid.interactions[0].prompts == 1


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
def test_what_rounding_leaves_of_equal_numbers_is_no_interaction(value: float) -> None:
    manifest = sample_manifest(
        sample_plan(
            axes=(LAYERS, axis("shift", 2.0, 3.0, 4.0)), prompts=1, baseline={"hidden_layer": "-2", "shift": "3.0"}
        )
    )
    cells = list(itertools.product(("-2", "-3", "-4"), ("2.0", "3.0", "4.0")))
    rows = [
        {
            "prompt_id": f"p{number}",
            "seed": 1,
            "cell": " x ".join(cell),
            "axis 0": cell[0],
            "axis 1": cell[1],
            "y": value,
        }
        for number, cell in itertools.product(range(8), cells)
    ]
    grid = analyse_grid(manifest, pd.DataFrame(rows), "y", [" x ".join(cell) for cell in cells], ())
    deviations = [cell for row in grid.interactions[0].deviations for cell in row]
    assert all(cell.difference == Estimate(0.0, 0.0, 0.0) for cell in deviations)
    assert [cell.p_holm for cell in deviations] == [1.0] * 9
