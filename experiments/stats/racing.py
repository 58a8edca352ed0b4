"""The best level without a baseline: levels shown to be worse than the leader drop out, look by look.

The leader is whoever has the highest mean among those left. The true best is dropped only if some other level is shown
to be better than it; each ordered pair has the error divided by the number of the others, and spends it over the
looks, so that this happens with 5 % probability at most, however often the lead changes. With a margin the race also
ends when all that are left are shown to be within the margin of the leader.

Sources: Maron & Moore 1994 (races); `error_spending` and `equivalence` for the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.stats.equivalence import equivalence_crossings
from experiments.stats.error_spending import NEVER, Bools, Floats, Ints, Looks, Walks, chunked_crossings
from experiments.stats.paired_statistics import ALPHA


@dataclass(frozen=True)
class RaceRules:
    """How a race is run; fixed before the first score.

    Attributes:
        looks: When.
        margin: Largest difference that does not matter, in the unit of the scores; None asks for no equivalence.
        is_higher_better: Which direction wins.
        alpha: Probability to drop the best.
    """

    looks: Looks
    margin: float | None = None
    is_higher_better: bool = True
    alpha: float = ALPHA


@dataclass(frozen=True)
class RaceEvidence:
    """What the scores say of each pair, at every look they reach.

    Attributes:
        rules: How the race is run.
        means: Of each level at each look, the higher the better, [levels, looks].
        beaten_at: First look that shows the first to be better than the second, [levels, levels].
        equivalent_at: First look that shows both to be within the margin, [levels, levels].
    """

    rules: RaceRules
    means: Floats
    beaten_at: Ints
    equivalent_at: Ints


@dataclass(frozen=True)
class RaceStanding:
    """Where a race stands after some look.

    Attributes:
        dropped_at: The look that dropped a level, `NEVER` for those that are left.
        leader: Level with the highest mean among those left; -1 before the first look.
        ended_at: The look that ended the race; `NEVER` while it goes on.
        is_within_margin: Whether all that are left are shown to be within the margin of the leader.
    """

    dropped_at: tuple[int, ...]
    leader: int = -1
    ended_at: int = NEVER
    is_within_margin: bool = False

    @classmethod
    def at_start(cls, levels: int) -> RaceStanding:
        """Return the standing before the first look."""
        return cls((NEVER,) * levels)

    @property
    def left(self) -> tuple[int, ...]:
        """The levels that have not been dropped."""
        return tuple(level for level, dropped in enumerate(self.dropped_at) if dropped == NEVER)


def race_evidence_of(scores: Floats, rules: RaceRules) -> RaceEvidence:
    """Weigh every pair of levels at every look that the scores reach.

    Args:
        scores: One number for each level and prompt, [levels, prompts]; NaN where there is none.
        rules: How the race is run.
    """
    levels = len(scores)
    signed = scores if rules.is_higher_better else -scores
    share = rules.alpha / (levels - 1)
    first, second = np.triu_indices(levels, 1)
    differences = signed[first] - signed[second]
    sides = chunked_crossings(differences, rules.looks, [share], [Walks.above, Walks.below], has_mirrors=True)
    above, below = sides[..., 0]
    beaten_at, equivalent_at = np.full((2, levels, levels), NEVER)
    beaten_at[first, second], beaten_at[second, first] = above, below
    if rules.margin is not None:
        within = equivalence_crossings(differences, rules.looks, [share], rules.margin)[:, 0]
        equivalent_at[first, second] = equivalent_at[second, first] = within
    reached = [count for count in rules.looks.prompts if count <= scores.shape[1]]
    means = np.stack([_means(signed[:, :count]) for count in reached], axis=1)
    return RaceEvidence(rules, means, beaten_at, equivalent_at)


def race_step(evidence: RaceEvidence, before: RaceStanding, look: int) -> RaceStanding:
    """Drop what can be dropped at a look, and end the race where nothing is left to decide.

    Args:
        evidence: Reaching at least this look.
        before: The standing after the look before.
        look: Index of the look.
    """
    left = np.array(before.left)
    leader = int(left[np.argmax(evidence.means[left, look])])
    dropped_at = tuple(
        look if level in left and evidence.beaten_at[leader, level] <= look else old
        for level, old in enumerate(before.dropped_at)
    )
    others = [level for level, dropped in enumerate(dropped_at) if dropped == NEVER and level != leader]
    is_within_margin = bool(others) and bool((evidence.equivalent_at[leader, others] <= look).all())
    is_last = look == len(evidence.rules.looks.prompts) - 1
    ended_at = look if not others or is_within_margin or is_last else NEVER
    return RaceStanding(dropped_at, leader, ended_at, is_within_margin)


def race(scores: Floats, rules: RaceRules) -> RaceStanding:
    """Take every look one after the other; scores behind a level's end are not used.

    Args:
        scores: Of all prompts of the plan, [levels, prompts].
        rules: How the race is run.
    """
    evidence, standing = race_evidence_of(scores, rules), RaceStanding.at_start(len(scores))
    for look in range(len(rules.looks.prompts)):
        if standing.ended_at == NEVER:
            standing = race_step(evidence, standing, look)
    return standing


def race_prompts(standing: RaceStanding, looks: Looks) -> list[int]:
    """Return the prompts drawn of each level."""
    last = min(standing.ended_at, len(looks.prompts) - 1)
    return [looks.prompts[min(dropped, last)] for dropped in standing.dropped_at]


def _means(scores: Floats) -> Floats:
    """Return each level's mean over the prompts it has; minus infinity where it has none."""
    is_there: Bools = np.isfinite(scores)
    count = is_there.sum(axis=1)
    means: Floats = np.where(count > 0, np.where(is_there, scores, 0.0).sum(axis=1) / np.maximum(count, 1), -np.inf)
    return means
