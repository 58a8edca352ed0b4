"""The manifest: an experiment as resolved, over all commands that ran into its folder.

It says what each level resolved to, and finds the place of a record by what that shows: parameters, model, numerics and
text, never by what the run is called.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from experiments.planning.axes import Axis, Cell, Experiment, cells_of
from experiments.planning.design import OWN_PROMPT, PROMPT_PLACEHOLDER, LeftOut
from experiments.prompts import Prompt
from experiments.store.analyses import PastAnalysis, analysis_from_values
from experiments.store.comparable import Conditions, ModelIdentity, told_parameters
from experiments.store.entries import Entries
from experiments.store.look_log import LookLog, look_log_from
from experiments.store.records import RunRecord

OF_THE_RUN = ("prompt", "seed")
"""Parameters that a run brings where no level sets them."""


@dataclass(frozen=True)
class ResolvedCell:
    """One combination of levels, and what it resolved to.

    Attributes:
        cell: Names and what the levels set.
        parameters: All generation parameters but prompt and seed, which are there only where a level sets them.
        model: What of its model changes images.
        is_whole: False in manifests of earlier versions, which did not keep what other levels set.
    """

    cell: Cell
    parameters: Mapping[str, Any]
    model: ModelIdentity
    is_whole: bool

    @cached_property
    def _told(self) -> dict[str, Any]:
        return told_parameters({name: value for name, value in self.parameters.items() if name not in OF_THE_RUN})

    def fits(self, told: Mapping[str, Any], model: ModelIdentity) -> bool:
        """Return True if runs of `model` may show this combination; `told` are parameters without prompt and seed."""
        if self.model.told != model.told:
            return False
        if self.is_whole:
            return self._told == told
        return all(_is_like(value, told.get(name)) for name, value in self._told.items())

    def has_inputs_of(self, record: RunRecord) -> bool:
        """Return True if prompt and seed of a run are those that this combination makes of them."""
        template = self.parameters.get("prompt", PROMPT_PLACEHOLDER)
        if template.replace(PROMPT_PLACEHOLDER, record.prompt) != record.parameters.get("prompt"):
            return False
        return "seed" not in self.parameters or self.parameters["seed"] == record.parameters.get("seed")


@dataclass(frozen=True)
class Manifest:
    """The experiment of a folder.

    Attributes:
        experiment: Axes with every level that some command asked for, and the baseline.
        prompts: In the order of tables; no two of one text.
        seeds: In the order of tables.
        conditions: What all runs share.
        resolved: What each combination of levels resolved to.
        asked: What each command asked for: `prompts` (ids), `seeds`, and `levels` (axis name to level names).
        raw: The whole file.
        analyses: Those of this folder alone that somebody has seen, the first one first; none in manifests of earlier
            versions.
        left_out: Levels that were asked for and that the device can't do.
    """

    experiment: Experiment
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    conditions: Conditions
    resolved: tuple[ResolvedCell, ...]
    asked: tuple[Mapping[str, Any], ...]
    raw: Mapping[str, Any]
    analyses: tuple[PastAnalysis, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment.name

    @property
    def description(self) -> str:
        """What is asked."""
        return self.experiment.description

    @property
    def primary(self) -> str | None:
        """The measure that counts; None where nobody named one."""
        return str(self.raw["primary"]["measure"]) if "primary" in self.raw else None

    @property
    def analyses_before_primary(self) -> int:
        """Number of analyses that showed the primary measure before it was named."""
        return 0 if self.primary is None else self._analyses_before(self.primary, self.raw["primary"]["named"])

    @property
    def margins(self) -> dict[str, float]:
        """Measure to the largest difference of it that does not matter, where somebody gave one."""
        return {measure: float(entry["margin"]) for measure, entry in self.raw.get("margins", {}).items()}

    def analyses_before_margin(self, measure: str) -> int:
        """Return the number of analyses that showed a measure before its margin was named."""
        return self._analyses_before(measure, self.raw["margins"][measure]["named"])

    def analyses_beside(self, conditions: str) -> tuple[PastAnalysis, ...]:
        """Return the analyses of this folder beside another one, which is known by the hash of its conditions."""
        found = (analysis_from_values(entry) for entry in self.raw.get("analyses", ()))
        return tuple(replace(analysis, beside="") for analysis in found if analysis.beside == conditions)

    def _analyses_before(self, measure: str, named: str) -> int:
        return sum(measure in found.measures and found.when < named for found in self.analyses)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What is varied, first axis outermost."""
        return self.experiment.axes

    @property
    def baseline(self) -> dict[str, str]:
        """Axis name to the name of the level that others are compared with."""
        return dict(self.experiment.baseline)

    @cached_property
    def sets_seeds(self) -> bool:
        """True if an axis sets the seed itself."""
        return any("seed" in axis.parameter_names for axis in self.axes)

    @cached_property
    def combinations(self) -> tuple[Cell, ...]:
        """All combinations of levels."""
        return cells_of(self.axes)

    def level_name(self, levels: Mapping[str, str]) -> str:
        """Return `3.0` for one axis, `2.0 x 6` for a grid."""
        return " x ".join(levels[axis.name] for axis in self.axes)

    @property
    def baseline_name(self) -> str:
        """Name of the combination that others are compared with."""
        return self.level_name(self.experiment.baseline)

    @property
    def variable_name(self) -> str:
        """`shift`, or `shift x num_inference_steps`."""
        return " x ".join(axis.name for axis in self.axes)

    @property
    def planned_count(self) -> int:
        """Number of runs that the folder's commands asked for together."""
        return sum(self.planned_runs.values())

    @cached_property
    def looks(self) -> LookLog | None:
        """The looks that were planned, and those taken; None for a fixed design.

        Raises:
            OutputError: If they can't be read.
        """
        return look_log_from(self.raw)

    @cached_property
    def planned_runs(self) -> dict[str, int]:
        """Name of each combination to the number of its runs that the folder's commands asked for together.

        A level that a planned look has ended has the prompts up to that look.
        """
        names = [axis.name for axis in self.axes]
        asked = {
            run
            for block in self.asked
            for run in itertools.product(block["prompts"], block["seeds"], *(block["levels"][name] for name in names))
        }
        if self.looks is not None:
            looks = self.looks
            drawn = {cell.name: set(looks.plan.order[: looks.prompts_of(cell.name)]) for cell in self.combinations}
            asked = {run for run in asked if run[0] in drawn[" x ".join(run[2:])]}
        counts = Counter(" x ".join(levels) for _prompt, _seed, *levels in asked)
        return {cell.name: counts[cell.name] for cell in self.combinations}

    def place(self, record: RunRecord) -> RunRecord | None:
        """Return a run under the names that stand here for what it shows; None if it may not be compared with others.

        A run made under another name, id or level name is the same run. One whose parameters, text, model or numerics
        are not those of any combination is stale.
        """
        entry = self._entry_of(record)
        if entry is None:
            return None
        prompt = self._prompt_of(record, entry)
        if prompt is None:
            return None
        levels = entry.cell.levels
        known = (record.prompt_id, record.category, record.difficulty, record.levels)
        if known == (prompt.id, prompt.category, prompt.difficulty, levels):
            return record
        return replace(
            record,
            prompt_id=prompt.id,
            category=prompt.category,
            difficulty=prompt.difficulty,
            levels=levels,
            level=self.level_name(levels),
        )

    def in_order(self, placed: Iterable[RunRecord]) -> list[RunRecord]:
        """Sort runs that have a place by prompt, seed and level as they stand here; what nobody listed comes last."""
        prompts = {prompt.id: rank for rank, prompt in enumerate(self.prompts)}
        seeds = {seed: rank for rank, seed in enumerate(self.seeds)}
        cells = {cell.name: rank for rank, cell in enumerate(self.combinations)}
        return sorted(
            placed,
            key=lambda record: (
                prompts.get(record.prompt_id, len(prompts)),
                seeds.get(record.seed, record.seed),
                cells[record.level],
            ),
        )

    def _entry_of(self, record: RunRecord) -> ResolvedCell | None:
        """Return the combination a run shows: the one it is named after where several show the same."""
        fitting = self._fitting(self._told_of(record), self._model_of(record))
        named = self._by_levels.get(tuple(record.levels.items()))
        if any(entry is named for entry in fitting) and named is not None and named.has_inputs_of(record):
            return named
        return next((entry for entry in fitting if entry.has_inputs_of(record)), None)

    def _fitting(self, told: Mapping[str, Any], model: ModelIdentity) -> tuple[ResolvedCell, ...]:
        """Return the combinations that runs with these parameters of a model may show."""
        key = (id(told), id(model))
        known = self._fits.get(key)
        if known is None:  # holds both, so that nothing else can have their ids
            entries = tuple(entry for entry in self.resolved if entry.fits(told, model))
            known = self._fits[key] = (entries, told, model)
        return known[0]

    def _model_of(self, record: RunRecord) -> ModelIdentity:
        """Return the model of a record, the same one for all that hold the very same numerics."""
        key = (record.fingerprint, id(record.numerics))
        known = self._models.get(key)
        if known is None:  # holds the numerics, so that nothing else can have their id
            known = self._models[key] = ModelIdentity(record.fingerprint, record.numerics)
        return known

    def _told_of(self, record: RunRecord) -> Mapping[str, Any]:
        """Return what a record tells of its parameters beside prompt and seed, which thousands tell alike."""
        parameters = record.parameters
        key = parameters.key_beside(OF_THE_RUN) if isinstance(parameters, Entries) else None
        try:
            known = self._told.get(key)
        except TypeError:  # a value that no parameter has, such as a list
            known = key = None
        if known is None:
            known = told_parameters({name: value for name, value in parameters.items() if name not in OF_THE_RUN})
            if key is not None:
                self._told[key] = known
        return known

    def _prompt_of(self, record: RunRecord, entry: ResolvedCell) -> Prompt | None:
        """Return the prompt a run shows; one that nobody listed keeps its name, unless another text has it now."""
        if self._brings_own_prompts and PROMPT_PLACEHOLDER not in entry.parameters.get("prompt", PROMPT_PLACEHOLDER):
            return OWN_PROMPT
        known = self._by_text.get(record.prompt)
        if known is not None or record.prompt_id in self._ids:
            return known
        return Prompt(record.prompt_id, record.category, record.difficulty, record.prompt)

    @cached_property
    def _told(self) -> dict[tuple[Any, ...] | None, Mapping[str, Any]]:
        """What records told so far, by names and values; values that are equal tell the same."""
        return {}

    @cached_property
    def _models(self) -> dict[tuple[str, int], ModelIdentity]:
        """Models of records seen so far, each with its sorted numerics once."""
        return {}

    @cached_property
    def _fits(self) -> dict[tuple[int, int], tuple[tuple[ResolvedCell, ...], Mapping[str, Any], ModelIdentity]]:
        """What records seen so far may show."""
        return {}

    @cached_property
    def _by_levels(self) -> dict[tuple[tuple[str, str], ...], ResolvedCell]:
        return {tuple(entry.cell.levels.items()): entry for entry in self.resolved}

    @cached_property
    def _brings_own_prompts(self) -> bool:
        return OWN_PROMPT in self.prompts

    @cached_property
    def _by_text(self) -> dict[str, Prompt]:
        return {prompt.text: prompt for prompt in reversed(self.prompts)}

    @cached_property
    def _ids(self) -> set[str]:
        return {prompt.id for prompt in self.prompts}


def _is_like(planned: Any, resolved: Any) -> bool:
    """Compare with a level as it was written, where None may stand for a number that the model gave."""
    return planned == resolved or (planned is None and isinstance(resolved, int | float))
