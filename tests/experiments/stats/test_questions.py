"""Questions after the first: which runs are asked about, what is corrected for what, and what is said."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from asked_questions import GRID, THINK, asked_of, of_reward, only_for
from sample_results import (
    SHIFT,
    noisy_scores,
    sample_manifest,
    sample_plan,
    sample_records,
)
from scipy import stats

from experiments.stats import paired_statistics as statistics
from experiments.stats.levels import PROMPT, SEED
from experiments.stats.questions.answering import Answers
from experiments.stats.questions.narrowing import conditions_from_flags, narrowed
from experiments.stats.questions.sentences import answer_sentences, correlation_sentence
from experiments.stats.questions.trends import trend_of, trend_weights
from llm_dit.errors import LlmDitError


def comparisons_of(answers: Answers) -> dict[str, float | None]:
    result = next(item for item in answers.analysis.measures if item.measure.column == "image_reward")
    return {item.level: item.p_holm for item in result.comparisons}


def test_a_part_is_analysed_as_an_experiment_of_its_own() -> None:
    effects = noisy_scores({"1.0": -0.3, "2.0": 0.2})
    part = asked_of(sample_plan(**GRID), effects, "num_inference_steps=4")
    baseline = {"shift": "3.0"}
    alone = sample_plan(axes=(SHIFT,), baseline=baseline, name="alone")

    def at_four_steps(run):  # the same numbers, as an experiment that only ever had 4 steps would have had them
        twin = next(
            other
            for other in sample_plan(**GRID).runs()
            if other.prompt == run.prompt and dict(other.cell.levels) == {**run.cell.levels, "num_inference_steps": "4"}
        )
        return effects(twin)

    assert part.analysis.baseline == "3.0"
    assert part.analysis.axes == ("shift",)
    assert part.analysis.finished == 48
    assert comparisons_of(part) == comparisons_of(asked_of(alone, at_four_steps))


def test_conditions_on_prompts_and_seeds_keep_the_planned_numbers_in_step() -> None:
    plan = sample_plan(**GRID, seeds=(1, 2))
    part = narrowed(
        sample_manifest(plan),
        sample_records(plan, noisy_scores({})),
        conditions_from_flags(["category=animals,landscapes", "seed=2", "num_inference_steps=4.0"]),
    )
    assert part.manifest.planned_runs == dict.fromkeys(("1.0", "2.0", "3.0", "4.0"), 8)
    assert {record.seed for record in part.records} == {2}
    assert {record.category for record in part.records} == {"animals", "landscapes"}
    assert {record.level for record in part.records} == {"1.0", "2.0", "3.0", "4.0"}


def test_a_parameter_picks_the_named_levels_that_set_it() -> None:
    from experiments.planning.design import Axis, Level

    speeds = Axis(
        "preset",
        (
            Level("fast", {"num_inference_steps": 4, "shift": 2.0}),
            Level("fast flat", {"num_inference_steps": 4, "shift": 1.0}),
            Level("slow", {"num_inference_steps": 9, "shift": 2.0}),
        ),
    )
    plan = sample_plan(axes=(speeds,), baseline={"preset": "fast"})
    part = asked_of(plan, noisy_scores({}), "num_inference_steps=4")
    assert [level.level for level in part.analysis.measures[0].levels] == ["fast", "fast flat"]


def test_another_baseline_is_what_the_levels_are_compared_with() -> None:
    scores = noisy_scores({"2.0": 0.5})
    answers = asked_of(sample_plan(), scores, baseline="2")
    result = answers.analysis.measures[0]
    assert answers.analysis.baseline == "2.0"
    assert [item.level for item in result.comparisons] == ["1.0", "3.0", "4.0"]
    assert all(item.difference is not None and item.difference.mean < -0.3 for item in result.comparisons)


@pytest.mark.parametrize(
    ("where", "question", "message"),
    [
        (["colour=red"], {}, "--where colour is nothing that runs have; valid: category,"),
        (["category=animal"], {}, "--where category=animal: no run has that; did you mean 'animals'?"),
        (["category"], {}, "--where 'category' is no condition; write NAME=VALUE, such as category=animals."),
        (["seed=1", "seed=2"], {}, "--where seed is given twice; write its values in one: seed=A,B."),
        (["shift=2.0"], {}, "--where shift=2.0 leaves one level of shift, so there is nothing to compare"),
        (["shift=1,2"], {}, "The baseline of shift, 3.0, is not among the runs that --where picks; name another"),
        ([], {"baseline": "7"}, "--baseline '7' is no level of shift; valid: 1.0, 2.0, 3.0, 4.0."),
        ([], {"by": "shift"}, "--by shift divides by what is compared; give something of prompts, such as category."),
        ([], {"by": "colour"}, "--by colour divides nothing; valid: category, difficulty."),
        ([], {"by": "difficulty"}, "--by difficulty divides nothing: every run that is left has easy."),
        ([], {"trend": "steps"}, "--trend steps is no axis that is left; valid: shift."),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_way_on(where, question, message) -> None:
    with pytest.raises(LlmDitError) as caught:
        asked_of(sample_plan(baseline={"shift": "3.0"}), noisy_scores({}), *where, **question)
    assert str(caught.value).startswith(message)


def test_a_trend_over_names_is_refused() -> None:
    with pytest.raises(LlmDitError, match="its levels are no numbers"):
        asked_of(sample_plan(axes=(THINK,)), noisy_scores({}), trend="force_think_block")


def test_all_pairs_are_corrected_together() -> None:
    answers = asked_of(sample_plan(), noisy_scores({"2.0": 0.1}), all_pairs=True)
    pairs = of_reward(answers).pairs[0]
    records = sample_records(sample_plan(), noisy_scores({"2.0": 0.1}))
    table = pd.DataFrame(
        [{"prompt": r.prompt_id, "level": r.level, "value": r.scores["image_reward"]} for r in records]
    ).pivot(index="prompt", columns="level", values="value")
    keys = list(itertools.combinations(table.columns, 2))
    contrasts = np.stack([(table[later] - table[earlier]).to_numpy() for earlier, later in keys])
    expected = statistics.sign_flip_p_values_together(contrasts)
    found = [pairs.comparisons[later, earlier].p_holm for earlier, later in keys]
    assert found == pytest.approx(list(expected))
    assert len(pairs.comparisons) == 6


def test_the_best_level_is_told_with_what_it_beats_and_what_it_does_not() -> None:
    found = of_reward(
        asked_of(sample_plan(prompts=24), noisy_scores({"1.0": -0.5, "2.0": 0.4, "4.0": 0.4}), all_pairs=True)
    )
    (sentence,) = answer_sentences(found)
    assert sentence.startswith(
        "shift 2.0 has the best mean; it beats 1.0, 3.0; it can't be told apart from 4.0 with 24"
    )
    assert sentence.endswith("5 of 6 pairs of levels differ after correction for all of them.")
    few = of_reward(asked_of(sample_plan(prompts=5), noisy_scores({"2.0": 3.0}), all_pairs=True))
    assert answer_sentences(few)[0].startswith("With 5 prompts no two levels of shift can be told apart, however far")


def test_a_level_without_numbers_is_none_of_those_that_the_best_beats() -> None:
    noisy = noisy_scores({"2.0": 0.5})
    found = of_reward(
        asked_of(
            sample_plan(prompts=12),
            lambda run: {**noisy(run), **({"image_reward": None} if run.cell.levels["shift"] == "4.0" else {})},
            all_pairs=True,
        )
    )
    (sentence,) = answer_sentences(found)
    assert sentence.startswith(
        "shift 2.0 has the best mean; it beats every other level that has numbers: 1.0, 3.0. 2 of 3 pairs"
    )


def test_a_line_is_asked_for_without_the_level_that_has_no_number() -> None:
    noisy = noisy_scores({"2.0": 0.5})
    plan = sample_plan(prompts=12)

    def scores(run):
        return {**noisy(run), **({"image_reward": None} if run.cell.levels["shift"] == "4.0" else {})}

    assert answer_sentences(of_reward(asked_of(plan, scores, trend="shift"))) == [
        "No line can be tested along shift: fewer than two prompts have every level. 4.0 has no number; "
        "--where shift=1.0,2.0,3.0 leaves them out."
    ]
    rest = of_reward(asked_of(plan, scores, "shift=1.0,2.0,3.0", trend="shift"))
    assert answer_sentences(rest)[0].startswith("No slope along shift")


def test_where_prompts_do_not_differ_no_number_of_prompts_is_asked_for() -> None:
    same = of_reward(asked_of(sample_plan(prompts=8), lambda _run: {"image_reward": 0.5}, all_pairs=True))
    assert answer_sentences(same) == ["All levels of shift gave exactly the same numbers."]
    few = of_reward(
        asked_of(
            sample_plan(prompts=12),
            lambda run: {"image_reward": float(run.cell.levels["shift"] == "2.0" and run.prompt.id < "b")},
            all_pairs=True,
        )
    )
    differing = sum(prompt.id < "b" for prompt in sample_plan(prompts=12).prompts)
    assert 0 < differing < 6
    assert answer_sentences(few) == [
        f"With 12 prompts no two levels of shift can be told apart, however far they lie: at most {differing} of them "
        "differ."
    ]


def test_a_grid_s_axes_are_paired_beside_its_combinations() -> None:
    found = of_reward(asked_of(sample_plan(**GRID), noisy_scores({}), all_pairs=True))
    assert [(item.variable, len(item.comparisons)) for item in found.pairs] == [
        ("shift x num_inference_steps", 28),
        ("shift", 6),
        ("num_inference_steps", 1),
    ]


def test_the_weights_of_a_trend_see_a_slope_and_a_bend_apart() -> None:
    line, square = trend_weights((1.0, 2.0, 4.0))
    assert square is not None
    points = np.array([1.0, 2.0, 4.0])
    assert line @ (5 + 3 * points) == pytest.approx(3)
    assert square @ (5 + 3 * points) == pytest.approx(0)
    assert square @ (5 + 3 * points + 2 * points**2) == pytest.approx(2)
    assert trend_weights((4, 9))[1] is None


def test_a_slope_is_that_of_a_straight_line_through_each_prompt() -> None:
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(9, 3)) + np.array([0.0, 0.5, 1.0])
    index = pd.MultiIndex.from_tuples([(f"p{i}", 1) for i in range(9)], names=[PROMPT, SEED])
    levels = ["4.0", "1.0", "2.0"]  # named in any order
    trend = trend_of(pd.DataFrame(numbers[:, [2, 0, 1]], index, levels), "shift", levels, ())
    expected = [stats.linregress([1, 2, 4], row).slope for row in numbers]
    assert trend.values == (1.0, 2.0, 4.0)
    assert list(trend.slopes.values()) == pytest.approx(expected)
    assert trend.p_value == pytest.approx(float(statistics.sign_flip_p_value(np.array(expected))))


def test_a_trend_is_told_with_its_slope_and_its_bend() -> None:
    straight = noisy_scores({"1.0": 0.1, "2.0": 0.2, "3.0": 0.3, "4.0": 0.4}, spread=0.02)
    (sentence,) = answer_sentences(of_reward(asked_of(sample_plan(), straight, trend="shift")))
    assert sentence.startswith("It rises along shift, by 0.099 for each 1 more, 95 % interval 0.091 to 0.107;")
    assert sentence.endswith("it rises for 12 of 12 prompts. No sign that the line bends.")
    hill = noisy_scores({"2.0": 0.5, "3.0": 0.5}, spread=0.02)
    (sentence,) = answer_sentences(of_reward(asked_of(sample_plan(), hill, trend="shift")))
    assert "The line bends" in sentence
    assert "levels in the middle lie above it" in sentence
    (sentence,) = answer_sentences(of_reward(asked_of(sample_plan(prompts=4), straight, trend="shift")))
    assert sentence.startswith("With 4 prompts no slope along shift can be shown, however steep: it takes at least")


def test_the_spread_over_prompts_is_told_with_its_ends() -> None:
    found = of_reward(asked_of(sample_plan(), only_for("animals", "2.0", 5.0), per_prompt=True))
    spread = found.spreads[1]
    assert spread.level == "2.0"
    assert spread.prompts == 12
    assert spread.quarters is not None
    assert spread.quarters[3] < 5.5  # 4 of 12 prompts are animals
    assert spread.quarters[4] > 4.5
    assert spread.highest.startswith("animals")


def test_measures_are_correlated_within_and_over_prompts() -> None:
    plan = sample_plan(prompts=20)

    def scores(run):
        values = dict(noisy_scores({})(run))
        values["siglip_score"] = -values["image_reward"] + values["siglip_score"]
        return values

    (found,) = (
        item
        for item in asked_of(plan, scores, correlate=True).correlations
        if (item.first.column, item.second.column) == ("image_reward", "siglip_score")
    )
    rows = [(r.prompt_id, r.scores["image_reward"], r.scores["siglip_score"]) for r in sample_records(plan, scores)]
    frame = pd.DataFrame(rows, columns=["prompt", "x", "y"])
    centred = frame[["x", "y"]] - frame.groupby("prompt")[["x", "y"]].transform("mean")
    means = frame.groupby("prompt").mean()
    assert found.within == pytest.approx(stats.pearsonr(centred["x"], centred["y"]).statistic)
    assert found.over_prompts == pytest.approx(stats.pearsonr(means["x"], means["y"]).statistic)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.within < found.high
    assert "go against each other" in correlation_sentence(found)


def test_measures_that_have_nothing_to_do_with_each_other_show_no_sign() -> None:
    answers = asked_of(sample_plan(prompts=20), noisy_scores({}), correlate=True)
    found = next(item for item in answers.correlations if item.second.column == "siglip_score")
    assert correlation_sentence(found).startswith("Within a prompt, no sign that ImageReward and SigLIP 2 go together")


def test_equal_numbers_have_no_slope_and_the_sentence_says_so() -> None:
    found = asked_of(sample_plan(prompts=8), lambda _run: {"image_reward": 0.1, "siglip_score": 0.7}, trend="shift")
    for result in found.analysis.measures[:2]:
        answered = found.of(result.measure)
        assert answered is not None and answered.trend is not None
        assert set(answered.trend.slopes.values()) == {0.0}
        assert answer_sentences(answered) == [
            "No slope along shift can be shown, however steep: 0 of 8 prompts have one."
        ]
