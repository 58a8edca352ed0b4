"""What a command shows of its workers: where each is, what it does, and how fast. Changes nothing of what they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, get_args

from experiments.cluster.crew import Crew, CrewBetween, Done, Event, Lost, Numbered, Standing
from experiments.cluster.orders import BatchResult
from experiments.cluster.scoring_orders import ScoredBatch, ScoringOrder

Doing = Literal["left out", "starting again", "starting", "loading", "waiting", "scoring", "drawing"]
TROUBLE_FIRST: Final[tuple[Doing, ...]] = get_args(Doing)


@dataclass(frozen=True)
class WorkerState:
    """A worker as people see it.

    Attributes:
        name: Its name.
        host: Its machine; empty until it says so.
        pid: Its process there; None while there is none.
        doing: What it does: `left out` was refused, `starting again` was lost.
        images: Pictures that it has brought.
        images_per_second: Of the time in which it drew; 0 before the first picture.
    """

    name: str
    host: str
    pid: int | None
    doing: Doing
    images: int
    images_per_second: float

    def line(self) -> str:
        """Return all of it in one line."""
        where = f" on {self.host}" if self.host else ""
        images = "1 image" if self.images == 1 else f"{self.images} images"
        rate = f", {images}, {self.images_per_second:.2f} images/s" if self.images else ""
        return f"{self.name}{where}: {self.doing}{rate}"


Watch = Callable[[tuple[WorkerState, ...]], None]


class StandingCrew(Crew, Protocol):
    """A crew that knows where its workers stand."""

    def standing(self) -> Sequence[Standing]:
        """Return each worker, in the order of their names."""


@dataclass
class _Count:
    """What one worker has done."""

    orders: set[int] = field(default_factory=set)
    is_scoring: bool = False
    images: int = 0
    seconds: float = 0.0
    losses: int = 0


class WatchedCrew(CrewBetween):
    """A crew whose orders and answers are counted on the way.

    Args:
        crew: The workers.
        watch: Told of all of them whenever one has changed.
    """

    def __init__(self, crew: StandingCrew, watch: Watch) -> None:
        super().__init__(crew)
        self._standing = crew.standing
        self._watch = watch
        self._counts: dict[str, _Count] = {}
        self._told: tuple[WorkerState, ...] = ()

    def submit(self, worker: str, order: Numbered) -> None:
        """Hand a worker an order."""
        super().submit(worker, order)
        count = self._count_of(worker)
        count.orders.add(order.number)
        count.is_scoring = isinstance(order, ScoringOrder)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened; see `Crew.events`."""
        self._tell()
        happened = super().events(timeout_s)
        for event in happened:
            self._note(event)
        self._tell()
        return happened

    def _count_of(self, worker: str) -> _Count:
        return self._counts.setdefault(worker, _Count())

    def _note(self, event: Event) -> None:
        count = self._count_of(event.worker)
        match event:
            case Done(result=ScoredBatch() as result):
                count.orders.discard(result.number)
            case Done(result=BatchResult() as result):
                count.orders.discard(result.number)
                count.images += len(result.drawn)
                count.seconds += result.seconds
            case Lost():
                count.orders.clear()
                count.losses += 1

    def _tell(self) -> None:
        states = tuple(self._state_of(standing) for standing in self._standing())
        if states != self._told:
            self._told = states
            self._watch(states)

    def _state_of(self, standing: Standing) -> WorkerState:
        count = self._count_of(standing.name)
        doing: Doing
        match standing.state:
            case "refused":
                doing = "left out"
            case "ready":
                doing = "waiting" if not count.orders else "scoring" if count.is_scoring else "drawing"
            case _ if count.losses:
                doing = "starting again"
            case "loading":
                doing = "loading"
            case _:
                doing = "starting"
        rate = count.images / count.seconds if count.seconds else 0.0
        return WorkerState(standing.name, standing.host, standing.pid, doing, count.images, rate)


def foremost(states: Sequence[WorkerState], most: int) -> tuple[list[WorkerState], str]:
    """Return at most `most` workers in their order, those in trouble first to be among them, and a word on the others.

    Args:
        states: All workers.
        most: So many are shown.
    """
    by_need = sorted(states, key=lambda state: TROUBLE_FIRST.index(state.doing))
    shown, others = by_need[:most], Counter(state.doing for state in by_need[most:])
    told = ", ".join(f"{others[doing]} {doing}" for doing in reversed(TROUBLE_FIRST) if others[doing])
    return [state for state in states if state in shown], f"and {others.total()} more: {told}" if told else ""
