"""The models of a plan: what their files tell, and what of them follows from the folder and from the work ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from experiments.planning.command_flags import Request
from experiments.planning.design import Plan
from experiments.planning.model_facts import ModelFacts, read_model_facts
from experiments.running.unsupported import without_unsupported
from experiments.store.result_store import ResultStore
from llm_dit.checkpoints.finding import is_embedded_name
from llm_dit.errors import InvalidParameter
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork

Facts = Mapping[EngineSettings, ModelFacts]


def facts_of(plan: Plan) -> Facts:
    """Read the configurations of the models of a plan, by its settings of the engine.

    Raises:
        CheckpointError: If one is not there, or a file is missing or damaged.
    """
    return {settings: read_model_facts(settings) for settings in plan.loading_order}


def work_of_each(plan: Plan, facts: Facts) -> PlannedWork:
    """Return the work under one setting of the engine: the mean of the evaluations over all, and the largest image.

    What `compile = auto` chooses by them, and the room that is kept on a card, are the same for all levels then.
    """
    resolved = [
        facts[settings].resolved(template) for settings, template in zip(plan.settings, plan.templates, strict=True)
    ]
    steps = sum(params.num_inference_steps or 0 for params in resolved)
    evaluations = steps * len(plan.prompts) * len(plan.seeds) // len(plan.loading_order)
    return PlannedWork(evaluations, max((params.height or 0) * (params.width or 0) for params in resolved))


def as_in_folder(plan: Plan, store: ResultStore) -> Plan:
    """Return a plan with the numerics of the folder's images, where the settings leave a choice."""
    manifest = store.whole_manifest() if plan.engine.compile == "auto" else None
    if manifest is None:
        return plan
    chosen = manifest.conditions.numerics.get("compile", "auto")
    return replace(plan, engine=plan.engine.replaced(compile=chosen))


def plan_of(request: Request, store: ResultStore) -> Plan:
    """Return the runs that a request asks for and this machine can do, with the numerics of the folder.

    Raises:
        LlmDitError: For whatever is wrong with the request, or a level that this machine can't do.
    """
    plan = request.plan()
    _check_loras(plan)
    return without_unsupported(as_in_folder(plan, store), skips=request.skips_unsupported)


def _check_loras(plan: Plan) -> None:
    """Refuse to vary the strength of LoRAs where no level has one: all its pictures would be the same."""
    if "lora_strength" in plan.experiment.axis_parameters and not any(template.loras for template in plan.templates):
        raise InvalidParameter(
            "lora_strength",
            f"changes nothing without a LoRA (experiment {plan.experiment.name}); add --lora FILE.",
        )


def judged_model(plan: Plan) -> str:
    """Return the model by which judges are chosen: one that is not embedded, if there is one."""
    paths = [settings.model_path for settings in plan.loading_order]
    return next((path for path in paths if not is_embedded_name(path)), paths[0])
