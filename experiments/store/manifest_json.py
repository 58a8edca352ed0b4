"""The manifest as it lies in its file: what is written there of a plan, and how it is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.planning.axes import Axis, Cell, Experiment, Level, cells_of
from experiments.planning.design import LeftOut, Plan
from experiments.prompts import LISTS, Prompt
from experiments.store.analyses import analysis_from_values
from experiments.store.comparable import Conditions, ModelIdentity
from experiments.store.manifest import OF_THE_RUN, Manifest, ResolvedCell
from llm_dit.errors import OutputError
from llm_dit.parameters import GenerationParams

MANIFEST_FORMAT = 1


def manifest_values(
    plan: Plan,
    conditions: Conditions,
    resolved: Mapping[int, GenerationParams] | None = None,
    models: Sequence[ModelIdentity] = (),
) -> dict[str, Any]:
    """Return the part of the manifest that describes the experiment, ready for JSON.

    Args:
        plan: What a command asks for.
        conditions: What its runs share.
        resolved: Index of a cell to its parameters, sizes and all filled in; left out where None.
        models: What of each cell's model changes images; needed only where levels vary it.
    """
    experiment = plan.experiment
    of_model = [
        {"fingerprint": model.fingerprint, "numerics": dict(model.numerics)} if conditions.varied else {}
        for model in models or [conditions.model] * len(plan.cells)
    ]
    return {
        "format": MANIFEST_FORMAT,
        "experiment": {
            "name": experiment.name,
            "description": experiment.description,
            "axes": [
                {
                    "name": axis.name,
                    "levels": [{"name": level.name, "parameters": dict(level.parameters)} for level in axis.levels],
                }
                for axis in experiment.axes
            ],
            "baseline": dict(experiment.baseline),
            "named_baseline": dict(plan.named_baseline),
            "fixed": dict(experiment.fixed),
        },
        "cells": [
            {
                "levels": dict(cell.levels),
                "parameters": _without_run(resolved[index].model_dump(), cell),
                **of_model[index],
            }
            for index, cell in enumerate(plan.cells)
            if resolved is not None
        ],
        "prompts": [asdict(prompt) for prompt in plan.prompts],
        "seeds": list(plan.seeds),
        "asked": [
            {
                "prompts": [prompt.id for prompt in plan.prompts],
                "seeds": list(plan.seeds),
                "levels": {axis.name: [level.name for level in axis.levels] for axis in experiment.axes},
            }
        ],
        "conditions": conditions_values(conditions),
        **({"left_out": [asdict(found) for found in plan.left_out]} if plan.left_out else {}),
    }


def primary_values(measure: str) -> dict[str, str]:
    """Return what the manifest says of the measure that counts, ready for JSON: its name, and when it was named."""
    return {"measure": measure, "named": datetime.now(UTC).isoformat(timespec="seconds")}


def margin_values(margin: float) -> dict[str, Any]:
    """Return what the manifest says of a measure's margin, ready for JSON: how large it is, and when it was named."""
    return {"margin": margin, "named": datetime.now(UTC).isoformat(timespec="seconds")}


def conditions_values(conditions: Conditions) -> dict[str, Any]:
    """Return conditions, ready for JSON."""
    return {
        "hash": conditions.hash,
        "parameters": dict(conditions.parameters),
        "fingerprint": conditions.fingerprint,
        "numerics": dict(conditions.numerics),
        **({"varied": sorted(conditions.varied)} if conditions.varied else {}),
    }


def conditions_from_values(values: Mapping[str, Any]) -> Conditions:
    """Read conditions from a manifest."""
    return Conditions(
        values["parameters"], values["fingerprint"], values["numerics"], frozenset(values.get("varied", ()))
    )


def manifest_from_values(values: Mapping[str, Any], path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        OutputError: If it was written by another version, or is not a manifest.
    """
    check_format(values, path)
    try:
        if "primary" in values and not (str(values["primary"]["measure"]) and str(values["primary"]["named"])):
            raise ValueError("the primary measure has no name")
        if not all(float(entry["margin"]) > 0 and entry["named"] for entry in values.get("margins", {}).values()):
            raise ValueError("a margin is not above 0, or has no time")
        described = values["experiment"]
        axes = tuple(
            Axis(axis["name"], tuple(Level(level["name"], level["parameters"]) for level in axis["levels"]))
            for axis in described["axes"]
        )
        experiment = Experiment(
            described["name"], described["description"], axes, described["baseline"], described["fixed"]
        )
        for axis in axes:
            if described["baseline"][axis.name] not in {level.name for level in axis.levels}:
                raise ValueError(f"the baseline of {axis.name} is none of its levels")
        prompts = tuple(
            Prompt(**prompt | {name: tuple(prompt[name]) for name in LISTS if name in prompt or name == "must_show"})
            for prompt in values["prompts"]
        )
        conditions = conditions_from_values(values["conditions"])
        everything = {
            "prompts": [prompt.id for prompt in prompts],
            "seeds": values["seeds"],
            "levels": {axis.name: [level.name for level in axis.levels] for axis in axes},
        }
        return Manifest(
            experiment,
            prompts,
            tuple(values["seeds"]),
            conditions,
            _resolved_cells(axes, conditions, values.get("cells", ())),
            tuple(values.get("asked", (everything,))),
            values,
            tuple(found for entry in values.get("analyses", ()) if not (found := analysis_from_values(entry)).beside),
            tuple(LeftOut(**entry) for entry in values.get("left_out", ())),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OutputError(
            f"{path} is not a whole manifest ({error}); run the experiment's command again, which writes it anew."
        ) from None


def check_format(values: Mapping[str, Any], path: Path) -> None:
    """Refuse a manifest of another version.

    Raises:
        OutputError: If it says that it is one.
    """
    form = values.get("format")
    if isinstance(form, int) and form != MANIFEST_FORMAT:
        raise OutputError(
            f"{path} has format {form}, and this version reads {MANIFEST_FORMAT}; use the version of llm-dit that "
            "wrote it, or another folder."
        )


def _resolved_cells(axes: tuple[Axis, ...], conditions: Conditions, kept: Any) -> tuple[ResolvedCell, ...]:
    """Return every combination as it was kept, else as conditions and levels say."""
    known = {tuple(entry["levels"].items()): entry for entry in kept}

    def resolved(cell: Cell) -> ResolvedCell:
        entry = known.get(tuple(cell.levels.items()))
        if entry is None:
            return ResolvedCell(cell, {**conditions.parameters, **cell.of_picture}, conditions.model, False)
        model = conditions.model
        if "numerics" in entry:
            model = ModelIdentity(entry["fingerprint"], entry["numerics"])
        return ResolvedCell(cell, entry["parameters"], model, True)

    return tuple(resolved(cell) for cell in cells_of(axes))


def _without_run(parameters: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Leave out the prompt and the seed where the cell does not set them."""
    return {name: value for name, value in parameters.items() if name not in OF_THE_RUN or name in cell.parameters}
