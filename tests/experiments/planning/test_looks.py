"""When an experiment is looked at, and in which order its prompts come."""

import itertools
import json
from collections import Counter
from dataclasses import replace

import pytest

from experiments.planning.design import plan_experiment
from experiments.planning.looks import (
    ALPHA,
    EXPONENT,
    LATE_EXPONENT,
    LookPlan,
    LookWishes,
    drawing_order,
    look_counts,
    not_the_same,
    plan_looks,
)
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt
from llm_dit.errors import LlmDitError


def plan(categories, name="e"):
    prompts = [
        Prompt(f"{category}_{number}", category, "", f"{category} {number}")
        for category, count in categories.items()
        for number in range(count)
    ]
    return plan_experiment(experiment_from_sweeps(["shift=1..3"], name), prompts, [42])


@pytest.mark.parametrize("prompts", [6, 9, 12, 25, 60, 300])
@pytest.mark.parametrize("tests", [1, 4])
def test_the_first_look_is_the_first_that_can_show_anything_and_the_last_is_all(prompts, tests):
    counts = look_counts(prompts, tests)
    can_show = [2.0 ** (1 - n) <= ALPHA / tests * (n / prompts) ** EXPONENT for n in range(1, prompts + 1)]
    if not any(can_show):
        assert counts == ()
        return
    assert counts[0] == max(can_show.index(True) + 1, 6)
    assert counts[-1] == prompts
    assert all(later - earlier >= 2 or later == prompts for earlier, later in itertools.pairwise(counts))


def test_every_beginning_of_the_order_has_its_share_of_each_category():
    asked = plan({"animals": 20, "scenes": 10, "texts": 10})
    order = drawing_order(asked)
    assert sorted(order) == sorted(prompt.id for prompt in asked.prompts)
    for count in (8, 16, 24, 40):
        seen = Counter(prompt_id.partition("_")[0] for prompt_id in order[:count])
        assert seen["animals"] == pytest.approx(count / 2, abs=1.5)
        assert seen["scenes"] == pytest.approx(count / 4, abs=1.5)


def test_the_order_is_random_but_the_plans_own():
    first, again = (drawing_order(plan({"a": 20, "b": 20})) for _ in range(2))
    assert first == again
    assert first != drawing_order(plan({"a": 20, "b": 20}, name="other"))
    assert first != tuple(sorted(first))


def test_a_plan_of_looks_is_read_back_as_it_was_written():
    looks = plan_looks(plan({"a": 20}), LookWishes("siglip_score", margin=0.1))
    assert type(looks).from_values(looks.values()) == looks


def test_the_looks_of_a_folder_that_was_planned_before_spend_their_error_as_they_did():
    written = plan_looks(plan({"a": 20}), LookWishes("siglip_score", margin=0.1)).values()
    del written["within_exponent"], written["outside_share"]
    looks = LookPlan.from_values(written)
    assert (looks.within_exponent, looks.outside_share) == (1.5, 0.0)


def test_who_stops_no_unpromising_level_has_more_of_the_error_late():
    looks = plan_looks(plan({"a": 60}), LookWishes("siglip_score", stops_unpromising=False))
    assert looks.exponent == LATE_EXPONENT == 2.0
    # 2 / 2^11 <= 5 % x (11 / 60)^2, and 2 / 2^10 is more than its share
    assert looks.prompts[:2] == look_counts(60, 1, exponent=2.0)[:2] == (11, 13)
    assert plan_looks(plan({"a": 60}), LookWishes("siglip_score")).prompts[:2] == (10, 12)


EARLY = tuple(range(10, 30, 2))


@pytest.mark.parametrize(
    ("prompts", "counts"),
    [
        (5, ()),  # 2 / 2^5 is more than 5 %
        (6, (6,)),
        (7, (6, 7)),  # 2 / 2^6 <= 5 % x (6 / 7)^1.5
        (10, (7, 9, 10)),  # a last step of just half the usual size
        (20, (8, 10, 12, 14, 16, 18, 20)),  # 2 / 2^8 <= 5 % x (8 / 20)^1.5, and 2 / 2^7 is more than its share
        (54, (*EARLY, 30, 32, 35, 38, 41, 44, 48, 54)),  # 52 would leave less than half a step
        (55, (*EARLY, 30, 32, 35, 38, 41, 44, 48, 52, 55)),
        (60, (*EARLY, 30, 32, 35, 38, 41, 44, 48, 52, 56, 60)),
    ],
)
def test_looks_grow_by_a_twelfth_and_by_two_at_least(prompts, counts):
    assert look_counts(prompts, 1) == counts


def test_a_one_sided_test_reaches_half_the_p_value_and_one_prompt_less():
    assert look_counts(4, 1, is_one_sided=True) == ()  # 1 / 2^4 = 6 %
    assert look_counts(5, 1, is_one_sided=True) == (5,)
    assert look_counts(6, 1, is_one_sided=True) == (6,)  # five could show something, and six are the least
    assert look_counts(20, 1, is_one_sided=True)[0] == 7  # 1 / 2^7 <= 5 % x (7 / 20)^1.5


@pytest.mark.parametrize(("is_race", "needed"), [(False, "a decision among 3 levels"), (True, "a race among 3 levels")])
def test_too_few_prompts_are_refused_with_the_number_it_takes(is_race, needed):
    wishes = LookWishes("siglip_score", is_race)
    with pytest.raises(LlmDitError) as refused:
        plan_looks(plan({"a": 5}), wishes)
    assert str(refused.value) == f"5 prompts can show no difference, however large; {needed} takes at least 6."
    assert plan_looks(plan({"a": 6}), wishes).prompts == (6,)  # 2 / 2^6 <= 5 %; each pair of a race: 1 / 2^6 <= 2.5 %


def test_one_level_has_nothing_to_look_at():
    alone = plan_experiment(experiment_from_sweeps(["shift=3"], "e"), plan({"a": 20}).prompts, [42])
    with pytest.raises(LlmDitError) as refused:
        plan_looks(alone, LookWishes("siglip_score"))
    assert str(refused.value) == "Looks compare levels, and this experiment has one; give an axis several."
    two = plan_experiment(experiment_from_sweeps(["shift=3,4"], "e"), plan({"a": 20}).prompts, [42])
    assert plan_looks(two, LookWishes("siglip_score", True)).prompts[0] == 7


def test_a_plan_holds_all_that_was_wished():
    wishes = LookWishes("siglip_score", True, 0.25, False, 100, 2.0)
    looks = plan_looks(plan({"a": 20}), wishes)
    order = drawing_order(plan({"a": 20}))
    counts = look_counts(20, 2, is_one_sided=True)
    assert looks == LookPlan("siglip_score", True, 0.25, False, order, counts, 1.5, 2.0, 0.1)
    assert LookPlan.from_values(json.loads(json.dumps(looks.values()))) == looks


def test_the_order_of_a_plan_stays_the_same_in_every_version():
    # a folder's looks are refused where their order is another one
    order = drawing_order(plan({"a": 4, "b": 2}))
    assert order == ("a_2", "b_0", "a_3", "a_0", "b_1", "a_1")
    assert drawing_order(plan({"b": 2, "a": 4})) == ("b_1", "a_1", "a_2", "a_3", "b_0", "a_0")
    half = Prompt("half", "c", "", "caf\udce9")
    assert drawing_order(plan_experiment(experiment_from_sweeps(["shift=1..3"], "e"), [half], [42])) == ("half",)


def test_what_a_plan_would_change_is_named():
    looks = plan_looks(plan({"a": 20}), LookWishes("siglip_score"))
    assert not_the_same(looks, looks) == []
    changed = replace(looks, measure="image_reward", is_race=True, order=looks.order[::-1])
    assert not_the_same(looks, changed) == [
        "measure: siglip_score -> image_reward",
        "is_race: False -> True",
        "order: other prompts",
    ]
