"""The driver of workers holds no engine: it loads no torch, and tells the versions of those that drew."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DRAWING = """
import sys
from pathlib import Path
from types import SimpleNamespace

from benchmarks.bench_cluster import sleeping_plan
from benchmarks.sleeping_engine import SleepingEngine
from experiments.cluster.crew import Done, Ready
from experiments.cluster.orders import WorkerPlan
from experiments.cluster.worker import Worker
from experiments.cluster.workers_model import WorkerHands
from experiments.running.execution import run_plan
from experiments.store.result_store import ResultStore
from llm_dit.checkpoints.model_parts import find_parts

plan = sleeping_plan(25)
worker = Worker(WorkerPlan(plan.loading_order, 1, 1, SleepingEngine(0.0, find_parts(plan.engine).fingerprint())))
waiting = [Ready("worker 1", worker.load())]
crew = SimpleNamespace(
    expected=1,
    now=lambda: 0.0,
    replace=None,
    stop=None,
    submit=lambda name, order: waiting.append(Done(name, worker.draw(order))),
    events=lambda timeout_s: [waiting.pop(0)] if waiting else [],
)
outcome = run_plan(plan, WorkerHands(crew, plan.loading_order, print), ResultStore(Path(sys.argv[1])))
print(outcome.made, "torch" in sys.modules)
"""


def test_a_driver_imports_no_torch_and_names_the_versions_of_its_workers(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", DRAWING, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout == "25 False\n"
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["versions"] == {"llm-dit": "stand-in"}
