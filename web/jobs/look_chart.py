"""What the page draws of an experiment that runs until it is decided: each level's estimate, interval and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.store.look_log import LookLog

FULL_WIDTH = 100.0
MARGIN_OF_SCALE = 0.08
"""Share of the widest end that stays free on each side."""


def look_chart(log: LookLog) -> dict[str, Any]:
    """Return the latest look, with places on a scale in percent whose middle is no difference.

    Ends of intervals that lie off the scale are cut there; intervals without ends span it.
    """
    latest, plan = log.latest, log.plan
    chart: dict[str, Any] = {
        "measure": plan.measure,
        "is_race": plan.is_race,
        "taken": len(log.taken),
        "planned": len(plan.prompts),
        "prompts": 0 if latest is None else latest.prompts,
        "of_prompts": plan.prompts[-1],
        "next": plan.prompts[len(log.taken)] if len(log.taken) < len(plan.prompts) and not log.end else None,
        "saved": 0 if latest is None else latest.pictures,
        "leader": "" if latest is None else latest.leader,
        "end": log.end,
        "levels": [],
    }
    if latest is None:
        return chart
    ends = [abs(end) for item in latest.levels.values() for end in (item.mean, item.low, item.high) if end is not None]
    reach = max(ends, default=0.0) * (1 + MARGIN_OF_SCALE) or 1.0

    def place(value: float) -> float:
        return round(FULL_WIDTH / 2 * (1 + value / reach), 2)

    chart["levels"] = [
        {
            "name": name,
            "state": item.state,
            "prompts": item.prompts,
            "mean": item.mean,
            "low": item.low,
            "high": item.high,
            "at": None if item.mean is None else place(item.mean),
            "from": 0.0 if item.low is None else place(item.low),
            "to": FULL_WIDTH if item.high is None else place(item.high),
        }
        for name, item in latest.levels.items()
    ]
    return chart
