"""What a machine adds to an image's last bits: the card, and on a CPU the number of threads."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_dit.placement.devices import AnyDevice

CPU_FACTS = Path("/proc/cpuinfo")


def machine_of(device: AnyDevice) -> dict[str, str]:
    """Return what sums are made on: `card`, and `threads` where they divide the sums."""
    import torch

    if device.type == "cuda":
        return {"card": torch.cuda.get_device_name(str(device))}
    return {"card": _cpu_name(), "threads": str(torch.get_num_threads())}


def _cpu_name() -> str:
    lines = CPU_FACTS.read_text(encoding="utf-8").splitlines() if CPU_FACTS.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
