"""What a model is loaded for, as far as it is known then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedWork:
    """The images ahead.

    Attributes:
        evaluations: Of the transformer, by which `compile = auto` decides; 0 for unknown.
        pixels: Of the largest image, for which room is kept on a card; the model's own size where that is larger.
    """

    evaluations: int = 0
    pixels: int = 0


UNKNOWN_WORK = PlannedWork()
