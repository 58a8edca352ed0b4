"""What loading a plan's models takes, told before anything is loaded: which networks, how often, and for how long."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from experiments.planning.model_facts import local_folder
from llm_dit.checkpoints.finding import WEIGHT_COMPONENTS
from llm_dit.checkpoints.model_parts import find_parts
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import UNKNOWN_WORK, PlannedWork

if TYPE_CHECKING:
    from experiments.store.records import RunRecord

LOADED_BYTES_PER_SECOND: Final = 1e9
"""Of weights, from a local disk to the device; only for the first estimate."""
TITLES: Final = {"text_encoder": "text encoder", "transformer": "transformer", "vae": "VAE"}


@dataclass(frozen=True)
class Loadings:
    """What is loaded for a plan.

    Attributes:
        counts: Network to how often it is loaded; those that are not loaded are left out.
        seconds: What all loadings take together, estimated.
        basis: Where the estimate comes from.
    """

    counts: Mapping[str, int]
    seconds: float
    basis: str

    def sentence(self) -> str:
        """Return such as `text encoder once, transformer 3 times, VAE once`."""
        told = [f"{TITLES[network]} {_times(self.counts[network])}" for network in TITLES if network in self.counts]
        return ", ".join(told) or "nothing"


def loadings_of(
    settings_in_turn: Iterable[EngineSettings], sampled: Sequence[RunRecord], planned: PlannedWork = UNKNOWN_WORK
) -> Loadings:
    """Count what is loaded for settings, one after the other, and estimate how long that takes.

    Imports torch where there are several.

    Args:
        settings_in_turn: Of the runs that are left, as they come; neighbours that are equal are loaded once.
        sampled: Finished runs of the same folder, which say what loading took.
        planned: The work under each setting of the engine.
    """
    turns = [settings for settings, _ in itertools.groupby(settings_in_turn)]
    if len(turns) > 1:
        from llm_dit.stages.loading import loads_in_turn

        loads = list(loads_in_turn(turns, local_folder, planned))
    else:
        loads = [WEIGHT_COMPONENTS for _ in turns]
    counts = dict(Counter(itertools.chain.from_iterable(loads)))
    known = {network: _seconds_of(network, sampled) for network in counts}
    if counts and all(seconds for seconds in known.values()):
        seconds = sum(fmean(known[network]) * count for network, count in counts.items())
        return Loadings(counts, seconds, f"from {max(map(len, known.values()))} finished runs in this folder")
    read = sum(_stored_bytes(settings, networks) for settings, networks in zip(turns, loads, strict=True))
    return Loadings(counts, read / LOADED_BYTES_PER_SECOND, "a guess from the size of the weights")


def _seconds_of(network: str, sampled: Sequence[RunRecord]) -> list[float]:
    return [record.load_seconds[network] for record in sampled if network in record.load_seconds]


def _stored_bytes(settings: EngineSettings, networks: Iterable[str]) -> int:
    parts = find_parts(settings, local_folder)
    stored = {part.component: part.tensors for part in (parts.transformer, parts.text_encoder, parts.vae)}
    return sum(tensor.stored_bytes for network in networks for tensor in stored[network].values())


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
