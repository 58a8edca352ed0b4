"""Experiments on a real Ray cluster of this machine: the same bytes as on one device, whatever happens on the way."""

import itertools
import os
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest
from ray_trial import (
    ARGUMENTS,
    RUNS,
    Drew,
    Watched,
    drawn_alone,
    drawn_on,
    driven,
    faults,
    pictures,
    request,
    rows,
    threads_of_a_worker,
    up_as_another_kind,
)

from experiments.cluster import scoring
from experiments.cluster.workers_model import scorers_on_workers
from experiments.metrics import load_configured_scorers
from experiments.metrics.missing_scores import score_results
from experiments.running.experiment_run import Events
from experiments.store.result_store import ResultStore
from llm_dit.parameters import ClusterSettings, MetricSettings

pytestmark = pytest.mark.slow  # real clusters of several nodes, killed in every way


def test_whatever_happens_to_workers_every_run_is_there_once_with_the_bytes_of_one_device(
    cluster, alone, tmp_path, capfd
):
    notes = tmp_path / "notes"
    notes.mkdir()
    for note in ("kill-42-1.0", "send-43-2.0", "hang-42-3.0", "memory-43-3.0", "always_fails-43-1.0"):
        (notes / note).touch()
    result, told = drawn_on(tmp_path, notes)
    happened = {path.name.removeprefix("happened-") for path in notes.iterdir()}
    assert happened == {"hang", "kill", "memory", "send", "always_fails-43-1.0"}
    assert (result.outcome.made, result.outcome.remaining) == (RUNS - 3, 0)
    for name, error in result.outcome.failed:
        assert "shift_1.0_seed43" in name
        assert re.fullmatch(r"this run always fails \(tried 3 times, on worker [12](, worker [12])?\)", error)
    assert len(result.outcome.failed) == 3

    (notes / "always_fails-43-1.0").unlink()
    again, _ = drawn_on(tmp_path, notes)
    assert (again.outcome.made, again.outcome.skipped) == (3, RUNS - 3)
    assert pictures(tmp_path / "trial") == pictures(alone)
    assert rows(tmp_path / "trial") == rows(alone)
    assert any("does not answer" in sentence for sentence in told)
    assert sum("is lost with" in sentence for sentence in told) == 3
    assert "(raylet)" not in "".join(capfd.readouterr()), (
        "what is lost is told, and nothing else is printed under the bar"
    )
    manifest = ResultStore(tmp_path / "trial").manifest().raw
    assert [session["machine"]["threads"] for session in manifest["sessions"]] == ["1", "1"]


def test_a_node_may_go_and_another_one_come_and_draws(cluster, alone, tmp_path):
    slower, drew = tmp_path / "slower", Drew()
    slower.touch()

    def change():
        cluster.remove_node(cluster.second, allow_graceful=False)
        cluster.second = up_as_another_kind(cluster)

    def watch(states):
        drew.note(states)
        if len(drew.processes) == 3:
            slower.unlink(missing_ok=True)

    result, told = drawn_on(tmp_path, tmp_path, events=Watched(4, change), watch=watch)
    assert len(drew.processes) == 3, "the third one is on the new node"
    assert result.outcome.made == RUNS
    assert pictures(tmp_path / "trial") == pictures(alone)
    assert rows(tmp_path / "trial") == rows(alone)
    assert any("is lost with" in sentence for sentence in told)


def test_another_kind_of_device_draws_only_where_mixed_asks_for_it_and_is_recorded(cluster, alone, tmp_path):
    for note in ("kinds", "slow"):
        (tmp_path / note).touch()
    few = [*ARGUMENTS, "--max-prompts=1"]
    result, told = drawn_on(tmp_path / "one", tmp_path, arguments=few)
    assert result.outcome.made == 6
    (refused,) = faults(told)
    assert re.search(r"worker [12] on .* is not used: it has card .* instead of .*; --mixed uses it", refused)

    result, told = drawn_on(tmp_path / "mixed", tmp_path, arguments=few, mixed=True)
    assert (result.outcome.made, faults(told)) == (6, [])
    manifest = ResultStore(tmp_path / "mixed" / "trial").manifest().raw
    cards = {session["id"]: session["machine"]["card"] for session in manifest["sessions"]}
    assert len(cards) == 2
    assert "another card" in cards.values()
    assert {record.session for record in ResultStore(tmp_path / "mixed" / "trial").runs()} == set(cards)
    for folder in ("one", "mixed"):
        made = pictures(tmp_path / folder / "trial")
        assert made == {name: png for name, png in pictures(alone).items() if name in made}


@pytest.mark.parametrize("reads_files", [True, False])
def test_scores_of_workers_are_those_of_one_device(cluster, alone, tmp_path, reads_files, monkeypatch):
    monkeypatch.setattr(scoring, "MOST_BYTES", 20_000)
    assert sum(map(len, pictures(alone).values())) > 3 * scoring.MOST_BYTES, "a batch is several parcels"
    here, there = tmp_path / "here", tmp_path / "there"
    settings, names = MetricSettings(), ("siglip_score", "image_reward")
    for folder in (here, there):
        shutil.copytree(alone, folder)
    with threads_of_a_worker():
        own = load_configured_scorers(names, settings, "mini", device="cpu")
        score_results(ResultStore(here), own)
    told = []
    address = None if reads_files else cluster.address  # by value where workers may be elsewhere
    wishes = ClusterSettings(workers=2, worker_threads=1, ray_address=address)
    with scorers_on_workers(wishes, names, settings, "mini", "cpu", told.append) as (scorers, spread):
        result = score_results(ResultStore(there), scorers, spread=spread)
    assert (dict(result.scored), result.unreadable, faults(told)) == (dict.fromkeys(names, RUNS), (), [])
    scores = [
        {run.run_id: (run.scores, run.scores_of) for run in ResultStore(folder).runs()} for folder in (here, there)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == RUNS


def test_settings_of_the_engine_and_planned_looks_end_as_on_one_device(cluster, tmp_path):
    more = ["--sweep=quantization=none,int8", "--name=trial", "--max-prompts=8", "--until-decided=siglip_score"]
    here, there = tmp_path / "here", tmp_path / "there"
    expected = drawn_alone(request(here, more))

    lost = []

    def lose_one(states):
        """Lose a worker in the middle of the first look's scores."""
        scoring = [state for state in states if state.doing == "scoring"]
        if scoring and not lost:
            lost.append(scoring[0].name)
            os.kill(scoring[0].pid, signal.SIGKILL)

    result, told = drawn_on(there, tmp_path, arguments=more, watch=lose_one)
    of_scores = [sentence for sentence in told if "of scores" in sentence and "lost" in sentence]
    assert [sentence.partition(",")[0] for sentence in of_scores] == [f"{lost[0]} is lost with 1 batch of scores"]
    assert expected.outcome.made == result.outcome.made > 0
    assert pictures(there / "trial") == pictures(here / "trial")
    looks = [[(look.prompts, look.levels) for look in found.looks.taken] for found in (expected, result)]
    assert looks[0] == looks[1] != []
    assert result.looks.end == expected.looks.end
    assert result.verdict == expected.verdict
    scores = [
        {run.run_id: (run.scores, run.scores_of) for run in ResultStore(folder / "trial").runs()}
        for folder in (here, there)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == expected.outcome.made


def test_a_full_disk_stops_no_worker_and_what_is_missing_is_made_later(cluster, alone, tmp_path, monkeypatch):
    sync, calls = os.fsync, itertools.count()

    def full(descriptor):
        # of files alone: a record that is renamed into place is there, whatever syncing its folder says
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and next(calls) >= 6:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    class Full(Events):
        def on_start(self, work):
            monkeypatch.setattr(os, "fsync", full)

    result, _ = drawn_on(tmp_path, tmp_path, events=Full())
    assert 0 < result.outcome.made < RUNS
    assert all("No space left on device" in error for _, error in result.outcome.failed)
    monkeypatch.setattr(os, "fsync", sync)
    again, _ = drawn_on(tmp_path, tmp_path)
    assert again.outcome.made == RUNS - result.outcome.made
    assert pictures(tmp_path / "trial") == pictures(alone)
    assert rows(tmp_path / "trial") == rows(alone)


def test_a_driver_may_be_killed_or_stopped_and_a_second_one_is_told(cluster, alone, tmp_path):
    (tmp_path / "slower").touch()  # than the start of another driver
    command, environment = driven(cluster, tmp_path)

    def started(count):
        driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 120
        while len(list((tmp_path / "trial" / "metadata").glob("*.json"))) < count and time.monotonic() < until:
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.02)
        return driver

    first = started(1)
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert f"is in use by process {first.pid}" in second.stderr
    first.kill()
    first.communicate()

    held = len(pictures(tmp_path / "trial"))
    third = started(held + 1)
    third.send_signal(signal.SIGINT)
    told = third.communicate()[1]
    assert third.returncode == 130, told
    assert re.search(r"Stopped with [1-9]\d* runs to do", told)

    (tmp_path / "slower").unlink()
    from_outside = [*command, f"--ray-address=ray://127.0.0.1:{cluster.client_port}"]  # the last one counts
    last = subprocess.run(from_outside, env=environment, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert pictures(tmp_path / "trial") == pictures(alone)
    assert rows(tmp_path / "trial") == rows(alone)
