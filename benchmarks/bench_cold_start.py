"""From process start to the first PNG, beside the least that it can take: reading and copying the weights.

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.bench_cold_start z-image-random --device cuda --compile off --compile on
    python -m benchmarks.bench_cold_start mini --device cpu

The floor is a process that imports torch and copies every weight file to the device with safetensors, one after the
other. To it comes compilation: importing torch's compiler, timed apart, and what the first image takes longer than the
second in the measured process; where a card of another size is imitated, the second image's own time as well.
Page cache and compile cache are warm: each measurement is the best of `--repeats`, after one that is not counted. The
last line of stdout is JSON.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.timing import machine
from llm_dit.checkpoints.finding import find_checkpoint

FLOOR = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
started = __import__("time").perf_counter()
parts = [load_file(path, device=sys.argv[2]) for path in sorted(Path(sys.argv[1]).rglob("*.safetensors"))]
if sys.argv[2] != "cpu":
    torch.cuda.synchronize()
print(sum(tensor.nbytes for part in parts for tensor in part.values()), flush=True)
"""
COMPILER = """
import time, torch
started = time.perf_counter()
import torch._inductor.compile_fx
print(time.perf_counter() - started, flush=True)
"""
FIRST_IMAGE = """
import json, sys, time
started = time.perf_counter()
from llm_dit.image_io import write_png
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.pipeline import ZImagePipeline
settings = EngineSettings.parse(json.loads(sys.argv[1]))
if settings.vram_limit:
    import torch
    from llm_dit.placement.devices import resolve_device
    resolve_device(settings.dit_device, "dit_device")  # before the card is used: it tells the allocator how
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, settings.vram_limit * 2**30 / total))
params = GenerationParams.parse(json.loads(sys.argv[2]))
imported = time.perf_counter()
pipeline = ZImagePipeline.from_pretrained(settings=settings)
loaded = time.perf_counter()
first = pipeline.generate(params)
write_png(__import__("pathlib").Path(sys.argv[3]), first.image, first.metadata)
times = first.metadata["stage_times_s"]
print(json.dumps({"import": imported - started, "load": loaded - imported, **times}), flush=True)
second = pipeline.generate(params).metadata["stage_times_s"]
print(json.dumps(second), flush=True)
"""


def run_timed(code: str, arguments: list[str]) -> tuple[float, list[str]]:
    """Run Python code in a process of its own: seconds until its first line of output, and all its lines."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        seconds = time.perf_counter() - started
        lines = [first, *process.stdout]
    if process.returncode:
        raise click.ClickException(f"the measured process failed with exit code {process.returncode}")
    return seconds, lines


def best(code: str, arguments: list[str], repeats: int) -> tuple[float, list[str]]:
    """Return the fastest of several runs, after one that warms the caches."""
    return min((run_timed(code, arguments) for _ in range(repeats + 1)), key=lambda run: run[0])


@click.command(help=__doc__)
@click.argument("model_path")
@click.option("--device", default="cuda", show_default=True)
@click.option("--compile", "modes", multiple=True, default=["off"], show_default=True, help="on or off; repeatable.")
@click.option("--quantization", default="none", show_default=True)
@click.option("--vram-limit", type=float, default=None, help="GiB; the allocator is capped there.")
@click.option("--size", type=int, default=None, help="Height and width in pixels; the model's own by default.")
@click.option("--repeats", default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("outputs/cold-start.png"), show_default=True)
def main(
    model_path: str,
    device: str,
    modes: tuple[str, ...],
    quantization: str,
    vram_limit: float | None,
    size: int | None,
    repeats: int,
    output: Path,
) -> None:
    """Run the benchmark."""
    floor_s, lines = best(FLOOR, [str(find_checkpoint(model_path)), device], repeats)
    size_gb = int(lines[0]) / 1e9
    print(
        f"{machine(torch.device(device))}: reading and copying {size_gb:.2f} GB takes {floor_s:.2f} s with its imports"
    )
    params = {"prompt": "A red apple on a wooden table", "seed": 0, "height": size, "width": size}
    compiler_s = min(float(run_timed(COMPILER, [])[1][0]) for _ in range(2)) if "on" in modes else 0.0
    rows: list[dict[str, Any]] = []
    for mode in modes:
        settings = {
            "model_path": model_path,
            "text_encoder_device": device,
            "dit_device": device,
            "compile": mode,
            "quantization": quantization,
            "vram_limit": vram_limit,
        }
        seconds, lines = best(FIRST_IMAGE, [json.dumps(settings), json.dumps(params), str(output)], repeats)
        first, second = map(json.loads, lines[:2])
        compile_s = 0.0
        if mode == "on":
            compile_s = compiler_s + sum(first[stage] - second[stage] for stage in ("denoise", "decode"))
        drawing_s = sum(second.values()) if vram_limit else 0.0  # streaming counts as drawing
        ratio = seconds / (floor_s + compile_s + drawing_s)
        rows.append(
            {
                "compile": mode,
                "drawing_s": drawing_s,
                "seconds": seconds,
                "compile_s": compile_s,
                "ratio": ratio,
                "stages_s": first,
            }
        )
        stages = ", ".join(f"{name} {value:.2f}" for name, value in first.items())
        print(f"compile {mode}: first PNG after {seconds:.2f} s, {ratio:.2f} of the floor ({stages})", flush=True)
    record = {"benchmark": "cold_start", "machine": machine(torch.device(device)), "floor_s": floor_s, "rows": rows}
    print(json.dumps(record | {"bytes_gb": size_gb}))


if __name__ == "__main__":
    main()
