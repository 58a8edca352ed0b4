"""An experiment that runs until it is decided: draw a block of prompts, score it, look, and leave out what has ended.

The looks stand in the manifest before the first picture, and each look that was taken before the next block is drawn;
so a command that goes on after any end, a killed one as well, takes the same looks, and none twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.metrics.declaration import Scorer
from experiments.planning.design import Plan
from experiments.planning.looks import LookPlan
from experiments.running.worklist import WorkItem, Worklist
from experiments.stats.look_taking import LEFT, take_look
from experiments.store.look_log import KEY, LookLog, look_log_from
from experiments.store.result_store import ResultStore

SECONDS_PER_HOUR = 3600


class Decider:
    """Says what is drawn next, and looks when it is drawn.

    Args:
        plan: All runs.
        looks: Fixed beforehand.
        store: The experiment's folder, locked meanwhile.
        scorer: Of the measure that decides.
        score: Scores what has no score yet; returns False if it was stopped.
        problems: One sentence for each thing that could not be scored; `score` adds to it.
        max_images: Most pictures of the folder; None has no limit.
        max_hours: Most hours from `begin`; None has no limit.
        on_look: Told of every look, with the log.

    Attributes:
        log: The looks so far.
        problems: As handed over.
    """

    def __init__(
        self,
        plan: Plan,
        looks: LookPlan,
        store: ResultStore,
        scorer: Scorer,
        score: Callable[[], bool],
        problems: list[str],
        *,
        max_images: int | None = None,
        max_hours: float | None = None,
        on_look: Callable[[LookLog], None] = lambda _log: None,
    ) -> None:
        self._plan = plan
        self._looks = looks
        self._store = store
        self._scorer = scorer
        self._score = score
        self.problems = problems
        self._max_images = max_images
        self._max_hours = max_hours
        self._ends_at: float | None = None
        self._on_look = on_look
        self.log = LookLog(looks, pictures_a_prompt=len(plan.cells) * len(plan.seeds))

    def begin(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Take over the looks that the folder's manifest holds, and return the block for it; time counts now."""
        if self._max_hours is not None:
            self._ends_at = time.monotonic() + self._max_hours * SECONDS_PER_HOUR
        self.log = replace(look_log_from(manifest) or self.log, end="")
        return {KEY: self.log.values()}

    @property
    def is_out_of_time(self) -> bool:
        """True once `max_hours` are over."""
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def blocks(self, work: Worklist) -> Iterator[Sequence[WorkItem]]:
        """Yield what is to be drawn up to each look; it has to be drawn before the next is asked for."""
        made, drawn = work.finished, 0
        for look in range(len(self.log.taken), len(self._looks.prompts)):
            if self._is_decided():
                break
            items = self._items(work, look, drawn)
            drawn = self._looks.prompts[look]
            if self._max_images is not None and made + len(items) > self._max_images:
                self._end("images")
                return
            yield items
            made += len(items)
            if not self._score():
                return
            self._look()
            if self.is_out_of_time:
                break
        if self.is_out_of_time and not self._is_decided():
            return
        self._end("decided" if self._is_decided() and not self._is_left_open() else "prompts")

    def finish(self) -> None:
        """Write down that the time is over, where it ended the last block or came after it."""
        if self.is_out_of_time and not self.log.end:
            self._end("hours")

    def _items(self, work: Worklist, look: int, drawn: int) -> list[WorkItem]:
        """Return what is missing up to a look, of the levels that go on, beyond what this command drew."""
        prompts = set(self._looks.order[drawn : self._looks.prompts[look]])
        going = {cell.name for cell in self._plan.cells if self.log.prompts_of(cell.name) >= self._looks.prompts[look]}
        return [item for item in work.to_do if item.run.prompt.id in prompts and item.run.cell.name in going]

    def _look(self) -> None:
        manifest, records = self._store.manifest(), self._store.runs()
        own = [
            record for record in records if record.scores_of.get(self._scorer.metric.name) == self._scorer.metric.model
        ]
        direction = self._scorer.metric.direction
        self._write(self.log.with_look(take_look(manifest, self.log, own, is_higher_better=direction != "lower")))

    def _is_decided(self) -> bool:
        latest = self.log.latest
        return latest is not None and all(item.ended_at is not None for item in latest.levels.values())

    def _is_left_open(self) -> bool:
        """Return whether a race had no more prompts and still has several levels, not shown to be within a margin."""
        latest = self.log.latest
        assert latest is not None
        left = [item for item in latest.levels.values() if item.state == LEFT]
        return len(left) > 1 and not latest.is_within_margin

    def _end(self, reason: str) -> None:
        self._write(replace(self.log, end=reason))

    def _write(self, log: LookLog) -> None:
        self.log = log
        self._store.write_manifest({**self._store.manifest().raw, KEY: log.values()})
        self._on_look(log)
