"""What an experiment varies: levels, axes, the experiment itself, and the cells that crossed axes make."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llm_dit.parameters import PARAMETERS, EngineSettings, GenerationParams
from llm_dit.parameters.hidden_layers import LAST_BEFORE_NORM, from_the_last

PICTURE_PARAMETERS = tuple(name for name, item in PARAMETERS.items() if item.group is GenerationParams)
"""Parameters of one image."""
ENGINE_PARAMETERS = tuple(item.name for item in EngineSettings.parameters() if item.note.changes_image)
"""Settings of the engine that change an image."""
AXIS_PARAMETERS = (*PICTURE_PARAMETERS, *ENGINE_PARAMETERS)
"""What levels may set."""


@dataclass(frozen=True)
class Level:
    """One setting of an axis: a name and the parameters it sets.

    Attributes:
        name: What it is called in files and tables.
        parameters: Of the image, of the engine, or of both.
        is_optional: True if it is left out, and named, where the device can't do it.
    """

    name: str
    parameters: Mapping[str, Any]
    is_optional: bool = False


@dataclass(frozen=True)
class Axis:
    """What an experiment varies.

    Attributes:
        name: A parameter's name, or any name where levels set several parameters.
        levels: In the order of columns and plots.
        is_every_layer: True if the levels are all hidden layers of the model, filled in by `Experiment.for_model`.
    """

    name: str
    levels: tuple[Level, ...]
    is_every_layer: bool = False

    @property
    def parameter_names(self) -> set[str]:
        """Every parameter that some level sets."""
        if self.is_every_layer:
            return {"hidden_layer"}
        return {name for level in self.levels for name in level.parameters}


@dataclass(frozen=True)
class Experiment:
    """A question: axes to cross, the level that the others are compared with, and what is held fixed.

    Attributes:
        name: Name of its folder and the beginning of its files' names.
        description: What is asked, in a sentence.
        axes: The first is outermost.
        baseline: Axis name to level name.
        fixed: Parameters that all runs share.
        prompt_set: Key of `experiments.prompts.PROMPT_SETS`: the prompts it is made for.
    """

    name: str
    description: str
    axes: tuple[Axis, ...]
    baseline: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    prompt_set: str = "standard"

    @property
    def axis_parameters(self) -> set[str]:
        """Every parameter that some axis sets."""
        return set().union(*(axis.parameter_names for axis in self.axes))

    @property
    def engine_parameters(self) -> set[str]:
        """Every setting of the engine that some axis sets."""
        return self.axis_parameters & set(ENGINE_PARAMETERS)

    def for_model(self, hidden_layer_count: int) -> Experiment:
        """Fill in the axes that depend on how deep the model's text encoder is."""
        layers = sorted([*range(-hidden_layer_count, 0), LAST_BEFORE_NORM], key=from_the_last)
        depths = tuple(Level(str(layer), {"hidden_layer": layer}) for layer in layers)
        return replace(
            self, axes=tuple(replace(axis, levels=depths) if axis.is_every_layer else axis for axis in self.axes)
        )

    def with_baseline(self, base: Mapping[str, Any]) -> Experiment:
        """Choose a baseline where none is named: on each axis the level that equals `base`, else the first."""
        chosen = {axis.name: self.baseline.get(axis.name) or _usual_level(axis, base) for axis in self.axes}
        return replace(self, baseline=chosen)


@dataclass(frozen=True)
class Cell:
    """One combination of levels, a column of the report.

    Attributes:
        levels: Axis name to level name.
        parameters: What they set together, of the image and of the engine.
    """

    levels: Mapping[str, str]
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`3.0` for one axis, `2.0 x 6` for a grid."""
        return " x ".join(self.levels.values())

    @property
    def of_picture(self) -> dict[str, Any]:
        """What they set of the image."""
        return {name: value for name, value in self.parameters.items() if name not in ENGINE_PARAMETERS}

    @property
    def of_engine(self) -> dict[str, Any]:
        """What they set of the engine."""
        return {name: value for name, value in self.parameters.items() if name in ENGINE_PARAMETERS}


def cells_of(axes: Sequence[Axis]) -> tuple[Cell, ...]:
    """Cross axes; the first is outermost."""
    cells = []
    for levels in itertools.product(*(axis.levels for axis in axes)):
        names = {axis.name: level.name for axis, level in zip(axes, levels, strict=True)}
        cells.append(Cell(names, {name: value for level in levels for name, value in level.parameters.items()}))
    return tuple(cells)


def _usual_level(axis: Axis, base: Mapping[str, Any]) -> str:
    equal = [level for level in axis.levels if all(base[name] == value for name, value in level.parameters.items())]
    return (equal or list(axis.levels))[0].name
