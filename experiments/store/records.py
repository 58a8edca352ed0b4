"""What stands in the JSON file of a run.

Knows the format, not the folder. A file that does not have it is no record: reading gives None, never half a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        fingerprint: Hash of the model; empty where the record does not say.
        numerics: Number formats, quantization and kernels it was made with.
        metadata: The whole file.
        image_path: The image; None for a failed run.
        scores: Column to value; a column that is absent has not been scored.
        scores_of: Metric name to the model that scored.
        generation_time_seconds: Seconds that encoding, denoising and decoding would take it alone.
        session: The run of the command that made it; empty where the record does not say.
        is_warm_up: True if its time holds what the first picture of a process costs beside its own work.
        elapsed_seconds: Seconds from the end of the run before it to its own end: what it really took.
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
    generation_time_seconds: float | None
    session: str
    is_warm_up: bool
    elapsed_seconds: float | None
    token_count: int | None
    error: str | None

    @property
    def is_finished(self) -> bool:
        """True if there is an image."""
        return self.error is None


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
            fingerprint=metadata.get("model_fingerprint", ""),
            numerics=metadata.get("numerics", {}),
            metadata=metadata,
            image_path=folder / image["file"] if image else None,
            scores=metadata.get("scores", {}),
            scores_of=metadata.get("scores_of", {}),
            generation_time_seconds=run.get("generation_time_seconds"),
            session=run.get("session", ""),
            is_warm_up=run.get("is_warm_up", False),
            elapsed_seconds=run.get("elapsed_seconds"),
            token_count=run.get("token_count"),
            error=metadata.get("error"),
        )
    except (KeyError, TypeError, AttributeError):
        return None
