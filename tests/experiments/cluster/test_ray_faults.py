"""A real Ray cluster of this machine, hurt from outside: at random times, by its nodes, by who is at the keyboard."""

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image
from ray_trial import RUNS, Drew, Watched, drawn_on, driven, faults, pictures, rows, up, up_as_another_kind

from experiments.cluster import scoring
from experiments.cluster.workers_model import scorers_on_workers
from experiments.metrics.declaration import ScoreInput
from experiments.store.result_store import ResultStore
from llm_dit.parameters import ClusterSettings, MetricSettings

pytestmark = pytest.mark.slow  # real clusters of several nodes, killed in every way


def finished(folder):
    return len(list((folder / "trial" / "metadata").glob("*.json")))


def assert_each_run_once_and_as_alone(folder, alone):
    store = ResultStore(folder / "trial")
    assert len(store.runs()) == RUNS
    assert all(record.is_finished for record in store.runs())
    assert pictures(folder / "trial") == pictures(alone)
    assert rows(folder / "trial") == rows(alone)


def test_a_node_that_is_added_late_draws_where_all_devices_are_asked_for(cluster, alone, tmp_path):
    slower, drew, added = tmp_path / "slower", Drew(), []
    slower.touch()

    def watch(states):
        drew.note(states)
        if len(drew.processes) == 3:
            slower.unlink(missing_ok=True)

    try:
        events = Watched(2, lambda: added.append(up(cluster)))
        _, told = drawn_on(tmp_path, tmp_path, events=events, watch=watch, workers=0)
    finally:
        for node in added:
            cluster.remove_node(node)
    assert len(drew.processes) == 3, "each of the three nodes has brought a picture"
    assert faults(told) == []
    assert_each_run_once_and_as_alone(tmp_path, alone)


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        ("no_weights", "There is no model here."),
        (
            "other_weights",
            "its weights are others (fingerprint ffffffffffff instead of FINGERPRINT); copy the model's folder there "
            "again.",
        ),
    ],
)
def test_a_node_without_the_weights_or_with_others_is_named_and_not_used(cluster, alone, tmp_path, note, problem):
    (tmp_path / note).touch()
    _, told = drawn_on(tmp_path, tmp_path)
    fingerprint = ResultStore(alone).runs()[0].fingerprint[:12]
    (sentence,) = faults(told)
    assert re.fullmatch(
        rf"worker [12] on \S+ is not used: {re.escape(problem.replace('FINGERPRINT', fingerprint))}", sentence
    )
    assert_each_run_once_and_as_alone(tmp_path, alone)


class StoreWatch(threading.Thread):
    """Keeps the most bytes that Ray's object stores have held at a time, and how many went to a disk.

    What nobody needs any more is left out: Ray deletes it once a second, or when it needs the room.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.most = self.looks = self.spilled = 0
        self._is_over = threading.Event()

    def run(self):
        import ray
        from ray._private.internal_api import node_stats

        nodes = [node for node in ray.nodes() if node["Alive"]]
        while not self._is_over.wait(0.02):
            stores = [node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]).store_stats for node in nodes]
            self.most = max(self.most, sum(store.object_store_bytes_primary_copy for store in stores))
            self.spilled = sum(store.spilled_bytes_total + store.object_store_bytes_fallback for store in stores)
            self.looks += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_error):
        self._is_over.set()
        self.join()


def test_pictures_on_their_way_to_be_scored_never_pile_up_in_the_object_store(cluster, tmp_path, monkeypatch):
    mebibyte, parcel = 1 << 20, 8 << 20
    monkeypatch.setattr(scoring, "MOST_BYTES", parcel)
    names = ("picture.png", "baseline.png")
    for name, seed in zip(names, (1, 2), strict=True):
        noise = random.Random(seed).randbytes(3 * 1024 * 1024)
        Image.frombytes("RGB", (1024, 1024), noise).save(tmp_path / name, compress_level=0)
        assert (tmp_path / name).stat().st_size > 3 * mebibyte
    row = ScoreInput("noise", tmp_path / names[0], baseline=tmp_path / names[1])
    wishes = ClusterSettings(workers=2, worker_threads=1, ray_address=cluster.address)
    with (
        scorers_on_workers(wishes, ["psnr_db"], MetricSettings(), "mini", "cpu", print) as ((scorer,), spread),
        StoreWatch() as watch,
    ):
        scores = list(spread(scorer, [[row] * 12] * 4))  # 72 MiB a batch, and a node's store has 80
    # the mean square of the difference of two uniform levels of 0 to 255 is (256^2 - 1) / 6: 7.75 dB
    assert [len(batch) for batch in scores] == [12] * 4
    assert {round(columns["psnr_db"], 1) for batch in scores for columns in batch} == {7.7}
    assert watch.looks > 10
    assert parcel / 2 < watch.most <= 4 * parcel, "two parcels for each of two workers"
    assert watch.spilled == 0


def test_a_second_ctrl_c_ends_the_command_at_once_and_the_next_one_goes_on(cluster, alone, tmp_path):
    (tmp_path / "slower").touch()
    command, environment = driven(cluster, tmp_path)
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while finished(tmp_path) < 1:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    time.sleep(0.5)
    first.send_signal(signal.SIGINT)
    told = first.communicate(timeout=60)[1]
    assert first.returncode == 130, told
    assert "once more to stop at once" in told
    assert told.splitlines()[-1] == "Stopped at once; run the same command again to go on."
    assert "Traceback" not in told
    assert 1 <= finished(tmp_path) < RUNS
    (tmp_path / "slower").unlink()
    last = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert_each_run_once_and_as_alone(tmp_path, alone)


def workers_on(nodes):
    """Return the processes of workers on some nodes: their raylets' children that say so."""
    raylets = {process.process.pid for node in nodes for process in node.all_processes.get("raylet", ())}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            title = (path / "cmdline").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if parent in raylets and title.startswith("ray::Worker"):
            found.append(int(path.name))
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_times_it_goes_on_until_each_run_is_there_once(cluster, alone, tmp_path, seed):
    chance = random.Random(seed)
    victims = ["worker"] * 5 + ["driver"] * 2 + ["node"] * 2
    chance.shuffle(victims)
    (tmp_path / "slow").touch()
    (tmp_path / "waits-43-3.0").touch()  # its three runs do, so that no machine is done before it is hurt
    command, environment = driven(cluster, tmp_path)
    driver, killed = None, Counter()
    while victims:
        if driver is None:
            with (tmp_path / "told").open("w", encoding="utf-8") as told:
                driver = subprocess.Popen(command, env=environment, stderr=told)
        time.sleep(chance.uniform(0.5, 5.0))
        if driver.poll() is not None:
            break
        victim = victims[-1]
        if victim == "driver":
            driver.kill()
            driver.wait()
            driver = None
        elif victim == "node":
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = up_as_another_kind(cluster)
        else:
            workers = workers_on([cluster.head_node, cluster.second])
            if not workers:
                continue  # none is there yet
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
        killed[victims.pop()] += 1
    assert killed.total() >= 5, "it ended before it was hurt"
    for note in ("slow", "waits-43-3.0"):
        (tmp_path / note).unlink()
    if driver is not None:
        driver.wait(timeout=300)
        told = (tmp_path / "told").read_text(encoding="utf-8")
        assert driver.returncode in (0, 1), told  # 1: a run's worker was killed three times
    last = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert_each_run_once_and_as_alone(tmp_path, alone)
