"""Run the tests of the rooms where a wrong line costs somebody's results, or opens a door, and show what none reaches.

`[tool.coverage]` of pyproject.toml names the rooms. A line of them that no test reaches is an error unless
`# pragma: no cover - REASON` stands beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import coverage

PROJECT = Path(__file__).resolve().parents[1]
TESTS = ("tests/experiments", "tests/llm_dit", "tests/web/jobs", "tests/web/test_web_security.py")
"""Of the rooms, and of those that use them."""
UNREACHED = 3
"""Exit code where all tests passed, and a line is neither reached nor explained."""


@click.command()
@click.option("--all", "is_all", is_flag=True, help="Run the whole quick suite, those of other rooms too.")
def main(is_all: bool) -> None:
    """Run the tests and show the lines reached by room; exit with 1 if one fails, with 3 if a line is not explained."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}

    def run(*words: str) -> int:
        command = [sys.executable, "-m", "coverage", *words]
        return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode

    run("erase")
    failed = run("run", "-m", "pytest", "-q", "-n", "auto", *(() if is_all else TESTS))
    run("combine", "-q")
    for line in _rooms():
        click.echo(line)
    is_short = run("report") != 0
    sys.exit(1 if failed else UNREACHED if is_short else 0)


def _rooms() -> list[str]:
    """Return a line a room: its statements, those left out with a reason, and those that no test reaches."""
    os.chdir(PROJECT)  # where coverage.py looks for its configuration and its data
    measured = coverage.Coverage()
    measured.load()
    counts: dict[str, Counter[str]] = {}
    for file in sorted(measured.get_data().measured_files()):
        _, statements, left_out, missing, _ = measured.analysis2(file)
        path = Path(file).relative_to(PROJECT)
        room = path.as_posix() if path.parent.name == "web" else path.parent.as_posix()
        counts.setdefault(room, Counter()).update(
            statements=len(statements), left_out=len(left_out), missing=len(missing)
        )
    return [
        f"{room}: {found['statements'] - found['missing']:,} of {found['statements']:,} statements reached, "
        f"{found['left_out']:,} lines left out"
        for room, found in counts.items()
    ]


if __name__ == "__main__":
    main()
