"""PNG encoding and files on threads, while the device works on the next image."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from experiments.planning.design import Run
from experiments.store.result_store import ResultStore

if TYPE_CHECKING:
    from PIL import Image

WRITER_THREADS = 2
PENDING_IMAGES = 8
"""Images that may wait for the disk; then the device waits, so that memory does not grow."""


class ResultWriter:
    """Writes results; a context manager that waits for the last of them.

    Attributes:
        made: Number of runs whose result is on disk.
        failed: Run id and error of the others, in the order they failed.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(WRITER_THREADS, thread_name_prefix="result-writer")
        self._slots = threading.BoundedSemaphore(PENDING_IMAGES)
        self._lock = threading.Lock()
        self._defects: list[BaseException] = []
        self.made = 0
        self.failed: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        self._raise_defect()

    @property
    def done(self) -> int:
        """Number of runs that are written or failed."""
        with self._lock:
            return self.made + len(self.failed)

    def write(self, run: Run, image: Image.Image, metadata: dict[str, Any], png_record: dict[str, Any]) -> None:
        """Write a finished run in the background.

        Args:
            run: The run.
            image: Its image.
            metadata: Content of its metadata file.
            png_record: What goes into the PNG: the same in every run of the same image, so that its bytes are too.
        """
        self._submit(run, metadata, partial(_png_of, image, png_record))

    def write_png(self, run: Run, metadata: dict[str, Any], png: bytes) -> None:
        """Write a finished run whose file is made already; see `write`."""
        self._submit(run, metadata, lambda: png)

    def _submit(self, run: Run, metadata: dict[str, Any], make_png: Callable[[], bytes]) -> None:
        self._slots.acquire()
        self._raise_defect()
        self._pool.submit(self._write, run, metadata, make_png)

    def has_result(self, run_id: str, identity: str) -> bool:
        """Return whether the store holds a run; what waits to be written is not there yet."""
        record = self._store.record(run_id)
        return record is not None and record.identity == identity

    def fail(self, run: Run, metadata: dict[str, Any], error: str) -> None:
        """Write down why a run failed; on a disk that takes nothing it stays in `failed` alone."""
        try:
            self._store.write_failure(run, metadata, error)
        except OSError:
            error += " (and the failure could not be written either)"
        with self._lock:
            self.failed.append((run.run_id, error))

    def _write(self, run: Run, metadata: dict[str, Any], make_png: Callable[[], bytes]) -> None:
        try:
            self._store.write_result(run, metadata, make_png())
            with self._lock:
                self.made += 1
        except OSError as error:
            self.fail(run, metadata, f"The result could not be written: {error.strerror or error}.")
        except BaseException as defect:  # carried to the main thread, where it ends the program with its traceback
            self._defects.append(defect)
            raise
        finally:
            self._slots.release()

    def _raise_defect(self) -> None:
        if self._defects:
            raise self._defects.pop()


def _png_of(image: Image.Image, record: dict[str, Any]) -> bytes:
    from llm_dit.image_io import png_bytes

    return png_bytes(image, record)
