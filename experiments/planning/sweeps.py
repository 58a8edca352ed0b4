"""Axes as `--sweep parameter=values` tells them on the command line: ranges, comma lists, lists in brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import yaml

from experiments.planning.axes import AXIS_PARAMETERS, Axis, Experiment
from experiments.planning.comma_list import items_of, texts_of
from experiments.planning.experiment_file import (
    EVERY,
    NAME_RULE,
    checked_value,
    is_name,
    levels_of,
    own_name,
    parameter_hint,
)
from llm_dit.errors import InvalidParameter, LlmDitError
from llm_dit.parameters import PARAMETERS

MAX_RANGE_LENGTH = 1_000_000
_NUMBER = r"-?\d+(?:\.\d+)?"


def experiment_from_sweeps(sweeps: Sequence[str], name: str | None) -> Experiment:
    """Build an experiment from `--sweep` options, each `parameter=values`, the first outermost.

    Args:
        sweeps: Values are a range `1..6` or `1..2..0.25` (with step), a comma list with double quotes around
            texts that hold a comma, or a list in brackets as in YAML.
        name: The experiment's name; made from the parameters if None.

    Raises:
        LlmDitError: If a sweep can't be read; the message repeats it.
    """
    axes = [_axis_from_sweep(sweep) for sweep in sweeps]
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise LlmDitError(f"--sweep names {next(n for n in names if names.count(n) > 1)} twice; join its values.")
    chosen = name or "sweep_" + "_".join(names)
    if not is_name(chosen):
        raise LlmDitError(f"--name {chosen!r}: {NAME_RULE}", field="name")
    return Experiment(chosen, "A sweep from the command line: " + "; ".join(sweeps), tuple(axes))


def parse_numbers(text: str, option: str) -> list[str]:
    """Expand `1,2,5..9` into the texts of its numbers.

    Raises:
        LlmDitError: If a range is not one, or is too long, or there is nothing beside a comma.
    """
    numbers: list[str] = []
    for part in texts_of(text, option):
        match = re.fullmatch(rf"({_NUMBER})\.\.({_NUMBER})(?:\.\.({_NUMBER}))?", part)
        if match is None and ".." in part:
            raise LlmDitError(f"{option} {part!r} is not a range; write first..last or first..last..step.")
        numbers += _expanded(match, option) if match else [part]
    return numbers


def _expanded(match: re.Match[str], option: str) -> list[str]:
    first, last = Decimal(match[1]), Decimal(match[2])
    step = abs(Decimal(match[3])) if match[3] else Decimal(1)
    if step == 0:
        raise LlmDitError(f"{option} {match[0]!r} has step 0; use a step above 0.")
    count = int(abs(last - first) / step) + 1
    if count > MAX_RANGE_LENGTH:
        raise LlmDitError(f"{option} {match[0]!r} has {count:,} values; at most {MAX_RANGE_LENGTH:,} are planned.")
    direction = step if last >= first else -step
    return [str(first + direction * index) for index in range(count)]


def _axis_from_sweep(sweep: str) -> Axis:
    name, _, text = sweep.partition("=")
    option = f"--sweep {sweep if len(sweep) <= 60 else sweep[:60] + '…'}"
    name = own_name(name.strip().removeprefix("--").replace("-", "_"))
    if not text.strip():
        raise LlmDitError(f"{option}: write parameter=values, for example shift=1..6 or steps=6,9,12.")
    if name not in AXIS_PARAMETERS:
        raise LlmDitError(f"{option}: there is no parameter {name!r}{parameter_hint(name)}")
    if name == "hidden_layer" and text.strip() == EVERY:
        return Axis(name, (), is_every_layer=True)
    try:
        levels = levels_of(name, [checked_value(name, value) for value in _sweep_values(name, text.strip(), option)])
    except InvalidParameter as error:
        raise LlmDitError(f"{option}: {error}", field=error.field) from None
    names: set[str] = set()
    for level in levels:
        if level.name in names:
            raise LlmDitError(f"{option}: the level {level.name} is there twice.")
        names.add(level.name)
    return Axis(name, levels)


def _sweep_values(name: str, text: str, option: str) -> list[Any]:
    if text.startswith("["):
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError:
            raise LlmDitError(f"{option}: the list in brackets is not valid; quote its texts.") from None
        if not isinstance(values, list) or not values:
            raise LlmDitError(f"{option}: the list in brackets is empty.")
        return values
    if PARAMETERS[name].kind in ("integer", "number"):
        return list(parse_numbers(text, option))
    return [
        None if item == ("none", False) and PARAMETERS[name].optional else item.text for item in items_of(text, option)
    ]
