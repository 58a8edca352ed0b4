"""Who of a crew is there, overheard from what it reports to whoever asks it at the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.cluster.crew import Crew, Event, Lost, Numbered, Ready


class OverheardCrew:
    """A crew whose workers' coming and going is told to another one as well; see `Crew`.

    Args:
        crew: The workers.
        hear: Told of every worker that is ready or lost.
    """

    def __init__(self, crew: Crew, hear: Callable[[Ready | Lost], None]) -> None:
        self._crew = crew
        self._hear = hear
        self.now = crew.now
        self.replace = crew.replace
        self.stop = crew.stop

    @property
    def expected(self) -> int:
        """How many workers there are or will be."""
        return self._crew.expected

    def submit(self, worker: str, order: Numbered) -> None:
        """Hand a worker an order."""
        self._crew.submit(worker, order)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened; see `Crew.events`."""
        happened = self._crew.events(timeout_s)
        for event in happened:
            if isinstance(event, Ready | Lost):
                self._hear(event)
        return happened
