"""What travels between driver and worker where pictures are scored: plans, orders and scores, all by value."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.cluster.orders import Loaded
from experiments.metrics.declaration import Metric, ScoreInput, Scores
from llm_dit.parameters import MetricSettings


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
class JudgePlan:
    """What a worker that draws judges with between two blocks.

    Attributes:
        metric: Name of the metric.
        model: Identity of its weights on the driver's side; the worker's have to be the same.
        settings: Which weights it has.
        generator: The model that made the images, as configured.
        device: `auto`, `cpu` or `cuda`.
    """

    metric: str
    model: str
    settings: MetricSettings
    generator: str
    device: str


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
    """A batch to score, or a parcel of one.

    Attributes:
        number: Of all orders of a command; the answer carries it back.
        metric: Name of the metric.
        rows: The rows.
        judge: Who scores them, where it is asked of a worker that draws as well.
        is_first: Whether the batch begins with them.
        is_last: Whether the batch ends with them, and is scored then; the answer to another parcel has no scores.
        batch: Which batch the parcel is of.
    """

    number: int
    metric: str
    rows: tuple[PictureRow, ...]
    judge: JudgePlan | None = None
    is_first: bool = True
    is_last: bool = True
    batch: int = 0


@dataclass(frozen=True)
class ScoredBatch:
    """What came of an order.

    Attributes:
        number: Of the order.
        scores: As `Scorer.score_rows` returns them; empty where more parcels will come, None if it failed.
        error: Why it failed.
    """

    number: int
    scores: list[Scores] | None
    error: str = ""
