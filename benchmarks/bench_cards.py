"""Images an experiment makes on cards of 6 to 16 GiB, beside the same numerics all resident, the bus, and diffusers.

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.bench_cards z-image-random

A card is imitated by capping the allocator, less what the driver takes. The lab draws an experiment of ten images (five
prompts, two shifts, nothing shared), from prompts in memory to PNG and records on disk, after one image that chooses
and compiles kernels; its time is told by image. "bus" is the time that the bytes which must move take at the speed that
was measured: the transformer's streamed blocks once a step, the encoder's layers once for all prompts. diffusers draws
in bfloat16 with its two ways of offloading, out of memory where its row says so. The last line of stdout is JSON.
"""

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.bench_memory import GIB, capped, peak_bytes
from benchmarks.timing import elapsed_s, machine
from experiments.planning.design import Plan, plan_experiment, select_prompts
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import STANDARD_PROMPTS, read_prompts
from experiments.running.execution import run_plan
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit import ZImagePipeline
from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.placement.devices import resolve_device
from llm_dit.placement.planned_work import PlannedWork

PROMPTS = 5
SHIFTS = "shift=3,4"
SYSTEM_GIB = 0.5
TRIAL_BYTES = 1 << 30
NUMERICS: dict[str, dict[str, Any]] = {
    "bfloat16": {"compile": "off"},
    "bfloat16 compiled": {"compile": "on"},
    "float8": {"compile": "off", "quantization": "float8"},
    "float8 compiled": {"compile": "on", "quantization": "float8"},
    "float8, encoder too": {"compile": "off", "quantization": "float8", "text_encoder_quantization": "float8"},
    "int8, encoder too": {"compile": "off", "quantization": "int8", "text_encoder_quantization": "int8"},
}
CARDS: tuple[tuple[str, int], ...] = (
    ("bfloat16", 16),
    ("bfloat16", 12),
    ("bfloat16", 8),
    ("float8", 12),
    ("float8", 8),
    ("float8", 6),
    ("bfloat16 compiled", 12),
    ("float8 compiled", 8),
    ("float8, encoder too", 12),
    ("float8, encoder too", 8),
    ("int8, encoder too", 12),
)
OFFLOADS = ("model", "group")
PEER_CARDS = (16, 12, 8, 6)
PEER_PROMPTS = 3


@dataclass(frozen=True)
class Row:
    """One way of drawing on one card.

    Attributes:
        who: `ours`, or diffusers with its way.
        numerics: Name in `NUMERICS`.
        card_gib: Size of the card; None for the one that there is.
        load_s: Seconds to load.
        image_s: Seconds an image: of the experiment, or diffusers' median.
        first_s: Seconds of the first image after loading, with the choice of kernels.
        bus_s: Seconds an image that the bytes which must move take.
        peak_gib: Most that the allocator held.
        problem: Why there is no image.
    """

    who: str
    numerics: str
    card_gib: int | None
    load_s: float = 0.0
    image_s: float = 0.0
    first_s: float = 0.0
    bus_s: float = 0.0
    peak_gib: float = 0.0
    problem: str = ""


def bus_bytes_per_s(device: torch.device) -> float:
    """Bytes that cross from pinned memory in a second."""
    host = torch.empty(TRIAL_BYTES, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(host, device=device)
    return TRIAL_BYTES / statistics.median(elapsed_s(lambda: target.copy_(host), device) for _ in range(5))


@contextmanager
def card(device: torch.device, card_gib: int | None) -> Iterator[None]:
    """A card of that size, empty at first."""
    gc.collect()
    torch.cuda.empty_cache()
    peak_bytes(device)
    with capped(device, card_gib):
        yield
    gc.collect()


def timed(images: list[Callable[[], Any]], device: torch.device) -> tuple[float, float]:
    """Seconds of the first image, and the median of the others."""
    seconds = [elapsed_s(image, device) for image in images]
    return seconds[0], statistics.median(seconds[1:])


def ours(
    model_path: str,
    numerics: str,
    card_gib: int | None,
    device: torch.device,
    bus: float,
    plan: Plan,
    steps: int,
    *,
    vae_tiling: bool,
) -> Row:
    """Load and draw with this project."""
    limit: dict[str, Any] = {"vae_tiling": vae_tiling}
    if card_gib is not None:
        limit["vram_limit"] = card_gib - SYSTEM_GIB
    size = next(plan.runs()).params
    planned = PlannedWork(pixels=(size.height or 0) * (size.width or 0))
    started = time.perf_counter()
    pipeline = ZImagePipeline.from_pretrained(model_path, planned=planned, **NUMERICS[numerics], **limit)
    load_s = time.perf_counter() - started
    first_s = elapsed_s(lambda: pipeline.generate(next(plan.runs()).params), device)
    with tempfile.TemporaryDirectory(prefix="bench-cards-") as folder:
        outcome = run_plan(plan, OneDevice.of(pipeline, shares=False), ResultStore(Path(folder)))
    assert outcome.made == plan.run_count, outcome
    streams = {"transformer": pipeline.denoiser.stream, "text_encoder": pipeline.text_encoder.stream}
    moved = {name: 0 if stream is None else stream.nbytes for name, stream in streams.items()}
    bytes_an_image = moved["transformer"] * steps + moved["text_encoder"] / plan.run_count
    peak = (peak_bytes(device) or 0) / GIB
    image_s = outcome.seconds / plan.run_count
    return Row("ours", numerics, card_gib, load_s, image_s, first_s, bytes_an_image / bus, peak)


def theirs(model_path: str, way: str, card_gib: int | None, device: torch.device, params: GenerationParams) -> Row:
    """Load and draw with diffusers in bfloat16."""
    import diffusers

    started = time.perf_counter()
    pipeline = diffusers.ZImagePipeline.from_pretrained(model_path, torch_dtype=torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)
    if way == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif way == "group":
        pipeline.enable_group_offload(
            onload_device=device, offload_device=torch.device("cpu"), offload_type="leaf_level", use_stream=True
        )
    else:
        pipeline.to(device)
    load_s = time.perf_counter() - started

    def draw(index: int) -> Any:
        return pipeline(
            f"{params.prompt}, {index}",
            height=params.height,
            width=params.width,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=0.0,
            generator=torch.Generator("cpu").manual_seed(index),
        )

    draw(0)
    first_s, image_s = timed([partial(draw, index) for index in range(PEER_PROMPTS)], device)
    return Row(f"diffusers {way}", "bfloat16", card_gib, load_s, image_s, first_s, 0.0, (peak_bytes(device) or 0) / GIB)


def attempted(work: Callable[[], Row], fallback: Row) -> Row:
    """Do it, or say that the card is too small: ours says so before it loads."""
    try:
        return work()
    except torch.OutOfMemoryError:
        problem = "out of memory"
    except InvalidParameter as error:
        problem = str(error)
    return replace(fallback, problem=problem)


def tell(row: Row, resident_s: dict[str, float]) -> None:
    """Print a row and its ratios."""
    size = "all" if row.card_gib is None else f"{row.card_gib} GiB"
    if row.problem:
        print(f"{row.who:16} {row.numerics:18} {size:>7} {row.problem}", flush=True)
        return
    resident = resident_s.get(row.numerics, row.image_s)
    print(
        f"{row.who:16} {row.numerics:18} {size:>7} {row.load_s:6.1f} {row.first_s:8.2f} {row.image_s:9.3f} "
        f"{row.bus_s:7.3f} {row.image_s / resident:10.2f} {row.image_s / max(resident, row.bus_s):12.2f} "
        f"{row.peak_gib:6.2f}",
        flush=True,
    )


@click.command(help=__doc__)
@click.argument("model_path")
@click.option("--steps", default=9, show_default=True)
@click.option("--size", default=1024, show_default=True, help="Height and width in pixels.")
@click.option("--only", multiple=True, help="Names of numerics; default: all.")
@click.option("--card", "cards", multiple=True, type=int, help="Sizes in GiB; default: all.")
@click.option("--vae-tiling", is_flag=True, help="Decode in bands; ours only.")
@click.option("--peer", "ways", multiple=True, type=click.Choice(["resident", *OFFLOADS]), help="Of diffusers.")
def main(
    model_path: str,
    steps: int,
    size: int,
    only: tuple[str, ...],
    cards: tuple[int, ...],
    vae_tiling: bool,
    ways: tuple[str, ...],
) -> None:
    """Run the benchmark on a CUDA device."""
    device = resolve_device("auto", "device")
    params = GenerationParams(
        prompt="A red apple on a wooden table", height=size, width=size, num_inference_steps=steps, seed=0
    )
    plan = plan_experiment(
        experiment_from_sweeps([SHIFTS], None),
        select_prompts(read_prompts(STANDARD_PROMPTS), max_prompts=PROMPTS),
        [0],
        overrides={"height": size, "width": size, "num_inference_steps": steps},
    )
    bus = bus_bytes_per_s(device)
    print(f"{machine(device)}, torch {torch.__version__}, bus {bus / 1e9:.1f} GB/s, {size} x {size}, {steps} steps")
    print(
        "who              numerics              card   load    first     image     bus  /resident  /max(res,bus)   peak"
    )
    rows: list[Row] = []
    resident_s: dict[str, float] = {}
    chosen = [name for name in NUMERICS if not only or name in only]
    pairs = [(name, gib) for name, gib in CARDS if name in chosen and (not cards or gib in cards)]
    for name, card_gib in [(name, None) for name in chosen] + pairs:
        with card(device, card_gib):
            row = attempted(
                partial(ours, model_path, name, card_gib, device, bus, plan, steps, vae_tiling=vae_tiling),
                Row("ours", name, card_gib),
            )
        if card_gib is None:
            resident_s[name] = row.image_s
        rows.append(row)
        tell(row, resident_s)
    peer_cards = [gib for gib in PEER_CARDS if not cards or gib in cards]
    for way, card_gib in [(one, gib) for one in ways for gib in ([None] if one == "resident" else peer_cards)]:
        with card(device, card_gib):
            row = attempted(
                partial(theirs, model_path, way, card_gib, device, params),
                Row(f"diffusers {way}", "bfloat16", card_gib),
            )
        rows.append(row)
        tell(row, resident_s)
    print(
        json.dumps(
            {"benchmark": "cards", "machine": machine(device), "bus": bus, "rows": [asdict(row) for row in rows]}
        )
    )


if __name__ == "__main__":
    main()
