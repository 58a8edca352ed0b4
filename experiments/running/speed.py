"""How fast a level draws: one picture alone, again and again, warm, with the device waited for.

The pictures of a run are drawn with the next one under way and files being written, which is fast but measures no level
by itself. Here each model is loaded afresh, and a picture of each level is drawn to warm up and then again a few times,
each time from its prompt to its pixels; nothing of one picture is kept for the next. Levels that one model draws at one
size with one set of LoRAs take turns, so that what else the machine did is no level's own.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from experiments.planning.turns import turns
from experiments.running.making import free_device_memory
from experiments.store.speeds import LevelSpeed, Speeds, write_speeds
from llm_dit.errors import CheckpointError, OutputError
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.placement.planned_work import PlannedWork

if TYPE_CHECKING:
    from experiments.store.manifest import Manifest
    from experiments.store.records import RunRecord
    from experiments.store.result_store import ResultStore

REPEATS: Final = 5
"""Timed pictures a level where nobody says otherwise."""
BUSY_LOAD: Final = 1.5
"""Processes running or waiting in the minute before, from which the machine is called busy."""
FOREIGN_BYTES: Final = 1 << 30
"""Memory of the device that others hold, from which it is told; a driver's own needs less."""
WIDE_SPREAD: Final = 0.1
MOST_IN_TURNS: Final = 8
"""Levels that take turns: each may have two CUDA graphs, and an engine keeps 16."""
WARM_UPS: Final = 2
"""Pictures before those that are timed: the first may compile or choose kernels, the second record graphs."""

Load = Callable[[EngineSettings], Any]
"""Settings of the engine to a pipeline, loaded for them."""


def measure_speeds(
    manifest: Manifest,
    records: Sequence[RunRecord],
    load: Load,
    *,
    repeats: int,
    on_level: Callable[[str], None] = lambda _level: None,
) -> Speeds:
    """Measure every level that has a picture, by its first one.

    Args:
        manifest: The experiment.
        records: Its runs.
        load: Loads a model; nothing holds the one before.
        repeats: Pictures that are timed, after `WARM_UPS` that are not.
        on_level: Called before each level.

    Raises:
        LlmDitError: If a model can't be loaded, or is another one than that of the pictures.
    """
    first: dict[str, RunRecord] = {}
    for record in records:
        if record.is_finished:
            first.setdefault(record.level, record)
    if not first:
        raise OutputError("There is no finished picture, so no level can be measured; run the experiment first.")
    load_before = _load_average()
    notes: list[str] = []
    if load_before is not None and load_before > BUSY_LOAD:
        notes.append(f"{load_before:.1f} processes were running on this machine when it began")
    levels = []
    device = ""
    by_settings: dict[EngineSettings, list[RunRecord]] = {}
    for name in (cell.name for cell in manifest.combinations if cell.name in first):
        by_settings.setdefault(settings_of(manifest, first[name]), []).append(first[name])
    load(next(iter(by_settings)))  # the first model of a process also pays for what it imports, and is not timed
    for settings, alike in by_settings.items():
        on_level(", ".join(record.level for record in alike))
        gc.collect()
        free_device_memory()
        pipeline, load_seconds = _loaded(load, settings, alike[0])
        device = _device_name(pipeline.device)
        for together in _that_take_turns(alike):
            levels += _measured(pipeline, together, load_seconds, repeats)
        notes += _foreign_memory(pipeline.device)
        del pipeline
    order = {cell.name: rank for rank, cell in enumerate(manifest.combinations)}
    levels.sort(key=lambda found: order[found.level])
    notes += [
        f"the times of {found.level} lie {found.spread:.0%} of their median apart"
        for found in levels
        if found.spread > WIDE_SPREAD
    ]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Speeds(tuple(levels), device, now, tuple(dict.fromkeys(notes)), manifest.conditions.hash)


def measure_folder(
    store: ResultStore,
    *,
    repeats: int,
    command: str,
    load: Load | None = None,
    on_level: Callable[[str], None] = lambda _level: None,
) -> Speeds:
    """Measure every level of a folder that has a picture, and keep it there.

    Args:
        store: The folder; its lock is held meanwhile.
        repeats: Pictures a level that are timed.
        command: What measures, for whoever finds the folder in use.
        load: Loads a model; a pipeline of its settings if None.
        on_level: Called before each level; what it raises ends the measurement, and nothing is kept.

    Raises:
        LlmDitError: As `measure_speeds`, or if the folder is in use or can't be written.
    """
    manifest = store.manifest()
    with store.lock(command=command):
        records = store.runs()
        own = partial(_pipeline, planned=_largest(records))
        speeds = measure_speeds(manifest, records, load or own, repeats=repeats, on_level=on_level)
        write_speeds(store.folder, speeds)
    return speeds


def _largest(records: Sequence[RunRecord]) -> PlannedWork:
    """Return the work that there must be room for."""
    sizes = (record.metadata["image"] for record in records if record.is_finished)
    return PlannedWork(pixels=max((size["width"] * size["height"] for size in sizes), default=0))


def _pipeline(settings: EngineSettings, planned: PlannedWork) -> Any:
    from llm_dit.pipeline import ZImagePipeline

    return ZImagePipeline.from_pretrained(settings=settings, planned=planned)


def settings_of(manifest: Manifest, record: RunRecord) -> EngineSettings:
    """Return the settings of the engine that a run was made with: the command's, and what its levels set of them.

    Where `compile` left a choice, it is what was chosen then.
    """
    values: dict[str, Any] = dict(manifest.raw.get("config", {}).get("engine", {}))
    for axis in manifest.axes:
        level = next(level for level in axis.levels if level.name == record.levels[axis.name])
        values |= {name: value for name, value in level.parameters.items() if name in EngineSettings.model_fields}
    if values.get("compile") == "auto" and "compile" in record.numerics:
        values["compile"] = record.numerics["compile"]
    return EngineSettings.parse(values)


def _loaded(load: Load, settings: EngineSettings, record: RunRecord) -> tuple[Any, float]:
    started = time.perf_counter()
    pipeline = load(settings)
    _wait(pipeline.device)
    load_seconds = time.perf_counter() - started
    if pipeline.fingerprint != record.fingerprint:
        raise CheckpointError(
            f"{settings.model_path} is another model now than that of {record.run_id}; its speed would say nothing of "
            "these pictures.",
            field="model_path",
        )
    return pipeline, load_seconds


def _that_take_turns(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Group levels by what one of them would leave for the next to pay.

    Memory that a size has taken is not given back to another, and other LoRAs rewrite the weights before a picture. Of
    more than `MOST_IN_TURNS` some wait for the next group.
    """
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in records:
        key = tuple(record.parameters.get(name) for name in ("height", "width", "loras", "lora_strength"))
        groups.setdefault(key, []).append(record)
    return [
        alike[first : first + MOST_IN_TURNS]
        for alike in groups.values()
        for first in range(0, len(alike), MOST_IN_TURNS)
    ]


def _measured(pipeline: Any, records: Sequence[RunRecord], load_seconds: float, repeats: int) -> list[LevelSpeed]:
    """Warm each level up, and then time a picture of each in turns."""
    drawn = [GenerationParams.parse(record.parameters) for record in records]
    for params in drawn:
        for _ in range(WARM_UPS):
            _timed(pipeline, params)
    seconds: list[list[float]] = [[] for _ in records]
    peaks: list[list[int]] = [[] for _ in records]
    for repeat in range(repeats):
        for place in turns(len(records), repeat):
            took, peak = _timed(pipeline, drawn[place])
            seconds[place].append(took)
            peaks[place] += peak
    return [
        LevelSpeed(record.level, tuple(times), max(peak, default=None), load_seconds)
        for record, times, peak in zip(records, seconds, peaks, strict=True)
    ]


def _timed(pipeline: Any, params: GenerationParams) -> tuple[float, list[int]]:
    """Draw one picture; return its seconds, and the most that was allocated meanwhile where the device tells."""
    _forget_peak(pipeline.device)
    _wait(pipeline.device)
    started = time.perf_counter()
    pipeline.draw(params, pipeline.encode(params)).wait()
    _wait(pipeline.device)
    return time.perf_counter() - started, _peak(pipeline.device)


def _wait(device: Any) -> None:
    """Return when the device has done all that was asked of it."""
    import torch

    if device.type == "cuda":  # pragma: no cover - needs a card
        torch.cuda.synchronize(device)
    elif device.type == "mps":  # pragma: no cover - needs a GPU of Apple's
        torch.mps.synchronize()


def _forget_peak(device: Any) -> None:
    import torch

    if device.type == "cuda":  # pragma: no cover - needs a card
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: Any) -> list[int]:
    """Return the most that was allocated; nothing where the device does not tell."""
    import torch

    return [torch.cuda.max_memory_allocated(device)] if device.type == "cuda" else []


def _foreign_memory(device: Any) -> Iterator[str]:
    """Say how much of the device's memory other processes hold."""
    import torch

    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    foreign = total - free - torch.cuda.memory_reserved(device)
    if foreign > FOREIGN_BYTES:
        yield f"other processes held about {foreign / 2**30:.0f} GiB of the device"


def _device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _load_average() -> float | None:
    """Return how many processes ran or waited in the last minute; None on a system that does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
