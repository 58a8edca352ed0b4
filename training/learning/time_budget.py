"""How far a stage is through its time, and the learning rate that follows from it.

Stages are given seconds, not steps: a lent accelerator is paid by the minute, and a stage that ends on time leaves the
next one its share. Knows nothing of models or devices.
"""

import math
import time
from dataclasses import dataclass, field


@dataclass
class TimeBudget:
    """A span of wall-clock time, optionally cut short after a number of steps.

    Attributes:
        seconds: Length of the span in seconds.
        until: Clock time (`time.time()`) at which it ends at the latest, or None.
        max_steps: Number of steps after which it ends as well, or None.
    """

    seconds: float
    until: float | None = None
    max_steps: int | None = None
    start: float = field(default_factory=time.time)

    def fraction(self, step: int) -> float:
        """Share of the budget that is used up after `step` steps, in [0, 1]."""
        end = self.start + self.seconds if self.until is None else min(self.start + self.seconds, self.until)
        by_time = (time.time() - self.start) / max(end - self.start, 1e-3)
        by_step = step / self.max_steps if self.max_steps else 0.0
        return min(1.0, max(by_time, by_step))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.time() - self.start


def warm_up(step: int, steps: int) -> float:
    """Linear rise from 1 / steps to 1 over the first `steps` steps."""
    return min(1.0, (step + 1) / steps)


def cosine_fall(fraction: float) -> float:
    """Half a cosine from 1 at fraction 0 to 0 at fraction 1."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, fraction)))


def late_fall(fraction: float, flat: float = 0.5) -> float:
    """Constant 1 until `flat`, then linear to 0 at fraction 1 (warm-up, stable, decay)."""
    return 1.0 if fraction < flat else max(0.0, (1.0 - fraction) / (1.0 - flat))
