"""How well an experiment uses many devices: one, two or more of this machine, and what the driver itself costs.

    python -m benchmarks.bench_cluster --sleep 0.5 --runs 10000 --workers 64
    python -m benchmarks.bench_cluster --sleep 0.01 --runs 100000 --workers 16
    python -m benchmarks.bench_cluster --model-path FOLDER --workers 1,2,4 --prompts 12,16,32 --compile on

With `--sleep` every worker is a process whose engine waits so long for a picture of one pixel and leaves the processor
alone meanwhile: measured are batches, transport, the driver and the disk, not drawing. With a model, `shift_sweep` is
drawn by each number of workers. `seconds` go from the first order to the last file, encoding and driver included;
`start_seconds` are what comes before: processes, loading, and six images that compile what is to be compiled. "busy" is
the share of the devices' time in which engines were at work. Beside each stands what `--dry-run --workers N` says of it
after the first number of workers has been drawn. `--kill` ends one worker with SIGKILL in the middle. Each experiment
is a line of JSON in `--lines`, as it comes, and the last line of stdout has them all.
"""

import json
import os
import re
import resource
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.sleeping_engine import SleepingEngine
from experiments.cluster.orders import EngineSource
from experiments.cluster.ray_opening import opened
from experiments.cluster.simulation import Timing, simulate
from experiments.cluster.spreading import runs_to_spread, spread
from experiments.cluster.watching import WorkerState
from experiments.cluster.worker import OwnEngine
from experiments.cluster.workers_model import WorkerHands, WorkersModel
from experiments.planning.design import Plan, plan_experiment, select_prompts
from experiments.planning.experiment_file import find_experiment, load_experiments
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import STANDARD_PROMPTS, Prompt, read_prompts
from experiments.running.execution import Progress, run_plan
from experiments.running.forecast import forecast
from experiments.running.plan_models import facts_of
from experiments.store.result_store import ResultStore
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.parameters import ClusterSettings, EngineSettings
from llm_dit.placement.planned_work import PlannedWork

LEVELS, SEEDS = 5, 5
"""Of each prompt of the stand-in's experiment."""
SAMPLES = 10
"""Of the driver's memory on the way."""
IN_THE_MIDDLE = 3
"""A worker is killed once this part of the runs is there."""


@dataclass(frozen=True)
class Measured:
    """One experiment.

    Attributes:
        workers: How many.
        quantization: Of the transformer.
        images: Made.
        start_seconds: From nothing to all workers ready, each with an image drawn.
        seconds: From the first order to the last file.
        images_per_second: Of all workers.
        efficiency: Images a second of each worker beside those of the first experiment.
        busy: Share of the workers' time in which their engines were at work.
        said_seconds: What the dry run had said of `seconds`.
        said_with_start: What it had said with loading; None for the stand-in.
        driver_cpu_seconds: Processor time of this process.
        driver_bytes: Memory of this process after each tenth of the runs.
        driver_peak_bytes: Most memory of this process since its start.
        lost: Workers lost on the way.
        drawn_again: Runs that lost workers had.
        shared_evaluations: Taken from earlier images that began alike.
    """

    workers: int
    quantization: str
    images: int
    start_seconds: float
    seconds: float
    images_per_second: float
    efficiency: float
    busy: float
    said_seconds: float
    said_with_start: float | None
    driver_cpu_seconds: float
    driver_bytes: tuple[int, ...]
    driver_peak_bytes: int
    lost: int
    drawn_again: int
    shared_evaluations: int


class _Watcher:
    """Follows one experiment: memory of this process, and whom to kill.

    Args:
        total: Runs.
        kills: End one worker in the middle.
    """

    def __init__(self, total: int, *, kills: bool) -> None:
        self._total = total
        self._kills = kills
        self.states: tuple[WorkerState, ...] = ()
        self.memory: list[int] = []
        self.told: list[str] = []

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)
        click.echo(sentence, err=True)

    def watch(self, states: tuple[WorkerState, ...]) -> None:
        self.states = states

    def on_progress(self, now: Progress) -> None:
        if now.done * SAMPLES >= self._total * (len(self.memory) + 1):
            self.memory.append(_resident_bytes())
        if self._kills and now.done * IN_THE_MIDDLE >= self._total:
            self._kills = False
            victim = next(state for state in reversed(self.states) if state.doing == "drawing")
            assert victim.pid is not None, "it has said so"
            os.kill(victim.pid, signal.SIGKILL)

    @property
    def drawn_again(self) -> int:
        lost = (re.search(r"is lost with (\d+) runs", sentence) for sentence in self.told)
        return sum(int(found[1]) for found in lost if found)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def sleeping_plan(runs: int) -> Plan:
    """Plan so many runs of one step."""
    prompts = [Prompt(f"p{number}", "c", "", f"text {number}") for number in range(runs // (LEVELS * SEEDS))]
    values = {"num_inference_steps": 1, "guidance_scale": 0.0, "width": 64, "height": 64}
    experiment = experiment_from_sweeps([f"shift=1..{LEVELS}"], "sleep")
    engine = EngineSettings.parse({"dit_device": "cpu", "text_encoder_device": "cpu"})
    return plan_experiment(experiment, prompts, range(SEEDS), defaults=values, engine=engine)


def shift_plan(prompts: int, settings: EngineSettings) -> Plan:
    """Plan `shift_sweep` over so many prompts."""
    chosen = select_prompts(read_prompts(STANDARD_PROMPTS), max_prompts=prompts)
    return plan_experiment(find_experiment("shift_sweep", load_experiments()), chosen, [42], engine=settings)


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        plan: What is drawn.
        workers: By how many.
        source: Where they have their engine from.
        folder: Of the results.
        picture_s: What a picture of the stand-in takes; None with a model.
        kills: End one worker in the middle.
    """

    plan: Plan
    workers: int
    source: EngineSource
    folder: Path
    picture_s: float | None
    kills: bool


def measured(case: Case, first: Path) -> Measured:
    """Draw a plan on so many workers.

    Args:
        case: What is measured.
        first: Folder of the first experiment, whose times the forecast reads.
    """
    plan, workers = case.plan, case.workers
    watcher = _Watcher(plan.run_count, kills=case.kills)
    with ExitStack() as resources:
        started = time.perf_counter()
        wishes = ClusterSettings(workers=workers, worker_threads=1)
        model = WorkersModel(wishes, resources, watcher.tell, source=case.source, watch=watcher.watch)
        hands = model.get(plan.loading_order, PlannedWork(plan.run_count * 9), lambda _settings: None)
        hands.wait_for_all()
        if case.picture_s is None:
            run_plan(shift_plan(1, plan.engine), hands, ResultStore(case.folder.with_name(f"{case.folder.name}-warm")))
        start_s, cpu = time.perf_counter() - started, time.process_time()
        outcome = run_plan(plan, hands, ResultStore(case.folder), on_progress=watcher.on_progress)
        cpu = time.process_time() - cpu
        assert outcome.made == plan.run_count, outcome
    said, said_with_start = _said(case, first)
    return Measured(
        workers=workers,
        quantization=plan.engine.quantization,
        images=outcome.made,
        start_seconds=start_s,
        seconds=outcome.seconds,
        images_per_second=outcome.made / outcome.seconds,
        efficiency=1.0,
        busy=_computing(case, hands) / (workers * outcome.seconds),
        said_seconds=said,
        said_with_start=said_with_start,
        driver_cpu_seconds=cpu,
        driver_bytes=tuple(watcher.memory),
        driver_peak_bytes=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        lost=hands.tally.lost,
        drawn_again=watcher.drawn_again,
        shared_evaluations=outcome.shared_evaluations,
    )


def _computing(case: Case, hands: WorkerHands) -> float:
    """Return the seconds in which all engines together were at work; the stand-in's are known."""
    if case.picture_s is not None:
        return case.picture_s * case.plan.run_count
    return sum(hands.tally.computing_seconds.values())


def _said(case: Case, first: Path) -> tuple[float, float | None]:
    """Return what the dry run says, without loading and with it."""
    plan, facts = case.plan, facts_of(case.plan)
    if case.picture_s is not None:
        each, items = case.picture_s, runs_to_spread(plan, facts, plan.run_count)
        return simulate(items, case.workers, Timing(lambda _item: each), lambda _item: "").seconds, None
    alone = forecast(plan, facts, ResultStore(first)).seconds
    found = spread(plan, facts, plan.run_count, alone, case.workers)
    return found.seconds - found.loading_seconds, found.seconds


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


@click.command()
@click.option("--sleep", "sleep_s", type=float, help="Seconds of a picture of the stand-in.")
@click.option("--runs", default=10_000, show_default=True, help="Runs of the stand-in.")
@click.option("--model-path", default="mini", show_default=True)
@click.option("--quantization", default="none", show_default=True, help="Of the transformer, separated by commas.")
@click.option("--compile", "compiled", default="off", show_default=True, help="off, on or auto.")
@click.option(
    "--prompts", default="8", show_default=True, help="Of shift_sweep, six images each; one number or several."
)
@click.option("--workers", "counts", default="1,2", show_default=True, help="Numbers of workers, separated by commas.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where results go; a temporary folder by default.")
@click.option("--lines", type=click.Path(path_type=Path), help="File to which each experiment adds a line.")
@click.option("--kill", "kills", is_flag=True, help="End one worker in the middle.")
def main(
    sleep_s: float | None,
    runs: int,
    model_path: str,
    quantization: str,
    compiled: str,
    prompts: str,
    counts: str,
    folder: Path | None,
    lines: Path | None,
    kills: bool,
) -> None:
    """Measure, print a line for each experiment, and everything as JSON at the end."""
    workers, sizes = _numbers(counts), _numbers(prompts)
    sizes = sizes * len(workers) if len(sizes) == 1 else sizes
    fingerprint = find_parts(EngineSettings()).fingerprint()
    found: list[Measured] = []
    with ExitStack() as resources:
        cpus = max(workers) if sleep_s is not None else None
        resources.enter_context(opened(None, cpus=cpus, workers=max(workers)))
        where = folder or Path(resources.enter_context(tempfile.TemporaryDirectory()))
        for kind in quantization.split(","):
            settings = EngineSettings.parse({"model_path": model_path, "quantization": kind, "compile": compiled})
            of_kind: list[Measured] = []
            for count, size in zip(workers, sizes, strict=True):
                stand_in: Any = None if sleep_s is None else SleepingEngine(sleep_s, fingerprint)
                plan = shift_plan(size, settings) if sleep_s is None else sleeping_plan(runs)
                case = Case(plan, count, stand_in or OwnEngine(), where / f"{kind}-{count}", sleep_s, kills)
                row = measured(case, where / f"{kind}-{workers[0]}")
                of_kind.append(_compared(row, of_kind))
                _report(of_kind[-1], lines)
            found += of_kind
    print(json.dumps({"benchmark": "cluster", "sleep_s": sleep_s, "rows": [asdict(row) for row in found]}))


def _compared(row: Measured, before: Sequence[Measured]) -> Measured:
    """Fill in the efficiency beside the first experiment."""
    if not before:
        return row
    each = before[0].images_per_second / before[0].workers
    return replace(row, efficiency=row.images_per_second / row.workers / each)


def _report(row: Measured, lines: Path | None) -> None:
    text = json.dumps(asdict(row))
    click.echo(text)
    if lines is not None:
        with lines.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
