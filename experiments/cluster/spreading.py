"""What a dry run says of workers: how long so many would take, and what limits them, by a simulation of the driver."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Final

from experiments.cluster.simulation import Forecast, Timing, simulate
from experiments.planning.design import Plan
from experiments.running.loadings import LOADED_BYTES_PER_SECOND
from experiments.running.plan_models import Facts
from experiments.running.worklist import COMPLETED, WorkItem
from experiments.store.comparable import ModelIdentity
from llm_dit.sampling.guidance import evaluation_count

BYTES_PER_WEIGHT: Final = 2.0
SHARE_OF_TRANSFORMER: Final = 0.6
"""Of the model's weights: 6.15 of 10.2 billion in Z-Image."""
NO_MODEL: Final = ModelIdentity("", {})


def spread(plan: Plan, facts: Facts, runs: int, seconds: float, workers: int) -> Forecast:
    """Spread the runs of a plan that are left over workers.

    Args:
        plan: The plan.
        facts: Of its models, whose size says what loading takes.
        runs: How many are left.
        seconds: What one device would take for them, loading left out.
        workers: How many.
    """
    items = runs_to_spread(plan, facts, runs)
    costs = {item.run.cell.name: _cost(item) for item in items}
    total = sum(costs[item.run.cell.name] for item in items) or 1.0
    weights = max(fact.transformer_parameters for fact in facts.values()) / SHARE_OF_TRANSFORMER
    loading = weights * BYTES_PER_WEIGHT / LOADED_BYTES_PER_SECOND
    timing = Timing(lambda item: seconds * costs[item.run.cell.name] / total, loading)
    return simulate(items, workers, timing, lambda item: str(plan.loading_order.index(item.run.settings)))


def runs_to_spread(plan: Plan, facts: Facts, runs: int) -> list[WorkItem]:
    """Return the first runs of a plan, as far as spreading them needs: filled in, and grouped by prompt."""
    filled = {
        cell.name: {name: getattr(facts[settings].resolved(template), name) for name in COMPLETED}
        for cell, settings, template in zip(plan.cells, plan.settings, plan.templates, strict=True)
    }
    return [
        WorkItem(
            replace(run, params=run.params.model_copy(update=filled[run.cell.name])),
            run.run_id,
            run.params.prompt,
            None,
            NO_MODEL,
        )
        for run in islice(plan.runs(), runs)
    ]


def _cost(item: WorkItem) -> float:
    params = item.run.params
    return float(evaluation_count(params) * (params.height or 0) * (params.width or 0))
