"""What a terminal is shown: a bar that keeps up, plain lines elsewhere, numbers for people."""

from __future__ import annotations

import io
import re
import sys

import pytest

from experiments.metrics.judges import Judge
from experiments.planning.experiment_file import PREDEFINED_EXPERIMENTS, load_experiments
from experiments.running.console import bytes_text, duration_text, print_experiments, print_judges, progress_display
from experiments.running.execution import Progress

HALF = Progress(1, 2, 0, 0.5, 2.0, "trial_cat")
WHOLE = Progress(2, 2, 1, 0.5, None, "trial_cup")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_its_workers_and_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    with progress_display() as display:
        display.show(HALF)
        display.show_workers(["worker 1 draws trial_cup"])
        display.say("A card [of two] is gone.")
        display.show(WHOLE)
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown.getvalue())
    assert "2/2" in text
    assert "0.50 images/s, 1 failed" in text
    assert "worker 1 draws trial_cup" in text
    assert "A card [of two] is gone." in text


def test_elsewhere_progress_is_lines_with_what_the_workers_do(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display() as display:
        display.show_workers(["worker 1 draws trial_cup"])
        display.say("A worker is here.")
        display.show(WHOLE)
    assert capsys.readouterr().err.splitlines() == [
        "A worker is here.",
        "2/2 done, 0.50 images/s, 1 failed",
        "    worker 1 draws trial_cup",
    ]


def test_each_judge_is_told_ready_to_be_fetched_or_not_able(capsys: pytest.CaptureFixture[str]) -> None:
    print_judges(
        [
            Judge("ssim", "SSIM", "", True, True, ""),
            Judge("hps", "HPS", "hps-v2", False, True, "It is fetched once."),
            Judge("vqa", "VQA", "", False, False, "Set vqa."),
        ]
    )
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["ssim", "ready"],
        ["hps", "to be fetched     hps-v2 It is fetched once."],
        ["vqa", "can't score here  Set vqa."],
    ]


def test_levels_whose_names_hold_commas_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    blend = load_experiments(PREDEFINED_EXPERIMENTS)["layer_blend"]
    print_experiments({"layer_blend": blend})
    assert capsys.readouterr().out.splitlines()[2] == (
        '    hidden_layer_blend: -2:1, "-2:0.7, -6:0.3", "-2:0.5, -6:0.5", "-2:0.3, -6:0.7", "-2:1, -3:1, -4:1", -6:1'
        "  (baseline -2:1)"
    )


def test_sizes_and_durations_are_told_with_as_many_digits_as_matter() -> None:
    assert [bytes_text(count) for count in (12, 1200, 123_400, 5.5e6, 2e9, 3e13)] == [
        "12 bytes",
        "1.2 kB",
        "123 kB",
        "5.5 MB",
        "2.0 GB",
        "30000 GB",
    ]
    assert [duration_text(seconds) for seconds in (45, 89.6, 600, 5400, 12_000)] == [
        "45 s",
        "90 s",
        "10 min",
        "1 h 30 min",
        "3 h 20 min",
    ]
