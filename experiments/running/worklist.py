"""What a command has left to do: planned runs, seen through the model and through what is on disk already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.planning.design import Plan, Run
from experiments.store.records import Conditions
from experiments.store.result_store import ResultStore
from llm_dit.errors import InvalidParameter, LlmDitError, OutputError
from llm_dit.parameters import GenerationParams
from llm_dit.prompting.chat_template import formatted_negative_prompt, formatted_prompt_from_params

if TYPE_CHECKING:
    from llm_dit.pipeline import ZImagePipeline

NAMED_STALE_RUNS = 10
"""So many stale results are named one by one; the rest are counted."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A run that has no result yet.

    Attributes:
        run: The run, its parameters resolved.
        identity: Hash of everything that changes its image.
        formatted_prompt: What the text encoder reads.
        negative_prompt: The formatted negative prompt; None without guidance.
    """

    run: Run
    identity: str
    formatted_prompt: str
    negative_prompt: str | None


@dataclass(frozen=True)
class Worklist:
    """A plan, sorted by what is on disk.

    Attributes:
        conditions: What all its runs share.
        to_do: Runs to make, in the plan's order.
        finished: Number of runs that have their result.
        stale: Ids of runs whose file was made with other inputs and stays as it is.
    """

    conditions: Conditions
    to_do: tuple[WorkItem, ...]
    finished: int
    stale: tuple[str, ...]


def conditions_of(plan: Plan, pipeline: ZImagePipeline) -> Conditions:
    """Return what all runs of a plan share, checked against the model.

    Raises:
        InvalidParameter: If the model has no such hidden layer, size or text length; the message names the level.
    """
    resolved = [_resolved_template(plan, index, pipeline) for index in range(len(plan.cells))]
    left_out = plan.experiment.axis_parameters | {"prompt", "seed"}
    shared = {name: value for name, value in resolved[0].model_dump().items() if name not in left_out}
    return Conditions(shared, pipeline.fingerprint, dict(pipeline.numerics))


def make_worklist(plan: Plan, pipeline: ZImagePipeline, store: ResultStore, *, overwrite: bool = False) -> Worklist:
    """Sort a plan's runs into finished, stale, and to do.

    Args:
        plan: What is asked for.
        pipeline: The loaded model.
        store: The experiment's folder, locked.
        overwrite: Make stale runs again.

    Raises:
        LlmDitError: If the folder holds another experiment, or was made under other conditions and `overwrite` is off.
    """
    conditions = conditions_of(plan, pipeline)
    if ResultStore.is_results(store.folder):
        _check_same_experiment(plan, conditions, store, overwrite=overwrite)
    to_do: list[WorkItem] = []
    stale: list[str] = []
    names: set[str] = set()
    finished = 0
    texts: dict[str, str] = {}
    for run in plan.runs():
        if run.run_id in names:
            raise LlmDitError(f"Two runs would both be called {run.run_id}; rename a prompt or a level.")
        names.add(run.run_id)
        item = _work_item(run, conditions, pipeline, texts)
        on_disk = store.finished_identity(run.run_id)
        if on_disk == item.identity:
            finished += 1
        elif on_disk is None or overwrite:
            to_do.append(item)
        else:
            stale.append(run.run_id)
    return Worklist(conditions, tuple(to_do), finished, tuple(stale))


def named_runs(run_ids: tuple[str, ...]) -> str:
    """Return the first names and how many more there are."""
    more = len(run_ids) - NAMED_STALE_RUNS
    return ", ".join(run_ids[:NAMED_STALE_RUNS]) + (f" and {more} more" if more > 0 else "")


def _resolved_template(plan: Plan, index: int, pipeline: ZImagePipeline) -> GenerationParams:
    try:
        return pipeline.resolve(plan.templates[index].replaced(seed=plan.templates[index].seed or 0))
    except InvalidParameter as error:
        where = f"{error.problem} (experiment {plan.experiment.name}, level {plan.cells[index].name})"
        raise InvalidParameter(error.field or "parameters", where) from None


def _work_item(run: Run, conditions: Conditions, pipeline: ZImagePipeline, texts: dict[str, str]) -> WorkItem:
    """Resolve one run; `texts` shares equal strings between runs."""
    size = {"height": run.params.height or pipeline.native_height, "width": run.params.width or pipeline.native_width}
    params = run.params.model_copy(update=size)
    formatted = formatted_prompt_from_params(params)
    negative = formatted_negative_prompt(params) if params.guidance_scale > 0 else None
    return WorkItem(
        replace(run, params=params),
        conditions.identity(params, formatted, negative),
        texts.setdefault(formatted, formatted),
        None if negative is None else texts.setdefault(negative, negative),
    )


def _check_same_experiment(plan: Plan, conditions: Conditions, store: ResultStore, *, overwrite: bool) -> None:
    """Refuse to mix runs that may not be compared: other axes, or other settings beside the axes."""
    manifest = store.manifest()
    axes = [axis.name for axis in plan.experiment.axes]
    if [axis.name for axis in manifest.axes] != axes:
        raise OutputError(
            f"{store.folder} holds an experiment over {manifest.variable_name}, not over {' x '.join(axes)}; choose "
            "another --name or --output-dir.",
            field="output_dir",
        )
    if manifest.conditions.hash == conditions.hash or overwrite:
        return
    made = _finished_names(plan, store)
    if not made:
        return
    changes = "; ".join(manifest.conditions.differences(conditions))
    raise OutputError(
        f"{store.folder}: {len(made)} results are stale, made with other inputs ({changes}): {named_runs(made)}. Add "
        "--overwrite to make those of this plan again, or keep both with another --output-dir.",
        field="output_dir",
    )


def _finished_names(plan: Plan, store: ResultStore) -> tuple[str, ...]:
    """Return the ids of all finished runs in the folder, those of this plan first."""
    planned = {run.run_id for run in plan.runs()}
    on_disk = [record.run_id for record in store.runs() if record.is_finished]
    return tuple(sorted(on_disk, key=lambda name: (name not in planned, name)))
