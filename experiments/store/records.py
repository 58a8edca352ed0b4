"""What stands in the JSON file of a run, and the one way of reading it: whole, or named with what is wrong.

Knows the format, not the folder. Whatever passes here has the types that drawing, scoring and reporting rely on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.store.entries import SharedNames

RUN_TEXTS = ("run_id", "identity", "conditions", "prompt_id", "prompt", "category", "difficulty")
INFINITE = "infinite"
"""How a score without bound stands in a record: JSON has no number for it."""
READ_BY_FIELD = ("run", "parameters")
"""Blocks that a record holds by its fields, and not once more with the rest of its file."""


@dataclass(frozen=True, slots=True)
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
        fingerprint: Hash of the model; empty where the record does not say.
        numerics: Number formats, quantization and kernels it was made with.
        metadata: The rest of the file.
        image_path: The image; None for a failed run.
        scores: Column to value; a column that is absent has not been scored.
        scores_of: Metric name to the model that scored.
        pair_scores: Metric of pairs to its values, its model and the hashes of both pictures; `ResultStore.runs` adds
            those that hold to `scores`.
        generation_time_seconds: Seconds that encoding, denoising and decoding would take it alone.
        session: The run of the command that made it; empty where the record does not say.
        is_warm_up: True if its time holds what the first picture of a process costs beside its own work.
        elapsed_seconds: Seconds from the end of the run before it to its own end: what it really took.
        load_seconds: Network to seconds that loading it took; empty where the record does not say.
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
    fingerprint: str
    numerics: Mapping[str, str]
    metadata: Mapping[str, Any]
    image_path: Path | None
    scores: Mapping[str, Any]
    scores_of: Mapping[str, str]
    pair_scores: Mapping[str, Any]
    generation_time_seconds: float | None
    session: str
    is_warm_up: bool
    elapsed_seconds: float | None
    load_seconds: Mapping[str, float]
    token_count: int | None
    error: str | None

    @property
    def taken_seconds(self) -> float:
        """What the run really took; what it would take alone where the record does not say."""
        return self.generation_time_seconds or 0.0 if self.elapsed_seconds is None else self.elapsed_seconds

    @property
    def is_finished(self) -> bool:
        """True if there is an image."""
        return self.error is None


@dataclass(frozen=True)
class DamagedRecord:
    """A result that is not whole.

    Attributes:
        run_id: Stem of its files' names.
        problem: What is wrong, as the rest of a sentence.
    """

    run_id: str
    problem: str

    def __str__(self) -> str:
        """Name it with its problem."""
        return f"{self.run_id} ({self.problem})"


def record_from_metadata(metadata: Mapping[str, Any], folder: Path) -> RunRecord | None:
    """Read a run from its file's content; None where it is not such a file."""
    found = read_record(metadata, folder)
    return found if isinstance(found, RunRecord) else None


def read_record(metadata: Mapping[str, Any], folder: Path) -> RunRecord | str:
    """Read a run from its file's content, or return the first thing that is wrong with it, as `name is ...`."""
    problem = first_problem(metadata)
    return whole_record(metadata, folder) if problem is None else problem


def first_problem(metadata: Mapping[str, Any]) -> str | None:
    """Return the first thing that is wrong with a run's file, as `name is ...`; None where it is whole."""
    return next(_problems(metadata), None)


def whole_record(metadata: Mapping[str, Any], folder: Path, names: SharedNames | None = None) -> RunRecord:
    """Return the run of a file that `first_problem` found whole.

    Args:
        metadata: The file's content; its blocks may be any mappings.
        folder: The results folder.
        names: Those of other records, with which its own are shared.
    """
    run, image = metadata["run"], metadata.get("image")
    level = " x ".join(run["levels"].values())
    rest = {name: value for name, value in metadata.items() if name not in READ_BY_FIELD}
    return RunRecord(
        run_id=run["run_id"],
        identity=run["identity"],
        conditions=run["conditions"],
        prompt_id=run["prompt_id"],
        prompt=run["prompt"],
        category=run["category"],
        difficulty=run["difficulty"],
        seed=run["seed"],
        level=level if names is None else names.text(level),
        levels=run["levels"],
        parameters=metadata["parameters"],
        fingerprint=metadata.get("model_fingerprint", ""),
        numerics=metadata.get("numerics", {}),
        metadata=rest if names is None else names.entries(rest),
        image_path=folder / image["file"] if image else None,
        scores=metadata.get("scores", {}),
        scores_of=metadata.get("scores_of", {}),
        pair_scores=metadata.get("pair_scores", {}),
        generation_time_seconds=run.get("generation_time_seconds"),
        session=run.get("session", ""),
        is_warm_up=run.get("is_warm_up", False),
        elapsed_seconds=run.get("elapsed_seconds"),
        load_seconds=run.get("load_seconds", {}),
        token_count=run.get("token_count"),
        error=metadata.get("error"),
    )


def _problems(metadata: Mapping[str, Any]) -> Iterator[str]:
    run, parameters = metadata.get("run"), metadata.get("parameters")
    if not isinstance(run, dict) or not isinstance(parameters, dict):
        yield "the blocks run and parameters are not there"
        return  # pragma: no cover - only the first is asked for: `read_record`
    for name in RUN_TEXTS:
        if not isinstance(run.get(name), str):
            yield f"{name} is not a text"
    if not _is_whole_number(run.get("seed")):
        yield "seed is not a whole number"
    if not _is_table(run.get("levels"), str) or not run["levels"]:
        yield "levels are not names"
    for name in ("generation_time_seconds", "elapsed_seconds"):
        if not _is_duration(run.get(name)):
            yield f"{name} is not a duration"
    loading = run.get("load_seconds", {})
    if not isinstance(loading, dict) or not all(_is_duration(took) for took in loading.values()):
        yield "load_seconds are not durations"
    if not isinstance(run.get("session", ""), str) or not isinstance(run.get("is_warm_up", False), bool):
        yield "session is not a text"
    if run.get("token_count") is not None and not _is_whole_number(run["token_count"]):
        yield "token_count is not a whole number"
    if not isinstance(parameters.get("prompt"), str):
        yield "the parameter prompt is not a text"
    for name in ("numerics", "scores_of"):
        if not _is_table(metadata.get(name, {}), str):
            yield f"{name} are not texts"
    if not isinstance(metadata.get("model_fingerprint", ""), str):
        yield "model_fingerprint is not a text"
    scores = metadata.get("scores", {})
    if not isinstance(scores, dict):
        yield "scores are not a table"
        return  # pragma: no cover - only the first is asked for
    for name, value in scores.items():
        if not _is_score(value):
            yield f"the score {name} is {value!r:.20}, not a number"
    yield from _pair_score_problems(metadata.get("pair_scores", {}))
    for name in ("evaluations", "token_count_used"):
        if metadata.get(name) is not None and not _is_whole_number(metadata[name]):
            yield f"{name} is not a whole number"
    yield from _outcome_problems(metadata)


def _outcome_problems(metadata: Mapping[str, Any]) -> Iterator[str]:
    error, image = metadata.get("error"), metadata.get("image")
    if error is not None:
        if not isinstance(error, str):
            yield "error is not a text"
        return
    if not isinstance(image, dict):
        yield "the block image is not there"
        return  # pragma: no cover - only the first is asked for
    file = image.get("file")
    if not isinstance(file, str) or file.startswith(("/", "\\")) or ".." in file.replace("\\", "/").split("/"):
        yield "the image's file is not inside of the folder"
    for name in ("bytes", "width", "height"):
        if not _is_whole_number(image.get(name)):
            yield f"the image's {name} is not a whole number"
    if not isinstance(image.get("sha256", ""), str):
        yield "the image's sha256 is not a text"


def _pair_score_problems(values: Any) -> Iterator[str]:
    """Yield what is wrong with the block `pair_scores` of a record, each as `name is ...`."""
    if not isinstance(values, dict):
        yield "pair_scores are not a table"
        return  # pragma: no cover - only the first is asked for
    for metric, found in values.items():
        if not isinstance(found, dict) or not isinstance(found.get("values"), dict):
            yield f"the pair score {metric} is not a table"
            continue  # pragma: no cover - only the first is asked for
        yield from (
            f"{name} of the pair score {metric} is not a text"
            for name in ("model", "picture", "baseline")
            if not isinstance(found.get(name), str)
        )
        yield from (
            f"the score {name} is {value!r:.20}, not a number"
            for name, value in found["values"].items()
            if value != INFINITE and (value is None or not _is_score(value))
        )


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _is_table(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(item, kind) for item in value.values())
