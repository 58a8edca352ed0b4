"""Who of a crew is there, overheard from what it reports to whoever asks it at the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.cluster.crew import Crew, CrewBetween, Event, Lost, Ready


class OverheardCrew(CrewBetween):
    """A crew whose workers' coming and going is told to another one as well.

    Args:
        crew: The workers.
        hear: Told of every worker that is ready or lost.
    """

    def __init__(self, crew: Crew, hear: Callable[[Ready | Lost], None]) -> None:
        super().__init__(crew)
        self._hear = hear

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Return what has happened; see `Crew.events`."""
        happened = super().events(timeout_s)
        for event in happened:
            if isinstance(event, Ready | Lost):
                self._hear(event)
        return happened
