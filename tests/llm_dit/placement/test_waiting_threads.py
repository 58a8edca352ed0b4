"""How commands let torch's threads wait, asked at the moment when torch is imported, which reads it then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_results import sample_plan, write_results

ROOT = Path(__file__).parents[3]
ASKED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
ENDS_AT_TORCH = f"""
import os, runpy, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.write(1, repr([os.environ.get(name) for name in {ASKED}]).encode())
            os._exit(0)
sys.meta_path.insert(0, Watch())
sys.argv = sys.argv[1:]
sys.path.insert(0, os.getcwd())
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def environment_at_torch(*command: str, **environment: str) -> str:
    """Run a command until it imports torch, and return what its environment holds then."""
    clean = {name: value for name, value in os.environ.items() if name not in ASKED}
    run = subprocess.run(
        [sys.executable, "-c", ENDS_AT_TORCH, *command],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**clean, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("scripts/generate.py", "a cat", "-o", "{folder}/a.png"),
        ("experiments/run_ablation.py", "--sweep", "shift=1,2", "--max-prompts", "1", "--output-dir", "{folder}"),
        ("experiments/metrics/examine.py", "--metric", "siglip_score"),
    ],
)
def test_threads_of_commands_that_draw_or_score_spin_shortly(command: tuple[str, ...], tmp_path: Path):
    assert environment_at_torch(*(word.format(folder=tmp_path) for word in command)) == "['3000', None]"


def test_threads_of_a_command_that_scores_spin_shortly(tmp_path: Path):
    results = write_results(tmp_path / "results", sample_plan(prompts=2), lambda run: {})

    assert environment_at_torch("experiments/score.py", str(results), "--metric", "siglip_score") == "['3000', None]"


def test_threads_of_the_page_sleep_at_once(tmp_path: Path):
    told = environment_at_torch("web/server.py", "--port", "0", "--data-dir", str(tmp_path))

    assert told.splitlines()[-1] == "[None, 'PASSIVE']"


def test_what_the_user_says_of_waiting_threads_holds(tmp_path: Path):
    command = ("scripts/generate.py", "a cat", "-o", str(tmp_path / "a.png"))

    assert environment_at_torch(*command, OMP_WAIT_POLICY="active") == "[None, 'active']"
    assert environment_at_torch(*command, GOMP_SPINCOUNT="7") == "['7', None]"
