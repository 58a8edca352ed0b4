"""Scores by workers: batches go out, at most two to a worker, and come back in the order in which they were asked for.

The batches are those of one device, so that scores are the same bits. The driver alone reads and writes the folder.
Where workers may be elsewhere a batch's pictures travel in parcels, each read when the one before has arrived, so that
neither the driver nor Ray's object store ever holds more than two of them for a worker.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from experiments.cluster.batches import MOST_BYTES
from experiments.cluster.crew import ORDERS_IN_FLIGHT, Crew, Done, Lost, Ready
from experiments.cluster.dispatch import LISTENING_S, TRIES
from experiments.cluster.scoring_orders import JudgePlan, PictureRow, ScoredBatch, ScoringOrder
from experiments.metrics.declaration import Metric, ScoreInput, Scorer, Scores
from llm_dit.errors import LlmDitError

BATCH_PATIENCE_S: Final = 900.0
"""Of a batch of scores, before its worker is replaced."""
AHEAD: Final = 2
"""Batches that wait for an earlier one, for each order that is out."""


class RemoteScorer:
    """A metric whose scorer is loaded on workers; what scores is `ScoringCrew.spread`.

    Args:
        metric: Its declaration.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def move_to(self, device: str) -> None:
        """Do nothing: it is where its worker is."""

    def score_rows(self, _rows: Sequence[ScoreInput]) -> list[Scores]:
        """Never called."""
        raise AssertionError("rows go to workers by batches")


@dataclass
class _Batch:
    """Rows that are scored together.

    Attributes:
        number: Among all batches.
        metric: By which.
        parcels: The rows, as they travel together.
        sent: How many parcels are there, or on their way.
        order: Number of the order that is out.
        tries: How often it came to nothing.
        due: When its worker is given up.
    """

    number: int
    metric: str
    parcels: list[list[ScoreInput]]
    sent: int = 0
    order: int = -1
    tries: int = 0
    due: float = field(default=float("inf"))


class _Source:
    """Batches of rows, of which the next is known to be there before it is taken."""

    def __init__(self, batches: Iterable[list[ScoreInput]]) -> None:
        self._batches = iter(batches)
        self._next = next(self._batches, None)

    @property
    def is_empty(self) -> bool:
        return self._next is None

    def take(self) -> list[ScoreInput]:
        taken, self._next = self._next, next(self._batches, None)
        assert taken is not None, "it is not empty"
        return taken


class ScoringCrew:
    """Workers that score.

    Args:
        crew: The workers.
        tell: Told of every fault, in a sentence.
        is_local: Whether all workers are on this machine, and read the pictures themselves.
        judge: What they judge by, where they are workers that draw and have no scorers yet.
    """

    def __init__(
        self, crew: Crew, tell: Callable[[str], None], *, is_local: bool = False, judge: JudgePlan | None = None
    ) -> None:
        self._crew = crew
        self._tell = tell
        self._is_local = is_local
        self._judge = judge
        self._numbers = itertools.count()
        self._batches = itertools.count()
        self._out: dict[str, deque[_Batch]] = {}

    def welcome(self, events: Iterable[object]) -> None:
        """Take over workers that were ready before the first batch."""
        for event in events:
            if isinstance(event, Ready):
                self._out[event.worker] = deque()
            elif isinstance(event, Lost):
                self._out.pop(event.worker, None)

    def spread(self, scorer: Scorer, batches: Iterable[list[ScoreInput]]) -> Iterator[list[Scores]]:
        """Yield the scores of each batch, in order; see `experiments.metrics.missing_scores.one_by_one`.

        Raises:
            LlmDitError: If a batch came to nothing three times, or no worker is left.
        """
        source = _Source(batches)
        again: deque[_Batch] = deque()
        waiting: deque[int] = deque()
        scored: dict[int, list[Scores]] = {}
        while True:
            self._hand_out(scorer.metric.name, source, again, waiting)
            if not waiting and source.is_empty:
                return
            if waiting and waiting[0] in scored:
                yield scored.pop(waiting.popleft())
                continue
            for event in self._crew.events(LISTENING_S):
                match event:
                    case Ready(worker=worker):
                        self._out.setdefault(worker, deque())
                    case Lost(worker=worker, reason=reason):
                        self._take_back(worker, reason, again)
                    case Done(worker=worker, result=ScoredBatch() as result):
                        self._take(worker, result, again, scored)
            self._replace_late_ones()

    def _hand_out(self, metric: str, source: _Source, again: deque[_Batch], waiting: deque[int]) -> None:
        for depth in range(ORDERS_IN_FLIGHT):
            for worker, out in self._out.items():
                if len(out) > depth:
                    continue
                batch = self._next(metric, source, again, waiting)
                if batch is None:
                    return
                batch.sent = 0
                out.append(batch)
                self._send(worker, batch, patience_s=BATCH_PATIENCE_S * len(out))

    def _send(self, worker: str, batch: _Batch, patience_s: float) -> None:
        """Hand a worker the next parcel of a batch."""
        rows = tuple(map(self._sent, batch.parcels[batch.sent]))
        is_first, batch.sent = not batch.sent, batch.sent + 1
        is_last = batch.sent == len(batch.parcels)
        batch.order, batch.due = next(self._numbers), self._crew.now() + patience_s
        order = ScoringOrder(batch.order, batch.metric, rows, self._judge, is_first, is_last, batch.number)
        self._crew.submit(worker, order)

    def _next(self, metric: str, source: _Source, again: deque[_Batch], waiting: deque[int]) -> _Batch | None:
        if again:
            return again.popleft()
        if len(waiting) >= AHEAD * ORDERS_IN_FLIGHT * len(self._out):
            return None
        if source.is_empty:
            return None
        rows = source.take()
        batch = _Batch(next(self._batches), metric, [rows] if self._is_local else list(parcels(rows)))
        waiting.append(batch.number)
        return batch

    def _sent(self, row: ScoreInput) -> PictureRow:
        if self._is_local:
            beside = None if row.baseline is None else row.baseline.absolute()
            return PictureRow(row._replace(image=row.image.absolute(), baseline=beside))
        return PictureRow(row, row.image.read_bytes(), None if row.baseline is None else row.baseline.read_bytes())

    def _take(self, worker: str, result: ScoredBatch, again: deque[_Batch], scored: dict[int, list[Scores]]) -> None:
        out = self._out.get(worker, deque())
        batch = next((batch for batch in out if batch.order == result.number), None)
        if batch is None:
            return  # of a worker that was given up meanwhile
        if result.scores is not None and batch.sent < len(batch.parcels):
            self._send(worker, batch, patience_s=BATCH_PATIENCE_S * (1 + out.index(batch)))
            return
        out.remove(batch)
        if result.scores is None:
            self._try_again(batch, worker, result.error, again)
        else:
            scored[batch.number] = result.scores

    def _take_back(self, worker: str, reason: str, again: deque[_Batch]) -> None:
        out = self._out.pop(worker, deque())
        batches = "1 batch of scores, which is" if len(out) == 1 else f"{len(out)} batches of scores, which are"
        self._tell(f"{worker} is lost with {batches} made again: {reason}")
        for position, batch in enumerate(out):
            if position == 0:
                self._try_again(batch, worker, reason, again)
            else:
                again.append(batch)

    def _try_again(self, batch: _Batch, worker: str, error: str, again: deque[_Batch]) -> None:
        batch.tries += 1
        if batch.tries == TRIES:
            raise LlmDitError(f"{batch.metric} could not be scored in {TRIES} tries: {error}")
        self._tell(f"A batch of {batch.metric} failed on {worker} and is tried again: {error}")
        again.append(batch)

    def _replace_late_ones(self) -> None:
        for worker, out in self._out.items():
            if out and self._crew.now() > out[0].due:
                out[0].due = float("inf")
                self._tell(f"{worker} does not answer and is replaced.")
                self._crew.replace(worker)


def parcels(rows: Sequence[ScoreInput]) -> Iterator[list[ScoreInput]]:
    """Divide a batch's rows, whose pictures are at most `MOST_BYTES` together, or one row's; at least one parcel."""
    parcel: list[ScoreInput] = []
    size = 0
    for row in rows:
        own = sum(path.stat().st_size for path in (row.image, row.baseline) if path is not None)
        if parcel and size + own > MOST_BYTES:
            yield parcel
            parcel, size = [], 0
        parcel.append(row)
        size += own
    yield parcel
