"""A row of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SHOWN_STATES = ("done", "failed", "interrupted")


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        id: 32 hexadecimal digits.
        state: `waiting`, `done`, `failed` or `interrupted`; a waiting row belongs to a job in the queue, a `deleted`
            one is on its way out.
        created_at: Unix time.
        params: The generation parameters; resolved ones (seed, size) once the image is there.
        metadata: The whole record of a finished image; None in lists.
        error: One sentence, if it failed.
        number: Its place: newer rows have higher ones.
        is_starred: True if it is kept however many come after it.
    """

    id: str
    state: str
    created_at: float
    params: dict[str, Any]
    metadata: dict[str, Any] | None
    error: str | None
    number: int = 0
    is_starred: bool = False
