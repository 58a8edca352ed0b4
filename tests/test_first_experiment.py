"""README.md's commands, run as a newcomer runs them, and the sentence that it says the experiment ends with."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow  # draws 210 pictures


def run(command: str, folder: Path) -> str:
    """Run a command of the README in a folder of its own, `uv run` being this environment's Python."""
    words = shlex.split(command)
    assert words[:2] == ["uv", "run"]
    done = subprocess.run(
        [sys.executable, str(ROOT / words[2]), *words[3:]],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def command_with(text: str) -> str:
    (command,) = re.findall(rf"^    (uv run .*{re.escape(text)}.*)$", README, re.MULTILINE)
    return command


def test_the_first_picture_is_where_the_command_says(tmp_path):
    told = run(command_with("A red apple on a wooden table"), tmp_path)
    assert (tmp_path / told.strip().splitlines()[-1]).is_file()


def test_the_first_experiment_shows_the_layers_that_the_model_was_not_trained_on_to_be_worse(tmp_path):
    run(command_with("--prompt-set first"), tmp_path)
    (folder,) = (tmp_path / "experiments" / "results").iterdir()
    said = " ".join(run(f"uv run experiments/analyze.py {folder}", tmp_path).split())
    said = re.sub("[“”]", '"', said)
    (summed,) = re.findall(r"Over ImageReward and SigLIP 2: .*?\.(?= )", " ".join(README.replace("> ", "").split()))
    assert summed in said
    sentence = said[said.index("SigLIP 2: hidden_layer") :]
    worse = set(re.findall(r"(?:hidden_layer |; )[“\"]?([\w-]+)[”\"]? loses to", sentence.partition("told apart")[0]))
    assert worse == {"last_before_norm", "-6", "-1"}
    told = " ".join(README.replace("> ", "").split())
    for level, difference in re.findall(r"([\w-]+)[”\"]? loses to \S+ by (\d\.\d+)", told):
        assert re.search(rf"{level}[”\"]? loses to \S+ by {difference}", sentence), level
