"""One planned look at an experiment's scores: from records and the looks so far to the next entry of the log.

The log says what was decided before; scores decide only what is open. Everything else is arithmetic of `planned_looks`
and `racing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from experiments.planning.looks import LookPlan
from experiments.stats.error_spending import NEVER, Bools, Floats, Looks, repeated_interval
from experiments.stats.look_evidence import HOPELESS_BELOW, UNPROMISING_BELOW, Evidence, Rules
from experiments.stats.measures import number
from experiments.stats.paired_statistics import ALPHA
from experiments.stats.planned_looks import Standing, State, corrected_p_values, step
from experiments.stats.racing import RaceRules, RaceStanding, race_evidence_of, race_step
from experiments.store.look_log import OPEN, LevelAtLook, Look, LookLog
from experiments.store.manifest import Manifest
from experiments.store.records import RunRecord

STATES: Final = {"better": State.DIFFERS, "worse": State.DIFFERS, "as good as": State.EQUIVALENT}
UNPROMISING: Final = "unpromising"
DROPPED, LEFT, BEST = "dropped", "left", "best"


def take_look(manifest: Manifest, log: LookLog, records: Sequence[RunRecord], *, is_higher_better: bool) -> Look:
    """Return the look that comes next.

    Args:
        manifest: The experiment.
        log: The looks so far.
        records: Finished runs, in the manifest's names.
        is_higher_better: Which direction of the measure is the better one.
    """
    look = len(log.taken)
    names = [cell.name for cell in manifest.combinations]
    scores = scores_by_prompt(manifest, log.plan, records, names)[:, : log.plan.prompts[look]]
    drawn = sum(min(log.prompts_of(name), log.plan.prompts[look]) for name in names)
    saved = (len(names) * log.plan.prompts[look] - drawn) * len(manifest.seeds)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    if log.plan.is_race:
        levels, leader, is_within = _race_levels(names, log, scores, look, is_higher_better=is_higher_better)
        return Look(log.plan.prompts[look], at, saved, levels, leader, is_within)
    baseline = names.index(manifest.baseline_name)
    others = [name for name in names if name != manifest.baseline_name]
    rows = [names.index(name) for name in others]
    differences = _nanmean(scores[rows] - scores[baseline])
    return Look(
        log.plan.prompts[look], at, saved, _levels(others, log, differences, look, is_higher_better=is_higher_better)
    )


def looks_of(plan: LookPlan) -> Looks:
    """Return the looks of a plan, for the arithmetic."""
    return Looks(plan.prompts, exponent=plan.exponent)


def rules_of(plan: LookPlan) -> Rules:
    """Return how the levels of a plan are decided."""
    return Rules(
        looks_of(plan),
        plan.margin,
        UNPROMISING_BELOW if plan.stops_unpromising else HOPELESS_BELOW,
        outside_share=plan.outside_share,
        within_exponent=plan.within_exponent,
    )


def scores_by_prompt(manifest: Manifest, plan: LookPlan, records: Sequence[RunRecord], names: Sequence[str]) -> Floats:
    """Return every score, [levels, prompts in the order of drawing, seeds]; NaN where there is none.

    Where an axis sets the seed, all runs of a prompt have one place.
    """
    sets_seed = any("seed" in axis.parameter_names for axis in manifest.axes)
    seeds = {seed: place for place, seed in enumerate([0] if sets_seed else manifest.seeds)}
    places, rows = {name: place for place, name in enumerate(plan.order)}, {name: row for row, name in enumerate(names)}
    scores = np.full((len(names), len(plan.order), len(seeds)), np.nan)
    for record in records:
        place, seed = places.get(record.prompt_id), seeds.get(0 if sets_seed else record.seed)
        if record.is_finished and place is not None and seed is not None and record.level in rows:
            scores[rows[record.level], place, seed] = number(record.scores.get(plan.measure))
    return scores


def _nanmean(values: Floats) -> Floats:
    """Average over seeds; NaN where no seed has a value."""
    is_there = np.isfinite(values)
    count = is_there.sum(axis=-1)
    mean: Floats = np.where(count > 0, np.where(is_there, values, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)
    return mean


def _levels(
    names: Sequence[str], log: LookLog, differences: Floats, look: int, *, is_higher_better: bool
) -> dict[str, LevelAtLook]:
    """Return every level beside the baseline after a look; `differences` is [levels, prompts]."""
    before = _before(names, log)
    for row, item in enumerate(before):
        if item.ended_at is not None:  # what was drawn beyond, by whatever command, is not of this plan
            differences[row, log.plan.prompts[item.ended_at] :] = np.nan
    evidence = Evidence(differences, rules_of(log.plan))
    standing = step(evidence, _standing(before), look)
    p_values = corrected_p_values(evidence, standing, look)
    found = {}
    for name, item, own, state, end, p_value in zip(
        names, before, differences, standing.states, standing.ended_at, p_values, strict=True
    ):
        if item.ended_at is not None and STATES.get(item.state) == state:
            found[name] = item
            continue
        low, high = repeated_interval(own, looks_of(log.plan), ALPHA)
        mean = _mean(own)
        found[name] = LevelAtLook(
            _state_name(state, mean, is_higher_better=is_higher_better),
            int(np.isfinite(own).sum()),
            None if end == NEVER else int(end),
            mean,
            low if math.isfinite(low) else None,
            high if math.isfinite(high) else None,
            min(p_value, ALPHA) if state == State.DIFFERS else p_value,
        )
    return found


def _before(names: Sequence[str], log: LookLog) -> list[LevelAtLook]:
    latest = log.latest
    return [LevelAtLook(OPEN, 0) if latest is None else latest.levels[name] for name in names]


def _standing(before: Sequence[LevelAtLook]) -> Standing:
    states = [State.UNPROMISING if item.state == UNPROMISING else STATES.get(item.state, State.OPEN) for item in before]
    return Standing(tuple(states), tuple(NEVER if item.ended_at is None else item.ended_at for item in before))


def _state_name(state: State, mean: float | None, *, is_higher_better: bool) -> str:
    if state == State.DIFFERS:
        assert mean is not None, "what differs has a mean"
        return "better" if (mean > 0) == is_higher_better else "worse"
    return {State.OPEN: OPEN, State.EQUIVALENT: "as good as", State.UNPROMISING: UNPROMISING}[state]


def _mean(values: Floats) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else None


def _race_levels(
    names: Sequence[str], log: LookLog, scores: Floats, look: int, *, is_higher_better: bool
) -> tuple[Mapping[str, LevelAtLook], str, bool]:
    """Return every level of a race after a look, the leader, and whether all that are left are within the margin."""
    before, plan = _before(names, log), log.plan
    is_whole: Bools = np.asarray(np.isfinite(scores).all(axis=-1))
    by_prompt = np.where(is_whole, np.where(is_whole[..., None], scores, 0.0).mean(axis=-1), np.nan)
    rules = RaceRules(looks_of(plan), plan.margin, is_higher_better)
    dropped_at = tuple(NEVER if item.state != DROPPED else int(item.ended_at or 0) for item in before)
    standing = race_step(race_evidence_of(by_prompt, rules), RaceStanding(dropped_at), look)
    is_over = standing.ended_at != NEVER
    found = {}
    for row, (name, item) in enumerate(zip(names, before, strict=True)):
        if item.state == DROPPED:
            found[name] = item
            continue
        own = by_prompt[row] - by_prompt[standing.leader]
        low, high = (-math.inf, math.inf) if row == standing.leader else repeated_interval(own, looks_of(plan), ALPHA)
        is_dropped = standing.dropped_at[row] != NEVER
        state = DROPPED if is_dropped else OPEN if not is_over else BEST if len(standing.left) == 1 else LEFT
        found[name] = LevelAtLook(
            state,
            int(np.isfinite(by_prompt[row]).sum()),
            look if is_dropped or is_over else None,
            _mean(own),
            low if math.isfinite(low) else None,
            high if math.isfinite(high) else None,
        )
    return found, names[standing.leader], standing.is_within_margin
