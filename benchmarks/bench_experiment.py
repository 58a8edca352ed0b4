"""A whole experiment by this lab, and by a plain loop over diffusers' pipeline with the same weights, side by side.

    python -m benchmarks.bench_experiment
    python -m benchmarks.bench_experiment --model-path z-image-random --prompts 3 --device cuda
    python -m benchmarks.bench_experiment --full-size --device cuda

The plain loop is what one writes first: for each prompt and level, call the pipeline, save the PNG. Both sides make the
same pictures (the largest difference of their pixels is printed), from prompts in memory to files on disk; loading the
models is timed apart. The lab runs twice, as it is and with nothing shared between images. "Bare" is the time spent in
the transformer alone by an image that shares nothing, taken afterwards on images of the plan; "over bare" is the wall
time over the bare time of the evaluations that were made, and the rest is the share outside. `--full-size` writes a
random model of the real one's size first (21 GB). The last line of stdout is JSON.
"""

import gc
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

from benchmarks.timing import machine, synchronise
from experiments.planning.design import Plan, Run, plan_experiment, select_prompts
from experiments.planning.experiment_file import find_experiment, load_experiments
from experiments.prompts import STANDARD_PROMPTS, read_prompts
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit import ZImagePipeline
from llm_dit.checkpoints.finding import find_checkpoint
from llm_dit.checkpoints.scheduler import TURBO_DEFAULTS
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork
from llm_dit.sampling.guidance import evaluation_count

NOTHING_SHARED = ", nothing shared"
"""Follows the quantization in the names of the runs without sharing."""
BARE_IMAGES = 4
"""Images of the plan that are made again to time the transformer alone, which has to wait for the device."""


@dataclass(frozen=True)
class Side:
    """One side's figures.

    Attributes:
        load_s: Seconds to load the model.
        wall_s: Seconds of the whole experiment.
        wall_s_per_image: The same for one image.
        bare_s_per_image: Seconds of the transformer alone, in an image that shares nothing.
        evaluations_per_image: Evaluations of the transformer that were made, on average.
        wall_over_bare: Wall time over the bare time of these evaluations.
        share_outside: Share of the wall time not spent in the transformer.
    """

    load_s: float
    wall_s: float
    wall_s_per_image: float
    bare_s_per_image: float
    evaluations_per_image: float
    wall_over_bare: float
    share_outside: float


def turbo_values(run: Run) -> dict[str, Any]:
    """What a run takes from Turbo where its parameters leave it open."""
    return {name: value for name, value in TURBO_DEFAULTS.items() if getattr(run.params, name) is None}


def side(plan: Plan, load_s: float, wall_s: float, bare_s: float, shared_evaluations: int = 0) -> Side:
    """Put one side's figures together; `wall_s` is of all images, `bare_s` of one made alone."""
    alone = sum(evaluation_count(run.params.replaced(**turbo_values(run))) for run in plan.runs())
    made = alone - shared_evaluations
    wall_over_bare = wall_s / (bare_s * plan.run_count * made / alone)
    images = plan.run_count
    return Side(load_s, wall_s, wall_s / images, bare_s, made / images, wall_over_bare, 1 - 1 / wall_over_bare)


@contextmanager
def timed_calls(owner: Any, names: tuple[str, ...], device: torch.device) -> Iterator[list[float]]:
    """Collect the seconds of every call of some of an object's methods, the device's work included."""
    seconds: list[float] = []

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            synchronise(device)
            started = time.perf_counter()
            result = method(*args, **kwargs)
            synchronise(device)
            seconds.append(time.perf_counter() - started)
            return result

        return call

    methods = {name: getattr(owner, name) for name in names}
    for name, method in methods.items():
        setattr(owner, name, timed(method))
    try:
        yield seconds
    finally:
        for name, method in methods.items():
            setattr(owner, name, method)


def ours(plan: Plan, settings: EngineSettings, folder: Path, alone_folder: Path) -> tuple[Side, Side]:
    """Run the plan with the lab, as it is and with nothing shared."""
    started = time.perf_counter()
    pipeline = ZImagePipeline.from_pretrained(settings=settings, planned=PlannedWork(plan.run_count * 9))
    load_s = time.perf_counter() - started
    pipeline.generate(next(plan.runs()).params)  # warm-up: kernels, compilation
    outcomes = [
        run_plan(plan, OneDevice.of(pipeline, shares=shares), ResultStore(where))
        for where, shares in ((folder, True), (alone_folder, False))
    ]
    assert all(outcome.made == plan.run_count for outcome in outcomes), outcomes
    with timed_calls(pipeline.transformer, ("forward", "prepare"), pipeline.device) as seconds:
        for run in islice(plan.runs(), BARE_IMAGES):
            pipeline.generate(run.params)
    bare_s = sum(seconds) / min(BARE_IMAGES, plan.run_count)
    shared, alone = (side(plan, load_s, outcome.seconds, bare_s, outcome.shared_evaluations) for outcome in outcomes)
    return shared, alone


def plain_loop(plan: Plan, settings: EngineSettings, folder: Path) -> Side:
    """Run the plan as one writes it first, with diffusers' pipeline."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)
    device = torch.device("cuda" if settings.dit_device == "auto" and torch.cuda.is_available() else "cpu")
    device = device if settings.dit_device == "auto" else torch.device(settings.dit_device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    started = time.perf_counter()
    pipeline = diffusers.ZImagePipeline.from_pretrained(find_checkpoint(settings.model_path), torch_dtype=dtype)
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    load_s = time.perf_counter() - started
    draw(pipeline, next(plan.runs()))  # warm-up
    folder.mkdir()
    started = time.perf_counter()
    for run in plan.runs():
        draw(pipeline, run).save(folder / f"{run.run_id}.png")
    wall_s = time.perf_counter() - started
    with timed_calls(pipeline.transformer, ("forward",), device) as seconds:
        for run in islice(plan.runs(), BARE_IMAGES):
            draw(pipeline, run)
    return side(plan, load_s, wall_s, sum(seconds) / min(BARE_IMAGES, plan.run_count))


def draw(pipeline: Any, run: Run) -> Image.Image:
    """Make one image with diffusers' pipeline."""
    scheduler = pipeline.scheduler
    scheduler.set_shift(scheduler.config.shift if run.params.shift is None else run.params.shift)
    image: Image.Image = pipeline(
        run.params.prompt,
        height=run.params.height,
        width=run.params.width,
        num_inference_steps=run.params.num_inference_steps or TURBO_DEFAULTS["num_inference_steps"],
        guidance_scale=0.0,
        max_sequence_length=run.params.max_text_tokens,
        generator=torch.Generator("cpu").manual_seed(run.seed),
    ).images[0]
    return image


def largest_difference(plan: Plan, one_folder: Path, other_folder: Path) -> int:
    """Return the largest difference of a pixel's level between the images of two folders, 0 to 255."""
    worst = 0
    for run in plan.runs():
        levels = [
            np.asarray(Image.open(folder / f"{run.run_id}.png"), dtype=np.int16)
            for folder in (one_folder, other_folder)
        ]
        worst = max(worst, int(np.abs(levels[0] - levels[1]).max()))
    return worst


@click.command(help=__doc__)
@click.option("--model-path", default="mini", show_default=True, help="Embedded model or a checkpoint's folder.")
@click.option("--experiment", "name", default="shift_sweep", show_default=True, help="Predefined; without guidance.")
@click.option("--prompts", "prompt_count", default=3, show_default=True, help="Standard prompts.")
@click.option("--size", type=int, default=None, help="Height and width in pixels; the model's own by default.")
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--quantization", "quantizations", multiple=True, default=["none"], show_default=True, help="Ours; repeatable."
)
@click.option("--compile", "compile_mode", default="auto", show_default=True, help="Of our side.")
@click.option("--attention-backend", "backend", default="auto", show_default=True, help="Of our side.")
@click.option("--full-size", is_flag=True, help="Write a random model of the real one's size and use it.")
@click.option("--plain/--no-plain", "has_plain", default=True, show_default=True, help="Run the plain loop too.")
def main(
    model_path: str,
    name: str,
    prompt_count: int,
    size: int | None,
    device: str,
    quantizations: tuple[str, ...],
    compile_mode: str,
    backend: str,
    full_size: bool,
    has_plain: bool,
) -> None:
    """Run both sides and print them."""
    with tempfile.TemporaryDirectory(prefix="bench-experiment-") as temporary:
        work = Path(temporary)
        if full_size:
            model_path = str(write_full_size(work / "model", device))
        settings = EngineSettings.parse(
            {
                "model_path": model_path,
                "text_encoder_device": device,
                "dit_device": device,
                "compile": compile_mode,
                "attention_backend": backend,
            }
        )
        plan = make_plan(name, prompt_count, size or native_size(model_path))
        labs: dict[str, Side] = {}
        for quantization in quantizations:
            names = quantization, quantization + NOTHING_SHARED
            sides = ours(plan, settings.replaced(quantization=quantization), *(work / name for name in names))
            labs.update(zip(names, sides, strict=True))
            free_memory()
        folders = {name: work / name / "images" for name in labs}
        plain, differences = None, {}
        if has_plain:
            plain = plain_loop(plan, settings, work / "plain")
            differences = {name: largest_difference(plan, folders[name], work / "plain") for name in labs}
        by_sharing = {
            name: largest_difference(plan, folders[name], folders[name + NOTHING_SHARED]) for name in quantizations
        }
        report(plan, settings, labs, plain, differences, by_sharing)


def free_memory() -> None:
    """Give back what a finished side held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def make_plan(name: str, prompt_count: int, pixels: int) -> Plan:
    """Plan a predefined experiment over the first prompts of each category in turn."""
    experiment = find_experiment(name, load_experiments())
    prompts = select_prompts(read_prompts(STANDARD_PROMPTS), max_prompts=prompt_count)
    return plan_experiment(experiment, prompts, [42], overrides={"height": pixels, "width": pixels})


def native_size(model_path: str) -> int:
    """Return the side of the images the model was trained for, in pixels."""
    from experiments.planning.model_facts import read_model_facts

    return read_model_facts(EngineSettings(model_path=model_path)).native_size


def write_full_size(folder: Path, device: str) -> Path:
    """Write a random checkpoint of the real model's size, its tokenizer trained on the standard prompts."""
    from benchmarks.full_size import write_checkpoint

    where = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    where = where if device == "auto" else torch.device(device)
    text = "\n".join(prompt.text for prompt in read_prompts(STANDARD_PROMPTS))
    write_checkpoint(folder, "full", where, torch.bfloat16, text)
    return folder


def report(
    plan: Plan,
    settings: EngineSettings,
    labs: dict[str, Side],
    plain: Side | None,
    differences: dict[str, int],
    by_sharing: dict[str, int],
) -> None:
    """Print both sides, ours for each quantization with and without sharing, then JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() and settings.dit_device != "cpu" else "cpu")
    click.echo(f"{plan.experiment.name}: {plan.run_count} images of {settings.model_path} on {machine(device)}")
    click.echo(
        f"{'':34}{'load s':>9}{'wall s':>9}{'s/image':>9}{'evaluations/image':>19}{'bare s/image':>14}{'over bare':>11}"
        f"{'plain takes':>13}"
    )
    sides = {f"this lab, {name}": lab for name, lab in labs.items()}
    sides |= {"plain diffusers": plain} if plain else {}
    for label, figures in sides.items():
        click.echo(
            f"{label:34}{figures.load_s:9.1f}{figures.wall_s:9.2f}{figures.wall_s_per_image:9.3f}"
            f"{figures.evaluations_per_image:19.2f}{figures.bare_s_per_image:14.3f}{figures.wall_over_bare:11.3f}"
            f"{plain.wall_s / figures.wall_s if plain else math.nan:11.2f} x"
        )
    click.echo(f"largest difference of a pixel from the plain loop's, of 255: {differences}; by sharing: {by_sharing}")
    record = {
        "benchmark": "experiment",
        "experiment": plan.experiment.name,
        "images": plan.run_count,
        "model": settings.model_path,
        "machine": machine(device),
        "labs": {name: asdict(lab) for name, lab in labs.items()},
        "attention_backend": settings.attention_backend,
        "plain": asdict(plain) if plain else None,
        "plain_over_lab": {name: plain.wall_s / lab.wall_s for name, lab in labs.items()} if plain else {},
        "wall_over_bare": {name: lab.wall_over_bare for name, lab in labs.items()},
        "largest_pixel_difference": differences,
        "largest_pixel_difference_by_sharing": by_sharing,
    }
    click.echo(json.dumps(record))


if __name__ == "__main__":
    main()
