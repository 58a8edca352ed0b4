"""Workers as the driver sees them, Ray's and simulated ones: what it may ask of them, and what they report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from experiments.cluster.orders import Loaded
from llm_dit.errors import LlmDitError

ORDERS_IN_FLIGHT: Final = 2
"""Of one worker: one that it draws, and one that it finds there when that is done."""
MemberState = Literal["coming", "described", "loading", "ready", "refused"]


class Numbered(Protocol):
    """An order or its answer."""

    @property
    def number(self) -> int:
        """Of the order, among all of a command."""


@dataclass(frozen=True)
class Ready:
    """A worker has its engine loaded and waits for orders, for the first time or after it was lost."""

    worker: str
    model: Loaded


@dataclass(frozen=True)
class Done:
    """A worker has brought what an order asked for."""

    worker: str
    result: Numbered


@dataclass(frozen=True)
class Lost:
    """A worker has gone with all orders that it had; it may come back, and says `Ready` then."""

    worker: str
    reason: str


Event = Ready | Done | Lost


@dataclass(frozen=True)
class Standing:
    """Where a worker stands on its way to its first order.

    Attributes:
        name: Its name.
        state: How far it is; `ready` takes orders, `refused` never will.
        host: Its machine; empty until it has said so.
        pid: Its process there; None while it is not known.
    """

    name: str
    state: MemberState
    host: str
    pid: int | None


class Crew(Protocol):
    """Workers of one command."""

    @property
    def expected(self) -> int:
        """How many workers there are or will be."""

    def submit(self, worker: str, order: Numbered) -> None:
        """Hand a worker an order; it draws its orders in turn."""

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened, waiting for it no longer than `timeout_s`.

        Raises:
            LlmDitError: If no worker is left and none will come.
        """

    def replace(self, worker: str) -> None:
        """End a worker that does not answer; it is reported as lost."""

    def stop(self) -> None:
        """Let every worker end after its current image."""

    def now(self) -> float:
        """Return the seconds of the clock that all of them live by."""


class CrewBetween:
    """A crew that passes on what it is asked, for those that listen or count on the way; see `Crew`.

    Args:
        crew: The workers.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    @property
    def expected(self) -> int:
        """How many workers there are or will be."""
        return self._crew.expected

    def submit(self, worker: str, order: Numbered) -> None:
        """Hand a worker an order."""
        self._crew.submit(worker, order)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened; see `Crew.events`."""
        return self._crew.events(timeout_s)

    def replace(self, worker: str) -> None:
        """End a worker that does not answer."""
        self._crew.replace(worker)

    def stop(self) -> None:
        """Let every worker end after its current image."""
        self._crew.stop()

    def now(self) -> float:
        """Return the seconds of the crew's clock."""
        return self._crew.now()


def first_ready(crew: Crew, should_stop: Callable[[], bool] = lambda: False) -> tuple[Loaded, list[Event]]:
    """Wait for the first worker that has its engine, and return what it says, with all that happened so far.

    Raises:
        LlmDitError: If all are refused, or it was asked to stop before.
    """
    happened: list[Event] = []
    while not should_stop():
        happened += crew.events(1.0)
        ready = [event for event in happened if isinstance(event, Ready)]
        if ready:
            return ready[0].model, happened
    raise LlmDitError("Stopped before a worker was there; the same experiment goes on where it is.")
