"""The command of the lab with the tiny checkpoint, in a folder of its own."""

import signal

import pytest
from click.testing import CliRunner

from experiments.run_ablation import main


@pytest.fixture
def run(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        return CliRunner().invoke(main, ["--model-path", str(tiny_checkpoint), *arguments])

    # a shell starts what it puts into the background with Ctrl-C ignored, and the command leaves it so
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield invoke
    signal.signal(signal.SIGINT, before)
