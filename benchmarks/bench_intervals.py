"""How often the lab's 95 % intervals hold the truth: `uv run python -m benchmarks.bench_intervals`, 20 s on one core.

Prints the tables of docs/statistics.md: 2,000 simulated experiments for each kind of numbers and number of prompts,
with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from experiments.stats import paired_statistics as statistics

EXPERIMENTS = 2000
PROMPTS = (6, 8, 12, 30, 60)
SEED = 14
NO_WIDTH = 1e-9
"""Of the median experiment, from which no other is measured."""
Draw = Callable[[np.random.Generator, tuple[int, int]], statistics.Floats]
Interval = Callable[[statistics.Floats], tuple[statistics.Floats, statistics.Floats]]

KINDS: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "heavy tails (t with 3 degrees)": lambda generator, shape: generator.standard_t(3, size=shape),
    "flat (uniform)": lambda generator, shape: generator.uniform(-1, 1, size=shape),
    "skewed (exponential)": lambda generator, shape: generator.exponential(size=shape) - 1,
    "rare large losses (1 in 20)": lambda generator, shape: np.where(generator.uniform(size=shape) < 0.05, -0.95, 0.05),
    "7 of 10 don't differ": lambda generator, shape: np.where(
        generator.uniform(size=shape) < 0.7, 0.0, generator.normal(1, 1, size=shape)
    ),
}
TRUE_MEANS = {"7 of 10 don't differ": 0.3}
"""Of the kinds whose true mean is not 0."""


def main() -> None:
    """Print one table of coverage in percent for each kind of interval."""
    print_table("differences", statistics.interval_of_difference)
    print_table("means of levels", statistics.interval_of_mean)


def print_table(title: str, interval: Interval) -> None:
    """Print coverage by kind and number of prompts, and the largest width in widths of the median experiment."""
    print(f"\n| {title} | " + " | ".join(f"{prompts} prompts" for prompts in PROMPTS) + " |")
    print("|---" * (len(PROMPTS) + 1) + "|")
    for name, draw in KINDS.items():
        truth = TRUE_MEANS.get(name, 0.0)
        print(f"| {name} | " + " | ".join(cell(draw, truth, prompts, interval) for prompts in PROMPTS) + " |")


def cell(draw: Draw, truth: float, prompts: int, interval: Interval) -> str:
    """Return coverage in percent and, in brackets, the widest interval in median widths."""
    low, high = interval(draw(np.random.default_rng(SEED), (EXPERIMENTS, prompts)))
    held = f"{100 * ((low <= truth) & (high >= truth)).mean():.1f}"
    median = float(np.median(high - low))
    return held if median < NO_WIDTH else f"{held} ({(high - low).max() / median:.1f})"


if __name__ == "__main__":
    main()
