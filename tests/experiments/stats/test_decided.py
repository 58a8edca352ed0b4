"""The measure that planned looks decided by has their estimates and p-values in the tables."""

from __future__ import annotations

from dataclasses import replace

from experiments.planning.looks import LookPlan
from experiments.stats.decided import decided_comparisons, other_measures_note
from experiments.stats.levels import Comparison, Estimate
from experiments.store.look_log import LevelAtLook, Look, LookLog

FIXED = Comparison("4.0", "3.0", 8, 8, Estimate(0.2, 0.1, 0.3), 0.02, 0.04, 0.9, 1.5, 0.2, 40, False, 8)
OTHER = replace(FIXED, level="5.0")
PLAN = LookPlan("image_reward", False, None, True, tuple("abcdefgh"), (6, 8))


def log_of(level: LevelAtLook, plan: LookPlan = PLAN) -> LookLog:
    return LookLog(plan, (Look(6, "t", 0, {"4.0": level}),), "decided")


def test_a_level_has_the_numbers_of_the_look_that_decided_it() -> None:
    level = LevelAtLook("better", 6, 0, 0.25, 0.05, 0.45, 0.03)
    assert decided_comparisons([FIXED, OTHER], log_of(level)) == (
        replace(
            FIXED,
            prompts=6,
            difference=Estimate(0.25, 0.05, 0.45),
            p_value=0.03,
            p_holm=0.03,
            detectable=None,
            prompts_for_half=None,
        ),
        OTHER,
    )


def test_a_level_without_anything_to_compare_stays_as_it_is() -> None:
    assert decided_comparisons([FIXED], log_of(LevelAtLook("open", 0))) == (FIXED,)
    (even,) = decided_comparisons([FIXED], log_of(LevelAtLook("open", 6, None, 0.0, None, None, 1.0)))
    assert even.difference == Estimate(0.0, None, None)


def test_a_race_and_what_nobody_has_looked_at_yet_have_no_p_values() -> None:
    without = (replace(FIXED, p_value=None, p_holm=None), replace(OTHER, p_value=None, p_holm=None))
    level = LevelAtLook("dropped", 6, 0, 0.25, 0.05, 0.45)
    assert decided_comparisons([FIXED, OTHER], log_of(level, replace(PLAN, is_race=True))) == without
    assert decided_comparisons([FIXED, OTHER], LookLog(PLAN)) == without


def test_other_measures_are_said_to_be_exploratory() -> None:
    assert other_measures_note(LookLog(PLAN)) == (
        "Pictures were drawn until image_reward had decided, so levels have different numbers of prompts, and the "
        "tests of other measures, which take them for fixed, are exploratory."
    )
