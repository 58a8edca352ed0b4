"""What a command has left to do: planned runs, seen through the model and through what is on disk already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from experiments.planning.design import Plan, Run
from experiments.store.comparable import (
    Conditions,
    ModelIdentity,
    changed_surroundings,
    run_identity,
    surroundings_of,
    varied_by,
)
from experiments.store.manifest import OF_THE_RUN, Manifest
from experiments.store.manifest_json import manifest_from_values, manifest_values
from experiments.store.manifest_union import check_same_question, united_values
from experiments.store.records import DamagedRecord, RunRecord
from experiments.store.result_store import ResultStore
from experiments.store.verification import unfit_pictures
from llm_dit.errors import InvalidParameter, LlmDitError, OutputError, listed
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.prompting.chat_template import formatted_negative_prompt, formatted_prompt_from_params

COMPLETED = ("height", "width", "shift", "num_inference_steps", "guidance_scale", "loras")
"""What a model fills in; the seed is the run's own."""
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
        model: What of the model that makes it changes its image.
    """

    run: Run
    identity: str
    formatted_prompt: str
    negative_prompt: str | None
    model: ModelIdentity


@dataclass(frozen=True)
class Worklist:
    """A plan, sorted by what is on disk.

    Attributes:
        conditions: What all its runs share.
        manifest: The folder's manifest with this plan in it, not written yet.
        to_do: Runs to make, in the plan's order.
        finished: Number of runs that have their result.
        stale: Ids of runs whose file was made with other inputs and stays as it is.
        notes: What is to be said of the results that stand beside the new ones.
    """

    conditions: Conditions
    manifest: Mapping[str, Any]
    to_do: tuple[WorkItem, ...]
    finished: int
    stale: tuple[str, ...]
    notes: tuple[str, ...] = ()


class KnownModel(Protocol):
    """What sorting runs asks of a model, loaded or not."""

    numerics: dict[str, str]

    @property
    def device(self) -> Any:
        """Where the transformer computes."""

    @property
    def fingerprint(self) -> str:
        """Hash of the checkpoint."""

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """Fill in what the model decides, and check what only it can say."""

    def surroundings(self) -> dict[str, dict[str, str]]:
        """Return versions and machine."""


def make_worklist(
    plan: Plan,
    known: Callable[[EngineSettings], KnownModel],
    store: ResultStore,
    *,
    overwrite: bool = False,
    verify: bool = False,
) -> Worklist:
    """Sort a plan's runs into finished, stale, and to do. A run is known by what changes its image, not by its name.

    Args:
        plan: What is asked for.
        known: The model of each setting of the engine; asked once for each.
        store: The experiment's folder, locked where runs are made.
        overwrite: Make stale runs again.
        verify: Compare every picture with its hash, and make again what does not fit.

    Raises:
        InvalidParameter: If the model has no such hidden layer, size or text length; the message names the level.
        LlmDitError: If the folder holds another experiment, or was made under other conditions and `overwrite` is off.
    """
    models = {settings: known(settings) for settings in plan.loading_order}
    identities = {settings: ModelIdentity(model.fingerprint, model.numerics) for settings, model in models.items()}
    resolved = {index: _resolved(plan, index, models[plan.settings[index]].resolve) for index in range(len(plan.cells))}
    conditions = _conditions(plan, resolved, list(identities.values()))
    values = manifest_values(plan, conditions, resolved, [identities[settings] for settings in plan.settings])
    on_disk, damaged = store.results()
    unfit = unfit_pictures(on_disk) if verify else []
    unfit_names = {found.run_id for found in unfit}
    on_disk = [record for record in on_disk if record.run_id not in unfit_names]
    old = store.whole_manifest()
    if old is not None:
        values = _with_older_commands(values, plan, conditions, store, old, on_disk, overwrite=overwrite)
    manifest = manifest_from_values(values, store.folder)
    items = _work_items(plan, resolved, identities)
    to_do, stale, finished = _sorted_items(items, manifest, on_disk, overwrite=overwrite)
    changed = None
    if to_do:  # what a model's surroundings are is asked of torch
        changed = changed_surroundings(
            (record for record in on_disk if manifest.place(record) is not None),
            surroundings_of(models[plan.loading_order[0]].surroundings()),
        )
    notes = [*_damage_notes([*damaged, *unfit])]
    if old is None and ResultStore.is_results(store.folder):
        notes.append(f"{store.folder}: the manifest was damaged and is written anew from this command.")
    if changed is not None:
        notes.append(changed)
    return Worklist(conditions, values, tuple(to_do), finished, tuple(stale), tuple(notes))


def _conditions(plan: Plan, resolved: Mapping[int, GenerationParams], models: Sequence[ModelIdentity]) -> Conditions:
    """Return what all runs of a plan share: each parameter's value wherever no level sets it."""
    shared: dict[str, Any] = {}
    for index, cell in enumerate(plan.cells):
        for name, value in resolved[index].model_dump().items():
            if name not in cell.parameters and name not in OF_THE_RUN:
                shared.setdefault(name, value)
    return Conditions.of(shared, models[0], varied_by(plan.experiment.engine_parameters, models))


def named_runs(run_ids: tuple[str, ...]) -> str:
    """Return the first names and how many more there are."""
    return listed(run_ids, NAMED_STALE_RUNS)


def check_levels(
    plan: Plan, resolve: Callable[[EngineSettings], Callable[[GenerationParams], GenerationParams]]
) -> None:
    """Check every cell against the model of its settings.

    Raises:
        InvalidParameter: If the model can't do one; the message names the level.
    """
    for index, settings in enumerate(plan.settings):
        _resolved(plan, index, resolve(settings))


def _resolved(plan: Plan, index: int, resolve: Callable[[GenerationParams], GenerationParams]) -> GenerationParams:
    try:
        return resolve(plan.templates[index].replaced(seed=plan.templates[index].seed or 0))
    except InvalidParameter as error:
        raise plan.of_level(error, plan.cells[index]) from None


def _work_items(
    plan: Plan, resolved: Mapping[int, GenerationParams], models: Mapping[EngineSettings, ModelIdentity]
) -> Iterator[WorkItem]:
    """Complete a plan's runs, in its order.

    Raises:
        LlmDitError: If two of them have one name.
    """
    index_of = {cell.name: index for index, cell in enumerate(plan.cells)}
    names: set[str] = set()
    texts: dict[str, str] = {}
    for run in plan.runs():
        if run.run_id in names:
            raise LlmDitError(f"Two runs would both be called {run.run_id}; rename a prompt or a level.")
        names.add(run.run_id)
        yield _work_item(run, resolved[index_of[run.cell.name]], models[run.settings], texts)


def _sorted_items(
    items: Iterable[WorkItem], manifest: Manifest, on_disk: Sequence[RunRecord], *, overwrite: bool
) -> tuple[list[WorkItem], list[str], int]:
    """Sort runs into what is to do and the names that are stale, and count the finished ones.

    A result finishes one run. Where a run's name is taken by a run that is wanted too, it gets a free one.
    """
    by_name = {record.run_id: record for record in on_disk}
    unclaimed = Counter(record.identity for record in on_disk)
    to_do: list[WorkItem] = []
    stale: list[str] = []
    finished = 0
    for item in items:
        run_id = item.run.run_id
        if unclaimed[item.identity]:
            unclaimed[item.identity] -= 1
            finished += 1
            continue
        other = by_name.get(run_id)
        if other is not None and manifest.place(other) is not None:
            free_name = f"{run_id}-{item.identity.rpartition(':')[2][:8]}"
            to_do.append(replace(item, run=replace(item.run, run_id=free_name)))
        elif other is None or overwrite:
            to_do.append(item)
        else:
            stale.append(run_id)
    return to_do, stale, finished


def _work_item(run: Run, resolved: GenerationParams, model: ModelIdentity, texts: dict[str, str]) -> WorkItem:
    """Complete one run as its cell was `resolved`; `texts` shares equal strings between runs."""
    completed = {name: getattr(resolved, name) for name in COMPLETED}
    params = run.params.model_copy(update=completed)
    formatted = formatted_prompt_from_params(params)
    negative = formatted_negative_prompt(params) if params.guidance_scale else None
    return WorkItem(
        replace(run, params=params),
        run_identity(params, formatted, negative, model.fingerprint, model.numerics),
        texts.setdefault(formatted, formatted),
        None if negative is None else texts.setdefault(negative, negative),
        model,
    )


def _with_older_commands(
    values: dict[str, Any],
    plan: Plan,
    conditions: Conditions,
    store: ResultStore,
    old: Manifest,
    on_disk: Sequence[RunRecord],
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Unite a plan's manifest with the folder's, or refuse to mix runs that may not be compared."""
    if not (overwrite and [axis.name for axis in old.axes] == [axis.name for axis in plan.experiment.axes]):
        check_same_question(old, plan, store.folder)
    changes = old.conditions.differences(conditions)
    if not changes:
        takes_baseline = overwrite and bool(plan.named_baseline)
        return united_values(old.raw, values, takes_baseline=takes_baseline)
    made = _placed_names(plan, old, on_disk)
    if made and not overwrite:
        raise OutputError(
            f"{store.folder}: {len(made)} results are stale, made with other inputs ({'; '.join(changes)}): "
            f"{named_runs(made)}. Add --overwrite to make those of this plan again, or keep both with another "
            "--output-dir.",
            field="output_dir",
        )
    return values


def _damage_notes(damaged: Sequence[DamagedRecord]) -> list[str]:
    """Name the results that are not whole."""
    if not damaged:
        return []
    named = "; ".join(str(found) for found in damaged[:NAMED_STALE_RUNS])
    more = f"; and {len(damaged) - NAMED_STALE_RUNS} more" if len(damaged) > NAMED_STALE_RUNS else ""
    count = "1 result is" if len(damaged) == 1 else f"{len(damaged)} results are"
    return [f"{count} damaged, and made again where this command asks for them: {named}{more}."]


def _placed_names(plan: Plan, manifest: Manifest, on_disk: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the ids of the finished runs that a manifest holds, those of this plan first."""
    planned = {run.run_id for run in plan.runs()}
    held = [record.run_id for record in on_disk if manifest.place(record) is not None]
    return tuple(sorted(held, key=lambda name: (name not in planned, name)))
