"""Findings in words: numbers with the digits they deserve, and what the command prints."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner
from sample_results import (
    axis,
    noisy_scores,
    sample_plan,
    write_results,
)

from experiments import analyze
from experiments.stats.numbers_as_text import decimals_for, format_number, format_p_value
from experiments.stats.verdict import quoted


@pytest.mark.parametrize(
    ("half_width", "decimals"), [(0.04, 2), (0.012, 3), (0.5, 1), (1.5, 1), (5.0, 0), (400.0, 0), (0.0, 3)]
)
def test_numbers_get_the_digits_they_deserve(half_width, decimals):
    assert decimals_for(half_width) == decimals


def test_zero_has_no_minus_sign():
    assert format_number(-0.0004, 2) == "0.00"


@pytest.mark.parametrize(("p_value", "text"), [(0.0004, "<0.001"), (0.0123, "0.012"), (0.4567, "0.46"), (1.0, "1.00")])
def test_p_values_show_the_digits_that_matter(p_value, text):
    assert format_p_value(p_value) == text


def test_text_levels_are_quoted_and_numbers_are_not():
    assert quoted("3.0") == "3.0"
    assert quoted("2.0 x 6") == "2.0 x 6"
    assert quoted("none") == "“none”"
    assert len(quoted("soft " * 20)) <= 42


def test_command_prints_table_and_sentence(tmp_path):
    write_results(tmp_path / "r", sample_plan(prompts=8), noisy_scores({"4.0": 0.6}, spread=0.05), image_size=8)
    result = CliRunner().invoke(analyze.main, [str(tmp_path / "r")], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "ImageReward: shift 4.0 beats 3.0 by 0." in result.output
    assert "95 % interval" in result.output
    assert "shift_sweep: 32 pictures, baseline 3.0" in result.output


def test_command_prints_markup_of_levels_as_text(tmp_path):
    plan = sample_plan(axes=[axis("thinking_content", "plain", "[bold red]x[/]")], prompts=2)
    write_results(tmp_path / "r", plan, noisy_scores({}), image_size=8)
    result = CliRunner().invoke(analyze.main, [str(tmp_path / "r")], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "[bold red]x[/]" in result.output


def test_command_says_what_is_wrong_with_the_folder(tmp_path):
    result = CliRunner().invoke(analyze.main, [str(tmp_path)])
    assert result.exit_code == 2
    assert "give the folder of an experiment's results" in result.output
    assert "Traceback" not in result.output


def test_command_names_the_nearest_measure(tmp_path):
    write_results(tmp_path / "r", sample_plan(prompts=2), noisy_scores({}), image_size=8)
    result = CliRunner().invoke(analyze.main, [str(tmp_path / "r"), "--measure", "image_rewrad"])
    assert result.exit_code == 2
    assert "did you mean 'image_reward'?" in result.output


def test_commands_import_no_pandas_before_they_run():
    code = (
        "import sys, experiments.analyze, experiments.report, experiments.compare\n"
        "heavy = {'pandas', 'scipy', 'matplotlib', 'torch', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
