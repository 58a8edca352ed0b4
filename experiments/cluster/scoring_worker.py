"""One device that judges pictures: its scorers for the life of the process, one batch after the other. Knows no Ray.

Pictures come by value where the worker is on another machine, since it need not see the results folder.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.cluster.joining import code_fingerprint
from experiments.cluster.orders import Loaded, WorkerFacts
from experiments.cluster.worker import OwnEngine
from experiments.metrics import load_configured_scorers
from experiments.metrics.declaration import Metric, ScoreInput, Scorer, Scores
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings, MetricSettings


@dataclass(frozen=True)
class ScoringPlan:
    """What a worker that scores is made from.

    Attributes:
        names: Metrics.
        settings: Which weights they have.
        generator: The model that made the images, as configured.
        device: `auto`, `cpu` or `cuda`.
        threads: Threads that divide sums on a CPU.
    """

    names: tuple[str, ...]
    settings: MetricSettings
    generator: str
    device: str
    threads: int


@dataclass(frozen=True)
class LoadedScorers(Loaded):
    """What a worker says of its scorers.

    Attributes:
        metrics: Their declarations, with the identity of the weights.
    """

    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class PictureRow:
    """A row to score, with its pictures by value.

    Attributes:
        row: The row; its paths say nothing to a worker that gets the pictures.
        image: The picture's file; None to a worker on the driver's machine, which reads it.
        baseline: The baseline's; None where there is none.
    """

    row: ScoreInput
    image: bytes | None = None
    baseline: bytes | None = None


@dataclass(frozen=True)
class ScoringOrder:
    """A batch to score.

    Attributes:
        number: Of all orders of a command; the answer carries it back.
        metric: Name of the metric.
        rows: The rows.
    """

    number: int
    metric: str
    rows: tuple[PictureRow, ...]


@dataclass(frozen=True)
class ScoredBatch:
    """What came of an order.

    Attributes:
        number: Of the order.
        scores: As `Scorer.score_rows` returns them; None if it failed.
        error: Why it failed.
    """

    number: int
    scores: list[Scores] | None
    error: str = ""


class ScoringWorker:
    """A device with its scorers.

    Args:
        plan: What it is made from.
    """

    def __init__(self, plan: ScoringPlan) -> None:
        self._plan = plan
        self._scorers: list[Scorer] = []
        self._on_device = threading.Lock()

    def describe(self) -> WorkerFacts:
        """Return where it is and what it runs on."""
        surroundings = OwnEngine().surroundings(EngineSettings(dit_device=self._plan.device), self._plan.threads)
        return WorkerFacts(socket.gethostname(), os.getpid(), surroundings, code_fingerprint())

    def load(self) -> LoadedScorers | str:
        """Load the scorers, once; a sentence says what is missing here."""
        plan = self._plan
        try:
            if not self._scorers:
                self._scorers = load_configured_scorers(plan.names, plan.settings, plan.generator, device=plan.device)
        except LlmDitError as error:
            return str(error)
        metrics = tuple(scorer.metric for scorer in self._scorers)
        return LoadedScorers("; ".join(f"{metric.name} {metric.model}" for metric in metrics), {}, {}, metrics)

    def draw(self, order: ScoringOrder) -> ScoredBatch:
        """Score a batch; the next one may come meanwhile, whose pictures are unpacked then."""
        scorer = next(scorer for scorer in self._scorers if scorer.metric.name == order.metric)
        with tempfile.TemporaryDirectory() as folder:
            rows = _rows_in(Path(folder), order.rows)
            try:
                with self._on_device:
                    return ScoredBatch(order.number, scorer.score_rows(rows))
            except (LlmDitError, RuntimeError) as error:  # RuntimeError is what torch raises from a device
                return ScoredBatch(order.number, None, str(error))

    def stop(self) -> None:
        """Do nothing: a batch of scores is short."""


def _rows_in(folder: Path, rows: Sequence[PictureRow]) -> list[ScoreInput]:
    """Put the pictures of rows that brought them into a folder, where scorers read them."""
    found = []
    for number, picture in enumerate(rows):
        if picture.image is None:
            found.append(picture.row)
            continue
        image, baseline = folder / f"{number}.png", None
        image.write_bytes(picture.image)
        if picture.baseline is not None:
            baseline = folder / f"{number}-baseline.png"
            baseline.write_bytes(picture.baseline)
        found.append(picture.row._replace(image=image, baseline=baseline))
    return found
