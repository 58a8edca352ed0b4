"""What planned looks cost and find: `uv run python -m benchmarks.bench_looks`, ten minutes on one core.

Prints the tables of docs/statistics.md: 1,000 simulated experiments a row, with at most 60 prompts and five levels
beside a baseline, two of which differ by 1.2 standard deviations of the paired differences, one by 0.5, and two not at
all.
"""

from __future__ import annotations

import numpy as np

from experiments.planning.looks import EXPONENT, LATE_EXPONENT, look_counts
from experiments.stats.error_spending import Floats, Looks
from experiments.stats.look_evidence import HOPELESS_BELOW, UNPROMISING_BELOW, Rules
from experiments.stats.looks_simulation import KINDS, made_up_scores, simulate_decisions, simulate_races
from experiments.stats.planned_looks import State
from experiments.stats.racing import RaceRules

EXPERIMENTS = 1000
PROMPTS = 60
EFFECTS = (1.2, 1.2, 0.5, 0.0, 0.0)
RACE_EFFECTS = (0.0, 0.3, 0.6, 0.8, 0.8)
SEED = 22


def main() -> None:
    """Print one table for decisions beside a baseline, one for races."""
    looks = Looks(look_counts(PROMPTS, 1), EXPONENT)
    late = Looks(look_counts(PROMPTS, 1, exponent=LATE_EXPONENT), LATE_EXPONENT)
    whole = Looks((PROMPTS,), EXPONENT)
    plans = {
        "one look after all prompts": Rules(whole, stops_below=0.0),
        "looks, `--no-futility`": Rules(late, stops_below=HOPELESS_BELOW),
        "looks": Rules(looks, stops_below=UNPROMISING_BELOW),
        "looks, margin 0.6 sd": Rules(looks, margin=0.6),
    }
    print("| plan | scores | pictures | power at 1.2 / 0.5 | false alarms | shown equal | mean of 0.5 where found |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("normal", "heavy tails", "discrete"):
        scores = made_up_scores(np.random.default_rng(SEED), EXPERIMENTS, EFFECTS, PROMPTS, KINDS[kind])
        for name, rules in plans.items():
            print(f"| {name} | {kind} | {decision_row(scores, rules)} |", flush=True)
    print("\n| race | scores | pictures | best dropped | others dropped |\n|---|---|---|---|---|")
    times = Looks(look_counts(PROMPTS, len(RACE_EFFECTS) - 1, is_one_sided=True), EXPONENT)
    for kind in ("normal", "heavy tails", "discrete"):
        scores = made_up_scores(np.random.default_rng(SEED), EXPERIMENTS, RACE_EFFECTS[1:], PROMPTS, KINDS[kind])
        for name, margin in (("to the end", None), ("margin 0.6 sd", 0.6)):
            outcomes = simulate_races(scores, RaceRules(times, margin))
            best, others = outcomes.states[:, 3].mean(), outcomes.states[:, :3].mean()
            print(f"| {name} | {kind} | {outcomes.pictures.mean():.0%} | {best:.1%} | {others:.0%} |", flush=True)


def decision_row(scores: Floats, rules: Rules) -> str:
    """Return one row of the first table, without its first two cells."""
    (outcomes,) = simulate_decisions(scores, rules)
    differs = outcomes.states == State.DIFFERS
    power = differs.mean(axis=0)
    alarms = differs[:, 3:].any(axis=1).mean()
    equal = (outcomes.states[:, 3:] == State.EQUIVALENT).mean()
    differences = scores[:, 3] - scores[:, 0]
    seen = np.arange(PROMPTS) < outcomes.drawn[:, 2, None]
    means = (differences * seen).sum(axis=1) / outcomes.drawn[:, 2]
    return (
        f"{outcomes.pictures.mean():.0%} | {power[:2].min():.2f} / {power[2]:.2f} | {alarms:.1%} | "
        f"{'' if rules.margin is None else f'{equal:.0%}'} | {means[differs[:, 2]].mean():.2f}"
    )


if __name__ == "__main__":
    main()
