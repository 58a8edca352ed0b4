"""What is decided at planned looks, against the definition: every sign pattern written out, nothing skipped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import special

from experiments.stats.error_spending import NEVER, Looks
from experiments.stats.look_evidence import Evidence, Rules, _last_boundary, promise_of
from experiments.stats.planned_looks import (
    P_VALUES,
    Standing,
    State,
    corrected_p_values,
    decide,
    different_levels,
    prompts_drawn,
    step,
)

LOOKS = Looks((5, 7, 8, 10), exponent=1.0, enumerated=10)
SIGNS = np.array([(1, *signs) for signs in itertools.product((1, -1), repeat=9)])
TOLERANCE = 1e-9
ALPHA = 0.2
"""With so few prompts something is decided at every look."""
NEVER_STOPS = -1.0
UNDECIDED = (State.OPEN, State.UNPROMISING)


def borders(statistics: np.ndarray, spent: Sequence[float]) -> list[float]:
    """Return what must be exceeded at each look, [looks, patterns]: of the first that may not be rejected any more."""
    is_rejected, found = np.zeros(statistics.shape[1], dtype=bool), []
    for values, share in zip(statistics, spent, strict=True):
        budget = math.floor(share * len(values) * (1 + TOLERANCE))
        left = np.sort(values[~is_rejected])[::-1]
        found.append(float(left[budget - is_rejected.sum()]))
        is_rejected |= values > found[-1] + TOLERANCE
    return found


def spent_at(look: int, exponent: float) -> float:
    return (LOOKS.prompts[look] / LOOKS.prompts[-1]) ** exponent


def plainly_different(differences: np.ndarray, standing: Standing, look: int, alpha: float) -> list[int]:
    members = [level for level, state in enumerate(standing.states) if state != State.DIFFERS]
    pooled, seen, spent, total = [], [], [], 0.0
    for index in range(look + 1):
        drawn = [level for level in members if standing.ended_at[level] >= index]
        count = LOOKS.prompts[index]
        statistics = {
            level: np.abs(SIGNS[:, :count] @ np.nan_to_num(differences[level, :count]))
            / (np.sqrt(np.nansum(differences[level, :count] ** 2)) or 1.0)
            for level in drawn
        }
        before = spent_at(index - 1, 1.0) if index else 0.0
        total += alpha * (spent_at(index, 1.0) - before) * len(drawn) / max(len(members), 1)
        pooled.append(np.max(list(statistics.values()), axis=0) if drawn else np.zeros(len(SIGNS)))
        seen.append({level: values[0] for level, values in statistics.items()})
        spent.append(total)
    limits = borders(np.array(pooled), spent)
    return [
        level
        for level in members
        if standing.states[level] in UNDECIDED
        and any(own[level] > limit + TOLERANCE for own, limit in zip(seen, limits, strict=True) if level in own)
    ]


def is_plainly_outside(own: np.ndarray, last: int, rules: Rules) -> bool:
    assert rules.margin is not None
    both = np.concatenate([SIGNS, -SIGNS])
    spent = [rules.outside_share * spent_at(index, 0.5) for index in range(last + 1)]
    is_found = False
    for beyond in (own - rules.margin, -own - rules.margin):
        sums = np.array([both[:, :count] @ np.nan_to_num(beyond[:count]) for count in LOOKS.prompts[: last + 1]])
        is_found |= bool((sums[:, 0] > np.array(borders(sums, spent)) + TOLERANCE).any())
    return is_found


def plainly_within(differences: np.ndarray, standing: Standing, look: int, rules: Rules) -> list[int]:
    if rules.margin is None:
        return []
    is_sharing = [
        state != State.EQUIVALENT and not (state == State.DIFFERS and is_plainly_outside(own, min(end, look), rules))
        for own, state, end in zip(differences, standing.states, standing.ended_at, strict=True)
    ]
    sharing = max(sum(is_sharing), 1)
    both = np.concatenate([SIGNS, -SIGNS])
    found = []
    for level, state in enumerate(standing.states):
        last = min(standing.ended_at[level], look)
        is_within = True
        for side in (differences[level] + rules.margin, rules.margin - differences[level]):
            sums = np.array([both[:, :count] @ np.nan_to_num(side[:count]) for count in LOOKS.prompts[: last + 1]])
            alpha = rules.alpha * (1 - rules.outside_share)
            spent = [alpha / sharing * spent_at(index, rules.within_exponent) for index in range(last + 1)]
            is_within &= bool((sums[:, 0] > np.array(borders(sums, spent)) + TOLERANCE).any())
        if is_within and state in UNDECIDED:
            found.append(level)
    return found


def plain_step(differences: np.ndarray, rules: Rules, standing: Standing, look: int) -> Standing:
    while True:
        differing = plainly_different(differences, standing, look, rules.alpha)
        standing = standing.ended(differing, State.DIFFERS, look)
        within = plainly_within(differences, standing, look, rules)
        standing = standing.ended(within, State.EQUIVALENT, look)
        if not differing and not within:
            return standing


def experiments(seed: int, count: int = 40) -> list[np.ndarray]:
    """Differences of three levels, of which one differs much, one a little and one not; ties and gaps among them."""
    generator = np.random.default_rng(seed)
    drawn = generator.normal(size=(count, 3, 10)) + np.array([1.2, 0.6, 0.0])[:, None]
    drawn[1::3] = np.round(drawn[1::3])
    drawn[2::3][generator.uniform(size=drawn[2::3].shape) < 0.1] = np.nan
    return list(drawn)


@pytest.mark.parametrize("margin", [None, 1.0])
def test_every_step_is_that_of_the_definition(margin):
    rules = Rules(LOOKS, margin, NEVER_STOPS, ALPHA)
    ends = set()
    for differences in experiments(1):
        evidence, standing = Evidence(differences, rules), Standing.at_start(3)
        for look in range(4):
            expected = plain_step(differences, rules, standing, look)
            standing = step(evidence, standing, look)
            assert standing == expected
        assert decide(Evidence(differences, rules)) == standing
        ends |= set(zip(standing.states, standing.ended_at, strict=True))
    states = (State.DIFFERS,) if margin is None else (State.DIFFERS, State.EQUIVALENT)
    assert ends >= {(state, look) for state in states for look in range(1, 4)} | {(State.OPEN, NEVER)}


def test_a_level_that_was_stopped_takes_its_part_of_the_error_and_may_still_be_claimed():
    rules = Rules(LOOKS, None, NEVER_STOPS, ALPHA)
    claimed = 0
    for differences in experiments(2, 60):
        for ended in ((1, NEVER, NEVER), (NEVER, 2, 1), (0, 1, 2)):
            states = tuple(State.OPEN if end == NEVER else State.UNPROMISING for end in ended)
            standing, evidence = Standing(states, ended), Evidence(differences, rules)
            for alpha in (ALPHA, 0.1, 0.4):
                found = different_levels(evidence, standing, 3, alpha)
                assert found == plainly_different(differences, standing, 3, alpha)
                claimed += sum(standing.states[level] == State.UNPROMISING for level in found)
    assert claimed > 20


def test_a_level_that_was_stopped_is_within_the_margin_by_what_was_drawn_of_it():
    rules = Rules(LOOKS, 1.0, NEVER_STOPS, ALPHA)
    stopped = Standing((State.OPEN, State.UNPROMISING, State.UNPROMISING), (NEVER, 2, 1))
    for differences in experiments(4, 15):
        assert step(Evidence(differences, rules), stopped, 3) == plain_step(differences, rules, stopped, 3)


def test_a_level_outside_the_margin_leaves_its_share_to_the_others():
    rules = Rules(LOOKS, 0.8, NEVER_STOPS, ALPHA, outside_share=0.2)
    outside, gained = 0, 0
    for differences in experiments(6, 60):
        differences[0] += 1.0
        evidence, standing = (
            Evidence(differences, rules),
            Standing((State.DIFFERS, State.OPEN, State.OPEN), (2,) + (NEVER,) * 2),
        )
        is_outside = evidence.is_outside(0, 2)
        assert is_outside == is_plainly_outside(differences[0], 2, rules)
        after = step(evidence, standing, 3)
        assert after == plain_step(differences, rules, standing, 3)
        outside += is_outside
        gained += after.states.count(State.EQUIVALENT) > evidence.within_margin((2, 3, 3), 3, 3).sum()
    assert outside > 30
    assert gained > 0


def test_what_was_not_drawn_of_a_level_leaves_no_share_to_the_others():
    """The first is outside the margin by all of its prompts, and not by those before its end."""
    rules = Rules(LOOKS, 0.8, NEVER_STOPS, ALPHA, outside_share=0.2)
    ended = Standing((State.DIFFERS, State.OPEN, State.OPEN), (0, NEVER, NEVER))
    matters = 0
    for differences in experiments(6, 60):
        differences[0] = [0.9, 1.1, 0.7, 1.2, 0.6] + [9.0] * 5
        evidence = Evidence(differences, rules)
        assert not evidence.is_outside(0, 0) and evidence.is_outside(0, 3)
        assert step(evidence, ended, 3) == plain_step(differences, rules, ended, 3)
        fewer, all_levels = (Evidence(differences, rules).within_margin((0, 3, 3), 3, sharing) for sharing in (2, 3))
        matters += (fewer != all_levels).any()
    assert matters > 0


def test_what_was_kept_of_some_levels_is_not_taken_for_others():
    rules = Rules(LOOKS, None, NEVER_STOPS, ALPHA)
    for differences in experiments(5, 10):
        kept = Evidence(differences, rules)
        for members in ((0, 1), (1, 2), (0, 2), (0, 1)):
            fresh = Evidence(differences, rules).different(members, (3, 3), 3, ALPHA)
            assert kept.different(members, (3, 3), 3, ALPHA) == fresh
        early = Evidence(differences, rules).different((0, 1), (1, 1), 1, ALPHA)
        assert kept.different((0, 1), (1, 1), 1, ALPHA) == early  # what a later look has shown says nothing of it


def test_all_levels_may_be_decided_at_one_look_and_each_has_its_share_of_the_error():
    rules = Rules(LOOKS, None, 0.5, ALPHA)
    apart = np.linspace(1.0, 2.0, 10) * np.array([[1.0], [-1.0]])
    assert step(Evidence(apart, rules), Standing.at_start(2), 1) == Standing((State.DIFFERS,) * 2, (1, 1))
    assert rules.shares(4) == pytest.approx([0.2 / 4, 0.2 / 3, 0.2 / 2, 0.2])


def test_a_corrected_p_value_is_the_least_of_the_list_at_which_the_definition_claims():
    rules = Rules(LOOKS, None, NEVER_STOPS, ALPHA)
    for differences in experiments(3, 12):
        evidence = Evidence(differences, rules)
        expected = [1.0] * 3
        for alpha in sorted(P_VALUES, reverse=True):
            standing = Standing.at_start(3)
            while differing := plainly_different(differences, standing, 3, alpha):
                standing = standing.ended(differing, State.DIFFERS, 3)
            for level in range(3):
                if standing.states[level] == State.DIFFERS:
                    expected[level] = alpha
        assert corrected_p_values(evidence, Standing.at_start(3), 3) == expected


def test_a_standing_keeps_the_look_that_ended_a_level_and_says_what_was_drawn():
    start = Standing.at_start(3)
    assert (start.states, start.ended_at, start.is_open) == ((State.OPEN,) * 3, (NEVER,) * 3, True)
    stopped = start.ended([1], State.UNPROMISING, 1)
    later = stopped.ended([0, 1], State.DIFFERS, 2)
    assert later == Standing((State.DIFFERS, State.DIFFERS, State.OPEN), (2, 1, NEVER))
    assert not later.ended([2], State.EQUIVALENT, 3).is_open
    assert prompts_drawn(later, LOOKS) == ([8, 7, 10], 10)
    assert prompts_drawn(Standing((State.DIFFERS,) * 2, (0, 1)), LOOKS) == ([5, 7], 7)


@pytest.mark.parametrize(
    ("stops_below", "look", "is_stopped"),
    [(0.5, 0, False), (0.5, 1, True), (0.5, 2, True), (0.5, 3, False), (0.0, 2, False)],
)
def test_a_level_without_promise_is_stopped_between_the_second_and_the_last_look(stops_below, look, is_stopped):
    even = np.array([[0.5, -0.5] * 5, [3.0, 3.1, 2.9] * 3 + [3.0]])
    standing = step(Evidence(even, Rules(LOOKS, None, stops_below, ALPHA)), Standing.at_start(2), look)
    assert standing.states[0] == (State.UNPROMISING if is_stopped else State.OPEN)
    assert standing.ended_at[0] == (look if is_stopped else NEVER)


def test_a_level_that_does_not_vary_is_judged_without_dividing_by_zero():
    equal, apart = np.zeros(30), np.full(30, 0.4)
    rules = Rules(Looks((12, 18, 30), enumerated=10))
    assert decide(Evidence(np.stack([equal, apart]), rules)).states == (State.UNPROMISING, State.DIFFERS)
    within = Rules(rules.looks, margin=0.1)
    assert decide(Evidence(np.stack([equal, apart]), within)).states == (State.EQUIVALENT, State.DIFFERS)


def test_promise_is_the_predictive_power_of_the_last_look():
    """One look more, at twice the prompts: Phi((z / sqrt(1/2) - c) / 1), with c of the last look."""
    values = np.random.default_rng(10).normal(size=30) + 0.4
    rules = Rules(Looks((30, 60), enumerated=10))
    z = values.mean() / values.std(ddof=1) * np.sqrt(30)
    last = _last_boundary(rules.looks, 0.05, True)
    assert promise_of(values[None], rules)[0, 0, 0] == pytest.approx(special.ndtr(abs(z) / np.sqrt(0.5) - last))
    assert last == pytest.approx(2.07, abs=0.06)  # between 1.96 of one look and 2.24 of Bonferroni's two
