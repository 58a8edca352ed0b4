"""From a question to runs: an experiment's levels x prompts x seeds.

Pure: nothing here reads a file, loads a model or knows what is on disk already. A run's parameters depend on its level,
prompt and seed alone, never on the runs beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from experiments.planning.axes import (
    AXIS_PARAMETERS,
    ENGINE_PARAMETERS,
    PICTURE_PARAMETERS,
    Axis,
    Cell,
    Experiment,
    Level,
    cells_of,
)
from experiments.planning.loading_order import in_loading_order
from experiments.planning.naming import level_name, run_id, safe_name
from experiments.planning.prompt_choice import distinct_prompts, select_prompts
from experiments.planning.turns import turns_of_groups
from experiments.prompts import Prompt
from llm_dit.checkpoints.scheduler import TURBO_DEFAULTS, TURBO_SHIFT
from llm_dit.errors import InvalidParameter, LlmDitError
from llm_dit.parameters import EngineSettings, GenerationParams
from llm_dit.sampling.shared_work import beginning

__all__ = [
    "AXIS_PARAMETERS",
    "DEFAULT_SEED",
    "ENGINE_PARAMETERS",
    "OWN_PROMPT",
    "PICTURE_PARAMETERS",
    "PROMPT_PLACEHOLDER",
    "Axis",
    "Cell",
    "Experiment",
    "Level",
    "Plan",
    "Run",
    "cells_of",
    "level_name",
    "plan_experiment",
    "run_id",
    "safe_name",
    "select_prompts",
]

PROMPT_PLACEHOLDER = "{prompt}"
"""Where a level of the axis `prompt` puts the prompt that it is crossed with."""
DEFAULT_SEED = 42
DRAWN_APART = (*ENGINE_PARAMETERS, "height", "width")
"""Levels that differ in one of these take no turns: it is loaded, or compiled, once for all runs that have it."""
MODEL_VALUES: Mapping[str, Any] = {"shift": TURBO_SHIFT, **TURBO_DEFAULTS}


@dataclass(frozen=True, slots=True)
class Run:
    """One image to make.

    Attributes:
        run_id: Stem of its files' names.
        prompt: The prompt as written in its file.
        seed: Seed of the noise.
        cell: Its levels.
        params: All parameters; height and width are None where the model decides.
        settings: The model that makes it, where, and with which numerics.
    """

    run_id: str
    prompt: Prompt
    seed: int
    cell: Cell
    params: GenerationParams
    settings: EngineSettings


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A level that this device can't do.

    Attributes:
        axis: Name of its axis.
        level: Its name.
        reason: Why, in a sentence.
    """

    axis: str
    level: str
    reason: str

    def sentence(self) -> str:
        """Say it."""
        return f"The level {self.level} of {self.axis} is left out: {self.reason}"


@dataclass(frozen=True)
class Plan:
    """Everything that one command asks for; `plan_experiment` makes and checks it.

    Attributes:
        experiment: The question, with a baseline on every axis.
        prompts: No two of the same text.
        seeds: Each once.
        base: Parameters below those of the levels.
        named_baseline: The part of the baseline that somebody named; the rest was chosen by rule.
        engine: Settings of the engine below those of the levels.
        left_out: Levels that were asked for and that this device can't do.
    """

    experiment: Experiment
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    base: Mapping[str, Any]
    named_baseline: Mapping[str, str] = field(default_factory=dict)
    engine: EngineSettings = field(default_factory=EngineSettings)
    left_out: tuple[LeftOut, ...] = ()

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All combinations of levels, first axis outermost."""
        return cells_of(self.experiment.axes)

    @cached_property
    def templates(self) -> tuple[GenerationParams, ...]:
        """The parameters of each cell, valid as a whole, with a placeholder for the prompt.

        Raises:
            InvalidParameter: If a combination of levels is out of range.
        """
        return tuple(self._template(cell) for cell in self.cells)

    @cached_property
    def settings(self) -> tuple[EngineSettings, ...]:
        """The engine's settings of each cell; equal ones are one object.

        Raises:
            InvalidParameter: If a combination of levels is none of the engine's.
        """
        known: dict[EngineSettings, EngineSettings] = {}
        return tuple(known.setdefault(found, found) for found in (self._settings_of(cell) for cell in self.cells))

    @cached_property
    def loading_order(self) -> tuple[EngineSettings, ...]:
        """Each setting of the engine once, in the order in which runs load them."""
        return in_loading_order(dict.fromkeys(self.settings))

    def arm(self, settings: EngineSettings) -> str:
        """Return the levels that set the engine so, such as `quantization int8`; empty where no level sets it."""
        cells = [cell for cell, own in zip(self.cells, self.settings, strict=True) if own == settings]
        names = []
        for axis in self.experiment.axes:
            if axis.parameter_names & set(ENGINE_PARAMETERS):
                names.append(f"{axis.name} {' or '.join(dict.fromkeys(cell.levels[axis.name] for cell in cells))}")
        return ", ".join(names)

    @property
    def run_count(self) -> int:
        """Number of images."""
        return len(self.cells) * len(self.prompts) * len(self.seeds)

    def params(self, index: int, prompt: Prompt, seed: int) -> GenerationParams:
        """Return the parameters of the run of cell `index`; prompt and seed were checked when they were read."""
        template = self.templates[index]
        text = template.prompt.replace(PROMPT_PLACEHOLDER, prompt.text)
        own_seed = seed if template.seed is None else template.seed
        return template.model_copy(update={"prompt": text, "seed": own_seed})

    def runs(self) -> Iterator[Run]:
        """Yield every run: settings of the engine outermost, which are loaded; then sizes, which may be compiled.

        Within both come prompts, seeds and levels, which take turns (see `experiments.planning.turns`). Those with the
        same LoRAs stay together, since others rewrite weights, and of these those that begin alike, which share work.
        Orders are counted over the prompts of one seed after the other, since the first seed of a prompt meets its
        encoding, and its first place must go round.
        """
        sizes = [(template.height, template.width) for template in self.templates]
        loras = [(template.loras, template.lora_strength) for template in self.templates]
        beginnings = [beginning(template) for template in self.templates]
        for settings, size in itertools.product(self.loading_order, dict.fromkeys(sizes)):
            indices = [index for index, other in enumerate(sizes) if other == size and self.settings[index] is settings]
            weights, begun = ([of[index] for index in indices] for of in (loras, beginnings))
            for (place, prompt), (later, seed) in itertools.product(enumerate(self.prompts), enumerate(self.seeds)):
                for turn in turns_of_groups(weights, place + later * len(self.prompts), begun):
                    yield self._run(indices[turn], prompt, seed)

    def _run(self, index: int, prompt: Prompt, seed: int) -> Run:
        params = self.params(index, prompt, seed)
        assert params.seed is not None
        if prompt == OWN_PROMPT:
            prompt = replace(prompt, text=params.prompt)
        identifier = run_id(self.experiment.name, prompt.id, self.cells[index].levels, params.seed)
        return Run(identifier, prompt, params.seed, self.cells[index], params, self.settings[index])

    def _template(self, cell: Cell) -> GenerationParams:
        values = {"prompt": PROMPT_PLACEHOLDER, **self.base, **cell.of_picture}
        try:
            return GenerationParams.parse(values)
        except InvalidParameter as error:
            raise self.of_level(error, cell) from None

    def _settings_of(self, cell: Cell) -> EngineSettings:
        try:
            return self.engine.replaced(**cell.of_engine) if cell.of_engine else self.engine
        except InvalidParameter as error:
            raise self.of_level(error, cell) from None

    def of_level(self, error: InvalidParameter, cell: Cell) -> InvalidParameter:
        """Return an error that names the level as well."""
        where = f"{error.problem} (experiment {self.experiment.name}, level {cell.name})"
        return InvalidParameter(error.field or "parameters", where)


OWN_PROMPT = Prompt(id="own", category="own", difficulty="", text=PROMPT_PLACEHOLDER)
"""Stands for the prompts where the axis `prompt` brings its own texts."""


def plan_experiment(
    experiment: Experiment,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    *,
    defaults: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    model_values: Mapping[str, Any] = MODEL_VALUES,
    engine: EngineSettings | None = None,
) -> Plan:
    """Cross an experiment with prompts and seeds.

    Args:
        experiment: Its axes filled in (`for_model`).
        prompts: At least one; equal texts count once, under the first id.
        seeds: At least one; doubles count once.
        defaults: Parameters of images from a configuration file; the experiment's `fixed` win over them.
        overrides: Parameters of images and of the engine that win over `fixed`.
        model_values: What the model takes where a parameter is None, for the choice of a baseline; Turbo's by default.
        engine: Settings of the engine, from file and flags; the built-in defaults if None.

    Raises:
        InvalidParameter: If an override names an axis, or a combination is out of range.
        LlmDitError: If there is nothing to run, or two runs would have the same file name.
    """
    for name in sorted(set(overrides or {}) & experiment.axis_parameters):
        raise InvalidParameter(name, f"is an axis of {experiment.name}; leave it out, or use --sweep.")
    base = {**(defaults or {}), **experiment.fixed, **(overrides or {})}
    of_engine = {name: value for name, value in base.items() if name in ENGINE_PARAMETERS}
    settings = (engine or EngineSettings()).replaced(**of_engine) if of_engine else engine or EngineSettings()
    base = {name: value for name, value in base.items() if name not in ("prompt", "seed", *ENGINE_PARAMETERS)}
    if _brings_own_prompts(experiment):
        prompts = [OWN_PROMPT]
    if "seed" in experiment.axis_parameters:
        seeds = [0]
    if not prompts:
        raise LlmDitError("No prompt is left to run; --list-prompts shows them all.")
    checked = GenerationParams.parse({"prompt": PROMPT_PLACEHOLDER, **base}).model_dump()
    checked |= {name: value for name, value in model_values.items() if checked[name] is None}
    chosen = experiment.with_baseline({**checked, **settings.model_dump()})
    plan = Plan(chosen, distinct_prompts(prompts), _checked_seeds(seeds), base, dict(experiment.baseline), settings)
    assert len(plan.templates) == len(plan.cells) == len(plan.settings)
    _check_names(plan)
    return plan


def _brings_own_prompts(experiment: Experiment) -> bool:
    """Return True if every combination of levels has a whole prompt of its own."""
    texts = [
        level.parameters.get("prompt", PROMPT_PLACEHOLDER)
        for axis in experiment.axes
        if "prompt" in axis.parameter_names
        for level in axis.levels
    ]
    return bool(texts) and not any(PROMPT_PLACEHOLDER in text for text in texts)


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    if not seeds:
        raise LlmDitError("--seeds names no seed; use for example --seeds 42,123.", field="seeds")
    try:
        for seed in seeds:
            GenerationParams.parse({"prompt": PROMPT_PLACEHOLDER, "seed": seed})
    except InvalidParameter as error:
        raise error.named("--seeds") from None
    return tuple(dict.fromkeys(int(seed) for seed in seeds))


def _check_names(plan: Plan) -> None:
    """Refuse two runs with one name, on disk or in a table."""
    for what, names in (
        ("levels", [cell.name for cell in plan.cells]),
        ("prompts", [safe_name(prompt.id) for prompt in plan.prompts]),
    ):
        if len(set(names)) < len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise LlmDitError(f"Two {what} of {plan.experiment.name} would both be called {double!r}; rename one.")
    files: dict[str, str] = {}
    for cell in plan.cells:
        other = files.setdefault(run_id("", "", cell.levels, 0), cell.name)
        if other != cell.name:
            raise LlmDitError(
                f"Pictures of the levels {other!r} and {cell.name!r} of {plan.experiment.name} would have one file "
                "name; rename one."
            )
