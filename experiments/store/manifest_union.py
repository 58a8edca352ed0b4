"""One manifest from several commands: united where they ask the same question, refused where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.planning.design import Plan
from experiments.store.comparable import Conditions
from experiments.store.manifest import Manifest
from experiments.store.manifest_json import conditions_from_values, conditions_values
from llm_dit.errors import OutputError


def check_same_question(old: Manifest, plan: Plan, folder: Path) -> None:
    """Refuse a plan that asks something else than the folder's experiment.

    Raises:
        OutputError: If the axes differ, or the plan names another baseline.
    """
    axes = [axis.name for axis in plan.experiment.axes]
    if [axis.name for axis in old.axes] != axes:
        raise OutputError(
            f"{folder} holds an experiment over {old.variable_name}, not over {' x '.join(axes)}; choose another "
            "--name or --output-dir.",
            field="output_dir",
        )
    for axis, level in plan.named_baseline.items():
        if old.baseline.get(axis) != level:
            raise OutputError(
                f"{folder} compares the levels of {axis} with {old.baseline.get(axis)}, this experiment with {level}; "
                "choose another --name, or add --overwrite to take the new baseline.",
                field="output_dir",
            )


def united_values(old: Mapping[str, Any], new: Mapping[str, Any], *, takes_baseline: bool = False) -> dict[str, Any]:
    """Add what a command asks for to a folder's manifest.

    Levels, prompts, seeds and cells are united. A level or a prompt of the same name has its new meaning. The baseline
    stays as it was, since a later command may not bring it; a description stays as long as it says everything.

    Args:
        old: The manifest on disk, of the same axes and conditions.
        new: From `manifest_values`.
        takes_baseline: Take the baseline of `new`.
    """
    old = _with_new_names(old, new)
    before, after = old["experiment"], new["experiment"]
    axes = [
        {"name": theirs["name"], "levels": _merged(mine["levels"], theirs["levels"], "name")}
        for mine, theirs in zip(before["axes"], after["axes"], strict=True)
    ]
    source = after if takes_baseline else before
    was, shared = conditions_from_values(old["conditions"]), conditions_from_values(new["conditions"])
    conditions = Conditions.of({**was.parameters, **shared.parameters}, shared.model, was.varied | shared.varied)
    prompts = _united_prompts(old["prompts"], new["prompts"])
    left_out = _left_out(old, new, axes)
    return {
        **{name: value for name, value in old.items() if name != "left_out"},
        **{name: value for name, value in new.items() if name != "left_out"},
        **({"left_out": left_out} if left_out else {}),
        "experiment": {
            **after,
            "axes": axes,
            "description": _description(before, after),
            "baseline": source["baseline"],
            "named_baseline": source.get("named_baseline", {}),
        },
        "cells": _merged(old.get("cells", []), new["cells"], "levels"),
        "prompts": prompts,
        "seeds": list(dict.fromkeys([*old["seeds"], *new["seeds"]])),
        "asked": _united_requests(old, new, prompts),
        "conditions": conditions_values(conditions),
    }


def _left_out(old: Mapping[str, Any], new: Mapping[str, Any], axes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the levels that some command left out and none had, with the newest reason."""
    had = {(axis["name"], level["name"]) for axis in axes for level in axis["levels"]}
    found = {(entry["axis"], entry["level"]): entry for entry in [*old.get("left_out", ()), *new.get("left_out", ())]}
    return [entry for key, entry in found.items() if key not in had]


def _with_new_names(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old manifest with the new names of levels that set the same as before."""
    renamed = {
        theirs["name"]: _renamed_levels(mine["levels"], theirs["levels"])
        for mine, theirs in zip(old["experiment"]["axes"], new["experiment"]["axes"], strict=True)
    }

    def named(levels: Mapping[str, str]) -> dict[str, str]:
        return {axis: renamed[axis].get(level, level) for axis, level in levels.items()}

    experiment = old["experiment"]
    axes = [
        {**axis, "levels": [_renamed(level, renamed[axis["name"]]) for level in axis["levels"]]}
        for axis in experiment["axes"]
    ]
    asked = [
        {
            **block,
            "levels": {
                axis: [renamed[axis].get(name, name) for name in names] for axis, names in block["levels"].items()
            },
        }
        for block in old.get("asked", [])
    ]
    return {
        **old,
        "experiment": {**experiment, "axes": axes, "baseline": named(experiment["baseline"])},
        "cells": [{**cell, "levels": named(cell["levels"])} for cell in old.get("cells", [])],
        **({"asked": asked} if asked else {}),
    }


def _renamed(level: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {**level, "name": names.get(level["name"], level["name"])}


def _renamed_levels(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[str, str]:
    """Return old name to new name of the levels that are called otherwise now."""
    known, taken = {level["name"] for level in new}, {level["name"] for level in old}
    return {
        mine["name"]: theirs["name"]
        for mine in old
        for theirs in new
        if mine["name"] not in known and theirs["name"] not in taken and mine["parameters"] == theirs["parameters"]
    }


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return `old` with entries replaced by their new version, then what is only in `new`.

    Where `new` holds every old entry, its order is taken.
    """
    keys = [_hashable(item[key]) for item in new]
    if {_hashable(item[key]) for item in old} <= set(keys):
        return list(new)
    return list({_hashable(item[key]): item for item in [*old, *new]}.values())


def _hashable(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


def _united_prompts(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Unite prompts by their text; an id that has another text now, or a text that has another id, is the new one."""
    texts, ids = {prompt["text"]: prompt for prompt in new}, {prompt["id"]: prompt for prompt in new}
    if all(prompt["text"] in texts or prompt["id"] in ids for prompt in old):
        return list(new)
    united: dict[str, dict[str, Any]] = {}
    for prompt in old:
        taken = texts.get(prompt["text"]) or ids.get(prompt["id"]) or prompt
        united.setdefault(taken["text"], taken)
    return list({**united, **{prompt["text"]: prompt for prompt in new if prompt["text"] not in united}}.values())


def _united_requests(
    old: Mapping[str, Any], new: Mapping[str, Any], prompts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return what all commands asked for, each request once, under the present ids."""
    texts = {prompt["id"]: prompt["text"] for prompt in old["prompts"]}
    ids = {prompt["text"]: prompt["id"] for prompt in prompts}
    everything = {
        "prompts": [prompt["id"] for prompt in old["prompts"]],
        "seeds": old["seeds"],
        "levels": {axis["name"]: [level["name"] for level in axis["levels"]] for axis in old["experiment"]["axes"]},
    }
    requests = [
        {**block, "prompts": list(dict.fromkeys(ids.get(texts.get(name, ""), name) for name in block["prompts"]))}
        for block in old.get("asked", [everything])
    ]
    kept = [block for block in requests if not _holds(new["asked"][0], block)]
    return kept if any(_holds(block, new["asked"][0]) for block in kept) else [*kept, *new["asked"]]


def _holds(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> bool:
    """Return True if every run of `inner` is one of `outer`."""
    return (
        set(inner["prompts"]) <= set(outer["prompts"])
        and set(inner["seeds"]) <= set(outer["seeds"])
        and all(set(levels) <= set(outer["levels"][axis]) for axis, levels in inner["levels"].items())
    )


def _description(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the description of the experiment that holds all levels of the other, else both."""
    first, second = before["description"], after["description"]
    if first == second or _levels(after) <= _levels(before) or not second:
        return str(first)
    if _levels(before) <= _levels(after) or not first:
        return str(second)
    return f"{first} / {second}" if second not in first else str(first)


def _levels(experiment: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(axis["name"], level["name"]) for axis in experiment["axes"] for level in axis["levels"]}
