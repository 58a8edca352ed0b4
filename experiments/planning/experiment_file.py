"""Experiments as users write them in a YAML file; `sweeps.py` reads those of the command line.

Everything is checked here, before a model is loaded: unknown parameters, values out of range, doubled levels. Messages
of the file name file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from experiments.planning.axes import AXIS_PARAMETERS, ENGINE_PARAMETERS, Axis, Experiment, Level
from experiments.planning.naming import level_name, path_level_names
from experiments.prompts import PROMPT_SETS
from experiments.prompts.strict_yaml import YamlFile
from llm_dit.errors import InvalidParameter, LlmDitError, nearest
from llm_dit.parameters import PARAMETERS, SHORT_NAMES, EngineSettings, GenerationParams
from llm_dit.parameters.names import suggestion

PREDEFINED_EXPERIMENTS = Path(__file__).parents[1] / "experiments.yaml"
FILE_VERSION = 1
EVERY = "every"
"""Stands for all hidden layers of the model."""


def load_experiments(path: Path = PREDEFINED_EXPERIMENTS) -> dict[str, Experiment]:
    """Read an experiments file.

    Raises:
        ConfigError: With file and line, for whatever is wrong with it.
    """
    file = YamlFile(path, option="--experiments-file")
    top = file.mapping(
        file.root, "an experiments file", allowed=("version", "experiments"), required=("version", "experiments")
    )
    if file.scalar(top["version"].node, "version") != FILE_VERSION:
        raise file.error(top["version"].node, f"version must be {FILE_VERSION}.")
    entries = file.mapping(top["experiments"].node, "experiments")
    for entry in entries.values():
        if not is_name(entry.key):
            raise file.error(entry.key_node, f"experiment {entry.key!r}: {NAME_RULE}")
    return {name: _experiment(file, name, entry.node) for name, entry in entries.items()}


def find_experiment(name: str, experiments: Mapping[str, Experiment]) -> Experiment:
    """Return one experiment.

    Raises:
        LlmDitError: If there is none of that name; the message names the nearest.
    """
    if name not in experiments:
        raise LlmDitError(f"There is no experiment {name!r}{nearest(name, experiments)}", field="experiment")
    return experiments[name]


NAME_RULE = "a name has 1 to 64 letters, digits, '_', '-' or '.', and starts with a letter or digit."


def is_name(text: str) -> bool:
    """Return True if `text` can name an experiment, which is also its folder."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) is not None and not text.endswith(".")


def checked_value(name: str, value: Any) -> Any:
    """Return a parameter's value as it is kept.

    Raises:
        InvalidParameter: If it is out of range.
    """
    if name in ENGINE_PARAMETERS:
        return getattr(EngineSettings.parse({name: value}), name)
    usual = {"prompt": "-", "extend_rope": True}  # without which max_text_tokens would be held to the usual limit
    return getattr(GenerationParams.parse({**usual, name: value}), name)


def levels_of(name: str, values: Sequence[Any]) -> tuple[Level, ...]:
    """Return the levels that set one parameter to checked values."""
    if name.endswith("_path"):
        names = path_level_names(values)
    elif PARAMETERS[name].kind == "choice" and not PARAMETERS[name].optional:
        names = list(values)  # where none is a word
    else:
        names = [level_name(value) for value in values]
    return tuple(Level(called, {name: value}) for called, value in zip(names, values, strict=True))


def own_name(name: str) -> str:
    """Return a parameter's own name for a short one; any other name stays."""
    return SHORT_NAMES.get(name, name)


def parameter_hint(name: str) -> str:
    """Return the end of a sentence about what can't be varied: which parameter may be meant."""
    if name in PARAMETERS and PARAMETERS[name].group is EngineSettings:
        return f" that changes an image: {name} says where and how fast it is made."
    return suggestion(name, [PARAMETERS[known] for known in AXIS_PARAMETERS], PARAMETERS.values())


# The file


def _experiment(file: YamlFile, name: str, node: yaml.Node) -> Experiment:
    what = f"experiment {name!r}"
    keys = ("description", "axes", "baseline", "fixed", "prompts", "optional")
    entries = file.mapping(node, what, allowed=keys, required=("axes",))
    axis_entries = file.mapping(entries["axes"].node, f"axes of {what}")
    if not axis_entries:
        raise file.error(entries["axes"].node, f"{what} has no axis.")
    axes = tuple(_axis(file, entry.key, entry.key_node, entry.node, what) for entry in axis_entries.values())
    _check_apart(file, axes, [entry.key_node for entry in axis_entries.values()], what)
    if "optional" in entries:
        axes = _with_optional_levels(file, entries["optional"].node, axes, what)
    fixed = _parameters(file, entries["fixed"].node, f"fixed of {what}") if "fixed" in entries else {}
    for axis in axes:
        for parameter in sorted(axis.parameter_names & fixed.keys()):
            raise file.error(entries["fixed"].node, f"{what} both varies and fixes {parameter}.")
    prompt_set = file.text(entries["prompts"].node, "prompts") if "prompts" in entries else "standard"
    if prompt_set not in PROMPT_SETS:
        raise file.error(
            entries["prompts"].node, f"there are no prompts {prompt_set!r}{nearest(prompt_set, PROMPT_SETS)}"
        )
    description = file.text(entries["description"].node, "description").strip() if "description" in entries else ""
    baseline = _baseline(file, entries["baseline"].node, axes, what) if "baseline" in entries else {}
    return Experiment(name, description, axes, baseline, fixed, prompt_set)


def _axis(file: YamlFile, name: str, key_node: yaml.Node, node: yaml.Node, what: str) -> Axis:
    if isinstance(node, yaml.MappingNode):
        if not is_name(name):
            raise file.error(key_node, f"axis {name!r}: {NAME_RULE}")
        return Axis(name, _named_levels(file, name, node))
    name = own_name(name)
    if name not in AXIS_PARAMETERS:
        hint = parameter_hint(name)
        raise file.error(key_node, f"{what}: there is no parameter {name!r}{hint} Named levels may have any axis name.")
    if name == "hidden_layer" and isinstance(node, yaml.ScalarNode) and node.value == EVERY:
        return Axis(name, (), is_every_layer=True)
    values: list[Any] = []
    items = list(file.items(node, f"axis {name!r}"))
    for item in items:
        try:
            values.append(checked_value(name, file.scalar(item, f"a level of {name}")))
        except InvalidParameter as error:
            raise file.error(item, f"{what}: {error}") from None
    if not values:
        raise file.error(node, f"{what}: axis {name!r} has no level.")
    levels = levels_of(name, values)
    names: set[str] = set()
    for item, level in zip(items, levels, strict=True):
        if level.name in names:
            raise file.error(item, f"{what}: axis {name!r} has the level {level.name} twice.")
        names.add(level.name)
    return Axis(name, levels)


def _named_levels(file: YamlFile, axis: str, node: yaml.Node) -> tuple[Level, ...]:
    levels: list[Level] = []
    for entry in file.mapping(node, f"axis {axis!r}").values():
        level = Level(entry.key, _parameters(file, entry.node, f"level {entry.key!r} of {axis}"))
        if not entry.key.strip() or not entry.key.isprintable() or len(entry.key) > 60:
            raise file.error(entry.key_node, f"level {entry.key!r} of {axis}: a name has 1 to 60 printable characters.")
        for other in levels:
            if other.parameters == level.parameters:
                raise file.error(entry.key_node, f"levels {other.name!r} and {level.name!r} of {axis} are the same.")
        levels.append(level)
    if not levels:
        raise file.error(node, f"axis {axis!r} has no level.")
    return tuple(levels)


def _parameters(file: YamlFile, node: yaml.Node, what: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in file.mapping(node, what).values():
        name = own_name(entry.key)
        if name not in AXIS_PARAMETERS:
            raise file.error(entry.key_node, f"{what}: there is no parameter {name!r}{parameter_hint(name)}")
        if name in values:
            raise file.error(entry.key_node, f"{what} sets {name} twice.")
        try:
            values[name] = checked_value(name, file.scalar(entry.node, entry.key))
        except InvalidParameter as error:
            raise file.error(entry.node, f"{what}: {error}") from None
    return values


def _check_apart(file: YamlFile, axes: Iterable[Axis], nodes: Iterable[yaml.Node], what: str) -> None:
    """Refuse two axes that set the same parameter: one would silently win."""
    owners: dict[str, str] = {}
    for axis, node in zip(axes, nodes, strict=True):
        for parameter in sorted(axis.parameter_names):
            if parameter in owners:
                raise file.error(
                    node, f"{what}: the axes {owners[parameter]!r} and {axis.name!r} both set {parameter}."
                )
            owners[parameter] = axis.name


def _with_optional_levels(file: YamlFile, node: yaml.Node, axes: Sequence[Axis], what: str) -> tuple[Axis, ...]:
    """Mark the levels that are left out where the device can't do them."""
    entries = file.mapping(node, f"optional of {what}", allowed=[axis.name for axis in axes])
    marked: list[Axis] = []
    for axis in axes:
        items = file.items(entries[axis.name].node, f"optional of {axis.name}") if axis.name in entries else ()
        chosen = {_level_named(file, item, axis, f"optional of {what}") for item in items}
        levels = tuple(replace(level, is_optional=level.name in chosen) for level in axis.levels)
        marked.append(replace(axis, levels=levels))
    return tuple(marked)


def _baseline(file: YamlFile, node: yaml.Node, axes: Sequence[Axis], what: str) -> dict[str, str]:
    by_name = {axis.name: axis for axis in axes}
    if isinstance(node, yaml.MappingNode):
        short = {name: own for name, own in SHORT_NAMES.items() if own in by_name}
        entries = file.mapping(node, f"baseline of {what}", allowed=[*by_name, *short])
        given = {short.get(name, name): entry for name, entry in entries.items()}
        for name in [name for name in by_name if name not in given]:
            raise file.error(node, f"baseline of {what} needs the key {name!r}.")
        return {name: _level_named(file, given[name].node, by_name[name], f"baseline of {what}") for name in by_name}
    if len(axes) > 1:
        raise file.error(node, f"{what} has several axes; write its baseline as axis: level for each.")
    return {axes[0].name: _level_named(file, node, axes[0], f"baseline of {what}")}


def _level_named(file: YamlFile, node: yaml.Node, axis: Axis, what: str) -> str:
    """Return the name of the level that a node means by its name or its value; `what` is for messages."""
    value = file.scalar(node, what)
    written = str(node.value)
    if axis.is_every_layer:
        return written
    names = [level.name for level in axis.levels]
    if written in names:
        return written
    if axis.name in AXIS_PARAMETERS:
        try:
            checked = checked_value(axis.name, value)
        except InvalidParameter as error:
            raise file.error(node, f"{what}: {error}") from None
        for level in axis.levels:
            if level.parameters == {axis.name: checked}:
                return level.name
    raise file.error(node, f"{what}: {axis.name!r} has no level {written!r}{nearest(written, names)}")
