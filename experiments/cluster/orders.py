"""What travels between driver and worker: orders, results and facts, all by value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from experiments.planning.design import Run
from experiments.running.execution import Surroundings
from experiments.running.models import Models
from experiments.running.worklist import WorkItem
from experiments.store.comparable import Conditions, ModelIdentity
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork


class EngineSource(Protocol):
    """Where a worker's engine comes from; travels to the worker."""

    def surroundings(self, settings: EngineSettings, threads: int) -> Surroundings:
        """Return versions and machine before anything is loaded.

        Raises:
            LlmDitError: If there is no such device.
        """

    def models(self) -> Models:
        """Return what loads the models."""


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker is made from.

    Attributes:
        settings_in_turn: Every setting of the engine that some level needs.
        planned: The work under each setting of the engine.
        threads: Threads that divide sums on a CPU.
        source: Where the engine comes from.
    """

    settings_in_turn: tuple[EngineSettings, ...]
    planned: PlannedWork
    threads: int
    source: EngineSource


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker says of itself before it loads anything.

    Attributes:
        host: Name of its machine.
        pid: Its process.
        surroundings: Its versions and its machine.
        code: Hash of this project's code there.
    """

    host: str
    pid: int
    surroundings: Surroundings
    code: str


@dataclass(frozen=True)
class Loaded:
    """What a worker says of what it has loaded.

    Attributes:
        fingerprint: Hash of all weights.
        numerics: Number formats, quantization and kernels in use.
        surroundings: Versions and machine.
    """

    fingerprint: str
    numerics: Mapping[str, str]
    surroundings: Surroundings


@dataclass(frozen=True)
class LoadedEngine(Loaded):
    """What a worker says of its engine.

    Attributes:
        models: What its model is under each setting of the engine, in their order.
    """

    models: tuple[ModelIdentity, ...]


@dataclass(frozen=True)
class Order:
    """A batch to draw.

    Attributes:
        number: Of all orders of a command; a result carries it back.
        items: The runs.
        conditions: What all runs of the folder share.
        experiment: Its name.
        session: What the records name as their making.
    """

    number: int
    items: tuple[WorkItem, ...]
    conditions: Conditions
    experiment: str
    session: str


@dataclass(frozen=True)
class Drawn:
    """A run that came out well.

    Attributes:
        run: The run.
        png: Its image file.
        metadata: Its record, without the block `image`.
    """

    run: Run
    png: bytes
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A run that failed.

    Attributes:
        run: The run.
        metadata: What is written down of it.
        error: Why.
    """

    run: Run
    metadata: dict[str, Any]
    error: str


@dataclass(frozen=True)
class BatchResult:
    """What came of an order; runs that are in neither list were not begun.

    Attributes:
        number: Of the order.
        drawn: The finished runs.
        failed: The others.
        seconds: From its beginning to the last image file, without loading.
        computing_seconds: Of these, in which the engine was at work on an image.
        shared_evaluations: Evaluations taken from an earlier image that began alike.
    """

    number: int
    drawn: tuple[Drawn, ...]
    failed: tuple[Failed, ...]
    seconds: float
    shared_evaluations: int = 0
    computing_seconds: float = field(default=0.0)
