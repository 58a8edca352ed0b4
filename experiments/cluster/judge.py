"""The scorers of one device, loaded once, and what they make of a batch. Knows no Ray.

Pictures come by value where the worker is on another machine, since it need not see the results folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from experiments.cluster.scoring_orders import JudgePlan, PictureRow, ScoredBatch, ScoringOrder
from experiments.metrics import load_configured_scorers
from experiments.metrics.declaration import ScoreInput, Scorer
from experiments.running.look_runs import judging_device
from llm_dit.errors import LlmDitError


def scored(scorers: Sequence[Scorer], order: ScoringOrder, device: AbstractContextManager[object]) -> ScoredBatch:
    """Score a batch; what fails is told in the answer.

    Args:
        scorers: Loaded.
        order: The batch.
        device: Held while they are at work; pictures are unpacked before.
    """
    scorer = next(scorer for scorer in scorers if scorer.metric.name == order.metric)
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_in(Path(folder), order.rows)
        try:
            with device:
                return ScoredBatch(order.number, scorer.score_rows(rows))
        except (LlmDitError, RuntimeError) as error:  # RuntimeError is what torch raises from a device
            return ScoredBatch(order.number, None, str(error))


class Parcels:
    """Rows of batches that come in several parcels, until the last one is there."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[PictureRow, ...]] = {}

    def whole(self, order: ScoringOrder) -> ScoringOrder | None:
        """Return an order with all rows of its batch; None where more will come.

        Parcels of a batch come one after the other, those of two batches as they like.
        """
        before = () if order.is_first else self._rows.pop(order.batch)
        rows = (*before, *order.rows)
        if order.is_last:
            return replace(order, rows=rows)
        self._rows[order.batch] = rows
        return None


class Judge:
    """A scorer beside a model that draws: on the device while it scores, where there is room, and out of the way else.

    Args:
        plan: What it is made from.

    Raises:
        LlmDitError: If it is not there, or has other weights than on the driver's side.
    """

    def __init__(self, plan: JudgePlan) -> None:
        self.plan = plan
        (self._scorer,) = load_configured_scorers([plan.metric], plan.settings, plan.generator, device="cpu")
        found = self._scorer.metric.model
        if found != plan.model:
            raise LlmDitError(f"its weights are others ({found} instead of {plan.model})")
        self._is_at_work = False

    def score(self, order: ScoringOrder) -> ScoredBatch:
        """Score a batch on the device."""
        if not self._is_at_work:
            self._scorer.move_to(judging_device(self.plan.device))
            self._is_at_work = True
        return scored([self._scorer], order, nullcontext())

    def rest(self) -> None:
        """Leave the device to the model."""
        if self._is_at_work:
            self._scorer.move_to("cpu")
            self._is_at_work = False


def rows_in(folder: Path, rows: Sequence[PictureRow]) -> list[ScoreInput]:
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
