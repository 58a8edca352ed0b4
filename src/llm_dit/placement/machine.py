"""What a machine adds to an image's last bits: the card, and on a CPU the number of threads and who multiplies."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_dit.placement.devices import AnyDevice

CPU_FACTS = Path("/proc/cpuinfo")
WIDE_MULTIPLICATION = frozenset(("avx512f", "avx512bw", "avx512dq", "avx512vl"))
"""What a processor says of itself that can do what oneDNN's fastest float32 products need."""


def machine_of(device: AnyDevice) -> dict[str, str]:
    """Return what sums are made on: `card`, and `threads` where they divide the sums."""
    import torch

    if device.type == "cuda":
        return {"card": torch.cuda.get_device_name(str(device))}
    return {"card": _cpu_name(), "threads": str(torch.get_num_threads())}


@cache
def onednn_multiplies(cpu_facts: Path = CPU_FACTS) -> bool:
    """Return True if oneDNN multiplies float32 on this CPU: AMD's with AVX-512, which PyTorch's MKL leaves unused.

    What the processor says decides, not a measurement, since it moves an image's last bits. Linux alone tells it.
    """
    facts = _cpu_facts(cpu_facts)
    return facts.get("vendor_id") == "AuthenticAMD" and set(facts.get("flags", "").split()) >= WIDE_MULTIPLICATION


def _cpu_name() -> str:
    return _cpu_facts(CPU_FACTS).get("model name") or platform.processor() or platform.machine()


def _cpu_facts(path: Path) -> dict[str, str]:
    """Return what Linux says of the first processor; empty elsewhere."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
