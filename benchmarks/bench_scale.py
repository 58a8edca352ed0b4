"""What the lab costs with 20,000 runs: resume with nothing to do, analyse, the first report, opening and filtering it.

    python -m benchmarks.bench_scale
    python -m benchmarks.bench_scale --runs 2000 --folder /tmp/scale

One picture is drawn; the other records are written beside it with the identities that the command would give them, and
with random scores. Each command then runs in a process of its own; `cpu_s` is its processor time, `wall_s` what a user
waits. A report makes thumbnails for four seconds at most; the rest are made before the resume, which then has nothing
to do but the report, and at its second run nothing at all. Opening and filtering are timed in Chromium where there is
one: from the navigation to the first pictures, and from a choice to the pictures it leaves, the median of several. The
last line of stdout is JSON.
"""

import json
import math
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from experiments.planning.command_flags import request_from_arguments
from experiments.reporting.thumbnails import make_thumbnails
from experiments.running.plan_models import plan_of
from experiments.running.unloaded_model import UnloadedModel
from experiments.running.worklist import WorkItem, make_worklist
from experiments.store.result_store import ResultStore
from llm_dit.config import load_config

LEVELS = 10
SEEDS = 2
NAME = "scale"
AIMS = {"resume": 6.0, "analyse": 3.0, "first report": 10.0, "open": 1.0, "filter": 0.1}
"""Seconds."""
RESUME_MB = 500
FILTERS = ("take 1", "red", "take 2", "circle", "")
PAGE_TIMES = """
async (words) => {
  const input = document.querySelector('#controls [name=text]');
  const times = [];
  for (const word of words) {
    const started = performance.now();
    input.value = word;
    input.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    times.push(performance.now() - started);
  }
  return times;
}
"""


def arguments_of(folder: Path, prompts: Path) -> list[str]:
    """Return the flags of the experiment that is measured."""
    levels = ",".join(str(1 + index / 2) for index in range(LEVELS))
    seeds = ",".join(str(seed) for seed in range(SEEDS))
    sweep = [f"--sweep=shift={levels}", f"--seeds={seeds}", f"--name={NAME}"]
    return [*sweep, f"--prompts-file={prompts}", f"--output-dir={folder}"]


def write_folder(folder: Path, runs: int) -> list[str]:
    """Write an experiment of so many finished runs; return its flags."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts.txt"
    texts = [f"A red circle beside a blue square, take {index}" for index in range(runs // LEVELS // SEEDS)]
    prompts.write_text("\n".join(texts), encoding="utf-8")
    arguments = arguments_of(folder, prompts)
    one = [*arguments, "--max-prompts=1", "--seeds=0", "--sweep=shift=1.0,1.5"]
    run_command(["experiments/run_ablation.py", *(flag for flag in one if flag not in arguments[:2])])
    store = ResultStore(folder / NAME)
    example = json.loads((store.metadata / f"{next(iter(store.some_runs())).run_id}.json").read_bytes())
    plan = plan_of(request_from_arguments(arguments, load_config(None)), store)
    work = make_worklist(plan, UnloadedModel, store)
    store.write_manifest(work.manifest)
    generator = np.random.default_rng(0)
    for item in work.to_do:
        _write_run(store, item, example, generator)
    return arguments


def _write_run(store: ResultStore, item: WorkItem, example: Mapping[str, Any], generator: np.random.Generator) -> None:
    run = item.run
    name = run.run_id
    own = {
        "run_id": name,
        "identity": item.identity,
        "prompt_id": run.prompt.id,
        "prompt": run.prompt.text,
        "category": ("animals", "landscapes", "text")[len(run.prompt.text + run.prompt.id) % 3],
        "seed": run.seed,
        "levels": dict(run.cell.levels),
        "generation_time_seconds": float(1 + 0.01 * generator.normal()),
        "is_warm_up": False,
    }
    metadata = {
        **example,
        "parameters": run.params.model_dump(),
        "formatted_prompt": item.formatted_prompt,
        "run": {**example["run"], **own},
        "image": {**example["image"], "file": f"images/{name}.png"},
        "scores": {"image_reward": float(generator.normal()), "siglip_score": float(generator.normal())},
        "scores_of": {"image_reward": "random", "siglip_score": "random"},
    }
    os.link(store.folder / example["image"]["file"], store.image_path(name))
    (store.metadata / f"{name}.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def run_command(words: list[str]) -> dict[str, float]:
    """Run a command of the lab; return its seconds, its processor's seconds and its most memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr:
        told = process.stderr.read()
    _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise click.ClickException(f"{words[0]} failed: {told.decode(errors='replace')[-500:]}")
    return {
        "wall_s": round(time.perf_counter() - started, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def page_times(report: Path, chromium: str) -> dict[str, float]:
    """Open a report and filter it by words; return seconds, medians of several."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened, filtered = [], []
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            started = time.perf_counter()
            page.goto(report.resolve().as_uri(), wait_until="commit")
            page.wait_for_selector("#sheet .cell img", timeout=60_000)
            opened.append(time.perf_counter() - started)
            filtered += [taken / 1000 for taken in page.evaluate(PAGE_TIMES, list(FILTERS))]
            page.close()
        browser.close()
    return {"open": round(statistics.median(opened), 3), "filter": round(statistics.median(filtered), 3)}


@click.command()
@click.option("--runs", default=20_000, show_default=True, help="Number of runs, a multiple of 20.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where they go, kept; a temporary folder by default.")
def main(runs: int, folder: Path | None) -> None:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        results = place / NAME
        if not (place / "prompts.txt").exists():
            writer = multiprocessing.get_context("spawn").Process(target=write_folder, args=(place, runs))
            writer.start()  # a command's peak would be this process's, were it the larger one
            writer.join()
        arguments = arguments_of(place, place / "prompts.txt")
        shutil.rmtree(results / "thumbnails", ignore_errors=True)
        found: dict[str, Any] = {"runs": runs, "cpus": os.cpu_count(), "load_before": os.getloadavg()[0]}
        found["first report"] = run_command(["experiments/report.py", str(results)])
        found["analyse"] = run_command(["experiments/analyze.py", str(results)])
        found["report again"] = run_command(["experiments/report.py", str(results)])
        make_thumbnails(results, ResultStore(results).runs(), math.inf)
        found["resume, report anew"] = run_command(["experiments/run_ablation.py", *arguments])
        found["resume"] = run_command(["experiments/run_ablation.py", *arguments])
        chromium = shutil.which("chromium")
        found["report_mb"] = round((results / "report.html").stat().st_size / 2**20, 1)
        found["page"] = None if chromium is None else page_times(results / "report.html", chromium)
        found["aims_s"], found["aim_mb"] = AIMS, RESUME_MB
    for name, values in found.items():
        click.echo(f"{name}: {values}")
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
