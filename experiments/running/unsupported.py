"""Levels that this device can't do: refused by their names before anything is drawn, or left out and named.

Only whole levels are left out, so that every combination of those that stay is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from experiments.planning.axes import Axis, Level
from experiments.planning.design import LeftOut, Plan
from llm_dit.errors import DeviceError, InvalidParameter, LlmDitError
from llm_dit.parameters import EngineSettings


def without_unsupported(plan: Plan, *, skips: bool) -> Plan:
    """Return a plan whose every level this machine can do. Imports torch where levels set the engine.

    Args:
        plan: What is asked for.
        skips: Leave out what can't be done; without it only optional levels are.

    Raises:
        LlmDitError: If a level that may not be left out can't be done, or nothing is left to compare; names the level.
    """
    if not plan.experiment.engine_parameters:
        return plan
    problems = {settings: problem for settings in plan.loading_order if (problem := _problem(settings)) is not None}
    if not problems:
        return plan
    left_out = [found for axis in plan.experiment.axes for found in _left_out(plan, axis, problems)]
    axes = tuple(_without(axis, left_out) for axis in plan.experiment.axes)
    baseline = {axis.name: _baseline(plan, axis) for axis in axes}
    _check_what_is_left(axes, baseline, left_out)
    fewer = replace(plan, experiment=replace(plan.experiment, axes=axes, baseline=baseline), left_out=tuple(left_out))
    for cell, settings in zip(fewer.cells, fewer.settings, strict=True):
        if settings in problems:
            raise _refusal(plan, cell.name, problems[settings])
    for found in left_out:
        if not (skips or _is_optional(plan, found)):
            raise _refusal(plan, found.level, LlmDitError(found.reason))
    return fewer


def _problem(settings: EngineSettings) -> LlmDitError | None:
    """Return why this machine can't do settings; None if it can. A file that is missing is another thing."""
    from llm_dit.stages.loading import known_numerics

    try:
        known_numerics(settings)
    except (DeviceError, InvalidParameter) as error:
        return error
    return None


def _left_out(plan: Plan, axis: Axis, problems: Mapping[EngineSettings, LlmDitError]) -> list[LeftOut]:
    """Return the levels of an axis that set the engine and can't be done whatever the other axes say."""
    found = []
    for level in axis.levels:
        if not level.parameters.keys() & plan.experiment.engine_parameters:
            continue
        here = [
            problems.get(settings)
            for cell, settings in zip(plan.cells, plan.settings, strict=True)
            if cell.levels[axis.name] == level.name
        ]
        reasons = [str(problem) for problem in here if problem is not None]
        if len(reasons) == len(here):
            found.append(LeftOut(axis.name, level.name, reasons[0]))
    return found


def _without(axis: Axis, left_out: list[LeftOut]) -> Axis:
    gone = {found.level for found in left_out if found.axis == axis.name}
    return replace(axis, levels=tuple(level for level in axis.levels if level.name not in gone))


def _baseline(plan: Plan, axis: Axis) -> str:
    """Return the level that the others of an axis are compared with: where nobody named it, one that is left."""
    chosen = plan.experiment.baseline[axis.name]
    is_left = any(level.name == chosen for level in axis.levels)
    return chosen if is_left or axis.name in plan.named_baseline or not axis.levels else axis.levels[0].name


def _check_what_is_left(axes: tuple[Axis, ...], baseline: Mapping[str, str], left_out: list[LeftOut]) -> None:
    """Refuse a plan that has lost its baseline or all that it could be compared with."""
    for found in left_out:
        if baseline[found.axis] == found.level:
            raise LlmDitError(
                f"The baseline {found.level} of {found.axis} can't be left out: {found.reason} Compare with another "
                "level, or use another device.",
                field="experiment",
            )
    if left_out and all(len(axis.levels) == 1 for axis in axes):
        names = " and ".join(dict.fromkeys(found.axis for found in left_out))
        raise LlmDitError(
            f"Of {names} only {' x '.join(axis.levels[0].name for axis in axes)} is left on this device, and nothing "
            f"to compare it with: {left_out[0].reason}",
            field="experiment",
        )


def _is_optional(plan: Plan, found: LeftOut) -> bool:
    levels: list[Level] = [level for axis in plan.experiment.axes if axis.name == found.axis for level in axis.levels]
    return any(level.is_optional for level in levels if level.name == found.level)


def _refusal(plan: Plan, level: str, problem: LlmDitError) -> LlmDitError:
    """Return the sentence that refuses a level before anything is drawn."""
    return LlmDitError(
        f"{plan.experiment.name}, level {level}: {problem} Or add --skip-unsupported, which leaves out the levels that "
        "this device can't do.",
        field=problem.field or "experiment",
    )
