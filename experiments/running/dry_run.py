"""What a request would cost and what is to be known of it before anything is drawn; nothing here loads a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.planning.command_flags import Request
from experiments.planning.design import Plan
from experiments.running.look_runs import expected_pictures, planned_looks
from experiments.running.plan_models import Facts, facts_of, judged_model, plan_of, work_of_each
from experiments.running.worklist import KnownModel, check_levels, make_worklist
from experiments.store.comparable import ModelIdentity
from experiments.store.result_store import ResultStore
from llm_dit.errors import LlmDitError
from llm_dit.parameters import EngineSettings
from llm_dit.parameters.effects import without_effect
from llm_dit.placement.planned_work import PlannedWork

if TYPE_CHECKING:
    from experiments.planning.looks import LookPlan
    from experiments.running.forecast import Totals


@dataclass(frozen=True)
class DryRun:
    """What a request would cost.

    Attributes:
        plan: Its runs.
        totals: Their number, time and disk.
        warnings: Sentences on results on disk, long prompts, levels that are secretly equal, idle settings, and
            prompts beyond the embedded model's world.
        sizes: Sentences on what the design can find.
        looks: When it would be looked at; None for a fixed design.
        expected: Sentences on the number of pictures that looks would take; empty for a fixed design.
    """

    plan: Plan
    totals: Totals
    warnings: tuple[str, ...]
    sizes: tuple[str, ...]
    looks: LookPlan | None = None
    expected: tuple[str, ...] = ()


def dry_run(
    request: Request,
    *,
    overwrite: bool = False,
    spreads: Mapping[str, float] | None = None,
    detect: float | None = None,
) -> DryRun:
    """Plan without doing anything: the runs are sorted as `run_experiment` sorts them.

    Args:
        request: What is asked for.
        overwrite: Count stale runs as to do.
        spreads: Measure to the standard deviation of its paired differences, where somebody knows it.
        detect: A difference; the sizes say how many prompts find it.

    Raises:
        LlmDitError: For whatever is wrong with the request, or whatever would refuse it.
    """
    from experiments.metrics.embedded_world import beyond_the_model
    from experiments.running.forecast import forecast

    store = ResultStore(request.folder)
    plan = plan_of(request, store)
    looks = planned_looks(request, plan, store)
    facts = facts_of(plan)
    check_choices(request, store)
    known = _Unloaded(work_of_each(plan, facts))
    check_levels(plan, lambda settings: facts[settings].checked)
    work = None
    if store.metadata.is_dir():  # else nothing is finished, which needs no torch
        work = make_worklist(plan, known, store, overwrite=overwrite)
    totals = forecast(plan, facts, store, work, looks=1 if looks is None else len(looks.prompts))
    notes = () if work is None else work.notes
    sizes = _sizes(request, plan, spreads or {}, detect)
    expected = () if looks is None else expected_pictures(plan, looks)
    beyond = beyond_the_model((prompt.text for prompt in plan.prompts), judged_model(plan))
    warnings = (*notes, *plan_warnings(plan, facts, known), *([beyond] if beyond else []))
    return DryRun(plan, totals, warnings, sizes, looks, tuple(expected))


def plan_warnings(plan: Plan, facts: Facts, known: Callable[[EngineSettings], KnownModel]) -> Iterator[str]:
    """Yield a sentence for levels left out, long prompts, levels that are secretly equal, and settings without effect.

    Args:
        plan: What is asked for.
        facts: Of its models.
        known: Its models; asked where levels set the engine.
    """
    from experiments.planning.equality import equal_levels
    from experiments.planning.prompt_lengths import length_warnings

    yield from (found.sentence() for found in plan.left_out)
    yield from length_warnings(plan, facts)
    models = None
    if plan.experiment.engine_parameters:
        seen = {settings: known(settings) for settings in plan.loading_order}
        models = {settings: ModelIdentity(model.fingerprint, model.numerics).told for settings, model in seen.items()}
    for found in equal_levels(plan, facts, models):
        yield found.sentence()
    resolved = zip(plan.settings, plan.templates, strict=True)
    idle = [set(without_effect(facts[settings].resolved(template))) for settings, template in resolved]
    for item in sorted(set.intersection(*idle)):
        if item.field in plan.base:
            yield item.sentence()


def check_choices(request: Request, store: ResultStore) -> None:
    """Refuse a measure that counts, or a margin, of what is none, or other than is named in the folder.

    Raises:
        LlmDitError: Naming both.
    """
    if request.primary is None and not request.margins:
        return
    from experiments.metrics import METRICS
    from experiments.stats.margins import check_margin_measure
    from experiments.stats.measures import check_measure

    if request.primary is not None:
        check_measure(request.primary, "--primary", METRICS)
        store.check_primary(request.primary)
    for measure in request.margins:
        check_margin_measure(measure, METRICS)
    store.check_margins(request.margins)


class _Unloaded:
    """Models as their files tell them, each looked at once."""

    def __init__(self, planned: PlannedWork) -> None:
        self._planned = planned
        self._models: dict[EngineSettings, KnownModel] = {}

    def __call__(self, settings: EngineSettings) -> KnownModel:
        from experiments.running.unloaded_model import UnloadedModel

        if settings not in self._models:
            self._models[settings] = UnloadedModel(settings, self._planned)
        return self._models[settings]


def _sizes(request: Request, plan: Plan, given: Mapping[str, float], detect: float | None) -> tuple[str, ...]:
    """Say what a plan can find, by what somebody knows of the measures, else by earlier results of the model."""
    from experiments.metrics import METRICS
    from experiments.running.earlier_spread import earlier_spreads
    from experiments.stats.measures import check_measure
    from experiments.stats.sizes import Size, Spread, size_sentences

    for column in given:
        check_measure(column, "--spread", METRICS)
    wanted = [request.primary] if request.primary else [metric.name for metric in METRICS if not metric.fidelity]
    spreads = [Spread(column, deviation, None, "as --spread says") for column, deviation in given.items()]
    missing = [column for column in wanted if column not in given]
    if not given or request.primary in missing:
        spreads += earlier_spreads(request.folder, judged_model(plan), missing, len(plan.seeds))
    if detect is not None and not spreads:
        raise LlmDitError(
            f"--detect {detect:g} needs to know how far differences spread, and {request.folder.parent} has no scored "
            "results of this model; add for example --spread image_reward=0.3.",
            field="detect",
        )
    return tuple(size_sentences(Size(len(plan.prompts), len(plan.cells) - 1), spreads, detect))
