"""Questions by group: does the answer differ by category, or by a level of another axis?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from asked_questions import GRID, asked_of, of_reward, only_for
from sample_results import (
    noisy_scores,
    sample_plan,
)
from scipy import stats

from experiments.stats.questions.contrasts import SHUFFLES, groups_p_values, shuffles
from experiments.stats.questions.sentences import answer_sentences


def test_an_effect_on_one_category_is_found_there_and_nowhere_else() -> None:
    found = of_reward(asked_of(sample_plan(prompts=36), only_for("landscapes", "2.0", 0.5), by="category"))
    grouped = found.grouped
    assert grouped is not None
    claimed = [(group.name, item.level) for group in grouped.groups for item in group.comparisons if item.is_found]
    assert claimed == [("landscapes", "2.0")]
    assert [item.level for item in grouped.disagreements if item.is_found] == ["2.0"]
    sentence = answer_sentences(found)[-1]
    assert sentence.startswith("The answer differs by category: shift 2.0 is +0.5")
    assert "for “landscapes”" in sentence


def test_effects_that_are_alike_differ_by_no_category_and_that_is_not_called_the_same() -> None:
    found = of_reward(asked_of(sample_plan(prompts=36), noisy_scores({"2.0": 0.5}), by="category"))
    assert answer_sentences(found)[-1] == (
        "No sign that the answer differs by category, with 12 prompts in a group; that does not show it to be the same."
    )


def test_groups_of_a_few_prompts_are_not_asked_what_they_can_t_tell() -> None:
    found = of_reward(asked_of(sample_plan(prompts=4), only_for("animals", "2.0", 3.0), by="category"))
    assert answer_sentences(found)[-1].startswith("Whether the answer differs by category can't be said")


def test_the_simple_effects_of_a_grid_are_those_of_each_part() -> None:
    scores = noisy_scores({"2.0": 0.2, "4": -0.2})
    found = of_reward(asked_of(sample_plan(**GRID), scores, by="num_inference_steps"))
    assert found.grouped is not None
    assert found.grouped.is_within
    for group in found.grouped.groups:
        part = asked_of(sample_plan(**GRID), scores, f"num_inference_steps={group.name}")
        alone = next(item for item in part.analysis.measures if item.measure.column == "image_reward")
        assert [item.p_value for item in group.comparisons] == [item.p_value for item in alone.comparisons]
        assert [item.difference for item in group.comparisons] == [item.difference for item in alone.comparisons]


def test_an_axis_that_changes_the_effect_of_another_is_found() -> None:
    plain = noisy_scores({})

    def scores(run):
        values = dict(plain(run))
        if run.cell.levels["shift"] == "2.0" and run.cell.levels["num_inference_steps"] == "4":
            values["image_reward"] += 0.6
        return values

    found = of_reward(asked_of(sample_plan(**GRID, prompts=24), scores, by="num_inference_steps"))
    assert found.grouped is not None
    assert [item.level for item in found.grouped.disagreements if item.is_found] == ["2.0"]


def test_the_p_value_of_groups_is_the_share_of_deals() -> None:
    differences = np.array([[0.0, 0.1, 0.2, 1.0, 1.2, 1.1, 0.4]])
    groups = [0, 0, 0, 1, 1, 1, 1]

    def between(members: tuple[int, ...]) -> float:
        inside = differences[0, list(members)]
        outside = np.delete(differences[0], list(members))
        return 3 * (inside.mean() - differences.mean()) ** 2 + 4 * (outside.mean() - differences.mean()) ** 2

    deals = list(itertools.combinations(range(7), 3))
    exact = np.mean([between(deal) >= between((0, 1, 2)) - 1e-12 for deal in deals])
    (found,) = groups_p_values(differences, groups)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / SHUFFLES))


def test_shuffles_deal_every_place_alike() -> None:
    orders = shuffles(20)
    assert (np.sort(orders, axis=1) == np.arange(20)).all()
    counts = np.stack([np.bincount(orders[:, place], minlength=20) for place in range(20)])
    # each of 400 counts is binomial around 500; their chi-square has 19 * 19 degrees of freedom
    assert stats.chi2.sf(((counts - SHUFFLES / 20) ** 2 / (SHUFFLES / 20)).sum(), 361) > 0.001


def test_groups_that_are_alike_are_rarely_said_to_differ() -> None:
    generator = np.random.default_rng(0)
    groups = [0, 1, 2] * 6
    experiments = 200
    alarms = sum(groups_p_values(generator.standard_t(3, (3, 18)), groups).min() <= 0.05 for _ in range(experiments))
    assert alarms <= stats.binom.ppf(0.999, experiments, 0.05)
