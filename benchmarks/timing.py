"""Timing that is fair to all sides, and what the machine could reach at best."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from llm_dit.placement.machine import machine_of

CEILING_SIZES = {"cuda": 8192, "cpu": 1024}
"""Side of the square matrices whose product is the ceiling, per device type."""
CEILING_REPETITIONS = 20


Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` counts this process's processor time: for the CPU, with one thread, on a machine that others use too."""


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def elapsed_s(function: Callable[[], Any], device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Seconds of one call, the device's work included."""
    synchronise(device)
    started = clock()
    function()
    synchronise(device)
    return clock() - started


def median_times_s(
    functions: Mapping[str, Callable[[], Any]],
    device: torch.device,
    *,
    warmup: int,
    iterations: int,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Call functions in turns, so that other load on the machine hits all of them: median seconds of each."""
    for _ in range(warmup):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(iterations):
        for name, function in functions.items():
            times[name].append(elapsed_s(function, device, clock))
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_ceiling(device: torch.device, dtype: torch.dtype, clock: Clock = time.perf_counter) -> float:
    """Operations per second of one large square matrix product on random data."""
    size = CEILING_SIZES.get(device.type, 2048)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = {"product": lambda: left @ right}
    times = median_times_s(product, device, warmup=5, iterations=CEILING_REPETITIONS, clock=clock)
    return float(2 * size**3 / times["product"])


def float8_ceiling(device: torch.device) -> float:
    """The same for float8 e4m3 operands with one scale each and bfloat16 results."""
    size = CEILING_SIZES.get(device.type, 2048)
    left = torch.randn(size, size, device=device).to(torch.float8_e4m3fn)
    right = torch.randn(size, size, device=device).to(torch.float8_e4m3fn).t()
    scale = torch.ones((), device=device)

    def product() -> torch.Tensor:
        return torch._scaled_mm(left, right, scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16)

    times = median_times_s({"product": product}, device, warmup=5, iterations=CEILING_REPETITIONS)
    return float(2 * size**3 / times["product"])


def machine(device: torch.device) -> str:
    """Name of the hardware that a figure belongs to."""
    facts = machine_of(device)
    return facts["card"] if device.type == "cuda" else f"{facts['card']}, {facts['threads']} threads"
