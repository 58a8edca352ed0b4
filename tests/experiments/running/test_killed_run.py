"""A run until it is decided that is killed at any instant goes on as if it had not been."""

import signal
import subprocess
import sys
from pathlib import Path

from experiments.store.result_store import ResultStore

SCRIPT = Path(__file__).with_name("killed_run.py")
INSTANTS = (("picture", 1), ("manifest", 2), ("scores", 1), ("picture", 5), ("manifest", 3))
"""One after the other: at the first picture, before a look is written, while pictures are scored, and so on."""


def run(folder, what, number):
    return subprocess.run([sys.executable, str(SCRIPT), str(folder), what, str(number)], check=False).returncode


def looks(folder):
    log = ResultStore(folder / "s").manifest().looks
    return [(look.prompts, look.levels) for look in log.taken], log.plan, log.end


def test_a_run_killed_at_any_instant_takes_the_same_looks(tmp_path):
    assert run(tmp_path / "whole", "picture", 10_000) == 0
    killed = [run(tmp_path / "parts", what, number) for what, number in INSTANTS]
    assert killed.count(-signal.SIGKILL) >= 3
    assert run(tmp_path / "parts", "picture", 10_000) == 0
    assert looks(tmp_path / "parts") == looks(tmp_path / "whole")
    assert looks(tmp_path / "whole")[2] == "decided"
    names = [sorted(path.name for path in (tmp_path / part / "s" / "images").iterdir()) for part in ("whole", "parts")]
    assert names[0] == names[1]
