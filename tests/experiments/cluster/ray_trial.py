"""The experiment that tests of a real Ray cluster draw, alone and on workers, and what they compare."""

import csv
import os
import socket
import sys
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path

from faulty_engine import FaultyEngine

from experiments.cluster.dispatch import Patience
from experiments.cluster.ray_opening import TOO_SLOW
from experiments.cluster.workers_model import WorkersModel
from experiments.planning.command_flags import request_from_arguments
from experiments.running.experiment_run import Events, run_experiment
from experiments.running.models import OwnModels
from experiments.running.one_device import OneDevice
from llm_dit.config import Config
from llm_dit.parameters import ClusterSettings

ROOT = Path(__file__).parents[3]
NODE = {
    "num_cpus": 1,
    "node_ip_address": "127.0.0.1",
    "object_store_memory": 80 << 20,
    "include_log_monitor": False,
    "no_monitor": True,
}
ARGUMENTS = ["--sweep=shift=1..3", "--name=trial", "--max-prompts=3", "--seeds=42,43"]
RUNS = 18
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "src", Path(__file__).parent)))
FAST = {"num_inference_steps": 2, "width": 64, "height": 64, "dit_device": "cpu", "text_encoder_device": "cpu"}
PATIENCE = Patience(first_s=60.0, least_s=8.0, factor=8.0)
TIMES = ("generation_time_seconds", "output_path")


def up(cluster, **more):
    """Add a node; Ray gives it 30 s, which a busy machine may exceed."""
    for last in (False, False, True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves log files of a client's server open
                return cluster.add_node(**NODE, **more)
        except Exception as error:
            if last or TOO_SLOW not in str(error):
                raise


def up_as_another_kind(cluster):
    """Add a node whose processes name another card, where a test asks for it."""
    os.environ["CARD_OF_NODE"] = "another card"
    try:
        return up(cluster)
    finally:
        del os.environ["CARD_OF_NODE"]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def request(folder, arguments=ARGUMENTS):
    return request_from_arguments([*arguments, f"--output-dir={folder}"], Config(FAST))


class Own:
    """This process's device."""

    def get(self, settings_in_turn, planned, on_load):
        return OneDevice(OwnModels(), planned)

    def check(self, settings):
        pass

    def release(self):
        pass


@contextmanager
def threads_of_a_worker():
    """Compute with as many threads as a worker has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def drawn_alone(asked):
    """Draw on one device."""
    with threads_of_a_worker():
        return run_experiment(asked, Own(), command="c")


def faults(told):
    """What was told but that a busy machine lets its workers be waited for."""
    return [sentence for sentence in told if not sentence.startswith("No worker is there yet")]


def pictures(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def rows(folder):
    with (folder / "trial_summary.csv").open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


class Watched(Events):
    """Does something after so many pictures."""

    def __init__(self, at=10**9, then=lambda: None):
        self.at, self.then = at, then

    def on_progress(self, progress):
        if progress.done >= self.at:
            self.at = 10**9
            self.then()


class Drew:
    """The processes that have brought a picture, by what is shown of workers."""

    def __init__(self):
        self.processes, self._images = set(), {}

    def note(self, states):
        for state in states:
            if state.images > self._images.get(state.name, 0):
                self.processes.add(state.pid)
            self._images[state.name] = state.images


def driven(cluster, folder):
    """Return a command that draws on the cluster into a folder, which has the notes too, and its environment."""
    values = [f"--{name.replace('_', '-')}={value}" for name, value in FAST.items()]
    command = [
        sys.executable,
        str(Path(__file__).with_name("driver.py")),
        str(folder),
        *ARGUMENTS,
        *values,
        f"--output-dir={folder}",
        f"--ray-address={cluster.address}",
        "--workers=2",
        "--worker-threads=1",
    ]
    return command, {**os.environ, "PYTHONPATH": PATHS}


def drawn_on(
    folder, notes, *, events=None, should_stop=lambda: False, arguments=ARGUMENTS, watch=lambda states: None, **wishes
):
    """Draw on workers with the faults noted in a folder; return the result and what was told."""
    told = []
    with ExitStack() as resources:
        model = WorkersModel(
            ClusterSettings(**{"workers": 2, "worker_threads": 1, **wishes}),
            resources,
            told.append,
            PATIENCE,
            FaultyEngine(notes),
            watch=watch,
        )
        asked = request(folder, arguments)
        result = run_experiment(asked, model, command="c", events=events or Events(), should_stop=should_stop)
    return result, told
