"""Levels in the trackers that people have: MLflow by a real server on this machine, wandb and trackio offline."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments import export, run_ablation
from experiments.exports.tracking import TRACKERS, level_runs
from experiments.metrics import METRICS
from experiments.stats.findings import analyse
from experiments.store.result_store import ResultStore
from llm_dit.errors import OutputError

pytestmark = pytest.mark.slow  # a real MLflow server, wandb and trackio


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = sample_plan(axes=(axis("shift", 2.0, 3.0),), prompts=8, name="tracked")
    return write_results(tmp_path_factory.mktemp("t") / "tracked", plan, noisy_scores({"2.0": 0.5}), image_size=8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server on 127.0.0.1 with files of its own: a database would first migrate for half a minute."""
    place = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", str(place / "store"), "--artifacts-destination", str(place / "a")]
    known = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=place, env=known, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except URLError:
                assert process.poll() is None, (place / "log").read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def numbers_of(folder: Path) -> dict[str, dict[str, float]]:
    store = ResultStore(folder)
    analysis = analyse(store.manifest(), store.runs(), METRICS)
    return {run.name: dict(run.metrics) for run in level_runs(store.manifest(), analysis)}


def tell(folder: Path, tracker: str, **environment: str) -> str:
    told = CliRunner(env=environment).invoke(export.main, [str(folder), "--track", tracker])
    assert told.exit_code == 0, told.output
    return told.output


def test_a_real_mlflow_server_has_every_level_once_with_the_numbers_of_the_analysis(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for _ in range(2):  # the second time tells the same runs anew
        assert f"2 levels of tracked are in mlflow: {server}" in tell(folder, "mlflow", MLFLOW_TRACKING_URI=server)
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("tracked")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(client.search_runs([experiment.experiment_id])) == 2
    for level, metrics in numbers_of(folder).items():
        assert runs[level].data.metrics == pytest.approx(metrics)
        assert runs[level].data.params["shift"] == level
        assert runs[level].info.status == "FINISHED"
    assert "image_reward/difference" in runs["2.0"].data.metrics
    assert runs["3.0"].data.tags["verdict.image_reward"].startswith("shift 2.0 beats 3.0 by")
    kept = [file.path for file in client.list_artifacts(runs["3.0"].info.run_id, "tables")]
    assert "tables/image_reward.csv" in kept


def test_a_server_that_is_not_there_is_told_in_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = CliRunner(env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}).invoke(
        export.main, [str(folder), "--track", "mlflow"]
    )
    assert told.exit_code == 2
    assert "Error: mlflow did not take the results: " in told.output


def test_wandb_keeps_every_level_offline(folder: Path, tmp_path: Path) -> None:
    tell(folder, "wandb", WANDB_MODE="offline", WANDB_DIR=str(tmp_path), WANDB_SILENT="true")
    kept = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(kept) == 2
    content = b"".join(path.read_bytes() for path in kept)
    assert b"image_reward/mean" in content
    assert b"image_reward/difference" in content


def test_trackio_keeps_every_level_in_its_own_database(folder: Path, tmp_path: Path) -> None:
    code = "from click.testing import CliRunner; from experiments import export; import sys;"
    code += "told = CliRunner().invoke(export.main, [sys.argv[1], '--track', 'trackio']); print(told.output);"
    code += "sys.exit(told.exit_code)"
    known = {**os.environ, "TRACKIO_DIR": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", code, str(folder)], env=known, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    with sqlite3.connect(tmp_path / "tracked.db") as database:
        rows = {name: json.loads(text) for name, text in database.execute("SELECT run_name, metrics FROM metrics")}
    assert rows["2.0"]["image_reward/difference"] == pytest.approx(numbers_of(folder)["2.0"]["image_reward/difference"])


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    folder: Path, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.exports.exporting import tell_tracker

    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(
        OutputError, match=f"--track {tracker} needs the package {tracker}, .*uv sync --extra {tracker}"
    ):
        tell_tracker(folder, tracker)


# At the end of a run


def draw(checkpoint: Path, place: Path, tracker: str, **environment: str) -> tuple[Any, Path]:
    """Draw two levels of two prompts and tell a tracker of them."""
    told = CliRunner(env=environment).invoke(
        run_ablation.main,
        [
            *("--model-path", str(checkpoint), "--sweep", "shift=2,3", "--max-prompts", "2", "--steps", "1"),
            *("--output-dir", str(place), "--name", "drawn", "--track", tracker),
        ],
    )
    return told, place / "drawn"


def test_a_run_tells_mlflow_of_its_levels_at_its_end(
    tiny_checkpoint: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    told, folder = draw(tiny_checkpoint, tmp_path, "mlflow", MLFLOW_TRACKING_URI=server)
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[-1] == f"2 levels of drawn are in mlflow: {server} (experiment drawn)"
    client = MlflowClient(server)
    runs = client.search_runs([client.get_experiment_by_name("drawn").experiment_id])
    kept = {run.info.run_name: run.data.metrics for run in runs}
    expected = numbers_of(folder)
    assert set(kept) == {"2.0", "3.0"}
    for level, metrics in expected.items():
        assert kept[level] == pytest.approx(metrics)
    assert "generation_time_seconds/mean" in kept["3.0"]


def test_a_tracker_that_is_away_costs_a_run_a_sentence_and_nothing_else(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told, folder = draw(tiny_checkpoint, tmp_path, "mlflow", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert told.exit_code == 0, told.output
    last = told.stderr.strip().splitlines()[-1]
    assert last.startswith("mlflow did not take the results: ")
    assert last.endswith(f"uv run experiments/export.py {folder} --track mlflow tells it later.")
    assert len(ResultStore(folder).runs()) == 4
    assert (folder / "report.html").is_file()


@pytest.fixture
def fresh_wandb() -> Iterator[None]:
    """Let wandb read the environment anew: a process of it keeps the folder that it began with."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


def test_a_run_tells_wandb_offline(fresh_wandb: None, tiny_checkpoint: Path, tmp_path: Path) -> None:
    told, _folder = draw(tiny_checkpoint, tmp_path, "wandb", WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    assert told.exit_code == 0, told.output
    kept = list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(kept) == 2
    assert b"generation_time_seconds/mean" in b"".join(path.read_bytes() for path in kept)


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_drawn(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    told, folder = draw(tiny_checkpoint, tmp_path, "wandb")
    assert told.exit_code == 2
    assert "Error: --track wandb needs the package wandb" in told.stderr
    assert not folder.exists()
