"""What the report writes, read without a browser."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner
from hostile_text import HOSTILE
from PIL import Image
from sample_results import (
    SHIFT,
    STEPS,
    axis,
    noisy_scores,
    sample_manifest,
    sample_plan,
    sample_records,
    write_results,
)

from experiments import report
from experiments.metrics import METRICS
from experiments.reporting.frontier import costs_of, frontier
from experiments.reporting.plots import heat_map, measure_plot
from experiments.reporting.report_data import grid_data, json_for_script
from experiments.reporting.report_page import write_report
from experiments.reporting.scales import scale_over
from experiments.stats.findings import analyse
from llm_dit.errors import OutputError


def test_json_cannot_leave_its_script_element():
    text = json_for_script([HOSTILE])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == [HOSTILE]


def test_repeated_texts_and_parameters_are_written_once():
    plan = sample_plan(prompts=3, seeds=(1, 2))
    records = sample_records(plan, noisy_scores({}))
    manifest = sample_manifest(plan)
    grid = grid_data(manifest, records, analyse(manifest, records, METRICS), unreadable={}, pictures=None)
    assert len(grid["formatted"]) == 3
    assert list(grid["parameters"]["varying"]) == ["shift"]
    assert grid["parameters"]["varying"]["shift"]["values"] == [1.0, 2.0, 3.0, 4.0]
    assert len(grid["rows"]) == 6


def test_thumbnails_are_made_once_and_again_for_a_new_picture(tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=1), noisy_scores({}), image_size=600)
    write_report(folder)
    thumbnails = sorted((folder / "thumbnails").iterdir())
    assert len(thumbnails) == 4
    with Image.open(thumbnails[0]) as thumbnail:
        assert thumbnail.size == (256, 256)
    before = [path.stat().st_mtime_ns for path in thumbnails]
    picture = folder / "images" / f"{thumbnails[1].stem}.png"
    os.utime(picture, ns=(before[1] + 10**9, before[1] + 10**9))
    write_report(folder)
    after = [path.stat().st_mtime_ns for path in thumbnails]
    assert [index for index in range(4) if after[index] != before[index]] == [1]


def test_damaged_picture_is_named_and_the_rest_is_shown(tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=1), noisy_scores({}))
    picture = sorted((folder / "images").iterdir())[0]
    picture.write_bytes(b"x" * picture.stat().st_size)
    page = write_report(folder).read_text(encoding="utf-8")
    assert f"{picture.name} can't be read" in page


def test_report_needs_a_results_folder(tmp_path):
    with pytest.raises(OutputError, match="give the folder of an experiment's results"):
        write_report(tmp_path)


def test_command_writes_the_page_and_names_it(tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(prompts=1), noisy_scores({}))
    result = CliRunner().invoke(report.main, [str(folder)])
    assert (result.exit_code, result.output.strip()) == (0, str(folder / "report.html"))


def test_command_refuses_an_output_without_bundle(tmp_path):
    result = CliRunner().invoke(report.main, [str(tmp_path), "-o", "x.html"])
    assert result.exit_code == 2
    assert "--output needs --bundle" in result.output


def test_axis_has_round_ticks_that_hold_all_values():
    scale = scale_over([0.0, 0.43, -0.21])
    assert [label for _, label in scale.ticks] == ["-0.2", "0.0", "0.2", "0.4"]
    assert 0 < scale.percent(-0.21) < scale.percent(0.43) < 100


def test_axis_of_one_value_is_not_empty():
    scale = scale_over([0.45, 0.45])
    assert scale.percent(0.45) == pytest.approx(50)
    assert len(scale.ticks) >= 2


def grid_analysis_of(scores):
    plan = sample_plan(axes=[axis("num_inference_steps", 4, 9, 15, 20)])
    records = sample_records(plan, scores)
    analysis = analyse(sample_manifest(plan), records, METRICS)
    return {result.measure.column: result for result in analysis.measures}, analysis


def test_frontier_holds_what_nothing_beats_in_both():
    quality = {4: 0.0, 9: 0.5, 15: 0.4, 20: 0.6}
    seconds = {4: 1.0, 9: 2.0, 15: 3.0, 20: 4.0}
    noise = noisy_scores({}, spread=0.001)

    def scores(run):
        steps = run.params.num_inference_steps
        return {"image_reward": noise(run)["image_reward"] + quality[steps], "generation_time_seconds": seconds[steps]}

    results, analysis = grid_analysis_of(scores)
    plot = frontier(results["image_reward"], costs_of(analysis, None)["s"], analysis.baseline)
    assert [point.level for point in plot.points if point.is_on_frontier] == ["4", "9", "20"]
    assert plot.points[1].cost == "2 s"
    heights = [point.y.at for point in plot.points]
    assert heights[3] < heights[1] < heights[2] < heights[0]  # 0 % is the top
    assert len(plot.segments) == 2


def test_marks_stand_where_their_numbers_say():
    results, analysis = grid_analysis_of(noisy_scores({"4": -1.0}, spread=0.05))
    result = results["image_reward"]
    plot = measure_plot(result, analysis.baseline)
    row, comparison = plot.rows[0], result.comparisons[0]
    assert row.outcome == "worse"
    assert row.difference.at == plot.difference_scale.percent(comparison.difference.mean)
    assert row.difference.low < row.difference.at < row.difference.high < plot.difference_scale.percent(0.0)
    assert plot.rows[1].is_baseline
    assert plot.rows[1].difference is None


def test_heat_map_is_warmest_at_the_highest_mean():
    plan = sample_plan(axes=[SHIFT, STEPS])
    records = sample_records(plan, noisy_scores({"4.0": 1.0, "9": 0.5}, spread=0.01))
    result = analyse(sample_manifest(plan), records, METRICS).measures[0]
    rows = heat_map(result, result.interactions[0]).rows
    assert rows[3][0] == "4.0"
    assert rows[3][1][1].warmth == 100
    assert min(cell.warmth for _, cells in rows for cell in cells) == 0
