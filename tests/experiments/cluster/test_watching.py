"""What is shown of workers, counted from what a crew reports."""

import subprocess
import sys

from experiments.cluster.crew import Done, Lost, Ready, Standing, first_ready
from experiments.cluster.orders import BatchResult, Drawn, Loaded
from experiments.cluster.watching import WatchedCrew, WorkerState, foremost

MODEL = Loaded("", {}, {})


class Scripted:
    """Workers that do what a script says: before each round of events where they stand, then what happens."""

    expected = 2

    def __init__(self, *rounds):
        self.rounds = list(rounds)
        self.told = []
        self.now = self.replace = self.stop = None

    def standing(self):
        states = self.rounds[0][0]
        return [Standing(f"worker {place}", state, "host", 100 + place) for place, state in enumerate(states, 1)]

    def submit(self, worker, order):
        self.told.append((worker, order.number))

    def events(self, timeout_s):
        happened = self.rounds.pop(0)[1]
        return happened


def result(number, images, seconds):
    return BatchResult(number, (Drawn(None, b"", {}),) * images, (), seconds)


def test_each_workers_pictures_rate_and_doing_follow_from_its_orders_and_answers():
    ready, seen = Ready("worker 1", MODEL), []
    crew = Scripted(
        (["coming", "coming"], [ready]),
        (["ready", "loading"], []),
        (["ready", "refused"], [Done("worker 1", result(7, 3, 2.0))]),
        (["ready", "refused"], [Lost("worker 1", "gone")]),
        (["coming", "refused"], []),
        (["coming", "refused"], []),
    )
    watched = WatchedCrew(crew, seen.append)
    watched.events(0)
    watched.submit("worker 1", result(7, 0, 0.0))
    watched.submit("worker 1", result(8, 0, 0.0))
    for _ in range(4):
        watched.events(0)
    first = [(states[0].doing, states[0].images, states[0].images_per_second) for states in seen]
    assert first == [
        ("starting", 0, 0.0),
        ("waiting", 0, 0.0),
        ("drawing", 0, 0.0),
        ("drawing", 0, 0.0),
        ("drawing", 3, 1.5),
        ("starting again", 3, 1.5),
    ]
    assert [states[1].doing for states in seen] == ["starting", "loading", "loading", *["left out"] * 3]
    assert seen[4][0].line() == "worker 1 on host: drawing, 3 images, 1.50 images/s"
    assert crew.told == [("worker 1", 7), ("worker 1", 8)]


def test_of_many_workers_those_in_trouble_are_named_and_the_others_counted():
    doing = ["drawing"] * 5 + ["waiting", "left out", "starting again"]
    states = [WorkerState(f"worker {place}", "", None, what, 0, 0.0) for place, what in enumerate(doing, 1)]
    shown, others = foremost(states, 4)
    assert [state.name for state in shown] == ["worker 1", "worker 6", "worker 7", "worker 8"]
    assert others == "and 4 more: 4 drawing"
    assert foremost(states, 8) == (states, "")


def test_waiting_for_the_first_worker_ends_when_it_is_asked_to_stop():
    import pytest

    from llm_dit.errors import LlmDitError

    asks = iter([False, True])
    with pytest.raises(LlmDitError, match="Stopped before a worker was there"):
        first_ready(Scripted((["coming", "coming"], [])), lambda: next(asks))


def test_checking_imports_no_ray_which_would_read_its_environment_before_it_is_set():
    code = (
        "import sys; from contextlib import ExitStack; from experiments.cluster.workers_model import WorkersModel; "
        "from llm_dit.parameters import ClusterSettings, EngineSettings; "
        "WorkersModel(ClusterSettings(workers=1), ExitStack(), print).check(EngineSettings()); "
        "print('ray' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
