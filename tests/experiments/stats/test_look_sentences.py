"""What planned looks say in sentences."""

from experiments.metrics import metric_of_column
from experiments.planning.looks import LookPlan
from experiments.stats.look_sentences import account_sentence, look_sentences
from experiments.stats.measures import Measure
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
