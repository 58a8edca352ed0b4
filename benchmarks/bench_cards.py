"""Images an experiment makes on cards of 6 to 16 GiB, beside the same numerics all resident, the bus, and diffusers.

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.bench_cards z-image-random

A card is imitated by capping the allocator, less what the driver takes. Ten prompts are encoded together and drawn, as
the lab does; the median of the images is told. "bus" is the time that the bytes which must move take at the speed that
was measured: the transformer's streamed blocks once a step, the encoder's layers once for all prompts. diffusers draws
in bfloat16 with its two ways of offloading, out of memory where its row says so. The last line of stdout is JSON.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import torch

from benchmarks.bench_memory import GIB, capped, peak_bytes
from benchmarks.timing import elapsed_s, machine
from llm_dit import ZImagePipeline
from llm_dit.parameters import GenerationParams
from llm_dit.placement.devices import resolve_device

PROMPTS = 10
SYSTEM_GIB = 0.5
TRIAL_BYTES = 1 << 30
NUMERICS: dict[str, dict[str, Any]] = {
    "bfloat16": {"compile": "off"},
    "bfloat16 compiled": {"compile": "on"},
    "float8": {"compile": "off", "quantization": "float8"},
    "float8 compiled": {"compile": "on", "quantization": "float8"},
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
)
OFFLOADS = ("model", "group")
PEER_CARDS = (12, 8)
PEER_PROMPTS = 3


@dataclass(frozen=True)
class Row:
    """One way of drawing on one card.

    Attributes:
        who: `ours`, or diffusers with its way.
        numerics: Name in `NUMERICS`.
        card_gib: Size of the card; None for the one that there is.
        load_s: Seconds to load.
        image_s: Median seconds an image.
        first_s: Seconds of the first image, its encoding included.
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
    model_path: str, numerics: str, card_gib: int | None, device: torch.device, bus: float, params: GenerationParams
) -> Row:
    """Load and draw with this project."""
    limit: dict[str, Any] = {} if card_gib is None else {"vram_limit": card_gib - SYSTEM_GIB}
    started = time.perf_counter()
    pipeline = ZImagePipeline.from_pretrained(model_path, **NUMERICS[numerics], **limit)
    load_s = time.perf_counter() - started
    all_params = [
        pipeline.resolve(params.replaced(prompt=f"{params.prompt}, {number}", seed=number)) for number in range(PROMPTS)
    ]
    texts = [f"<|im_start|>user\n{one.prompt}<|im_end|>\n<|im_start|>assistant\n" for one in all_params]
    encoding_s = elapsed_s(lambda: pipeline.encode_prompts(texts, [-2]), device)
    encodings = pipeline.encode_prompts(texts, [-2])

    def draw(index: int) -> Any:
        own = all_params[index]
        return pipeline.draw(own, pipeline.condition(own, encodings[index], None)).wait()

    draw(0)  # kernels are chosen and compiled
    first_s, image_s = timed([partial(draw, index) for index in range(PROMPTS)], device)
    streams = {"transformer": pipeline.denoiser.stream, "text_encoder": pipeline.text_encoder.stream}
    moved = {name: 0 if stream is None else stream.nbytes for name, stream in streams.items()}
    bytes_an_image = moved["transformer"] * (params.num_inference_steps or 0) + moved["text_encoder"] / PROMPTS
    peak = (peak_bytes(device) or 0) / GIB
    return Row("ours", numerics, card_gib, load_s, image_s + encoding_s / PROMPTS, first_s, bytes_an_image / bus, peak)


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
    """Do it, or say that the card is too small."""
    try:
        return work()
    except torch.OutOfMemoryError:
        return Row(fallback.who, fallback.numerics, fallback.card_gib, problem="out of memory")


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
@click.option("--peer/--no-peer", default=True, show_default=True)
def main(model_path: str, steps: int, size: int, only: tuple[str, ...], peer: bool) -> None:
    """Run the benchmark on a CUDA device."""
    device = resolve_device("auto", "device")
    params = GenerationParams(
        prompt="A red apple on a wooden table", height=size, width=size, num_inference_steps=steps, seed=0
    )
    bus = bus_bytes_per_s(device)
    print(f"{machine(device)}, torch {torch.__version__}, bus {bus / 1e9:.1f} GB/s, {size} x {size}, {steps} steps")
    print(
        "who              numerics              card   load    first     image     bus  /resident  /max(res,bus)   peak"
    )
    rows: list[Row] = []
    resident_s: dict[str, float] = {}
    chosen = [name for name in NUMERICS if not only or name in only]
    for name, card_gib in [(name, None) for name in chosen] + [pair for pair in CARDS if pair[0] in chosen]:
        with card(device, card_gib):
            row = attempted(lambda: ours(model_path, name, card_gib, device, bus, params), Row("ours", name, card_gib))  # noqa: B023
        if card_gib is None:
            resident_s[name] = row.image_s
        rows.append(row)
        tell(row, resident_s)
    for way, card_gib in [("resident", None), *((way, gib) for gib in PEER_CARDS for way in OFFLOADS)] if peer else []:
        with card(device, card_gib):
            row = attempted(
                lambda: theirs(model_path, way, card_gib, device, params),  # noqa: B023
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
