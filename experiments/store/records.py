"""What stands in the JSON files of a results folder: the manifest, and one record per run.

Knows the format, not the folder. A file that does not have it is no record: reading gives None, never half a result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.planning.design import PROMPT_PLACEHOLDER, Axis, Cell, Experiment, Level, Plan, cells_of
from experiments.prompts import Prompt
from llm_dit.errors import OutputError
from llm_dit.parameters import GenerationParams

MANIFEST_FORMAT = 1
IDENTITY_VERSION = "r1"
"""Raised when the same inputs begin to mean another image."""


@dataclass(frozen=True)
class Conditions:
    """What all runs of a folder share, so that its levels may be compared.

    Attributes:
        parameters: Generation parameters that no axis sets, size filled in; without prompt and seed.
        fingerprint: Hash of the model's weights and configurations.
        numerics: Number formats, quantization and kernels in use.
    """

    parameters: Mapping[str, Any]
    fingerprint: str
    numerics: Mapping[str, str]

    @cached_property
    def hash(self) -> str:
        """Versioned hash of all three."""
        return versioned_hash([self.parameters, self.fingerprint, self.numerics])

    def identity(self, params: GenerationParams, formatted_prompt: str, negative: str | None) -> str:
        """Return the versioned hash of everything that changes a run's image.

        Args:
            params: Resolved, with height, width and seed.
            formatted_prompt: What the text encoder reads.
            negative: The formatted negative prompt; None without guidance.
        """
        values = params.model_dump()
        return versioned_hash([values, formatted_prompt, negative, self.fingerprint, self.numerics])

    def differences(self, other: Conditions) -> list[str]:
        """Return what is different in `other`, each as `name: here -> there`."""
        pairs: list[tuple[str, Any, Any]] = [("model fingerprint", self.fingerprint[:12], other.fingerprint[:12])]
        for mine, theirs in ((self.parameters, other.parameters), (self.numerics, other.numerics)):
            pairs += [(name, mine.get(name), theirs.get(name)) for name in sorted({*mine, *theirs})]
        return [f"{name}: {before} -> {now}" for name, before, now in pairs if before != now]


@dataclass(frozen=True)
class Manifest:
    """The experiment of a folder, as resolved, over all commands that ran into it."""

    experiment: Experiment
    prompts: tuple[Prompt, ...]
    seeds: tuple[int, ...]
    conditions: Conditions
    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment.name

    @property
    def description(self) -> str:
        """What is asked."""
        return self.experiment.description

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What is varied, first axis outermost."""
        return self.experiment.axes

    @property
    def baseline(self) -> dict[str, str]:
        """Axis name to the name of the level that others are compared with."""
        return dict(self.experiment.baseline)

    @property
    def fixed(self) -> dict[str, Any]:
        """Parameters that the experiment holds fixed."""
        return dict(self.experiment.fixed)

    @cached_property
    def combinations(self) -> tuple[Cell, ...]:
        """All combinations of levels."""
        return cells_of(self.axes)

    def cells(self) -> list[dict[str, str]]:
        """Return all combinations of levels as axis name to level name."""
        return [dict(cell.levels) for cell in self.combinations]

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

    def holds(self, record: RunRecord) -> bool:
        """Return True if a run was made under the present conditions, level definitions and prompt text."""
        if record.conditions != self.conditions.hash or record.levels.keys() != self._levels.keys():
            return False
        if self._texts.get(record.prompt_id, record.prompt) not in (record.prompt, PROMPT_PLACEHOLDER):
            return False
        for axis, name in record.levels.items():
            parameters = self._levels[axis].get(name)
            if parameters is None:
                return False
            for parameter, value in parameters.items():
                wanted = value.replace(PROMPT_PLACEHOLDER, record.prompt) if parameter == "prompt" else value
                if record.parameters.get(parameter) != wanted:
                    return False
        return True

    @cached_property
    def _levels(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        return {axis.name: {level.name: level.parameters for level in axis.levels} for axis in self.axes}

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {prompt.id: prompt.text for prompt in self.prompts}


@dataclass(frozen=True)
class RunRecord:
    """One finished or failed run.

    Attributes:
        run_id: Stem of its files' names.
        identity: Hash of everything that changes its image.
        conditions: Hash of what it shares with the folder's other runs.
        prompt: The prompt's text as in its file.
        level: Joined name of its levels.
        levels: Axis name to level name.
        parameters: All generation parameters, resolved.
        metadata: The whole file.
        image_path: The image; None for a failed run.
        scores: Column to value; a column that is absent has not been scored.
        scores_of: Metric name to the model that scored.
        generation_time_seconds: Seconds for encoding (its share), denoising and decoding.
        token_count: Tokens of the formatted prompt.
        error: Why it failed; None for a finished run.
    """

    run_id: str
    identity: str
    conditions: str
    prompt_id: str
    prompt: str
    category: str
    difficulty: str
    seed: int
    level: str
    levels: Mapping[str, str]
    parameters: Mapping[str, Any]
    metadata: Mapping[str, Any]
    image_path: Path | None
    scores: Mapping[str, Any]
    scores_of: Mapping[str, str]
    generation_time_seconds: float | None
    token_count: int | None
    error: str | None

    @property
    def is_finished(self) -> bool:
        """True if there is an image."""
        return self.error is None


def versioned_hash(values: Any) -> str:
    """Return a hash of JSON-able values, such as `r1:0a1b...`, equal for equal values in any process."""
    text = json.dumps(values, ensure_ascii=True, sort_keys=True, allow_nan=False, default=dict)
    return f"{IDENTITY_VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def record_from_metadata(metadata: Mapping[str, Any], folder: Path) -> RunRecord | None:
    """Read a run from its file's content; None where it is not such a file."""
    run = metadata.get("run")
    if not isinstance(run, dict):
        return None
    image = metadata.get("image")
    try:
        return RunRecord(
            run_id=run["run_id"],
            identity=run["identity"],
            conditions=run["conditions"],
            prompt_id=run["prompt_id"],
            prompt=run["prompt"],
            category=run["category"],
            difficulty=run["difficulty"],
            seed=run["seed"],
            level=" x ".join(run["levels"].values()),
            levels=run["levels"],
            parameters=metadata["parameters"],
            metadata=metadata,
            image_path=folder / image["file"] if image else None,
            scores=metadata.get("scores", {}),
            scores_of=metadata.get("scores_of", {}),
            generation_time_seconds=run.get("generation_time_seconds"),
            token_count=run.get("token_count"),
            error=metadata.get("error"),
        )
    except (KeyError, TypeError, AttributeError):
        return None


def manifest_values(plan: Plan, conditions: Conditions) -> dict[str, Any]:
    """Return the part of the manifest that describes the experiment, ready for JSON."""
    experiment = plan.experiment
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
            "fixed": dict(experiment.fixed),
        },
        "prompts": [asdict(prompt) for prompt in plan.prompts],
        "seeds": list(plan.seeds),
        "conditions": {
            "hash": conditions.hash,
            "parameters": dict(conditions.parameters),
            "fingerprint": conditions.fingerprint,
            "numerics": dict(conditions.numerics),
        },
    }


def manifest_from_values(values: Mapping[str, Any], path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        OutputError: If it was written by another version, or is not a manifest.
    """
    if values.get("format") != MANIFEST_FORMAT:
        raise OutputError(f"{path} has format {values.get('format')}, and this version reads {MANIFEST_FORMAT}.")
    try:
        described = values["experiment"]
        axes = tuple(
            Axis(axis["name"], tuple(Level(level["name"], level["parameters"]) for level in axis["levels"]))
            for axis in described["axes"]
        )
        experiment = Experiment(
            described["name"], described["description"], axes, described["baseline"], described["fixed"]
        )
        prompts = tuple(Prompt(**{**prompt, "must_show": tuple(prompt["must_show"])}) for prompt in values["prompts"])
        shared = values["conditions"]
        conditions = Conditions(shared["parameters"], shared["fingerprint"], shared["numerics"])
        return Manifest(experiment, prompts, tuple(values["seeds"]), conditions, values)
    except (KeyError, TypeError) as error:
        raise OutputError(f"{path} is not a whole manifest ({error}).") from None


def merged_manifest(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Add the prompts, seeds and levels of a new command to a folder's manifest; the new description wins.

    Args:
        old: The manifest on disk, of the same axes.
        new: From `manifest_values`.
    """
    axes = [
        {"name": after["name"], "levels": _merged(before["levels"], after["levels"], "name")}
        for before, after in zip(old["experiment"]["axes"], new["experiment"]["axes"], strict=True)
    ]
    return {
        **old,
        **new,
        "experiment": {**new["experiment"], "axes": axes},
        "prompts": _merged(old["prompts"], new["prompts"], "id"),
        "seeds": list(dict.fromkeys([*old["seeds"], *new["seeds"]])),
    }


def _merged(old: list[dict[str, Any]], new: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return `old` with entries replaced by their new version, then what is only in `new`.

    Where `new` holds every old entry, its order is taken.
    """
    if {item[key] for item in old} <= {item[key] for item in new}:
        return list(new)
    by_key = {item[key]: item for item in [*old, *new]}
    return list(by_key.values())
