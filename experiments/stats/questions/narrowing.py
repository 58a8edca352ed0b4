"""A part of an experiment as an experiment of its own: the runs that conditions pick, and another baseline.

An axis of which one level is left is no axis any more: "which shift at 4 steps" asks about shift.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from experiments.planning.axes import Axis
from experiments.planning.comma_list import items_of
from experiments.prompts import Prompt
from experiments.store.manifest import Manifest, ResolvedCell
from experiments.store.records import RunRecord
from llm_dit.errors import LlmDitError, nearest

OF_PROMPTS = ("category", "difficulty", "prompt")
"""What a condition may ask of a prompt, beside what its list says of it."""
SEED = "seed"


@dataclass(frozen=True)
class Condition:
    """`NAME=VALUE[,VALUE]`: runs whose `name` has one of the values, as texts."""

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as it was typed."""
        return f"{self.name}={','.join(self.values)}"

    def holds(self, value: Any) -> bool:
        """Return True if a value is among those asked for; numbers are compared as numbers."""
        return any(is_same(text, value) for text in self.values)


@dataclass(frozen=True)
class Narrowed:
    """What conditions and a baseline leave of an experiment.

    Attributes:
        manifest: The experiment with the levels, prompts and seeds that are left; axes of one level are gone.
        records: Its runs, under its level names.
        notes: What a reader must know about it.
    """

    manifest: Manifest
    records: list[RunRecord]
    notes: tuple[str, ...] = ()


def conditions_from_flags(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Read `--where NAME=VALUE[,VALUE]`, as often as it is given.

    Raises:
        LlmDitError: For what is no condition, and for a name that is given twice.
    """
    found: dict[str, Condition] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals or not name or not values:
            raise LlmDitError(f"--where {text!r} is no condition; write NAME=VALUE, such as category=animals.")
        if name in found:
            raise LlmDitError(f"--where {name} is given twice; write its values in one: {name}=A,B.")
        found[name] = Condition(name, tuple(item.text for item in items_of(values, f"--where {name}")))
    return tuple(found.values())


def is_same(text: str, value: Any) -> bool:
    """Return True if a text as typed means a value: `4`, `4.0` and 4 are the same, so are `true` and True."""
    if isinstance(value, bool) or value is None:
        return text.casefold() == str(value).casefold()
    if text == str(value):
        return True
    try:
        return math.isclose(float(text), float(value), rel_tol=1e-12)
    except (TypeError, ValueError):
        return False


def narrowed(
    manifest: Manifest, records: Sequence[RunRecord], conditions: Sequence[Condition], baseline: str | None = None
) -> Narrowed:
    """Return the part of an experiment that conditions pick, beside `baseline` where one is named.

    Args:
        manifest: The experiment.
        records: Its finished and failed runs.
        conditions: All of them hold for every run that is left.
        baseline: Name of a combination of the levels that are left; the experiment's own where None.

    Raises:
        LlmDitError: For a name or a value that no run has, for a part without anything to compare, and for a baseline
            that is not in it.
    """
    if not conditions and baseline is None:
        return Narrowed(manifest, list(records))
    for condition in conditions:
        _check_condition(manifest, records, condition)
    axes = _axes_left(manifest, conditions)
    varied = tuple(axis for axis in axes if len(axis.levels) > 1)
    if not varied:
        raise LlmDitError(
            f"--where {' and '.join(map(str, conditions))} leaves one level of {manifest.variable_name}, so there is "
            "nothing to compare; ask of prompts or seeds, or keep two levels."
        )
    details = {name for prompt in manifest.prompts for name in prompt.details}
    prompts = tuple(prompt for prompt in manifest.prompts if _asks_for_prompt(prompt, conditions, details))
    part = _narrow_manifest(manifest, axes, varied, prompts, conditions)
    part = _with_baseline(manifest, part, axes, baseline)
    known = {prompt.id: prompt for prompt in manifest.prompts}
    kept = {axis.name: {level.name for level in axis.levels} for axis in axes}
    chosen = [
        replace(
            record,
            level=part.level_name(record.levels),
            levels={axis.name: record.levels[axis.name] for axis in varied},
        )
        for record in records
        if all(record.levels[name] in names for name, names in kept.items())
        and _asks_for_prompt(_prompt_of(record, known), conditions, details)
        and _asks_for_seed(record.seed, conditions)
    ]
    if not any(record.is_finished for record in chosen):
        raise LlmDitError(f"--where {' and '.join(map(str, conditions))}: no finished run is like that; leave one out.")
    chosen, notes = _without_other_distances(manifest, part, axes, chosen)
    if manifest.looks is not None:
        notes.append(
            "Planned looks decided how many prompts each level has; the tests here are not part of that plan, and "
            "their p-values do not allow for it."
        )
    return Narrowed(part, chosen, tuple(notes))


def _check_condition(manifest: Manifest, records: Sequence[RunRecord], condition: Condition) -> None:
    """Refuse a name that nothing has, and a value that no run has."""
    known = _known_values(manifest, records)
    if condition.name not in known:
        raise LlmDitError(f"--where {condition.name} is nothing that runs have{nearest(condition.name, known)}")
    values = known[condition.name]
    for text in condition.values:
        if not any(is_same(text, value) for value in values):
            names = [str(value) for value in values]
            raise LlmDitError(f"--where {condition.name}={text}: no run has that{nearest(text, names)}")


def _known_values(manifest: Manifest, records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Return all that a condition may name, with the values that there are."""
    known: dict[str, list[Any]] = {}
    for cell in manifest.resolved:
        for name, value in cell.parameters.items():
            known.setdefault(name, []).append(value)
    details = {name for prompt in manifest.prompts for name in prompt.details}
    for prompt in manifest.prompts:
        for name in details:
            known.setdefault(name, []).append(prompt.details.get(name))
    for axis in manifest.axes:
        known[axis.name] = [level.name for level in axis.levels]
    known |= {
        "category": [record.category for record in records],
        "difficulty": [record.difficulty for record in records],
        "prompt": [record.prompt_id for record in records],
        SEED: [record.seed for record in records],
    }
    return {name: list({repr(value): value for value in values}.values()) for name, values in known.items()}


def _axes_left(manifest: Manifest, conditions: Sequence[Condition]) -> tuple[Axis, ...]:
    """Return every axis with the levels that are left, which together must be a grid."""
    axes = {axis.name for axis in manifest.axes}
    details = {name for prompt in manifest.prompts for name in prompt.details}
    of_levels = [
        condition
        for condition in conditions
        if condition.name in axes or condition.name not in {*OF_PROMPTS, SEED, *details}
    ]
    kept = [cell for cell in manifest.resolved if all(_cell_holds(cell, condition, axes) for condition in of_levels)]
    names = {axis.name: {cell.cell.levels[axis.name] for cell in kept} for axis in manifest.axes}
    left = tuple(
        replace(axis, levels=tuple(level for level in axis.levels if level.name in names[axis.name]))
        for axis in manifest.axes
    )
    if len(kept) != math.prod(len(axis.levels) for axis in left):
        raise LlmDitError(
            f"--where {' and '.join(map(str, of_levels))} picks {len(kept)} combinations that are no grid of levels; "
            f"name levels of {' and '.join(sorted(axes))} instead."
        )
    return left


def _cell_holds(cell: ResolvedCell, condition: Condition, axes: set[str]) -> bool:
    if condition.name in axes:
        return condition.holds(cell.cell.levels[condition.name])
    return condition.holds(cell.parameters.get(condition.name))


def _prompt_of(record: RunRecord, known: Mapping[str, Prompt]) -> Prompt:
    listed = known.get(record.prompt_id)
    details = {} if listed is None else listed.details
    return Prompt(record.prompt_id, record.category, record.difficulty, record.prompt, details=details)


def prompt_property(prompt: Prompt, name: str) -> str | None:
    """Return what a prompt's list says of it under `name`; None where it says nothing."""
    own = {"category": prompt.category, "difficulty": prompt.difficulty, "prompt": prompt.id}
    return own[name] if name in own else prompt.details.get(name)


def _asks_for_prompt(prompt: Prompt, conditions: Sequence[Condition], details: Set[str]) -> bool:
    """Return True if a prompt is as asked; one of which its list says nothing is like `none`."""
    of_prompts = (condition for condition in conditions if condition.name in {*OF_PROMPTS, *details})
    return all(condition.holds(prompt_property(prompt, condition.name)) for condition in of_prompts)


def _asks_for_seed(seed: int, conditions: Sequence[Condition]) -> bool:
    return all(condition.holds(seed) for condition in conditions if condition.name == SEED)


def _narrow_manifest(
    manifest: Manifest,
    axes: tuple[Axis, ...],
    varied: tuple[Axis, ...],
    prompts: tuple[Prompt, ...],
    conditions: Sequence[Condition],
) -> Manifest:
    """Return the manifest of the part, its baseline the old one as far as it is left."""
    seeds = tuple(seed for seed in manifest.seeds if _asks_for_seed(seed, conditions))
    experiment = manifest.experiment
    baseline = {axis.name: experiment.baseline[axis.name] for axis in varied}
    ids = {prompt.id for prompt in prompts}
    asked = tuple(_narrow_asked(manifest, axes, ids, set(seeds)))
    raw = {name: value for name, value in manifest.raw.items() if name not in ("looks", "left_out")}
    return replace(
        manifest,
        experiment=replace(experiment, axes=varied, baseline=baseline),
        prompts=prompts,
        seeds=seeds,
        resolved=(),  # only needed to place records, which have their places
        asked=asked,
        raw=raw,
        left_out=(),
    )


def _narrow_asked(
    manifest: Manifest, axes: tuple[Axis, ...], prompts: set[str], seeds: set[int]
) -> Iterable[dict[str, Any]]:
    """Yield what commands asked for of the part; of planned looks, what they drew."""
    for block in manifest.asked:
        left = {
            axis.name: [level.name for level in axis.levels if level.name in block["levels"][axis.name]]
            for axis in axes
        }
        base = {
            "prompts": [name for name in block["prompts"] if name in prompts],
            "seeds": [seed for seed in block["seeds"] if seed in seeds],
        }
        if manifest.looks is None:
            if all(left.values()):
                yield {**base, "levels": left}
            continue
        for levels in itertools.product(*left.values()):
            cell = dict(zip(left, levels, strict=True))
            drawn = set(manifest.looks.plan.order[: manifest.looks.prompts_of(manifest.level_name(cell))])
            yield {
                "prompts": [name for name in base["prompts"] if name in drawn],
                "seeds": base["seeds"],
                "levels": {name: [level] for name, level in cell.items()},
            }


def _with_baseline(manifest: Manifest, part: Manifest, axes: tuple[Axis, ...], baseline: str | None) -> Manifest:
    """Return the part beside the baseline that is named, or its own, which must be in it."""
    names = {cell.name: dict(cell.levels) for cell in part.combinations}
    if baseline is not None:
        chosen = next((name for name in names if is_same(baseline, name)), None)
        if chosen is None:
            raise LlmDitError(f"--baseline {baseline!r} is no level of {part.variable_name}{nearest(baseline, names)}")
        return replace(part, experiment=replace(part.experiment, baseline=names[chosen]))
    if part.baseline_name not in names:
        left = next(
            axis
            for axis in axes
            if part.baseline.get(axis.name) not in {level.name for level in axis.levels} and len(axis.levels) > 1
        )
        raise LlmDitError(
            f"The baseline of {left.name}, {manifest.baseline[left.name]}, is not among the runs that --where picks; "
            f"name another with --baseline: {', '.join(names)}.",
            field="baseline",
        )
    return part


def _without_other_distances(
    manifest: Manifest, part: Manifest, axes: tuple[Axis, ...], records: list[RunRecord]
) -> tuple[list[RunRecord], list[str]]:
    """Take scores beside the baseline away where they are of another baseline than the part's."""
    fixed = {axis.name: axis.levels[0].name for axis in axes if len(axis.levels) == 1}
    if {**fixed, **part.baseline} == manifest.baseline:
        return records, []
    columns = {name for record in records for found in record.pair_scores.values() for name in found["values"]}
    if not any(columns & record.scores.keys() for record in records):
        return records, []
    without = [
        replace(record, scores={name: value for name, value in record.scores.items() if name not in columns})
        for record in records
    ]
    return without, [
        f"Distances ({', '.join(sorted(columns))}) are from {manifest.baseline_name}, so they are left out beside "
        "another baseline."
    ]
