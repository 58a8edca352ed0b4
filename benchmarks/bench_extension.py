"""What looking early and adding prompts does to claims: `uv run python -m benchmarks.bench_extension`, 40 s on a core.

Prints the tables of docs/statistics.md on results that were extended after an analysis: 2,000 simulated experiments a
row, with a fixed seed, each looked at until something is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.stats import paired_statistics as statistics
from experiments.stats.extension import COST, LEFT_AFTER_ANALYSIS

EXPERIMENTS = 2000
SEED = 22
FIVE_LOOKS = (12, 18, 27, 40, 60)
NINETEEN_LOOKS = tuple(range(6, 61, 3))
Draw = Callable[[np.random.Generator, tuple[int, int]], statistics.Floats]

KINDS: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "heavy tails (t with 3 degrees)": lambda generator, shape: generator.standard_t(3, size=shape),
    "discrete (-1, 0, 1)": lambda generator, shape: generator.integers(-1, 2, size=shape).astype(np.float64),
}
"""Differences of levels that don't differ."""


@dataclass(frozen=True)
class Claims:
    """Share of experiments that claim something: without the correction, with it, and at the first analysis alone."""

    uncorrected: float
    corrected: float
    first: float


def main() -> None:
    """Print false claims, then power."""
    print("\n| nothing differs | first analysis | until p is below 5 % | the same, corrected |\n|---|---|---|---|")
    for name, draw in KINDS.items():
        print_row(f"{name}, 5 looks", claims(growing(draw, 0.0), FIVE_LOOKS))
    print_row("normal, 2 looks", claims(growing(KINDS["normal"], 0.0), (12, 60)))
    print_row("normal, 19 looks", claims(growing(KINDS["normal"], 0.0), NINETEEN_LOOKS))
    print_row("normal, 12 prompts, 1 to 5 seeds", claims_by_seeds(12, 5))
    print("\n| true difference | first analysis | until p is below 5 % | the same, corrected |\n|---|---|---|---|")
    for effect in (0.3, 0.5, 0.8):
        print_row(f"{effect} standard deviations, 5 looks", claims(growing(KINDS["normal"], effect), FIVE_LOOKS))


def print_row(title: str, found: Claims) -> None:
    """Print shares in percent."""
    print(f"| {title} | {found.first:.1%} | {found.uncorrected:.1%} | {found.corrected:.1%} |".replace("%", " %"))


def growing(draw: Draw, effect: float) -> Callable[[int], statistics.Floats]:
    """Return the differences of the first so many prompts, [experiments, prompts]."""
    everything = draw(np.random.default_rng(SEED), (EXPERIMENTS, 60)) + effect
    return lambda prompts: everything[:, :prompts]


def claims(differences: Callable[[int], statistics.Floats], looks: Sequence[int]) -> Claims:
    """Look at experiments after so many prompts each time, until something is claimed."""
    return claims_at([differences(prompts) for prompts in looks])


def claims_by_seeds(prompts: int, seeds: int) -> Claims:
    """Look at experiments after each seed; prompts respond differently, and seeds of a prompt are alike."""
    generator = np.random.default_rng(SEED)
    response = generator.normal(0, 0.5, (EXPERIMENTS, 1, prompts))
    pairs = response + generator.normal(0, 1.0, (EXPERIMENTS, seeds, prompts))
    return claims_at([pairs[:, : count + 1].mean(axis=1) for count in range(seeds)])


def claims_at(looks: Sequence[statistics.Floats]) -> Claims:
    """Return the shares of claims, each look given as [experiments, prompts so far]."""
    raw = np.stack([statistics.sign_flip_p_value(look) for look in looks], axis=1)  # [experiments, looks]
    corrected = [any(_is_claimed(looks, raw, index, look) for look in range(len(looks))) for index in range(len(raw))]
    is_below = raw <= statistics.ALPHA
    return Claims(float(is_below.any(axis=1).mean()), float(np.mean(corrected)), float(is_below[:, 0].mean()))


def _is_claimed(looks: Sequence[statistics.Floats], raw: statistics.Floats, index: int, look: int) -> bool:
    """Return whether an experiment claims something at a look, corrected for those before it."""
    if look == 0:
        return bool(raw[index, 0] <= statistics.ALPHA)
    if raw[index, look] > LEFT_AFTER_ANALYSIS:  # the correction makes no p-value smaller
        return False
    prompts = looks[look].shape[-1]
    table = np.full((1, look + 1, prompts), np.nan)
    for earlier in range(look + 1):
        table[0, earlier, : looks[earlier].shape[-1]] = looks[earlier][index]
    return bool(statistics.sign_flip_p_values_together(table)[0] * COST <= statistics.ALPHA)


if __name__ == "__main__":
    main()
