"""The driver's loop: hands batches to workers, takes results to the disk, and mends what goes wrong on the way.

What counts as done is what the store holds. A lost worker costs the batches it had, two at most; their runs are looked
up in the store and handed out again. A run that came to nothing is tried three times, on two workers where there are
two, and with nothing beside it there, so that nothing else is blamed for it. Only this process writes, and only results
of orders that it waits for, so that a worker that was given up and answers late can't make anything twice.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from experiments.cluster.batches import Batch, WorkPool
from experiments.cluster.crew import ORDERS_IN_FLIGHT, Crew, Done, Event, Lost, Ready
from experiments.cluster.orders import BatchResult, Failed, Order
from experiments.planning.design import Run
from experiments.running.execution import Surroundings
from experiments.running.making import failure_record
from experiments.running.worklist import WorkItem
from experiments.store.comparable import Conditions

TRIES: Final = 3
BLAMES: Final = 3
"""So many runs that failed on a worker and came out well on another one, and it is replaced."""
LISTENING_S: Final = 0.5
RATE_MEMORY: Final = 0.7
"""Share of the past in the running mean of the seconds that work takes."""


@dataclass(frozen=True)
class Patience:
    """How long a worker may take for a batch before it is replaced.

    Attributes:
        first_s: Before anything was measured at its engine setting: compiling may take minutes.
        least_s: For the shortest batch.
        factor: Times what the batch should take.
    """

    first_s: float = 1800.0
    least_s: float = 120.0
    factor: float = 10.0

    def seconds(self, expected_s: float | None) -> float:
        """Return the limit for a batch that should take so long."""
        return self.first_s if expected_s is None else max(self.least_s, self.factor * expected_s)


class Writer(Protocol):
    """Takes results to the disk; see `experiments.running.result_writer.ResultWriter`."""

    def write_png(self, run: Run, metadata: dict[str, Any], png: bytes) -> None:
        """Write a finished run."""

    def fail(self, run: Run, metadata: dict[str, Any], error: str) -> None:
        """Write down why a run failed."""

    def has_result(self, run_id: str, identity: str) -> bool:
        """Return whether a run's result is there."""


@dataclass
class _Flight:
    batch: Batch
    order: Order
    due: float


@dataclass
class Tally:
    """What a command's workers have done so far.

    Attributes:
        shared_evaluations: Evaluations taken from earlier images.
        lost: Workers lost, each time one was.
        computing_seconds: Worker to the seconds in which its engine was at work.
    """

    shared_evaluations: int = 0
    lost: int = 0
    computing_seconds: dict[str, float] = field(default_factory=dict)


class Dispatcher:
    """Draws blocks of runs on a crew, and remembers between blocks who is there and how fast they are.

    Args:
        crew: The workers.
        conditions: What all runs of the folder share.
        experiment: Its name.
        session_of: Surroundings of a worker to the session that its records name.
        setting_of: Names the engine setting of a run.
        tell: Told of every fault, in a sentence.
        patience: With batches.

    Attributes:
        tally: What was done so far.
    """

    def __init__(
        self,
        crew: Crew,
        conditions: Conditions,
        experiment: str,
        session_of: Callable[[Surroundings], str],
        setting_of: Callable[[WorkItem], str],
        tell: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        self._crew = crew
        self._conditions = conditions
        self._experiment = experiment
        self._session_of = session_of
        self._setting_of = setting_of
        self._tell = tell
        self._patience = patience or Patience()
        self._numbers = itertools.count()
        self._rates: dict[str, float] = {}
        self._flights: dict[str, deque[_Flight]] = {}  # by worker, those that are ready
        self._hungry: dict[str, None] = {}  # workers that may take another order, in the order they asked
        self._sessions: dict[str, str] = {}
        self._tries: dict[str, list[str]] = {}  # run id to the workers on which it came to nothing
        self._blames: dict[str, int] = {}
        self.tally = Tally()

    def welcome(self, events: Iterable[Event]) -> None:
        """Take over workers that were ready, or lost again, before the first block."""
        for event in events:
            match event:
                case Ready():
                    self._take_in(event)
                case Lost(worker=worker):
                    self._flights.pop(worker, None)
                    self._hungry.pop(worker, None)

    def draw(
        self,
        items: Sequence[WorkItem],
        writer: Writer,
        on_finished: Callable[[str], None],
        should_stop: Callable[[], bool],
    ) -> int:
        """Draw a block of runs, and return how many were left because it was asked to stop.

        Args:
            items: In the plan's order.
            writer: Writes them.
            on_finished: Told of every run that is handed to the writer or has failed for good.
            should_stop: Asked between batches; workers end after their current image then.
        """
        block = _Block(WorkPool(items, self._setting_of), writer, on_finished)
        is_stopped = False
        self._wake_all()
        while block.pool.remaining or self._orders_out():
            if not is_stopped and should_stop():
                is_stopped = True
                block.left += block.pool.clear()
                self._crew.stop()
            if not is_stopped:
                self._hand_out(block.pool)
            for event in self._crew.events(LISTENING_S):
                self._take(event, block, is_stopped=is_stopped)
                if not is_stopped:
                    self._hand_out(block.pool)
            self._replace_late_ones()
        return block.left

    def _take_in(self, ready: Ready) -> None:
        self._blames[ready.worker] = -sum(ready.worker in tried for tried in self._tries.values())  # told of before
        self._flights.setdefault(ready.worker, deque())
        self._hungry[ready.worker] = None
        self._sessions[ready.worker] = self._session_of(ready.model.surroundings)

    def _orders_out(self) -> bool:
        return any(self._flights.values())

    def _hand_out(self, pool: WorkPool) -> None:
        """Fill up the orders of workers that have room, those first that have none."""
        for depth in range(ORDERS_IN_FLIGHT):
            for worker in list(self._hungry):
                flights = self._flights[worker]
                if len(flights) > depth or any(flight.batch.is_alone for flight in flights):
                    continue
                batch = pool.take(worker, len(self._flights), self._rates.get, may_be_alone=not flights)
                if batch is None:
                    del self._hungry[worker]  # until something comes back
                    continue
                flights.append(self._sent(worker, batch, is_next=not flights))
                if len(flights) == ORDERS_IN_FLIGHT:
                    del self._hungry[worker]

    def _wake_all(self) -> None:
        """Ask every worker with room again, since there is more to hand out."""
        self._hungry = dict.fromkeys(
            worker for worker, flights in self._flights.items() if len(flights) < ORDERS_IN_FLIGHT
        )

    def _sent(self, worker: str, batch: Batch, *, is_next: bool) -> _Flight:
        order = Order(next(self._numbers), batch.items, self._conditions, self._experiment, self._sessions[worker])
        self._crew.submit(worker, order)
        return _Flight(batch, order, self._due(batch) if is_next else float("inf"))

    def _due(self, batch: Batch) -> float:
        rate = self._rates.get(batch.setting)
        return self._crew.now() + self._patience.seconds(None if rate is None else rate * batch.cost)

    def _take(self, event: Event, block: _Block, *, is_stopped: bool) -> None:
        match event:
            case Ready():
                self._take_in(event)
            case Done(worker=worker, result=BatchResult() as result):
                self._take_result(worker, result, block, is_stopped=is_stopped)
            case Lost(worker=worker, reason=reason):
                self._take_loss(worker, reason, block, is_stopped=is_stopped)

    def _take_result(self, worker: str, result: BatchResult, block: _Block, *, is_stopped: bool) -> None:
        flights = self._flights.get(worker, deque())
        flight = next((flight for flight in flights if flight.order.number == result.number), None)
        if flight is None:
            return  # of a worker that was given up meanwhile
        flights.remove(flight)
        self._hungry[worker] = None
        if flights:
            flights[0].due = self._due(flights[0].batch)
        self._measure(worker, flight.batch, result)
        for drawn in result.drawn:
            block.writer.write_png(drawn.run, drawn.metadata, drawn.png)
            self._acquit(drawn.run.run_id, worker)
            block.on_finished(drawn.run.run_id)
        items = {item.run.run_id: item for item in flight.batch.items}
        for failed in result.failed:
            again = self._take_failure(items[failed.run.run_id], worker, failed, block, is_stopped=is_stopped)
            if again:
                self._tell(f"{failed.run.run_id} failed on {worker} and is tried again: {failed.error}")
        begun = {drawn.run.run_id for drawn in result.drawn} | {failed.run.run_id for failed in result.failed}
        self._return([item for name, item in items.items() if name not in begun], block, is_stopped=is_stopped)

    def _measure(self, worker: str, batch: Batch, result: BatchResult) -> None:
        tally = self.tally
        tally.shared_evaluations += result.shared_evaluations
        tally.computing_seconds[worker] = tally.computing_seconds.get(worker, 0.0) + result.computing_seconds
        if len(result.drawn) == len(batch.items):
            now = result.seconds / batch.cost
            before = self._rates.get(batch.setting, now)
            self._rates[batch.setting] = RATE_MEMORY * before + (1 - RATE_MEMORY) * now

    def _acquit(self, run_id: str, worker: str) -> None:
        """Count against a worker that another one has made what failed there, and replace it after some."""
        for blamed in set(self._tries.pop(run_id, ())) - {worker}:
            self._blames[blamed] = self._blames.get(blamed, 0) + 1
            if self._blames[blamed] == BLAMES and blamed in self._flights:
                self._tell(f"{blamed} is replaced: {BLAMES} runs failed there that others have made.")
                self._crew.replace(blamed)

    def _take_failure(self, item: WorkItem, worker: str, failed: Failed, block: _Block, *, is_stopped: bool) -> bool:
        """Try a run again that came to nothing, or write down why it can't be made; return whether it is tried."""
        tried = self._tries.setdefault(item.run.run_id, [])
        tried.append(worker)
        if is_stopped:
            block.left += 1
        elif len(tried) < TRIES:
            block.pool.try_again(item, worker)
            self._wake_all()
            return True
        else:
            where = ", ".join(dict.fromkeys(tried))
            block.writer.fail(item.run, failed.metadata, f"{failed.error} (tried {TRIES} times, on {where})")
            block.on_finished(item.run.run_id)
        return False

    def _take_loss(self, worker: str, reason: str, block: _Block, *, is_stopped: bool) -> None:
        """Hand out again what a lost worker had, as far as the store does not hold it."""
        flights = self._flights.pop(worker, None)
        self._hungry.pop(worker, None)
        block.pool.forget_worker(worker)
        if flights is None:
            return
        self.tally.lost += 1
        lost = sum(len(flight.batch.items) for flight in flights)
        self._tell(f"{worker} is lost with {lost} runs, which are made again: {reason}")
        for position, flight in enumerate(flights):
            stored = block.writer.has_result
            missing = [item for item in flight.batch.items if not stored(item.run.run_id, item.identity)]
            # of the second one at most the first run was begun, while the answer to the first one was on its way
            begun = 0 if is_stopped else len(missing) if position == 0 else 1
            self._return(missing[begun:], block, is_stopped=is_stopped)
            for item in missing[:begun]:
                record = failure_record(item, self._conditions, self._experiment)
                self._take_failure(item, worker, Failed(item.run, record, reason), block, is_stopped=False)

    def _return(self, items: Sequence[WorkItem], block: _Block, *, is_stopped: bool) -> None:
        if is_stopped:
            block.left += len(items)
        elif items:
            block.pool.give_back(items)
            self._wake_all()

    def _replace_late_ones(self) -> None:
        now = self._crew.now()
        for worker, flights in self._flights.items():
            if flights and now > flights[0].due:
                flights[0].due = float("inf")
                self._tell(f"{worker} does not answer and is replaced.")
                self._crew.replace(worker)


@dataclass
class _Block:
    """Runs that are drawn up to the next look."""

    pool: WorkPool
    writer: Writer
    on_finished: Callable[[str], None]
    left: int = 0
