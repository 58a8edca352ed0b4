"""Experiments as users write them in a YAML file; `sweeps.py` reads those of the command line.

Everything is checked here, before a model is loaded: unknown parameters, values out of range, doubled levels. Messages
of the file name file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments.planning.design import AXIS_PARAMETERS, Axis, Experiment, Level, level_name
from experiments.prompts import PROMPT_SETS
from experiments.prompts.strict_yaml import YamlFile
from llm_dit.errors import InvalidParameter, LlmDitError, nearest
from llm_dit.parameters import PARAMETERS, SHORT_NAMES, GenerationParams
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


def level_of(name: str, value: Any) -> Level:
    """Return the level that sets one parameter.

    Raises:
        InvalidParameter: If the value is out of range.
    """
    checked = _checked_value(name, value)
    return Level(level_name(checked), {name: checked})


def own_name(name: str) -> str:
    """Return a parameter's own name for a short one; any other name stays."""
    return SHORT_NAMES.get(name, name)


def parameter_hint(name: str) -> str:
    """Return the end of a sentence about an unknown parameter: which one may be meant."""
    return suggestion(name, [PARAMETERS[known] for known in AXIS_PARAMETERS], PARAMETERS.values())


def _checked_value(name: str, value: Any) -> Any:
    usual = {"prompt": "-", "extend_rope": True}  # without which max_text_tokens would be held to the usual limit
    return getattr(GenerationParams.parse({**usual, name: value}), name)


# The file


def _experiment(file: YamlFile, name: str, node: yaml.Node) -> Experiment:
    what = f"experiment {name!r}"
    keys = ("description", "axes", "baseline", "fixed", "prompts")
    entries = file.mapping(node, what, allowed=keys, required=("axes",))
    axis_entries = file.mapping(entries["axes"].node, f"axes of {what}")
    if not axis_entries:
        raise file.error(entries["axes"].node, f"{what} has no axis.")
    axes = tuple(_axis(file, entry.key, entry.key_node, entry.node, what) for entry in axis_entries.values())
    _check_apart(file, axes, [entry.key_node for entry in axis_entries.values()], what)
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
    levels: dict[str, Level] = {}
    for item in file.items(node, f"axis {name!r}"):
        try:
            level = level_of(name, file.scalar(item, f"a level of {name}"))
        except InvalidParameter as error:
            raise file.error(item, f"{what}: {error}") from None
        if level.name in levels:
            raise file.error(item, f"{what}: axis {name!r} has the level {level.name} twice.")
        levels[level.name] = level
    if not levels:
        raise file.error(node, f"{what}: axis {name!r} has no level.")
    return Axis(name, tuple(levels.values()))


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
            values[name] = _checked_value(name, file.scalar(entry.node, entry.key))
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


def _baseline(file: YamlFile, node: yaml.Node, axes: Sequence[Axis], what: str) -> dict[str, str]:
    by_name = {axis.name: axis for axis in axes}
    if isinstance(node, yaml.MappingNode):
        short = {name: own for name, own in SHORT_NAMES.items() if own in by_name}
        entries = file.mapping(node, f"baseline of {what}", allowed=[*by_name, *short])
        given = {short.get(name, name): entry for name, entry in entries.items()}
        for name in [name for name in by_name if name not in given]:
            raise file.error(node, f"baseline of {what} needs the key {name!r}.")
        return {name: _baseline_level(file, given[name].node, by_name[name], what) for name in by_name}
    if len(axes) > 1:
        raise file.error(node, f"{what} has several axes; write its baseline as axis: level for each.")
    return {axes[0].name: _baseline_level(file, node, axes[0], what)}


def _baseline_level(file: YamlFile, node: yaml.Node, axis: Axis, what: str) -> str:
    value = file.scalar(node, f"baseline of {what}")
    written = str(node.value)
    if axis.is_every_layer:
        return written
    names = [level.name for level in axis.levels]
    if written in names:
        return written
    if axis.name in AXIS_PARAMETERS:
        try:
            name = level_of(axis.name, value).name
        except InvalidParameter as error:
            raise file.error(node, f"baseline of {what}: {error}") from None
        if name in names:
            return name
    raise file.error(node, f"baseline of {what}: {axis.name!r} has no level {written!r}{nearest(written, names)}")
