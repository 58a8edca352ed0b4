"""Quality against a cost stays readable: where its axis begins, and where numbers stand."""

from __future__ import annotations

import pytest
from sample_results import axis, sample_manifest, sample_plan, sample_records

from experiments.metrics import METRICS
from experiments.reporting.frontier import Frontier, costs_of, frontier
from experiments.stats.findings import analyse


def plot_of(seconds: list[float], scores: list[float]) -> Frontier:
    """A level each, with the same seconds and score for every prompt."""
    plan = sample_plan(axes=(axis("shift", *map(float, range(1, len(seconds) + 1))),), prompts=4)
    records = sample_records(
        plan,
        lambda run: {
            "image_reward": scores[int(float(run.cell.levels["shift"])) - 1],
            "generation_time_seconds": seconds[int(float(run.cell.levels["shift"])) - 1],
        },
    )
    analysis = analyse(sample_manifest(plan), records, METRICS)
    found = frontier(analysis.measures[0], costs_of(analysis, None)["s"], analysis.baseline)
    assert found is not None
    return found


@pytest.mark.parametrize(("seconds", "low"), [([1.0, 1.05, 1.1], 0.996), ([1.0, 2.0, 3.0], -0.12)])
def test_seconds_begin_at_zero_unless_they_are_all_alike(seconds: list[float], low: float) -> None:
    assert plot_of(seconds, [0.0, 0.5, 1.0]).x_scale.low == pytest.approx(low)


def test_numbers_stand_beside_the_plot_where_points_cover_them() -> None:
    assert not plot_of([1.0, 2.0, 3.0], [0.0, 0.5, 1.0]).is_crowded
    assert plot_of([1.0, 2.0, 2.05], [0.0, 0.5, 0.55]).is_crowded
    assert not plot_of([1.0, 2.0, 2.05], [0.0, 0.5, 1.0]).is_crowded, "one above the other is apart"
    assert plot_of([float(place) for place in range(1, 10)], [float(place) for place in range(9)]).is_crowded
