"""What each network needs beside its weights, in GiB and in the units of `stages/card_plans.py`.

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.bench_working_memory z-image-random

The last line of stdout is JSON.
"""

import gc
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import torch

from benchmarks.bench_transformer import parse_size
from benchmarks.timing import machine
from llm_dit import ZImagePipeline
from llm_dit.parameters import GenerationParams
from llm_dit.placement.devices import resolve_device

GIB = 1024**3
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"compile": "off"},
    "compiled": {"compile": "on"},
    "float8": {"compile": "off", "quantization": "float8"},
    "float8 compiled": {"compile": "on", "quantization": "float8"},
    "int8": {"compile": "off", "quantization": "int8"},
    "tiled": {"compile": "off", "vae_tiling": True},
}
WORDS = 300


def peak_of(work: Callable[[], Any], device: torch.device) -> tuple[Any, int, int]:
    """Return what `work` returns, and the bytes it had allocated and reserved beside what was there before."""
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    result = work()
    torch.cuda.synchronize(device)
    return (
        result,
        torch.cuda.max_memory_allocated(device) - allocated,
        torch.cuda.max_memory_reserved(device) - reserved,
    )


@click.command(help=__doc__)
@click.argument("model_path")
@click.option("--size", "sizes", multiple=True, default=["512x512", "1024x1024", "2048x2048"], show_default=True)
@click.option("--way", "names", multiple=True, type=click.Choice(list(WAYS)), help="Default: all.")
def main(model_path: str, sizes: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Run the benchmark on a CUDA device."""
    device = resolve_device("auto", "device")
    rows: list[dict[str, Any]] = []
    print(f"{machine(device)}, torch {torch.__version__}")
    print("way                   size  stage    allocated   reserved GiB")
    for name in names or WAYS:
        pipeline = ZImagePipeline.from_pretrained(model_path, **WAYS[name])
        for height, width in map(parse_size, sizes):
            prompt = "cat " * WORDS
            params = pipeline.resolve(
                GenerationParams(prompt=prompt, height=height, width=width, num_inference_steps=2, seed=0)
            )
            conditioning, *encoding = peak_of(partial(pipeline.encode, params), device)
            latents, *denoising = peak_of(partial(pipeline.denoise, params, conditioning), device)
            _, *decoding = peak_of(partial(pipeline.decode, latents), device)
            stages = {"encode": encoding, "denoise": denoising, "decode": decoding}
            for stage, (allocated, reserved) in stages.items():
                rows.append(
                    {"way": name, "height": height, "width": width, "tokens": conditioning.token_count_used}
                    | {"stage": stage, "allocated_bytes": allocated, "reserved_bytes": reserved}
                )
                print(
                    f"{name:16} {height:>5}x{width:<5} {stage:8} {allocated / GIB:9.2f} {reserved / GIB:9.2f}",
                    flush=True,
                )
        del pipeline
        gc.collect()
        torch.cuda.empty_cache()
    print(json.dumps({"benchmark": "working_memory", "machine": machine(device), "rows": rows}))


if __name__ == "__main__":
    main()
