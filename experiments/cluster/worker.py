"""One device's work: the engine for the life of the process, and one batch after the other. Knows no Ray.

A worker writes nothing and decides nothing: what it has made goes back as PNG bytes and records.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from experiments.cluster.joining import code_fingerprint
from experiments.cluster.orders import BatchResult, Drawn, Failed, LoadedModel, Order, WorkerFacts, WorkerPlan
from experiments.planning.design import Run
from experiments.running.making import Maker, draw_in_turn
from experiments.running.prompt_encodings import EncodingCache
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings
from llm_dit.sampling.shared_work import SharedWork

if TYPE_CHECKING:
    from PIL import Image

    from llm_dit.pipeline import ZImagePipeline

PNG_THREADS: Final = 2


def load_pipeline(settings: EngineSettings, planned_evaluations: int) -> ZImagePipeline:
    """Load the engine, as a command on one device does."""
    from llm_dit.pipeline import ZImagePipeline

    return ZImagePipeline.from_pretrained(settings=settings, planned_evaluations=planned_evaluations)


class Worker:
    """A device with its engine.

    Args:
        plan: What it is made from.
    """

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._pipeline: ZImagePipeline | None = None
        self._shared: SharedWork | None = None
        self._first_texts: dict[tuple[int | None, int | None], str] = {}
        self._is_stopped = threading.Event()

    def describe(self) -> WorkerFacts:
        """Return where it is and what it runs on; nothing is loaded for that."""
        import torch

        from llm_dit.pipeline import versions
        from llm_dit.placement.devices import resolve_device
        from llm_dit.placement.machine import machine_of

        torch.set_num_threads(self._plan.threads)
        device = resolve_device(self._plan.settings.dit_device, "dit_device")
        surroundings = {"versions": versions(), "machine": machine_of(device)}
        return WorkerFacts(socket.gethostname(), os.getpid(), surroundings, code_fingerprint())

    def load(self) -> LoadedModel | str:
        """Load the engine, once; a sentence says what is missing here."""
        try:
            if self._pipeline is None:
                self._pipeline = self._plan.load(self._plan.settings, self._plan.planned_evaluations)
                self._shared = SharedWork(self._pipeline.device)
        except LlmDitError as error:
            return str(error)
        pipeline = self._pipeline
        return LoadedModel(pipeline.fingerprint, dict(pipeline.numerics), pipeline.surroundings())

    def draw(self, order: Order) -> BatchResult:
        """Draw a batch, up to its end or to `stop`."""
        pipeline, shared = self._pipeline, self._shared
        assert pipeline is not None and shared is not None, "an order comes after load"
        started, reused_before = time.perf_counter(), shared.reused_evaluations
        encodings = EncodingCache(pipeline, order.items)
        with _Parcel() as parcel:
            maker = Maker(
                order.conditions,
                pipeline,
                shared,
                encodings,
                parcel,
                experiment=order.experiment,
                session=order.session,
                first_texts=self._first_texts,
            )
            draw_in_turn(encodings, maker, lambda _item: None, self._is_stopped.is_set)
            computed = time.perf_counter()
        return BatchResult(
            order.number,
            tuple(parcel.drawn()),
            tuple(parcel.failed),
            time.perf_counter() - started,
            shared.reused_evaluations - reused_before,
            computed - started,
        )

    def stop(self) -> None:
        """End the batch in hand after its current image, and every later one at once; called while `draw` works."""
        self._is_stopped.set()


class _Parcel:
    """Results that are taken along; image files are made on threads, while the device draws the next image."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(PNG_THREADS, thread_name_prefix="png")
        self._drawn: list[tuple[Run, Future[bytes], dict[str, Any]]] = []
        self.failed: list[Failed] = []

    def __enter__(self) -> _Parcel:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(wait=True)

    def write(self, run: Run, image: Image.Image, metadata: dict[str, Any], png_record: dict[str, Any]) -> None:
        from llm_dit.image_io import png_bytes

        self._drawn.append((run, self._pool.submit(png_bytes, image, png_record), metadata))

    def fail(self, run: Run, metadata: dict[str, Any], error: str) -> None:
        self.failed.append(Failed(run, metadata, error))

    def drawn(self) -> list[Drawn]:
        return [Drawn(run, png.result(), metadata) for run, png, metadata in self._drawn]
