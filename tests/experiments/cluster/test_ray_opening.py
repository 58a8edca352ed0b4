"""What goes with a command to the nodes of a cluster."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.cluster import ray_opening
from experiments.cluster.ray_environment import LOOPBACK, QUIET
from llm_dit.errors import LlmDitError

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

ROOT = Path(__file__).parents[3]
TRIAL = ["--sweep=shift=1..4", "--name=trial", "--max-prompts=4", "--seeds=1", "--steps=8", "--workers=1"]
ON_CPU = ["--dit-device=cpu", "--text-encoder-device=cpu"]
IN_TURN = """
import os, sys
from pathlib import Path
from experiments.cluster.ray_opening import opened

def told():
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}

before = told()
for place in sys.argv[1:]:
    with opened(None if place == "here" else place, cpus=1, workers=1) as cluster:
        import ray

        class Worker:
            def where(self):
                import experiments, llm_dit
                code = {"_ray_pkg_" in module.__file__ for module in (experiments, llm_dit)}
                started_by = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
                token = os.environ["RAY_AUTH_MODE"] if cluster.is_local else None
                return ray.util.get_node_ip_address(), token, *code, started_by

        worker = ray.remote(Worker).remote()
        print(place, *ray.get(worker.where.remote(), timeout=60), told() == before)
        ray.kill(worker)
    assert told() == before, "what Ray was told for one session is taken back after it"
"""


@contextmanager
def started(address, client_port, **environment):
    """Start Ray as people do; ended by its own process, since `ray stop` ends every Ray here."""
    host, _, port = address.rpartition(":")
    words = f"ray start --head --block --node-ip-address={host} --port={port} --num-cpus=1 --include-dashboard=false"
    words += f" --object-store-memory={80 << 20} --ray-client-server-port={client_port}"
    command = [str(Path(sys.executable).with_name("ray")), *words.split()[1:]]
    told = {**os.environ, **QUIET, **environment}
    head = subprocess.Popen(command, env=told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield head
    finally:
        head.terminate()
        head.wait(60)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(host, port):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with socket.socket() as asked:
            if asked.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens at {host}:{port}")


@pytest.mark.slow  # four starts of Ray
def test_one_process_may_have_a_cluster_of_its_own_and_join_others_in_any_order(tmp_path):
    own, other, client = f"127.0.0.1:{free_port()}", f"127.0.0.2:{free_port()}", free_port()
    with (
        started(own, client, **LOOPBACK, RAY_AUTH_MODE="disabled"),
        started(other, free_port(), RAY_AUTH_MODE="disabled"),
    ):
        for address in (own, other, f"127.0.0.1:{client}"):
            host, _, port = address.rpartition(":")
            wait_for(host, int(port))
        from_outside = f"ray://127.0.0.1:{client}"
        places = ["here", own, other, "here", from_outside, "here", other, own]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        # as people start it, but for the folder: Ray lets workers look into the driver's, which other machines lack
        command = ["uv", "run", "--no-sync", f"--project={ROOT}", "python", "-c", IN_TURN, *places]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
        refused = subprocess.run(
            [
                sys.executable,
                "experiments/run_ablation.py",
                *TRIAL,
                *ON_CPU,
                f"--output-dir={tmp_path}",
                f"--ray-address={own}",
            ],
            env={**environment, "RAY_AUTH_MODE": "token"},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert found.returncode == 0, found.stderr
    travelled = {
        "here": "127.0.0.1 token False",
        own: "127.0.0.1 None True",
        other: "127.0.0.2 None True",
        from_outside: "127.0.0.1 None True",
    }
    assert found.stdout.splitlines() == [f"{place} {travelled[place]} raylet False" for place in places]
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "Error: No worker can be used: it can't be started: The actor never ran - it was cancelled before it started "
        "running; if the cluster was started without a token, unset RAY_AUTH_MODE for this command."
    )


@pytest.mark.slow  # waits until a cluster is given up
@pytest.mark.parametrize("is_outside", [False, True])
def test_a_cluster_that_goes_under_way_ends_the_command_in_a_sentence_and_the_next_one_goes_on(tmp_path, is_outside):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}

    def drawing(place):
        command = [sys.executable, "experiments/run_ablation.py", *TRIAL, *ON_CPU, f"--output-dir={tmp_path}", place]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    port, client_port = free_port(), free_port()
    with started(f"127.0.0.1:{port}", client_port, **LOOPBACK, RAY_AUTH_MODE="disabled") as head:
        wait_for("127.0.0.1", port)
        wait_for("127.0.0.1", client_port)
        first = drawing(f"--ray-address={f'ray://127.0.0.1:{client_port}' if is_outside else f'127.0.0.1:{port}'}")
        while not list((tmp_path / "trial" / "metadata").glob("*.json")):
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.02)
        servers = subprocess.run(["pgrep", "-P", str(head.pid), "gcs_server"], capture_output=True, check=True)
        os.kill(int(servers.stdout), signal.SIGKILL)
        told = first.communicate(timeout=120)[1]
    assert first.returncode == 2, told
    lost = "the connection to it is broken" if is_outside else f"nothing answers at 127.0.0.1:{port} any more"
    why = "" if is_outside else " (Connection refused)"
    assert told.splitlines()[-1] == (
        f"Error: The cluster has gone: {lost}{why}; start it again, and the same experiment goes on where it is."
    )
    there = len(list((tmp_path / "trial" / "metadata").glob("*.json")))
    second = drawing("--worker-threads=1")  # here
    told = second.communicate(timeout=300)[1]
    assert second.returncode == 0, told
    assert f"{16 - there} runs to do, {there} finished before." in told


def test_shared_memory_that_is_too_small_for_the_pictures_is_told(monkeypatch):
    free = 100 << 20
    monkeypatch.setattr(ray_opening.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert ray_opening.store_problem(8) == (
        "/dev/shm has 100 MiB free, and pictures wait for the driver in 512 MiB; Ray takes a folder on a disk for "
        "them, which may be slow or full. In a container, start it with --shm-size=2g."
    )
    free = 512 << 20
    assert ray_opening.store_problem(8) is None


def test_a_cluster_of_another_python_is_told_with_both_versions(monkeypatch):
    ray = pytest.importorskip("ray")
    said = "Version mismatch: The cluster was started with:\n Ray: 2.60.0\n Python: 3.11.2\nThis process ... 3.11.9"

    def refuse(**options):
        raise RuntimeError(said)

    monkeypatch.setattr(ray, "init", refuse)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(LlmDitError) as caught, ray_opening.opened(address, cpus=None, workers=1):
            raise AssertionError("it can't be joined")
    here = ".".join(map(str, sys.version_info[:3]))
    assert str(caught.value) == (
        f"--ray-address {address}: the cluster was started with another version of Ray or Python than this process "
        f"(Python {here}); start its nodes from an environment with the same ones, to the last digit. Ray says: "
        f"{' '.join(said.split())}"
    )


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
