"""How well scoring uses many devices: the pictures of one folder by one, two or more workers of this machine.

    python -m benchmarks.random_scorers SCORERS --device cuda
    python -m benchmarks.bench_scoring --scorers SCORERS --workers 1,2 --pictures 768 --size 1024

Pictures are noise scaled up; the folder is new for each number of workers. `seconds` go from the first picture that is
read to the last score that is written; `start_seconds` are what comes before: processes, loading, and one batch. Each
number of workers is a line of JSON in `--lines`, as it comes, and the last line of stdout has them all.
"""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks.bench_cluster import sleeping_plan
from benchmarks.bench_metrics import write_pictures
from benchmarks.sleeping_engine import SleepingEngine
from experiments.cluster.orders import BatchResult, Order, WorkerPlan
from experiments.cluster.ray_opening import opened
from experiments.cluster.worker import Worker
from experiments.cluster.workers_model import scorers_on_workers
from experiments.metrics.missing_scores import score_results
from experiments.planning.design import Plan
from experiments.running.result_writer import ResultWriter
from experiments.running.worklist import make_worklist
from experiments.store.result_store import ResultStore
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.parameters import ClusterSettings, EngineSettings, MetricSettings
from llm_dit.placement.planned_work import PlannedWork

METRICS = ("siglip_score", "image_reward")
DIFFERENT_PICTURES = 16
WARM_UP_PICTURES = 400
"""Enough batches that each of four workers gets one."""


def write_folder(plan: Plan, store: ResultStore, pngs: list[bytes]) -> None:
    """Write the results folder of a plan whose pictures are there already, in turns."""
    fingerprint = find_parts(EngineSettings()).fingerprint()
    source = SleepingEngine(0.0, fingerprint)
    worker = Worker(WorkerPlan(plan.loading_order, PlannedWork(1), 1, source))
    worker.load()
    store.create()
    with store.lock(planned=plan.run_count, command="bench"):
        work = make_worklist(plan, lambda settings: source.known(settings, PlannedWork(1)), store)
        store.write_manifest({**work.manifest, "sessions": []})
        batch = worker.draw(Order(0, tuple(work.to_do), work.conditions, plan.experiment.name, ""))
        assert isinstance(batch, BatchResult)
        with ResultWriter(store) as writer:
            for number, result in enumerate(batch.drawn):
                writer.write_png(result.run, result.metadata, pngs[number % len(pngs)])


@click.command()
@click.option("--pictures", default=400, show_default=True, help="To score; a multiple of 25.")
@click.option("--size", default=128, show_default=True, help="Height and width of the pictures in pixels.")
@click.option("--scorers", type=click.Path(path_type=Path), help="Of `random_scorers`; the embedded ones by default.")
@click.option("--workers", "counts", default="1,2", show_default=True, help="Numbers of workers, separated by commas.")
@click.option("--device", default="auto", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where pictures go; a temporary folder by default.")
@click.option("--lines", type=click.Path(path_type=Path), help="File to which each number of workers adds a line.")
def main(
    pictures: int, size: int, scorers: Path | None, counts: str, device: str, folder: Path | None, lines: Path | None
) -> None:
    """Measure, and print a line for each number of workers."""
    workers = [int(number) for number in counts.split(",")]
    settings = MetricSettings.parse(
        {"siglip": "siglip-mini", "image_reward": "image-reward-mini"}
        if scorers is None
        else {"siglip": str(scorers / "siglip"), "image_reward": str(scorers / "image-reward")}
    )
    rows: list[dict[str, float]] = []
    with ExitStack() as resources:
        cpus = max(workers) if device == "cpu" else None
        resources.enter_context(opened(None, cpus=cpus, workers=max(workers)))
        where = folder or Path(resources.enter_context(tempfile.TemporaryDirectory()))
        noise = where / "noise"
        noise.mkdir(parents=True)
        pngs = [row.image.read_bytes() for row in write_pictures(noise, DIFFERENT_PICTURES, size)]
        for count in workers:
            warm_up, store = ResultStore(where / f"warm-up-{count}"), ResultStore(where / f"scored-{count}")
            write_folder(sleeping_plan(min(WARM_UP_PICTURES, 100 * count)), warm_up, pngs)
            write_folder(sleeping_plan(pictures), store, pngs)
            rows.append(_scored(count, settings, device, warm_up, store))
            rows[-1]["speed_up"] = rows[-1]["images_per_second"] / rows[0]["images_per_second"]
            click.echo(json.dumps(rows[-1]))
            if lines is not None:
                with lines.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(json.dumps({"benchmark": "scoring", "size": size, "rows": rows}))


def _scored(
    count: int, settings: MetricSettings, device: str, warm_up: ResultStore, store: ResultStore
) -> dict[str, float]:
    """Score a folder on so many workers."""
    started = time.perf_counter()
    wishes = ClusterSettings(workers=count, worker_threads=4 if device == "cuda" else 1)
    with scorers_on_workers(wishes, METRICS, settings, "mini", device, click.echo) as (scorers, crew_spread):
        score_results(warm_up, scorers, spread=crew_spread)
        start_s, cpu, began = time.perf_counter() - started, time.process_time(), time.perf_counter()
        result = score_results(store, scorers, spread=crew_spread)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    scored = sum(result.scored.values())
    assert not result.unreadable and scored == len(METRICS) * sum(record.is_finished for record in store.runs())
    return {
        "workers": count,
        "scores": scored,
        "start_seconds": start_s,
        "seconds": seconds,
        "images_per_second": scored / len(METRICS) / seconds,
        "driver_cpu_seconds": cpu,
    }


if __name__ == "__main__":
    main()
