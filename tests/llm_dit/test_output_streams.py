"""A command goes on where nobody reads what it prints, and ends in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import click, sys
from llm_dit.cli import user_errors

@click.command()
@user_errors
def main():
    for number in range(10_000):
        click.echo(f"line {number} \\udcff \\u732b")
    click.echo("done", err=True)

main()
"""


def run(**streams):
    environment = {**os.environ, **streams.pop("env", {})}
    return subprocess.run([sys.executable, "-c", COMMAND], env=environment, timeout=60, check=False, **streams)


def test_a_full_device_ends_in_a_sentence():
    with Path("/dev/full").open("wb") as full:
        ended = run(stdout=full, stderr=subprocess.PIPE)
    assert ended.stderr.decode().splitlines() == [
        "done",
        "Error: Standard output could not be written: No space left on device.",
    ]
    assert ended.returncode == 2


def test_a_closed_pipe_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    ended = run(stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"done\n")


def test_a_terminal_that_has_gone_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    ended = run(stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    assert ended.returncode == 0
    assert ended.stdout.count(b"\n") == 10_000


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"line 0 ? "),  # click's own way under ASCII
        ({"LC_ALL": "C.UTF-8"}, b"line 0 \\udcff "),
    ],
)
def test_a_character_that_can_not_be_shown_stops_nothing(env, line):
    ended = run(stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert (ended.returncode, ended.stderr) == (0, b"done\n")
    assert ended.stdout.startswith(line)
    assert ended.stdout.count(b"\n") == 10_000
