"""The stages that are loaded, each with what it was loaded from and with, so that the next settings take what fits.

Only the shelf and the pipeline made from it hold a stage: once both let go, its memory is free.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_dit.placement.devices import give_back_memory


@dataclass
class StageShelf:
    """Loaded stages by the name of their network.

    Attributes:
        stages: `ZImageTextEncoder`, `Denoiser` and `LatentDecoder`, as far as they are loaded.
        keys: What each was loaded from and with; equal keys are equal stages.
        loads: How often each network was loaded since the shelf was made.
        seconds: What the last loading of each took.
        attention_backend: Kernel of the transformer, which is changed without loading; None before the first.
    """

    stages: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Hashable] = field(default_factory=dict)
    loads: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    attention_backend: str | None = None

    def put(self, network: str, key: Hashable, stage: Any, seconds: float) -> None:
        """Take a stage that was loaded just now."""
        self.stages[network], self.keys[network] = stage, key
        self.loads[network] += 1
        self.seconds[network] = seconds

    def keep(self, wanted: Mapping[str, Hashable]) -> None:
        """Let go of every stage whose key is not the wanted one, and of its memory."""
        self._drop([network for network in self.stages if self.keys[network] != wanted.get(network)])

    def clear(self) -> None:
        """Let go of all stages and their memory."""
        self._drop(list(self.stages))

    @property
    def is_streaming(self) -> bool:
        """True if weights of a stage wait in pinned memory."""
        return any(getattr(stage, "stream", None) is not None for stage in self.stages.values())

    def _drop(self, networks: list[str]) -> None:
        devices = {self.stages[network].device for network in networks}
        for network in networks:
            del self.stages[network], self.keys[network]
        if networks:
            gc.collect()  # compiled code and graphs refer to each other
        for device in devices:
            give_back_memory(device)


def state_of(path: Path) -> Hashable:
    """Return a file, or a folder's files, with what tells whether one is another now."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)
