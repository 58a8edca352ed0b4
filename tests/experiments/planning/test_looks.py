"""When an experiment is looked at, and in which order its prompts come."""

import itertools
from collections import Counter

import pytest

from experiments.planning.design import plan_experiment
from experiments.planning.looks import ALPHA, EXPONENT, LookWishes, drawing_order, look_counts, plan_looks
from experiments.planning.sweeps import experiment_from_sweeps
from experiments.prompts import Prompt


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
