"""A run until it is decided that is killed at any instant goes on as if it had not been."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.store.result_store import ResultStore

pytestmark = pytest.mark.slow  # a run that is killed again and again

SCRIPT = Path(__file__).with_name("killed_run.py")
INSTANTS = ("picture:1", "manifest:2", "scores:1", "picture:5", "manifest:3", "none:0")
"""One after the other: at the first picture, before a look is written, while pictures are scored, ... to the end."""


def looks(folder):
    log = ResultStore(folder / "s").manifest().looks
    return [(look.prompts, look.levels) for look in log.taken], log.plan, log.end


def test_a_run_killed_at_any_instant_takes_the_same_looks(tmp_path):
    arguments = [sys.executable, str(SCRIPT), str(tmp_path / "whole"), str(tmp_path / "parts"), *INSTANTS]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # a fork has no threads but its own
    codes = json.loads(subprocess.run(arguments, check=True, env=one_thread, stdout=subprocess.PIPE).stdout)
    assert codes[:-1].count(-signal.SIGKILL) >= 3
    assert codes[-1] == 0
    assert looks(tmp_path / "parts") == looks(tmp_path / "whole")
    assert looks(tmp_path / "whole")[2] == "decided"
    names = [sorted(path.name for path in (tmp_path / part / "s" / "images").iterdir()) for part in ("whole", "parts")]
    assert names[0] == names[1]
