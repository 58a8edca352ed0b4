"""One device's work: the engine for the life of the process, and one batch after the other. Knows no Ray.

A worker writes nothing and decides nothing: what it has made goes back as PNG bytes and records. One thread owns the
device; image files are made and answers sent on others, while the device is at work on the next batch.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from experiments.cluster.joining import code_fingerprint
from experiments.cluster.judge import Judge, Parcels
from experiments.cluster.orders import BatchResult, Drawn, Failed, LoadedEngine, Order, WorkerFacts, WorkerPlan
from experiments.cluster.scoring_orders import ScoredBatch, ScoringOrder
from experiments.planning.design import Run
from experiments.running.execution import Surroundings
from experiments.running.models import Models, OwnModels
from experiments.running.one_device import OneDevice
from experiments.running.prompt_encodings import RUN_ERRORS
from experiments.running.worklist import KnownModel
from experiments.store.comparable import ModelIdentity
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork

if TYPE_CHECKING:
    from PIL import Image

    from llm_dit.pipeline import ZImagePipeline

PNG_THREADS: Final = 2
File = tuple[Run, Future[bytes], dict[str, Any]]
"""A finished run, its image file on its way, and its record."""


class OwnEngine:
    """The engine as a command on one device loads it."""

    def surroundings(self, settings: EngineSettings, threads: int) -> Surroundings:
        """Return versions and machine."""
        import torch

        from llm_dit.pipeline import versions
        from llm_dit.placement.devices import resolve_device
        from llm_dit.placement.machine import machine_of

        torch.set_num_threads(threads)
        device = resolve_device(settings.dit_device, "dit_device")
        return {"versions": versions(), "machine": machine_of(device)}

    def models(self) -> Models:
        """Return what loads the models."""
        return OwnModels()


class _TimedModels:
    """Models that know how long their loading took."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.seconds = 0.0

    def known(self, settings: EngineSettings, planned: PlannedWork) -> KnownModel:
        return self._models.known(settings, planned)

    def get(self, settings: EngineSettings, planned: PlannedWork) -> ZImagePipeline:
        started = time.perf_counter()
        try:
            return self._models.get(settings, planned)
        finally:
            self.seconds += time.perf_counter() - started

    def release(self) -> None:
        self._models.release()


class Worker:
    """A device with its engine.

    Args:
        plan: What it is made from.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._models = _TimedModels(plan.source.models())
        self._device: OneDevice | None = None
        self._judge: Judge | None = None
        self._parcels = Parcels()
        self._told: tuple[str, str] | None = None
        self._is_stopped = threading.Event()
        self._on_device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._png = ThreadPoolExecutor(PNG_THREADS, thread_name_prefix="png")

    def describe(self) -> WorkerFacts:
        """Return where it is and what it runs on; nothing is loaded for that."""
        surroundings = self._plan.source.surroundings(self._plan.settings_in_turn[0], self._plan.threads)
        return WorkerFacts(socket.gethostname(), os.getpid(), surroundings, code_fingerprint())

    def load(self) -> LoadedEngine | str:
        """Load the engine, where all runs need the same one; a sentence says what is missing here."""
        return self._on_device.submit(self._load).result()

    def draw(self, order: Order | ScoringOrder) -> BatchResult | ScoredBatch:
        """Draw a batch, up to its end or to `stop`, or score one for a planned look.

        May be called for the next batch while this one is drawn.
        """
        if isinstance(order, ScoringOrder):
            whole = self._parcels.whole(order)
            if whole is None:
                return ScoredBatch(order.number, [])
            return self._on_device.submit(self._judged, whole).result()
        result, files, began = self._on_device.submit(self._draw, order).result()
        drawn = tuple(Drawn(run, png.result(), metadata) for run, png, metadata in files)
        return replace(result, drawn=drawn, seconds=time.perf_counter() - began)

    def _load(self) -> LoadedEngine | str:
        plan = self._plan
        device = OneDevice(self._models, plan.planned, keeps_encodings=True)
        try:
            known = [device.known(settings) for settings in plan.settings_in_turn]
            if len(known) == 1 and self._device is None:
                self._models.get(plan.settings_in_turn[0], plan.planned)
        except RUN_ERRORS as error:
            return str(error) or type(error).__name__
        self._device = self._device or device
        identities = tuple(ModelIdentity(model.fingerprint, dict(model.numerics)) for model in known)
        fingerprint = " ".join(model.fingerprint for model in identities)
        return LoadedEngine(fingerprint, _numerics_of(identities), known[0].surroundings(), identities)

    def _draw(self, order: Order) -> tuple[BatchResult, list[File], float]:
        """Draw a batch on the device's thread; return its result but for the files, those, and when it began."""
        device = self._device
        assert device is not None, "an order comes after load"
        if self._judge is not None:
            self._judge.rest()
        began, loading, reused = time.perf_counter(), self._models.seconds, device.shared_evaluations
        if self._told != (order.conditions.hash, order.session):
            device.begin(order.conditions, order.experiment, lambda _surroundings: order.session)
            self._told = order.conditions.hash, order.session
        parcel = _Parcel(self._png)
        device.draw(order.items, parcel, lambda _run_id: None, self._is_stopped.is_set)
        began += self._models.seconds - loading
        computing, shared = time.perf_counter() - began, device.shared_evaluations - reused
        return BatchResult(order.number, (), tuple(parcel.failed), 0.0, shared, computing), parcel.files, began

    def _judged(self, order: ScoringOrder) -> ScoredBatch:
        """Score a batch on the device's thread, by a judge that is loaded for the first one."""
        assert order.judge is not None, "the driver names the judge"
        if self._judge is None or self._judge.plan != order.judge:
            try:
                self._judge = Judge(order.judge)
            except LlmDitError as error:
                return ScoredBatch(order.number, None, str(error))
        return self._judge.score(order)

    def stop(self) -> None:
        """End the batch in hand after its current image, and every later one at once; called while `draw` works."""
        self._is_stopped.set()


class _Parcel:
    """Results that are taken along; image files are made on threads, while the device draws the next image."""

    def __init__(self, png: ThreadPoolExecutor) -> None:
        self._png = png
        self.files: list[File] = []
        self.failed: list[Failed] = []

    def write(self, run: Run, image: Image.Image, metadata: dict[str, Any], png_record: dict[str, Any]) -> None:
        from llm_dit.image_io import png_bytes

        self.files.append((run, self._png.submit(png_bytes, image, png_record), metadata))

    def fail(self, run: Run, metadata: dict[str, Any], error: str) -> None:
        self.failed.append(Failed(run, metadata, error))


def _numerics_of(models: Sequence[ModelIdentity]) -> dict[str, str]:
    """Return the numerics of a worker's models; of several, by their place among them."""
    if len(models) == 1:
        return dict(models[0].numerics)
    return {
        f"{name} of model {place}": value
        for place, model in enumerate(models, 1)
        for name, value in model.numerics.items()
    }
