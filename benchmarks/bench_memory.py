"""Peak device memory of loading and of a whole image, for each way of placing the model, and what `del` leaves.

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.bench_memory z-image-random --size 1024x1024 --size 2048x2048

A card of another size is imitated by capping the allocator, `cap_gb` in the table; what the CUDA context needs beside
it is left free below the cap. On the CPU, memory is not measured and float8 left out; that is only good for
trying the script. The last line of stdout is JSON.
"""

import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
import torch

from benchmarks.bench_transformer import parse_size
from benchmarks.timing import machine
from llm_dit import ZImagePipeline
from llm_dit.parameters import GenerationParams
from llm_dit.placement.devices import resolve_device

PROMPT = "A red apple on a wooden table"
STEPS = 2
GIB = 1024**3
CONTEXT_GIB = 0.5
"""What a process needs on the device beside its allocations."""


@dataclass(frozen=True)
class Layout:
    """One way of placing the model, with the card that it has to fit.

    Attributes:
        name: As it stands in the table.
        settings: Fields of `EngineSettings`.
        cap_gb: Memory of the smallest card that it must run on, GiB; None for no cap.
        needs_cuda: True if it can't be tried on the CPU.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    cap_gb: int | None = None
    needs_cuda: bool = False


LAYOUTS = (
    Layout("resident"),
    Layout("encoder on cpu", {"text_encoder_device": "cpu"}),
    Layout("16 GiB", {"vram_limit": 15.5}, cap_gb=16),
    Layout("float8", {"quantization": "float8"}, cap_gb=16, needs_cuda=True),
    Layout("int8", {"quantization": "int8"}, cap_gb=16, needs_cuda=True),
    Layout("both float8", {"quantization": "float8", "text_encoder_quantization": "float8"}, 12, True),
    Layout("12 GiB", {"vram_limit": 11.5}, cap_gb=12),
    Layout("12 GiB, float8", {"vram_limit": 11.5, "quantization": "float8"}, cap_gb=12, needs_cuda=True),
    Layout("8 GiB, float8, tiled", {"vram_limit": 7.5, "quantization": "float8", "vae_tiling": True}, 8, True),
)


@contextmanager
def capped(device: torch.device, cap_gb: int | None) -> Iterator[None]:
    """Let the allocator hand out no more than a card of `cap_gb` has."""
    if device.type != "cuda" or cap_gb is None:
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (cap_gb - CONTEXT_GIB) * GIB / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def peak_bytes(device: torch.device) -> int | None:
    """Most memory that the allocator held since it was last asked; None where that is not known."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_reserved(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return int(peak)


def allocated_bytes(device: torch.device) -> int | None:
    """What the allocator has given out, but for workspaces that belong to a thread; None where that is not known."""
    if device.type != "cuda":
        return None
    torch._C._cuda_clearCublasWorkspaces()
    return int(torch.cuda.memory_allocated(device))


def load(model_path: str, device: torch.device, settings: dict[str, Any]) -> ZImagePipeline:
    """Load the model with all parts on `device`, unless `settings` say otherwise."""
    everywhere: dict[str, Any] = {
        "text_encoder_device": str(device),
        "dit_device": str(device),
        "vae_device": str(device),
    }
    return ZImagePipeline.from_pretrained(model_path, **everywhere | settings)


def measure(
    model_path: str, layout: Layout, device: torch.device, sizes: list[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    """Load the model in one layout and make an image of each size; yields a row each."""
    gc.collect()
    peak_bytes(device)
    with capped(device, layout.cap_gb):
        try:
            pipeline = load(model_path, device, layout.settings)
        except torch.cuda.OutOfMemoryError:
            yield {"layout": layout.name, "cap_gb": layout.cap_gb, "problem": "out of memory in loading"}
            return
        loading_peak = peak_bytes(device)
        for height, width in sizes:
            params = GenerationParams(prompt=PROMPT, height=height, width=width, num_inference_steps=STEPS, seed=0)
            started = time.perf_counter()
            problem = None
            try:
                pipeline.generate(params)
            except torch.cuda.OutOfMemoryError:
                problem = "out of memory"
            yield {
                "layout": layout.name,
                "height": height,
                "width": width,
                "cap_gb": layout.cap_gb,
                "loading_peak_bytes": loading_peak,
                "image_peak_bytes": peak_bytes(device),
                "elapsed_s": time.perf_counter() - started,
                "problem": problem,
            }
        gc.disable()  # what is left then is held by something else than a cycle
        del pipeline
        yield {"layout": layout.name, "cap_gb": layout.cap_gb, "problem": None, "left_bytes": allocated_bytes(device)}
        gc.enable()


def gigabytes(count: int | None) -> str:
    """Format bytes as GiB, or a dash where unknown."""
    return "-" if count is None else f"{count / GIB:.2f}"


@click.command(help=__doc__)
@click.argument("model_path")
@click.option(
    "--size", "sizes", multiple=True, default=["1024x1024"], show_default=True, help="HEIGHTxWIDTH; repeatable."
)
@click.option("--device", "device_name", default="cuda", show_default=True)
@click.option(
    "--layout", "names", multiple=True, type=click.Choice([layout.name for layout in LAYOUTS]), help="Default: all."
)
def main(model_path: str, sizes: tuple[str, ...], device_name: str, names: tuple[str, ...]) -> None:
    """Run the benchmark."""
    # "auto" gives a device with its number, which the cap of the allocator needs
    device = resolve_device("auto" if device_name == "cuda" else device_name, "device")
    parsed = [parse_size(size) for size in sizes]
    rows: list[dict[str, Any]] = []
    print(f"{machine(device)}, torch {torch.__version__}")
    print("layout                       size  cap GiB  loading  image peak GiB   seconds")
    for layout in LAYOUTS:
        if (names and layout.name not in names) or (layout.needs_cuda and device.type != "cuda"):
            continue
        for row in measure(model_path, layout, device, parsed):
            rows.append(row)
            if "left_bytes" in row:
                print(f"{row['layout']:22} left after del: {gigabytes(row['left_bytes'])} GiB", flush=True)
                continue
            if "height" not in row:
                print(f"{row['layout']:22} {row['problem']}", flush=True)
                continue
            print(
                f"{row['layout']:22} {row['height']:>5}x{row['width']:<5} {row['cap_gb'] or '-':>7} "
                f"{gigabytes(row['loading_peak_bytes']):>8} {gigabytes(row['image_peak_bytes']):>15} "
                f"{row['elapsed_s']:9.2f} {row['problem'] or ''}",
                flush=True,
            )
    print(json.dumps({"benchmark": "memory", "machine": machine(device), "rows": rows}))


if __name__ == "__main__":
    main()
