"""Results folders with known scores and small pictures, written in the store's format without a model."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.planning.design import Axis, Experiment, Level, Plan, Run, plan_experiment
from experiments.prompts import Prompt
from experiments.store.comparable import Conditions
from experiments.store.manifest import Manifest
from experiments.store.manifest_json import manifest_from_values, manifest_values
from experiments.store.records import RunRecord, record_from_metadata
from llm_dit.checkpoints.scheduler import TURBO_DEFAULTS

Scores = Mapping[str, float | bool | None]
CATEGORIES = ("animals", "landscapes", "text_rendering")
CONDITIONS = Conditions({"width": 64, "height": 64}, "f" * 64, {"dtype": "float32", "device": "cpu"})


def axis(name: str, *values: object) -> Axis:
    return Axis(name, tuple(Level(str(value), {name: value}) for value in values))


SHIFT = axis("shift", 1.0, 2.0, 3.0, 4.0)
STEPS = axis("num_inference_steps", 4, 9)


def sample_prompts(count: int) -> list[Prompt]:
    names = ("A tabby cat lies curled in a pool of sunlight", "Mist rises over a still lake", 'A sign that says "OPEN"')
    return [
        Prompt(f"{CATEGORIES[i % 3]}_{i:03}", CATEGORIES[i % 3], "easy", f"{names[i % 3]}, take {i}.", ("a thing",))
        for i in range(count)
    ]


def sample_plan(
    *,
    axes: Sequence[Axis] = (SHIFT,),
    baseline: Mapping[str, str] | None = None,
    prompts: Sequence[Prompt] | int = 12,
    seeds: Sequence[int] = (42,),
    name: str = "shift_sweep",
) -> Plan:
    prompts = sample_prompts(prompts) if isinstance(prompts, int) else prompts
    experiment = Experiment(name, "What does it change?", tuple(axes), baseline or {})
    return plan_experiment(experiment, prompts, seeds, defaults=TURBO_DEFAULTS)


def sample_manifest(plan: Plan) -> Manifest:
    return manifest_from_values(manifest_values(plan, CONDITIONS), Path("manifest.json"))


def sample_metadata(run: Run, scores: Scores, error: str | None = None, *, picture: bytes = b"") -> dict:
    params = run.params.model_copy(update={"height": run.params.height or 64, "width": run.params.width or 64})
    steps = params.num_inference_steps
    metadata: dict = {
        "parameters": params.model_dump(),
        "formatted_prompt": f"<|im_start|>user\n{run.prompt.text}<|im_end|>\n<|im_start|>assistant\n",
        "token_count": 20,
        "token_count_used": 20,
        "sigmas": [1.0 - i / steps for i in range(steps + 1)],
        "evaluations": steps,
        "versions": {"torch": "2.9"},
        "model_fingerprint": CONDITIONS.fingerprint,
        "numerics": dict(CONDITIONS.numerics),
        "run": {
            "run_id": run.run_id,
            "identity": hashlib.sha256(run.run_id.encode()).hexdigest(),
            "conditions": CONDITIONS.hash,
            "experiment": "shift_sweep",
            "prompt_id": run.prompt.id,
            "category": run.prompt.category,
            "difficulty": run.prompt.difficulty,
            "prompt": run.prompt.text,
            "seed": run.params.seed,
            "levels": dict(run.cell.levels),
            "generation_time_seconds": scores.get("generation_time_seconds", 0.05 * steps),
            "session": "one run of the command",
            "token_count": 20,
        },
    }
    if error is not None:
        return {**metadata, "error": error}
    metadata["scores"] = {name: value for name, value in scores.items() if name != "generation_time_seconds"}
    metadata["scores_of"] = {"image_reward": "tiny", "siglip_score": "tiny"}
    metadata["image"] = {"file": f"images/{run.run_id}.png", "bytes": len(picture), "width": 64, "height": 64}
    return metadata


def sample_records(plan: Plan, scores: Callable[[Run], Scores | str]) -> list[RunRecord]:
    """Records of a plan; `scores` gives a run's numbers, or the error it failed with."""
    records = []
    for run in plan.runs():
        given = scores(run)
        metadata = sample_metadata(run, {}, given) if isinstance(given, str) else sample_metadata(run, given)
        record = record_from_metadata(metadata, Path("results"))
        assert record is not None
        records.append(record)
    return records


def noisy_scores(effects: Mapping[str, float], *, spread: float = 0.1, flag_every: int = 0) -> Callable[[Run], Scores]:
    """Scores whose prompts differ by 1, whose levels differ by `effects`, with noise of `spread` per picture."""

    def scores(run: Run) -> Scores:
        def draw(*key: object) -> float:
            digest = hashlib.sha256(repr(key).encode()).digest()
            return float(np.random.default_rng(int.from_bytes(digest[:8], "little")).normal())

        level = sum(effects.get(name, 0.0) for name in run.cell.levels.values())
        quality = draw(run.prompt.id) + level + spread * draw(run.run_id)
        flagged = {"image_reward_truncated": len(run.prompt.text) % flag_every == 0} if flag_every else {}
        return {"image_reward": quality, "siglip_score": 0.25 + 0.02 * draw("siglip", run.run_id), **flagged}

    return scores


def write_results(folder: Path, plan: Plan, scores: Callable[[Run], Scores | str], *, image_size: int = 64) -> Path:
    """Write a whole results folder without the store's fsync, so that thousands of pictures take seconds."""
    for name in ("images", "metadata", "failed"):
        (folder / name).mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest_values(plan, CONDITIONS)), encoding="utf-8")
    for index, run in enumerate(plan.runs()):
        given = scores(run)
        if isinstance(given, str):
            (folder / "failed" / f"{run.run_id}.json").write_text(json.dumps(sample_metadata(run, {}, given)))
            continue
        picture = _picture(index % 24, image_size)
        (folder / "images" / f"{run.run_id}.png").write_bytes(picture)
        metadata = sample_metadata(run, given, picture=picture)
        (folder / "metadata" / f"{run.run_id}.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


@functools.cache
def _picture(index: int, size: int) -> bytes:
    """A gradient whose hue and direction depend on the index, so that neighbours look different."""
    across, down = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    hue = (index * 37 % 360) / 360
    channels = [
        0.5 + 0.5 * np.sin(2 * np.pi * (hue + shift + 0.3 * across + 0.2 * down)) for shift in (0, 1 / 3, 2 / 3)
    ]
    file = io.BytesIO()
    Image.fromarray((255 * np.stack(channels, -1)).astype(np.uint8)).save(file, "png", compress_level=1)
    return file.getvalue()
