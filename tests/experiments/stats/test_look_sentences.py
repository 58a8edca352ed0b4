"""What planned looks say in sentences."""

from dataclasses import replace

import pytest

from experiments.metrics import metric_of_column
from experiments.planning.looks import LookPlan
from experiments.stats.look_sentences import account_sentence, look_sentences
from experiments.stats.measures import GENERATION_TIME, TIME_COLUMN, Measure
from experiments.store.look_log import LevelAtLook, Look, LookLog

MEASURE = Measure("siglip_score", "SigLIP", "", metric_of_column("siglip_score"))
ORDER = tuple("abcdefgh")


def log(levels, *, end="decided", margin=0.1, is_race=False, **look):
    plan = LookPlan("siglip_score", is_race, margin, True, ORDER, (4, 6, 8), 1.5)
    taken = (Look(4, "t", 0, levels), Look(6, "t", 3, levels, **look))
    return LookLog(plan, taken, end, pictures_a_prompt=len(levels) + (not is_race))


def said(*args, **values):
    return look_sentences(log(*args, **values), MEASURE, "shift", "3.0")[0]


def test_each_level_is_told_by_how_it_ended():
    levels = {
        "1.0": LevelAtLook("worse", 4, 0, -0.5, -0.62, -0.38, 0.001),
        "2.0": LevelAtLook("as good as", 6, 1, 0.01, -0.05, 0.07, 1.0),
        "4.0": LevelAtLook("better", 6, 1, 0.3, 0.18, 0.42, 0.02),
        "5.0": LevelAtLook("unpromising", 6, 1, 0.1, -0.2, 0.4, 0.5),
        "6.0": LevelAtLook("open", 6, None, 0.1, -0.2, 0.4, 0.5),
    }
    assert said(levels, end="images") == (
        "shift 4.0 beats 3.0 by 0.30 (95 % interval 0.18 to 0.42) after 6 prompts; "
        "1.0 loses to 3.0 by 0.50 (95 % interval 0.38 to 0.62) after 4 prompts; "
        "2.0 is as good as 3.0: it differs by less than 0.1; "
        "5.0 was stopped as unpromising, which says nothing of a difference too small to find; "
        "6.0 is undecided at the end."
    )


def test_what_goes_on_is_no_end():
    assert said({"1.0": LevelAtLook("open", 6, None, 0.1)}, end="") == "shift 1.0 is undecided after 6 prompts."


def test_the_account_tells_looks_error_and_pictures():
    told = account_sentence(log({"1.0": LevelAtLook("worse", 6, 1, -0.5, -0.6, -0.4, 0.01)}))
    # 5 % x (6 / 8)^1.5 = 3.2 %; of 8 x 2 pictures 6 x 2 - 3 were drawn
    assert told.startswith(
        "2 of 3 planned looks taken (after 4, 6, 8 prompts), 3.2 of 5 % of error spent, 7 of 16 pictures of the full "
        "design not drawn; every level was decided."
    )


def test_the_account_tells_of_a_bias_only_where_a_level_ended_before_the_last_look():
    bias = "means of levels that ended early lie a little too far from 0"
    assert bias in account_sentence(log({"1.0": LevelAtLook("worse", 4, 0, -0.5), "2.0": LevelAtLook("open", 6)}))
    for level in (LevelAtLook("open", 6, None, 0.1), LevelAtLook("better", 8, 2, 0.3)):
        told = account_sentence(log({"1.0": level}, end="prompts"))
        assert told.endswith("Intervals hold at all looks together.")


def test_the_account_tells_the_error_of_as_good_as_where_it_is_spent_otherwise():
    before = log({"1.0": LevelAtLook("as good as", 6, 1, 0.0)})
    told = account_sentence(replace(before, plan=replace(before.plan, within_exponent=2.0, outside_share=0.1)))
    # 5 % x 0.9 x (6 / 8)^2 = 2.5 %
    assert '3.2 of 5 % of error spent and 2.5 of 4.5 % of that of "as good as", 7 of 16 pictures' in told
    race = log({"1.0": LevelAtLook("left", 6, 1, 0.0)}, is_race=True)
    assert "as good as" not in account_sentence(replace(race, plan=replace(race.plan, within_exponent=2.0)))


def test_a_race_names_who_is_left_and_by_how_much_they_differ():
    left = {
        "3.0": LevelAtLook("left", 6, 1, -0.01),
        "4.0": LevelAtLook("left", 6, 1, 0.0),
        "5.0": LevelAtLook("dropped", 4, 0, -0.4),
    }
    within = said(left, is_race=True, leader="4.0", is_within_margin=True)
    assert within == "shift 3.0 and 4.0 are left; they differ by less than 0.1; 5.0 dropped out."
    undecided = said(left, end="prompts", is_race=True, leader="4.0")
    assert undecided == "shift 3.0 and 4.0 are left at the end, and 4.0 leads; 5.0 dropped out."
    best = {"4.0": LevelAtLook("best", 6, 1, 0.0), "5.0": LevelAtLook("dropped", 4, 0, -0.4)}
    assert said(best, is_race=True, leader="4.0") == (
        "shift 4.0 is the best: every other level was shown to be worse than the leader; 5.0 dropped out."
    )


def test_long_names_are_shortened_in_the_middle_as_in_every_sentence():
    level = {"a" * 30 + "b" * 30: LevelAtLook("better", 6, 1, 0.3, 0.18, 0.42, 0.02)}
    assert said(level).startswith(f"shift “{'a' * 19}…{'b' * 20}” beats 3.0 by 0.30 (95 % interval")


def test_before_the_first_look_it_is_said_when_it_comes():
    plan = log({}).plan
    told = look_sentences(LookLog(plan), MEASURE, "shift", "3.0")
    assert told == ["No look has been taken yet; the first comes after 4 prompts."]


def test_the_verdict_comes_first_and_the_account_last():
    levels = {"4.0": LevelAtLook("better", 6, 1, 0.3, 0.18, 0.42, 0.02)}
    verdict, account = look_sentences(log(levels), MEASURE, "shift", "3.0")
    assert verdict == "shift 4.0 beats 3.0 by 0.30 (95 % interval 0.18 to 0.42) after 6 prompts."
    assert account == account_sentence(log(levels))
    assert account.endswith(
        "Intervals hold at all looks together; means of levels that ended early lie a little too far from 0."
    )


def test_several_levels_of_one_end_are_told_together_the_largest_difference_first():
    levels = {
        "1.0": LevelAtLook("worse", 4, 0, -0.5, -0.62, -0.38, 0.001),
        "1.5": LevelAtLook("worse", 4, 0, -0.75, -0.87, -0.63, 0.001),
        "2.0": LevelAtLook("as good as", 6, 1, 0.01, -0.05, 0.07, 1.0),
        "2.5": LevelAtLook("as good as", 6, 1, 0.01, -0.05, 0.07, 1.0),
        "5.0": LevelAtLook("unpromising", 6, 1, 0.1, -0.2, 0.4, 0.5),
        "6.0": LevelAtLook("unpromising", 6, 1, 0.1, -0.2, 0.4, 0.5),
        "7.0": LevelAtLook("open", 6, None, 0.1, -0.2, 0.4, 0.5),
        "8.0": LevelAtLook("open", 6, None, 0.1, -0.2, 0.4, 0.5),
    }
    assert said(levels, end="hours") == (
        "shift 1.5 loses to 3.0 by 0.75 (95 % interval 0.63 to 0.87) after 4 prompts; "
        "1.0 loses to 3.0 by 0.50 (95 % interval 0.38 to 0.62) after 4 prompts; "
        "2.0 and 2.5 are as good as 3.0: they differ by less than 0.1; "
        "5.0 and 6.0 were stopped as unpromising, which says nothing of a difference too small to find; "
        "7.0 and 8.0 are undecided at the end."
    )


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("decided", "every level was decided"),
        ("prompts", "the prompts were used up"),
        ("images", "the next look would have taken more pictures than --max-images"),
        ("hours", "--max-hours were over"),
        ("", "it is not finished"),
        ("of another version", "of another version"),
    ],
)
def test_the_account_says_why_it_stopped(end, why):
    told = account_sentence(log({"1.0": LevelAtLook("open", 6, None, 0.1)}, end=end))
    assert f" pictures of the full design not drawn; {why}. Intervals hold " in told


def test_a_difference_without_interval_has_three_decimals_and_its_unit():
    seconds = Measure(TIME_COLUMN, "Time", "", GENERATION_TIME)
    (told, _) = look_sentences(log({"4.0": LevelAtLook("worse", 6, 1, -0.3)}), seconds, "shift", "3.0")
    assert told == "shift 4.0 loses to 3.0 by 0.300 s after 6 prompts."
    (told, _) = look_sentences(log({"4.0": LevelAtLook("as good as", 6, 1, 0.0)}), seconds, "shift", "3.0")
    assert told == "shift 4.0 is as good as 3.0: it differs by less than 0.1 s."


def test_three_that_are_left_within_the_margin_are_compared_with_the_leader():
    left = {name: LevelAtLook("left", 6, 1, 0.0) for name in ("3.0", "4.0", "5.0")}
    assert said(left, is_race=True, leader="4.0", is_within_margin=True) == (
        "shift 3.0, 4.0 and 5.0 are left; they differ from 4.0, which leads, by less than 0.1."
    )
    assert said(left, end="", is_race=True, leader="4.0") == (
        "shift 3.0, 4.0 and 5.0 are left after 6 prompts, and 4.0 leads."
    )


def test_twelve_levels_are_named_and_the_others_counted():
    def names(count):
        return said({str(level): LevelAtLook("open", 6, None, 0.1) for level in range(1, count + 1)})

    assert names(12) == "shift 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 12 are undecided at the end."
    assert names(13) == "shift 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 1 more are undecided at the end."
