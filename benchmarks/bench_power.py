"""What experiments say they detect, and how often others find it: `uv run python -m benchmarks.bench_power`, 30 s.

Prints the table of docs/statistics.md: the effect in standard deviations as an experiment estimates them, and how
many percent of 2,000 simulated experiments find it, each given the spread of another one. With a fixed seed.
"""

from __future__ import annotations

import math

import numpy as np

from experiments.stats import paired_statistics as statistics
from experiments.stats import power

EXPERIMENTS = 2000
PROMPTS = (6, 8, 12, 20, 60)
COMPARISONS = (1, 3, 5)
SEED = 5


def main() -> None:
    """Print the table."""
    print("\n| prompts | " + " | ".join(f"{count} comparison{'s' * (count > 1)}" for count in COMPARISONS) + " |")
    print("|---" * (len(COMPARISONS) + 1) + "|")
    for prompts in PROMPTS:
        print(f"| {prompts} | " + " | ".join(cell(prompts, statistics.ALPHA / count) for count in COMPARISONS) + " |")


def cell(prompts: int, alpha: float) -> str:
    """Return the detectable effect, then how many find it, and how many would if the spread were taken for known."""
    effect = power.detectable_effect(prompts, alpha=alpha, estimated_from=prompts)
    if not math.isfinite(effect):
        return "none"
    known = power.detectable_effect(prompts, alpha=alpha)
    return f"{effect:.2f} ({found(effect, prompts, alpha):.0%}, {found(known, prompts, alpha):.0%})".replace("%", " %")


def found(effect: float, prompts: int, alpha: float) -> float:
    """Return the share of experiments that find an effect given in the standard deviation of another experiment."""
    generator = np.random.default_rng(SEED)
    deviations = generator.normal(size=(EXPERIMENTS, prompts)).std(axis=-1, ddof=1)
    others = generator.normal(size=(EXPERIMENTS, prompts)) + effect * deviations[:, None]
    p_values = statistics.sign_flip_p_value(others)
    return float((p_values <= alpha * (1 + statistics.RELATIVE_TOLERANCE)).mean())


if __name__ == "__main__":
    main()
