"""How an experiment would be spread over workers: the driver's own loop with workers that only tell the time.

Batches, their order and what is done with losses are the code that runs a real cluster; made up are the clock, the
seconds that work takes, and the pictures.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from experiments.cluster.crew import Done, Event, Numbered, Ready
from experiments.cluster.dispatch import Dispatcher
from experiments.cluster.orders import BatchResult, Drawn, Loaded, Order
from experiments.planning.design import Run
from experiments.running.worklist import WorkItem
from experiments.store.comparable import Conditions

NO_MODEL: Final = Loaded("", {}, {})
BUSY_ENOUGH: Final = 0.9
"""Share of the time in which devices compute, or the driver works, from which it is they that limit."""
DRIVER: Final = "the driver, which takes in results one after the other"


@dataclass(frozen=True)
class Timing:
    """What work takes, in seconds.

    Attributes:
        drawing: Of a run.
        loading: Of a worker, from its start to its engine being there.
        driver_per_order: Of the driver, for each batch that it sends and gets back.
        driver_per_run: Of the driver, for each result that it takes to the disk; 1,535 a second were taken in while the
            workers were busy for 96 % of the time.
        answering: From a batch's end on the device to its arrival.
    """

    drawing: Callable[[WorkItem], float]
    loading: float = 0.0
    driver_per_order: float = 0.002
    driver_per_run: float = 0.0006
    answering: float = 0.005


@dataclass(frozen=True)
class Forecast:
    """What a simulation found.

    Attributes:
        workers: How many.
        seconds: From the start to the last result.
        busy_share: Share of all devices' time in which they compute.
        driver_share: Share of the time in which the driver is at work.
        limit: What keeps it from being faster, as the rest of a sentence.
        loading_seconds: Of `seconds`, until the engines are there.
    """

    workers: int
    seconds: float
    busy_share: float
    driver_share: float
    limit: str
    loading_seconds: float = 0.0

    def sentence(self) -> str:
        """Say it for people."""
        plural = "" if self.workers == 1 else "s"
        return (
            f"{self.workers:,} worker{plural}: {_duration(self.seconds)}, the devices compute {self.busy_share:.0%} of "
            f"it, the driver works {self.driver_share:.0%} of it; limited by {self.limit}."
        )


def simulate(
    items: Sequence[WorkItem], workers: int, timing: Timing, setting_of: Callable[[WorkItem], str]
) -> Forecast:
    """Spread runs over so many workers.

    Args:
        items: The runs, in the plan's order.
        workers: At least 1.
        timing: What work takes.
        setting_of: Names the engine setting of a run.
    """
    crew = _TimedCrew(workers, timing)
    conditions = Conditions({}, "", {})
    dispatcher = Dispatcher(crew, conditions, "", lambda _surroundings: "", setting_of, lambda _sentence: None)
    dispatcher.draw(items, _Nowhere(crew), lambda _run_id: None, lambda: False)
    seconds, computing = crew.now(), sum(map(timing.drawing, items))
    busy, driver = computing / (workers * seconds), crew.driver_seconds / seconds
    limit = _limit(items, workers, timing, seconds, busy, driver)
    return Forecast(workers, seconds, busy, driver, limit, timing.loading)


def _limit(items: Sequence[WorkItem], workers: int, timing: Timing, seconds: float, busy: float, driver: float) -> str:
    """Name the largest part of the time in which devices don't compute."""
    if busy >= BUSY_ENOUGH:
        return "the devices"
    if driver >= BUSY_ENOUGH:
        return DRIVER
    longest = max(map(timing.drawing, items), default=0.0)
    shares = {
        "loading the model": timing.loading,
        DRIVER: driver * seconds,
        f"the number of runs ({len(items):,} for {workers:,} workers)" if len(items) < 4 * workers else "": (
            seconds - timing.loading - sum(map(timing.drawing, items)) / workers
        ),
        "the longest run": longest,
    }
    shares.pop("", None)
    return max(shares, key=lambda name: shares[name])


class _TimedCrew:
    """Workers that finish their orders when the clock says so."""

    def __init__(self, workers: int, timing: Timing) -> None:
        self._timing = timing
        self._now = 0.0
        self._free_at = {f"worker {number}": timing.loading for number in range(1, workers + 1)}
        self._happening: list[tuple[float, int, Event]] = []
        self._count = 0
        self.driver_seconds = 0.0
        for name in self._free_at:
            self._at(timing.loading, Ready(name, NO_MODEL))

    @property
    def expected(self) -> int:
        return len(self._free_at)

    def now(self) -> float:
        return self._now

    def drive(self, seconds: float) -> None:
        """Let the driver be at work."""
        self._now += seconds
        self.driver_seconds += seconds

    def submit(self, worker: str, order: Numbered) -> None:
        assert isinstance(order, Order)
        self.drive(self._timing.driver_per_order)
        seconds = sum(map(self._timing.drawing, order.items))
        self._free_at[worker] = max(self._free_at[worker], self._now) + seconds
        drawn = tuple(Drawn(item.run, b"", {}) for item in order.items)
        result = BatchResult(order.number, drawn, (), seconds, 0, seconds)
        self._at(self._free_at[worker] + self._timing.answering, Done(worker, result))

    def events(self, timeout_s: float) -> Sequence[Event]:
        if not self._happening:
            self._now += timeout_s
            return []
        self._now = max(self._now, self._happening[0][0])
        happened = []
        while self._happening and self._happening[0][0] <= self._now:
            happened.append(heapq.heappop(self._happening)[2])
        return happened

    def replace(self, worker: str) -> None:
        raise AssertionError(f"{worker} of a simulation is late")

    def stop(self) -> None:
        raise AssertionError("a simulation is not stopped")

    def _at(self, when: float, event: Event) -> None:
        self._count += 1
        heapq.heappush(self._happening, (when, self._count, event))


class _Nowhere:
    """A writer that takes the driver's time and nothing else."""

    def __init__(self, crew: _TimedCrew) -> None:
        self._crew = crew

    def write_png(self, _run: Run, _metadata: dict[str, Any], _png: bytes) -> None:
        self._crew.drive(self._crew._timing.driver_per_run)

    def fail(self, run: Run, _metadata: dict[str, Any], error: str) -> None:
        raise AssertionError(f"{run.run_id} of a simulation failed: {error}")

    def has_result(self, _run_id: str, _identity: str) -> bool:
        return False


def _duration(seconds: float) -> str:
    from experiments.running.console import duration_text

    return duration_text(seconds)
