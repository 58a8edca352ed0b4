"""What is left to draw, and the batch that a worker gets next.

Runs of one formatted prompt form a group, which stays with the worker that has begun it: so its prompt is encoded once
in the whole cluster, and images that begin alike share their first evaluation. A group is split only where a worker
would have nothing to do otherwise. Long runs come first and batches become smaller towards the end, so that all workers
end together. A worker stays with its engine settings as long as they have work for it. Knows no Ray and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from experiments.running.forecast import BYTES_PER_PIXEL
from experiments.running.worklist import WorkItem
from llm_dit.sampling.guidance import evaluation_count

BATCHES_LEFT: Final = 4
"""A batch is so large that each worker gets at least as many more."""
MOST_SECONDS: Final = 15.0
"""Of one batch: what a lost worker costs, and how long Ctrl-C may have to wait for a worker that does not listen."""
MOST_RUNS: Final = 64
MOST_BYTES: Final = 32 << 20
"""Of the pictures of one batch, or of one parcel to score, which wait for their reader in Ray's object store."""


@dataclass(frozen=True)
class Batch:
    """Runs for one worker.

    Attributes:
        items: In the order in which they are drawn.
        setting: The engine setting that all of them need.
        cost: Evaluations times pixels of all of them.
        is_alone: Whether its worker gets no other batch beside it: a run that came to nothing before.
    """

    items: tuple[WorkItem, ...]
    setting: str
    cost: float
    is_alone: bool = False


@dataclass(eq=False)
class _Group:
    """Runs of one formatted prompt at one engine setting and one size."""

    setting: str
    items: deque[WorkItem]
    cost: float
    longest: float


@dataclass(frozen=True)
class _Retry:
    item: WorkItem
    failed_on: str


class WorkPool:
    """Runs that nobody draws yet.

    Args:
        items: In the plan's order.
        setting_of: Names the engine setting of a run.
    """

    def __init__(self, items: Iterable[WorkItem], setting_of: Callable[[WorkItem], str]) -> None:
        self._setting_of = setting_of
        self._costs: dict[tuple[str, int, int], float] = {}
        self._unopened: dict[str, deque[_Group]] = {}
        self._open: dict[str, _Group] = {}
        self._left: dict[str, float] = {}
        self._retries: deque[_Retry] = deque()
        self._setting_in_use: dict[str, str] = {}
        self.remaining = 0
        self._add(items)

    def take(
        self, worker: str, workers: int, rate_of: Callable[[str], float | None], *, may_be_alone: bool = True
    ) -> Batch | None:
        """Return the next batch of a worker; None where there is nothing for it now.

        Args:
            worker: Its name.
            workers: How many share the work.
            rate_of: Setting to the seconds that work takes per cost; None before anything was measured there, and then
                a batch is one run.
            may_be_alone: Whether the worker has no other batch, so that it may get a run that came to nothing before.
        """
        retry = self._retry_for(worker, workers) if may_be_alone else None
        if retry is not None:
            self.remaining -= 1
            return Batch((retry.item,), self._setting_of(retry.item), self.cost_of(retry.item), is_alone=True)
        setting = self._setting_for(worker)
        if setting is None:
            return None
        self._setting_in_use[worker] = setting
        items = self._taken(worker, setting, workers, rate_of(setting))
        cost = sum(map(self.cost_of, items))
        self.remaining -= len(items)
        self._left[setting] -= cost
        return Batch(tuple(items), setting, cost)

    def give_back(self, items: Iterable[WorkItem]) -> None:
        """Take back runs that were not begun."""
        self._add(items, is_first=True)

    def try_again(self, item: WorkItem, failed_on: str) -> None:
        """Take back a run that came to nothing; it goes alone, and to another worker where there is one."""
        self._retries.append(_Retry(item, failed_on))
        self.remaining += 1

    def forget_worker(self, worker: str) -> None:
        """Let others go on with the group of a worker that is lost, which comes back with nothing loaded."""
        group = self._open.pop(worker, None)
        if group is not None and group.items:
            self._unopened[group.setting].appendleft(group)
        self._setting_in_use.pop(worker, None)

    def clear(self) -> int:
        """Drop everything, and return how many runs that were."""
        dropped, self.remaining = self.remaining, 0
        self._unopened, self._open, self._left = {}, {}, {}
        self._retries.clear()
        return dropped

    def cost_of(self, item: WorkItem) -> float:
        """Return evaluations times pixels of a run, which its cell and size decide."""
        params = item.run.params
        height, width = params.height or 0, params.width or 0
        key = (item.run.cell.name, height, width)
        if key not in self._costs:
            self._costs[key] = float(evaluation_count(params) * height * width) or 1.0
        return self._costs[key]

    def _add(self, items: Iterable[WorkItem], *, is_first: bool = False) -> None:
        groups: dict[tuple[str, int | None, int | None, str], _Group] = {}
        for item in items:
            params, cost = item.run.params, self.cost_of(item)
            key = (self._setting_of(item), params.height, params.width, item.formatted_prompt)
            group = groups.setdefault(key, _Group(key[0], deque(), 0.0, 0.0))
            group.items.append(item)
            group.cost += cost
            group.longest = max(group.longest, cost)
            self._left[group.setting] = self._left.get(group.setting, 0.0) + cost
            self.remaining += 1
        for group in sorted(groups.values(), key=lambda group: group.longest, reverse=not is_first):
            queue = self._unopened.setdefault(group.setting, deque())
            (queue.appendleft if is_first else queue.append)(group)

    def _retry_for(self, worker: str, workers: int) -> _Retry | None:
        for index, retry in enumerate(self._retries):
            if retry.failed_on != worker or workers < 2:
                del self._retries[index]
                return retry
        return None

    def _setting_for(self, worker: str) -> str | None:
        """Return the setting with most work for each of its workers; the worker's own one counts double."""
        own = self._setting_in_use.get(worker)
        left = {setting: cost for setting, cost in self._left.items() if self._has_group(setting)}
        if len(left) < 2:
            return next(iter(left), None)
        others = [setting for name, setting in self._setting_in_use.items() if name != worker]

        def worth(setting: str) -> float:
            return left[setting] / (1 + others.count(setting)) * (2 if setting == own else 1)

        return max(left, key=worth)

    def _has_group(self, setting: str) -> bool:
        return bool(self._unopened.get(setting)) or any(
            group.setting == setting and group.items for group in self._open.values()
        )

    def _taken(self, worker: str, setting: str, workers: int, seconds_per_cost: float | None) -> list[WorkItem]:
        if seconds_per_cost is None:
            most_runs, target = 1, 0.0
        else:
            share = self._left[setting] / (BATCHES_LEFT * max(workers, 1))
            most_runs, target = MOST_RUNS, min(share, MOST_SECONDS / max(seconds_per_cost, 1e-12))
        items: list[WorkItem] = []
        cost = size = 0.0
        while len(items) < most_runs:
            group = self._group_for(worker, setting)
            if group is None:
                break
            item = group.items[0]
            item_cost, item_size = self.cost_of(item), _bytes_of(item)
            if items and (cost + item_cost > target or size + item_size > MOST_BYTES):
                break
            items.append(group.items.popleft())
            group.cost -= item_cost
            cost, size = cost + item_cost, size + item_size
        return items

    def _group_for(self, worker: str, setting: str) -> _Group | None:
        """Return the worker's own group, else one that nobody has begun, else the other half of the largest one."""
        own = self._open.get(worker)
        if own is not None and own.items and own.setting == setting:
            return own
        if own is not None and own.items:  # of another setting, which somebody else may go on with
            self._unopened[own.setting].appendleft(own)
        self._open.pop(worker, None)
        queue = self._unopened.get(setting)
        if queue:
            self._open[worker] = queue.popleft()
            return self._open[worker]
        shared = [group for group in self._open.values() if group.setting == setting and group.items]
        return max(shared, key=lambda group: group.cost, default=None)


def _bytes_of(item: WorkItem) -> float:
    return BYTES_PER_PIXEL * (item.run.params.height or 0) * (item.run.params.width or 0)
