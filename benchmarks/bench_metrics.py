"""Seconds to score an experiment's images: in batches with readers ahead, and one image at a time.

    python -m benchmarks.bench_metrics
    python -m benchmarks.bench_metrics --image-reward FOLDER --siglip FOLDER --device cuda --size 1024

The pictures are noise scaled up, and the prompts have three sentences, as the standard ones; what they say does not
change how long scoring takes. The last line of stdout is JSON.
"""

import json
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

from experiments.metrics import ScoreInput, Scorer, default_metrics, load_scorers

SEEDS_PER_GROUP = 5
PROMPT = (
    "A tabby cat lies curled in a pool of sunlight on a wooden table, picture {number} of a series. Dust floats in the "
    "warm air around it, and a red apple stands beside a small blue cup. Behind the window the garden is still."
)


def write_pictures(folder: Path, count: int, size: int) -> list[ScoreInput]:
    """Write PNG files and return them as rows, five seeds to a prompt."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        coarse = generator.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        path = folder / f"{index}.png"
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path)
        group = index // SEEDS_PER_GROUP
        rows.append(ScoreInput(PROMPT.format(number=group), path, group=str(group)))
    return rows


def measure(scorer: Scorer, rows: Sequence[ScoreInput]) -> dict[str, float]:
    """Time a scorer after a warm-up; seconds for all rows together, and for the same rows one at a time."""
    scorer.score_rows(rows[:2])
    started = time.perf_counter()
    scorer.score_rows(rows)
    together_s = time.perf_counter() - started
    result = {"seconds": round(together_s, 3), "images_per_second": round(len(rows) / together_s, 2)}
    if not scorer.metric.compares_seeds:
        started = time.perf_counter()
        for row in rows:
            scorer.score_rows([row])
        result["seconds_one_at_a_time"] = round(time.perf_counter() - started, 3)
    return result


@click.command()
@click.option("--images", default=100, show_default=True, help="Pictures to score.")
@click.option("--size", default=128, show_default=True, help="Height and width of the pictures in pixels.")
@click.option("--image-reward", default="image-reward-mini", show_default=True, metavar="MODEL")
@click.option("--siglip", default="siglip-mini", show_default=True, metavar="MODEL")
@click.option("--device", default="cpu", show_default=True)
def main(images: int, size: int, image_reward: str, siglip: str, device: str) -> None:
    """Time every metric."""
    started = time.perf_counter()
    scorers = load_scorers(default_metrics(), image_reward_model=image_reward, siglip_model=siglip, device=device)
    load_s = time.perf_counter() - started
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = write_pictures(Path(folder), images, size)
        for scorer in scorers:
            results[scorer.metric.name] = {"model": scorer.metric.model, **measure(scorer, rows)}
            click.echo(f"{scorer.metric.title:16} {results[scorer.metric.name]}")
    total_s = sum(result["seconds"] for result in results.values())
    click.echo(f"{images} pictures of {size} x {size}: {total_s:.2f} s; loading with imports {load_s:.1f} s.")
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    report = {
        "benchmark": "metrics",
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": images,
        "size": size,
        "load_s": round(load_s, 2),
        "total_s": round(total_s, 3),
        "metrics": results,
    }
    click.echo(json.dumps(report))


if __name__ == "__main__":
    main()
