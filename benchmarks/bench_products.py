"""Where a step's time must go: the matrix products of a block and its attention alone, in every kernel there is.

    python -m benchmarks.bench_products --device cuda
    python -m benchmarks.bench_products --device cpu --tokens 64 --config tiny

Milliseconds and TFLOP/s of one call, and of a step of all layers. `scaled, rows` is what row-wise float8 uses,
`scaled, whole` the same product with one scale a matrix, `exact` without fast accumulation. The last line of stdout is
JSON.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.full_size import TRANSFORMERS, transformer_config
from benchmarks.timing import machine, median_times_s

BURST = 10
"""Calls in a row per measurement, so that launches don't count."""


def products(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of a block's matrix products."""
    dim, hidden = config["dim"], int(config["dim"] / 3 * 8)
    return {"qkv": (dim, 3 * dim), "out": (dim, dim), "gate-up": (dim, 2 * hidden), "down": (hidden, dim)}


def product_kernels(tokens: int, inputs: int, outputs: int, device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Ways to compute one product."""
    x = torch.randn(tokens, inputs, device=device, dtype=torch.bfloat16)
    weight = torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16)
    kernels: dict[str, Callable[[], Tensor]] = {"bfloat16": lambda: F.linear(x, weight)}
    if device.type != "cuda":
        return kernels
    x8, weight8 = x.to(torch.float8_e4m3fn), weight.to(torch.float8_e4m3fn).t()
    rows, columns = (torch.ones(shape, device=device) for shape in ((tokens, 1), (1, outputs)))
    whole = torch.ones((), device=device)
    product = partial(torch._scaled_mm, x8, weight8, out_dtype=torch.bfloat16)
    kernels["scaled, rows"] = lambda: product(scale_a=rows, scale_b=columns, use_fast_accum=True)
    kernels["scaled, rows, exact"] = lambda: product(scale_a=rows, scale_b=columns)
    kernels["scaled, whole"] = lambda: product(scale_a=whole, scale_b=whole, use_fast_accum=True)
    kernels["scaled, whole, exact"] = lambda: product(scale_a=whole, scale_b=whole)
    return kernels


def attention_kernels(tokens: int, config: dict[str, Any], device: torch.device) -> dict[str, Callable[[], Tensor]]:
    """Ways to attend, on the strided parts of one QKV product."""
    heads = config["n_heads"]
    qkv = torch.randn(1, tokens, 3, heads, config["dim"] // heads, device=device, dtype=torch.bfloat16)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))

    def attend(backend: SDPBackend) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(query, key, value)

    backends = {"flash": SDPBackend.FLASH_ATTENTION}
    if device.type == "cuda":
        backends["cudnn"] = SDPBackend.CUDNN_ATTENTION
    return {name: partial(attend, backend) for name, backend in backends.items()}


def timed(
    name: str, kernels: dict[str, Callable[[], Tensor]], flops: float, layers: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Time the kernels of one operation in turns; yields a row each."""

    def burst(kernel: Callable[[], Tensor]) -> None:
        for _ in range(BURST):
            kernel()

    usable = {}
    for kernel, call in kernels.items():
        try:
            call()
            usable[kernel] = partial(burst, call)
        except (RuntimeError, NotImplementedError) as error:
            print(f"{name:10} {kernel:22} not here: {str(error).splitlines()[0][:80]}")
    times = median_times_s(usable, device, warmup=2, iterations=7)
    for kernel, seconds in times.items():
        ms = seconds / BURST * 1e3
        yield {"operation": name, "kernel": kernel, "ms": ms, "tflops": flops / ms / 1e9, "step_ms": ms * layers}


@click.command(help=__doc__)
@click.option("--config", "config_name", type=click.Choice(TRANSFORMERS), default="full")
@click.option("--tokens", default=4224, show_default=True, help="Image and text tokens together.")
@click.option("--device", "device_name", default="cuda", show_default=True)
def main(config_name: str, tokens: int, device_name: str) -> None:
    """Run the benchmark."""
    device, config = torch.device(device_name), transformer_config(config_name)
    layers = config["n_layers"] + config["n_refiner_layers"]
    print(f"{machine(device)}, torch {torch.__version__}, {tokens} tokens")
    print("operation  kernel                       ms   TFLOP/s   step ms")
    rows = []
    with torch.inference_mode():
        cases = [
            (name, partial(product_kernels, tokens, *sizes, device), 2.0 * tokens * sizes[0] * sizes[1])
            for name, sizes in products(config).items()
        ]
        cases.append(("attention", partial(attention_kernels, tokens, config, device), 4.0 * tokens**2 * config["dim"]))
        for name, make, flops in cases:
            for row in timed(name, make(), flops, layers, device):
                rows.append(row)
                print(
                    f"{name:10} {row['kernel']:22} {row['ms']:8.3f} {row['tflops']:9.0f} {row['step_ms']:9.2f}",
                    flush=True,
                )
    print(json.dumps({"benchmark": "products", "machine": machine(device), "tokens": tokens, "rows": rows}))


if __name__ == "__main__":
    main()
