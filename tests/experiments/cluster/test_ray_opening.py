"""What goes with a command to the nodes of a cluster."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cluster import ray_opening

ASKING = """
import sys, time
from experiments.cluster.ray_opening import opened
from llm_dit.errors import LlmDitError
for address in sys.argv[1:]:
    began = time.monotonic()
    try:
        with opened(address, cpus=None, workers=1):
            raise AssertionError("there is no cluster")
    except LlmDitError as error:
        print(time.monotonic() - began, error)
"""


@pytest.mark.parametrize(("is_checkout", "folders"), [(True, ["engine", "experiments"]), (False, ["experiments"])])
def test_a_checkout_travels_whole_and_of_a_wheel_the_lab(tmp_path, monkeypatch, is_checkout, folders):
    if is_checkout:
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(ray_opening, "code_folders", lambda: (tmp_path / "engine", tmp_path / "experiments"))
    assert [Path(module).name for module in ray_opening.code_that_travels()["py_modules"]] == folders


def test_an_address_at_which_nothing_listens_is_refused_at_once_and_by_its_name():
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        addresses = [f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"]
        asked = subprocess.run([sys.executable, "-c", ASKING, *addresses], capture_output=True, text=True, check=True)
    told = asked.stdout.splitlines()
    assert len(told) == len(addresses)
    for address, line in zip(addresses, told, strict=True):
        seconds, _, sentence = line.partition(" ")
        assert float(seconds) < 30, "Ray itself takes three minutes"
        assert sentence == (
            f"--ray-address {address}: nothing listens at 127.0.0.1:{port} (Connection refused); start a cluster there "
            "by `ray start --head`, or give another address, or `auto`."
        )
