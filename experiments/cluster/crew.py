"""Workers as the driver sees them, Ray's and simulated ones: what it may ask of them, and what they report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from experiments.cluster.orders import Loaded


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
