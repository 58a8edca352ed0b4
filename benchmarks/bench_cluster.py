"""How well an experiment uses many devices: one, two or more of this machine, and what the driver itself costs.

    python -m benchmarks.bench_cluster --sleep 0.5 --runs 10000 --workers 64
    python -m benchmarks.bench_cluster --sleep 0.01 --runs 100000 --workers 16
    python -m benchmarks.bench_cluster --model-path FOLDER --workers 1,2,4 --quantization none,float8

With `--sleep` every worker is a process whose engine waits so long for a picture of one pixel and leaves the processor
alone meanwhile: measured are batches, transport, the driver and the disk, not drawing. With a model, `shift_sweep` is
drawn by each number of workers; times go from the first order to the last file, encoding and driver included, loading
left out. "busy" is the share of the devices' time in which engines were at work. The simulation is asked for the same,
and printed beside. `--kill` ends one worker with SIGKILL in the middle. The last line of stdout is JSON.
"""

import json
import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from experiments.cluster.orders import EngineSource
from experiments.cluster.ray_opening import opened
from experiments.cluster.simulation import Timing, simulate
from experiments.cluster.spreading import runs_to_spread
from experiments.cluster.worker import OwnEngine
from experiments.cluster.workers_model import WorkersModel
from experiments.planning.design import Plan, plan_experiment, select_prompts
from experiments.planning.experiment_file import find_experiment, load_experiments
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import STANDARD_PROMPTS, Prompt, read_prompts
from experiments.running.execution import run_plan
from experiments.running.plan_models import facts_of
from experiments.store.result_store import ResultStore
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.parameters import ClusterSettings, EngineSettings, GenerationParams

LEVELS, SEEDS = 5, 5
"""Of each prompt of the stand-in's experiment."""


class _Encoder:
    """As much of a text encoder as the lab asks for."""

    width = 1
    dtype = SimpleNamespace(itemsize=1)
    stream = None

    def warn_of_special_tokens(self, _texts: Sequence[str]) -> None:
        pass

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class _Sleeping:
    """Stands for a pipeline: waits, and returns a picture of one pixel."""

    device = SimpleNamespace(type="cpu")
    load_seconds: Mapping[str, float] = {}

    def __init__(self, seconds: float, fingerprint: str) -> None:
        from PIL import Image

        self.fingerprint = fingerprint
        self.numerics = {"dtype": "none"}
        self._seconds = seconds
        self._image = Image.new("RGB", (1, 1))
        self.text_encoder = _Encoder()

    def surroundings(self) -> dict[str, dict[str, str]]:
        return SURROUNDINGS

    def resolve(self, params: GenerationParams) -> GenerationParams:
        return params

    def encode_prompts(self, texts: Sequence[str], _layers: Sequence[int]) -> list[Any]:
        return [SimpleNamespace(formatted_prompt=text, token_count=1, embeddings={}) for text in texts]

    def condition(self, _params: GenerationParams, encoded: Any, _negative: Any) -> Any:
        return SimpleNamespace(formatted_prompt=encoded.formatted_prompt, token_count=1, token_count_used=1)

    def draw(self, _params: GenerationParams, _conditioning: Any, _shared: Any = None) -> Any:
        """Queue a picture, which takes its time once it is waited for, as on a device."""
        return SimpleNamespace(wait=self._wait)

    def _wait(self) -> tuple[Any, dict[str, float]]:
        time.sleep(self._seconds)
        return self._image, {"denoise": self._seconds}

    def metadata(self, params: GenerationParams, _conditioning: Any, times: dict[str, float]) -> dict[str, Any]:
        return {
            "parameters": params.model_dump(),
            "stage_times_s": times,
            "model_path": "stand-in",
            "formatted_prompt": "",
            "evaluations": params.num_inference_steps,
            "model_fingerprint": self.fingerprint,
            "numerics": self.numerics,
            **self.surroundings(),
        }


SURROUNDINGS = {"versions": {"llm-dit": "stand-in"}, "machine": {"card": "stand-in"}}


class SleepingEngine:
    """Where workers have the stand-in from; needs no torch.

    Args:
        seconds: Of a picture.
        fingerprint: Of the model that it stands for.
    """

    def __init__(self, seconds: float, fingerprint: str) -> None:
        self._pipeline = (seconds, fingerprint)

    def surroundings(self, _settings: EngineSettings, _threads: int) -> dict[str, dict[str, str]]:
        """Return the same everywhere."""
        return SURROUNDINGS

    def models(self) -> Any:
        """Return what hands out the stand-in."""
        return self

    def known(self, _settings: EngineSettings, _planned_evaluations: int) -> Any:
        """Return the stand-in."""
        return _Sleeping(*self._pipeline)

    get = known

    def release(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Measured:
    """One experiment.

    Attributes:
        workers: How many.
        quantization: Of the transformer.
        images: Made.
        seconds: From the first order to the last file.
        images_per_second: Of all workers.
        busy: Share of the workers' time in which their engines were at work.
        simulated_seconds: What the simulation says, from the mean time of an image here.
        driver_cpu_seconds: Processor time of this process.
        driver_peak_bytes: Most memory of this process since its start.
        lost: Workers lost on the way.
        load_seconds: Until all workers had their engine.
    """

    workers: int
    quantization: str
    images: int
    seconds: float
    images_per_second: float
    busy: float
    simulated_seconds: float
    driver_cpu_seconds: float
    driver_peak_bytes: int
    lost: int
    load_seconds: float


def sleeping_plan(runs: int) -> Plan:
    """Plan so many runs of one step."""
    prompts = [Prompt(f"p{number}", "c", "", f"text {number}") for number in range(runs // (LEVELS * SEEDS))]
    values = {"num_inference_steps": 1, "guidance_scale": 0.0, "width": 64, "height": 64}
    return plan_experiment(
        experiment_from_sweeps([f"shift=1..{LEVELS}"], "sleep"), prompts, range(SEEDS), defaults=values
    )


def shift_plan(prompts: int, settings: EngineSettings) -> Plan:
    """Plan `shift_sweep` over so many prompts."""
    chosen = select_prompts(read_prompts(STANDARD_PROMPTS), max_prompts=prompts)
    return plan_experiment(find_experiment("shift_sweep", load_experiments()), chosen, [42], engine=settings)


def measured(plan: Plan, workers: int, source: Any, folder: Path, picture_s: float | None, *, kills: bool) -> Measured:
    """Draw a plan on so many workers.

    Args:
        plan: What is drawn.
        workers: How many.
        source: Where they have their engine from.
        folder: Of the results.
        picture_s: What a picture takes; None takes the mean of what was measured.
        kills: End one worker in the middle.
    """
    with ExitStack() as resources:
        started = time.perf_counter()
        model = WorkersModel(ClusterSettings(workers=workers, worker_threads=1), resources, click.echo, source=source)
        hands = model.get(plan.loading_order, plan.run_count * 9, lambda _settings: None)
        hands.wait_for_all()
        if picture_s is None:
            run_plan(shift_plan(1, plan.engine), hands, ResultStore(folder.with_name(f"{folder.name}-warm-up")))
        load_s, cpu = time.perf_counter() - started, time.process_time()
        progress = [0]
        if kills:
            threading.Thread(target=_kill_one, args=(progress, plan.run_count), daemon=True).start()
        outcome = run_plan(plan, hands, ResultStore(folder), on_progress=lambda now: progress.__setitem__(0, now.done))
        cpu = time.process_time() - cpu
        assert outcome.made == plan.run_count, outcome
    computing = sum(hands.tally.computing_seconds.values())  # of the dispatcher that this plan began
    each = picture_s or computing / plan.run_count
    items = runs_to_spread(plan, facts_of(plan), plan.run_count)
    simulated = simulate(items, workers, Timing(lambda _item: each), lambda _item: "")
    return Measured(
        workers,
        plan.engine.quantization,
        outcome.made,
        outcome.seconds,
        outcome.made / outcome.seconds,
        (each * plan.run_count if picture_s else computing) / (workers * outcome.seconds),
        simulated.seconds,
        cpu,
        1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        hands.tally.lost,
        load_s,
    )


def _kill_one(progress: Sequence[int], total: int) -> None:
    """End a worker with SIGKILL once a third of the runs is there."""
    while progress[0] < total // 3:
        time.sleep(0.05)
    lines = Path("/proc").glob("[0-9]*/cmdline")
    workers = [int(line.parent.name) for line in lines if line.read_bytes().startswith(b"ray::Worker")]
    os.kill(workers[0], signal.SIGKILL)


@click.command()
@click.option("--sleep", "sleep_s", type=float, help="Seconds of a picture of the stand-in.")
@click.option("--runs", default=10_000, show_default=True, help="Runs of the stand-in.")
@click.option("--model-path", default="mini", show_default=True)
@click.option("--quantization", default="none", show_default=True, help="Of the transformer, separated by commas.")
@click.option("--compile", "compiled", default="off", show_default=True, help="off, on or auto.")
@click.option("--prompts", default=8, show_default=True, help="Of shift_sweep, six images each.")
@click.option("--workers", "counts", default="1,2", show_default=True, help="Numbers of workers, separated by commas.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where results go; a temporary folder by default.")
@click.option("--kill", "kills", is_flag=True, help="End one worker in the middle.")
def main(
    sleep_s: float | None,
    runs: int,
    model_path: str,
    quantization: str,
    compiled: str,
    prompts: int,
    counts: str,
    folder: Path | None,
    kills: bool,
) -> None:
    """Measure, print a line for each experiment, and everything as JSON at the end."""
    numbers = [int(count) for count in counts.split(",")]
    cpus = max(numbers) if sleep_s is not None else None
    found: list[Measured] = []
    source: EngineSource
    fingerprint = find_parts(EngineSettings()).fingerprint()
    with opened(None, cpus=cpus, workers=max(numbers)), tempfile.TemporaryDirectory(dir=folder) as where:
        for kind in quantization.split(","):
            for workers in numbers:
                if sleep_s is None:
                    settings = EngineSettings.parse(
                        {"model_path": model_path, "quantization": kind, "compile": compiled}
                    )
                    plan, source = shift_plan(prompts, settings), OwnEngine()
                else:
                    plan, source = sleeping_plan(runs), SleepingEngine(sleep_s, fingerprint)
                result = measured(plan, workers, source, Path(where) / f"{kind}-{workers}", sleep_s, kills=kills)
                found.append(result)
                click.echo(f"{asdict(result)}")
    print(json.dumps({"benchmark": "cluster", "sleep_s": sleep_s, "rows": [asdict(result) for result in found]}))


if __name__ == "__main__":
    main()
