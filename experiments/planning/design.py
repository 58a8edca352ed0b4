"""From a question to runs: an experiment's levels x prompts x seeds.

Pure: nothing here reads a file, loads a model or knows what is on disk already. A run's parameters depend on its level,
prompt and seed alone, never on the runs beside it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from experiments.prompts import Prompt
from llm_dit.errors import InvalidParameter, LlmDitError, nearest
from llm_dit.parameters import PARAMETERS, GenerationParams

AXIS_PARAMETERS = tuple(name for name, item in PARAMETERS.items() if item.group is GenerationParams)
PROMPT_PLACEHOLDER = "{prompt}"
"""Where a level of the axis `prompt` puts the prompt that it is crossed with."""
DEFAULT_SEED = 42
MAX_FILE_STEM = 200
"""Longest run id in characters; file systems allow 255 bytes with suffix and temporary name."""


@dataclass(frozen=True)
class Level:
    """One setting of an axis: a name and the parameters it sets."""

    name: str
    parameters: Mapping[str, Any]


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
        prompt_set: `standard` or `long`: the prompts it is made for.
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

    def for_model(self, hidden_layer_count: int) -> Experiment:
        """Fill in the axes that depend on how deep the model's text encoder is."""
        depths = tuple(Level(str(-n), {"hidden_layer": -n}) for n in range(1, hidden_layer_count + 1))
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
        parameters: What they set together.
    """

    levels: Mapping[str, str]
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`3.0` for one axis, `2.0 x 6` for a grid."""
        return " x ".join(self.levels.values())


@dataclass(frozen=True, slots=True)
class Run:
    """One image to make.

    Attributes:
        run_id: Stem of its files' names.
        prompt: The prompt as written in its file.
        seed: Seed of the noise.
        cell: Its levels.
        params: All parameters; height and width are None where the model decides.
    """

    run_id: str
    prompt: Prompt
    seed: int
    cell: Cell
    params: GenerationParams


@dataclass(frozen=True)
class Plan:
    """Everything that one command asks for; `plan_experiment` makes and checks it."""

    experiment: Experiment
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    base: Mapping[str, Any]

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
        """Yield every run: sizes outermost, since a new size may cost a compilation; then prompts, seeds, levels."""
        sizes = [(template.height or 0, template.width or 0) for template in self.templates]
        for size in dict.fromkeys(sizes):
            indices = [index for index, other in enumerate(sizes) if other == size]
            for prompt, seed, index in itertools.product(self.prompts, self.seeds, indices):
                yield self._run(index, prompt, seed)

    def _run(self, index: int, prompt: Prompt, seed: int) -> Run:
        params = self.params(index, prompt, seed)
        assert params.seed is not None
        if "prompt" in self.cells[index].parameters and prompt.id == OWN_PROMPT.id:
            prompt = replace(prompt, text=params.prompt)
        identifier = run_id(self.experiment.name, prompt.id, self.cells[index].levels, params.seed)
        return Run(identifier, prompt, params.seed, self.cells[index], params)

    def _template(self, cell: Cell) -> GenerationParams:
        values = {"prompt": PROMPT_PLACEHOLDER, **self.base, **cell.parameters}
        try:
            return GenerationParams.parse(values)
        except InvalidParameter as error:
            where = f"{error.problem} (experiment {self.experiment.name}, level {cell.name})"
            raise InvalidParameter(error.field or "parameters", where) from None


OWN_PROMPT = Prompt(id="own", category="own", difficulty="", text=PROMPT_PLACEHOLDER)
"""Stands for the prompts where the axis `prompt` brings its own texts."""


def plan_experiment(
    experiment: Experiment,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    *,
    defaults: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Cross an experiment with prompts and seeds.

    Args:
        experiment: Its axes filled in (`for_model`).
        prompts: At least one.
        seeds: At least one; doubles count once.
        defaults: Parameters from a configuration file; the experiment's `fixed` win over them.
        overrides: Parameters that win over `fixed`.

    Raises:
        InvalidParameter: If an override names an axis, or a combination is out of range.
        LlmDitError: If there is nothing to run, or two runs would have the same file name.
    """
    for name in sorted(set(overrides or {}) & experiment.axis_parameters):
        raise InvalidParameter(name, f"is an axis of {experiment.name}; leave it out, or use --sweep.")
    base = {**(defaults or {}), **experiment.fixed, **(overrides or {})}
    base = {name: value for name, value in base.items() if name not in ("prompt", "seed")}
    if _brings_own_prompts(experiment):
        prompts = [OWN_PROMPT]
    if "seed" in experiment.axis_parameters:
        seeds = [0]
    if not prompts:
        raise LlmDitError("No prompt is left to run; --list-prompts shows them all.")
    checked = GenerationParams.parse({"prompt": PROMPT_PLACEHOLDER, **base}).model_dump()
    plan = Plan(experiment.with_baseline(checked), tuple(prompts), _checked_seeds(seeds), base)
    assert len(plan.templates) == len(plan.cells)
    _check_names(plan)
    return plan


def cells_of(axes: Sequence[Axis]) -> tuple[Cell, ...]:
    """Cross axes; the first is outermost."""
    cells = []
    for levels in itertools.product(*(axis.levels for axis in axes)):
        names = {axis.name: level.name for axis, level in zip(axes, levels, strict=True)}
        cells.append(Cell(names, {name: value for level in levels for name, value in level.parameters.items()}))
    return tuple(cells)


def select_prompts(
    prompts: Sequence[Prompt],
    *,
    categories: Sequence[str] = (),
    ids: Sequence[str] = (),
    max_prompts: int | None = None,
) -> tuple[Prompt, ...]:
    """Pick prompts.

    Args:
        prompts: Those of the file.
        categories: Keep these; all if empty.
        ids: Keep these; all if empty.
        max_prompts: Keep at most so many, taken in turn from each category, so that few still cover much; a larger
            number keeps all that a smaller one does.

    Raises:
        LlmDitError: For an unknown category or id; the message names the nearest.
    """
    _check_known("--prompt-category", categories, [prompt.category for prompt in prompts])
    _check_known("--prompt-ids", ids, [prompt.id for prompt in prompts])
    chosen = [
        prompt
        for prompt in prompts
        if (not categories or prompt.category in categories) and (not ids or prompt.id in ids)
    ]
    if not chosen:
        raise LlmDitError("No prompt has one of these ids and one of these categories; --list-prompts shows them.")
    if max_prompts is None or max_prompts >= len(chosen):
        return tuple(chosen)
    kept = set(itertools.islice((prompt.id for prompt in _in_turn(chosen)), max_prompts))
    return tuple(prompt for prompt in chosen if prompt.id in kept)


def level_name(value: Any) -> str:
    """Name the level of one value: short, on one line, and different for different values."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if not value:
        return "empty"
    if value in ("none", "empty", "true", "false"):
        return f"'{value}'"
    line = " ".join(value.split())
    if line == value and len(value) <= 60 and value.isprintable():
        return value
    readable = "".join(character for character in line if character.isprintable())
    return f"{readable[:40].strip()}… {_short_hash(value, 6)}"


def safe_name(text: str) -> str:
    """Return a part of a file name for any text: lower-case ASCII, no separators, different for different texts."""
    if re.fullmatch(r"-?[a-z0-9][a-z0-9._-]{0,39}", text) and not text.endswith("."):
        return text
    folded = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:24].strip("-")
    return "-".join(part for part in (words, _short_hash(text, 8)) if part)


def run_id(experiment: str, prompt_id: str, levels: Mapping[str, str], seed: int) -> str:
    """Return the stem of a run's files, such as `shift_sweep_animal_001_shift_3.0_seed42`."""
    parts = [experiment if len(experiment) <= 64 else safe_name(experiment), safe_name(prompt_id)]
    parts += [f"{safe_name(axis)}_{safe_name(level)}" for axis, level in levels.items()]
    stem, ending = "_".join(parts), f"_seed{seed}"
    if len(stem) + len(ending) > MAX_FILE_STEM:
        stem = f"{stem[: MAX_FILE_STEM - 40]}-{_short_hash(stem, 16)}"
    return stem + ending


def _short_hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def _usual_level(axis: Axis, base: Mapping[str, Any]) -> str:
    equal = [level for level in axis.levels if all(base[name] == value for name, value in level.parameters.items())]
    return (equal or list(axis.levels))[0].name


def _brings_own_prompts(experiment: Experiment) -> bool:
    texts = [
        level.parameters["prompt"] for axis in experiment.axes for level in axis.levels if "prompt" in level.parameters
    ]
    return bool(texts) and not any(PROMPT_PLACEHOLDER in text for text in texts)


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    if not seeds:
        raise LlmDitError("--seeds names no seed; use for example --seeds 42,123.", field="seeds")
    for seed in seeds:
        GenerationParams.parse({"prompt": PROMPT_PLACEHOLDER, "seed": seed})
    return tuple(dict.fromkeys(int(seed) for seed in seeds))


def _check_names(plan: Plan) -> None:
    """Refuse two runs with one name, on disk or in a table."""
    for what, names in (
        ("levels", [run_id("", "", cell.levels, 0) for cell in plan.cells]),
        ("levels", [cell.name for cell in plan.cells]),
        ("prompts", [safe_name(prompt.id) for prompt in plan.prompts]),
    ):
        if len(set(names)) < len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise LlmDitError(f"Two {what} of {plan.experiment.name} would both be called {double!r}; rename one.")


def _check_known(option: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise LlmDitError(f"{option} {name!r} does not exist{nearest(name, dict.fromkeys(known))}")


def _in_turn(prompts: Sequence[Prompt]) -> Iterator[Prompt]:
    """Yield the first prompt of each category, then the second of each, and so on."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.category, []).append(prompt)
    for row in itertools.zip_longest(*groups.values()):
        yield from (prompt for prompt in row if prompt is not None)
