"""All benchmarks of the engine in the order in which they pay, for scarce time on a GPU.

    python -m benchmarks.run_all results --device cuda
    python -m benchmarks.run_all results --device cpu --config tiny     # tries the scripts out
    python -m benchmarks.run_all results --device cuda --only memory

Each benchmark is a process of its own; its last line goes to `results/<name>.json` and all it prints to
`results/<name>.txt`. One that fails does not stop the next. The last thing printed is the table of aims.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks.aims import aims, read_records, table

FULL_SIZES = ("1024x1024", "512x512", "1536x1536", "2048x2048", "832x1216")
TINY_SIZES = ("64x64", "64x96")
TEXT_TOKENS = ("128", "32", "512", "1504")


def repeated(flag: str, values: tuple[str, ...]) -> list[str]:
    """Arguments that give one option several times."""
    return [part for value in values for part in (flag, value)]


def benchmarks(device: str, config: str, checkpoint: Path) -> dict[str, list[str]]:
    """Name and arguments of each benchmark; the first ones answer the most important questions."""
    on_gpu = device != "cpu"
    sizes = FULL_SIZES if config == "full" else TINY_SIZES
    shared = ["benchmarks.bench_transformer", "--config", config, "--device", device]
    shared += ["--dtype", "bfloat16" if on_gpu else "float32", "--warmup", "2", "--iterations", "7"]
    shared += ["--other-iterations", "3"]
    variants = repeated("--variant", ("eager", "compiled", *(("float8", "float8 attention") if on_gpu else ())))
    height, width = sizes[0].split("x")
    large = ("1024x1024", "2048x2048") if config == "full" else TINY_SIZES
    of_checkpoint = [str(checkpoint), "--device", device]
    experiment = ["benchmarks.bench_experiment", "--model-path", str(checkpoint), "--compile", "on"]
    experiment += ["--device", device, "--prompts", "5" if on_gpu else "2", "--size", height]
    cold = ["--size", height, "--output", str(checkpoint.with_name("cold-start.png"))]
    quantizations = repeated("--quantization", ("none", *(("float8",) if on_gpu else ())))
    references = repeated("--reference", ("float32", *(("bfloat16",) if on_gpu else ())))
    return {
        "transformer": [*shared, *variants, *repeated("--size", sizes), *repeated("--text-tokens", TEXT_TOKENS)],
        "products": ["benchmarks.bench_products", "--config", config, "--device", device],
        "decoder": ["benchmarks.bench_decoder", "--config", config, "--device", device, *repeated("--size", large)],
        "checkpoint": ["benchmarks.full_size", *of_checkpoint, "--config", config],
        "experiment": [*experiment, *quantizations],
        "cold_start": ["benchmarks.bench_cold_start", *of_checkpoint, *repeated("--compile", ("off", "on")), *cold],
        "memory": ["benchmarks.bench_memory", *of_checkpoint, *repeated("--size", large)],
        "numerics": ["benchmarks.bench_numerics", *of_checkpoint, "--height", height, "--width", width, *references],
    }


def run(name: str, arguments: list[str], folder: Path, limit_s: float | None) -> str:
    """Run one benchmark for at most `limit_s` and keep what it says; returns a line for the summary."""
    started = time.perf_counter()
    with (folder / f"{name}.txt").open("w", encoding="utf-8") as output:
        process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=output, stderr=subprocess.STDOUT)
        try:
            status = "ok" if process.wait(limit_s) == 0 else f"failed ({process.returncode}), see {name}.txt"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "cut off"
    lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    records = [line for line in lines if line.startswith('{"benchmark"')]
    if records:
        (folder / f"{name}.json").write_text(json.dumps(json.loads(records[-1]), indent=2), encoding="utf-8")
    return f"{name:20} {time.perf_counter() - started:8.1f} s  {status}"


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--device", default="cuda", show_default=True)
@click.option("--config", type=click.Choice(["full", "tiny"]), default="full", show_default=True)
@click.option("--checkpoint", type=click.Path(path_type=Path), default=None, help="Default: FOLDER/checkpoint.")
@click.option("--limit-s", type=float, default=None, help="Longest time of one benchmark, seconds.")
@click.option("--only", multiple=True, help="Names of benchmarks; default: all.")
def main(
    folder: Path, device: str, config: str, checkpoint: Path | None, limit_s: float | None, only: tuple[str, ...]
) -> None:
    """Run the benchmarks one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = benchmarks(device, config, checkpoint or folder / "checkpoint")
    unknown = sorted(set(only) - set(chosen))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(chosen)}", param_hint="--only")
    for name in (name for name in chosen if not only or name in only):
        print(run(name, chosen[name], folder, limit_s), flush=True)
    print(table(aims(read_records(folder))), flush=True)


if __name__ == "__main__":
    main()
