"""What the analysis says about runs whose truth is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_scores import analysed, measure, prompt_number
from sample_results import (
    SHIFT,
    STEPS,
    axis,
    noisy_scores,
    sample_manifest,
    sample_plan,
    sample_records,
)
from scipy import stats

from experiments import analyze
from experiments.metrics import METRICS
from experiments.stats import paired_statistics as statistics
from experiments.stats import power
from experiments.stats.findings import MeasureAnalysis, analyse
from experiments.stats.levels import Estimate
from experiments.stats.numbers_as_text import decimals_for, format_number
from experiments.stats.verdict import format_estimate, sentences


def comparison_of(result: MeasureAnalysis, level: str):
    return next(item for item in result.comparisons if item.level == level)


def by_prompt(level_effect: dict[str, list[float]]):
    """Scores given per level and prompt number; the seed adds its own constant, which pairing removes."""
    return lambda run: {
        "image_reward": level_effect[run.cell.levels["shift"]][prompt_number(run)] + 10 * run.params.seed
    }


def test_summary_of_a_level_equals_plain_numpy():
    plan = sample_plan(prompts=8, seeds=(1, 2))
    records = sample_records(plan, noisy_scores({"4.0": 0.5}))
    summary = measure(analyse(sample_manifest(plan), records, METRICS)).levels[3]
    records.sort(key=lambda record: record.prompt_id)
    values = np.array([record.scores["image_reward"] for record in records if record.level == "4.0"])
    means = values.reshape(8, 2).mean(axis=1)
    low, high = statistics.interval_of_mean(means)
    assert (summary.level, summary.runs, summary.prompts) == ("4.0", 16, 8)
    assert summary.estimate == Estimate(pytest.approx(values.mean()), pytest.approx(low), pytest.approx(high))
    assert summary.deviation == pytest.approx(values.std(ddof=1))


def test_comparison_pairs_by_prompt_and_seed():
    differences = [0.1, 0.4, 0.2, 0.3, 0.5, 0.6]
    levels = {"3.0": [float(i) for i in range(6)], "4.0": [i + differences[i] for i in range(6)]}
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=6, seeds=(1, 2, 3))
    comparison = measure(analysed(plan, by_prompt(levels))).comparisons[0]
    assert (comparison.level, comparison.baseline) == ("4.0", "3.0")
    assert (comparison.pairs, comparison.prompts) == (18, 6)
    assert comparison.difference.mean == pytest.approx(0.35)
    assert comparison.p_value == 2 / 2**6  # seeds don't count as evidence: six prompts, all better
    assert comparison.win_rate == 1.0
    expected = np.mean(differences) / np.std(differences, ddof=1) * (1 - 3 / 19)
    assert comparison.effect_size == pytest.approx(expected, rel=0.005)
    effect = power.detectable_effect(6, estimated_from=6)
    assert comparison.detectable == pytest.approx(effect * np.std(differences, ddof=1))


def test_holm_runs_over_all_levels_of_a_measure():
    result = measure(analysed(sample_plan(prompts=10), noisy_scores({"4.0": 1.0, "1.0": -1.0})))
    p_values = np.array([item.p_value for item in result.comparisons])
    assert [item.p_holm for item in result.comparisons] == pytest.approx(statistics.holm(p_values).tolist())
    assert [item.level for item in result.comparisons if item.is_found] == ["1.0", "4.0"]


def test_missing_runs_are_left_out_pair_by_pair_and_named():
    def scores(run):
        if run.cell.levels["shift"] == "4.0" and prompt_number(run) < 3:
            return "out of memory"
        return {"image_reward": prompt_number(run) + float(run.cell.levels["shift"])}

    analysis = analysed(sample_plan(prompts=9), scores)
    result = measure(analysis)
    comparison = comparison_of(result, "4.0")
    assert analysis.failed == 3
    assert (comparison.pairs, comparison.prompts) == (6, 6)
    assert comparison.difference.mean == pytest.approx(1.0)  # not the difference of the two means, 4 prompts apart
    assert any("4.0 (6 of 9)" in note for note in result.notes)


def test_a_prompt_with_fewer_seeds_counts_as_much_as_the_others():
    def scores(run):
        if prompt_number(run) == 0 and run.params.seed > 1:
            return "failed"
        gain = 1.0 if prompt_number(run) == 0 else 0.0
        return {"image_reward": gain * (run.cell.levels["shift"] == "4.0")}

    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=4, seeds=(1, 2, 3))
    comparison = measure(analysed(plan, scores)).comparisons[0]
    assert comparison.difference.mean == pytest.approx(0.25)


def test_order_of_runs_changes_no_number():
    plan = sample_plan(prompts=7, seeds=(1, 2))
    records = sample_records(plan, noisy_scores({"4.0": 0.2}))
    manifest = sample_manifest(plan)
    assert analyse(manifest, records, METRICS).measures == analyse(manifest, records[::-1], METRICS).measures


@pytest.mark.parametrize("turned", range(3))
def test_order_of_runs_changes_no_rounding(turned):
    huge = (1e16, 1.0, -1e16, 3.0, 1e15, -7.0)

    def scores(run):
        return {"image_reward": huge[(prompt_number(run) + run.params.seed + len(run.cell.name)) % len(huge)]}

    plan = sample_plan(axes=[SHIFT, STEPS], prompts=6, seeds=(1, 2, 3))
    records, manifest = sample_records(plan, scores), sample_manifest(plan)
    mixed = [records[index] for index in np.random.default_rng(turned).permutation(len(records))]
    first, second = (measure(analyse(manifest, given, METRICS)) for given in (records, mixed))
    assert (first.levels, first.main_effects) == (second.levels, second.main_effects)


def test_one_prompt_has_no_interval_and_says_why():
    result = measure(analysed(sample_plan(prompts=1, seeds=(1, 2, 3)), noisy_scores({"4.0": 5.0})))
    comparison = comparison_of(result, "4.0")
    assert comparison.difference.low is None
    assert comparison.p_value is None
    assert result.levels[0].estimate.high is None
    sentence = sentences(analysed(sample_plan(prompts=1), noisy_scores({"4.0": 5.0})), result)[0]
    assert sentence.startswith("Only one prompt: no interval and no test, since one prompt does not say")
    assert "“" not in sentence


def test_three_prompts_say_how_many_are_needed():
    analysis = analysed(sample_plan(prompts=3), noisy_scores({"4.0": 5.0}))
    assert comparison_of(measure(analysis), "4.0").detectable is None
    assert sentences(analysis, measure(analysis))[0].startswith(
        "With 3 prompts no difference from shift 3.0 can be shown, however large: "
        "3 comparisons need at least 7 prompts; on these 3, the mean of 4.0 is "
    )


@pytest.mark.parametrize("prompts", [2, 3, 4, 5])
def test_too_few_prompts_show_no_interval_and_claim_nothing(prompts):
    analysis = analysed(sample_plan(prompts=prompts), lambda run: {"image_reward": 5.0 * (run.params.shift == 4.0)})
    result = measure(analysis)
    assert {item.difference.low for item in result.comparisons} == {None}
    sentence = sentences(analysis, result)[0]
    assert not any(word in sentence for word in ("beats", "loses", "95 % interval"))
    assert sentence.endswith(f"; on these {prompts}, the mean of 4.0 is 5.000 above that of 3.0.")


def test_too_few_prompts_say_which_mean_is_shorter():
    plan = sample_plan(axes=[axis("num_inference_steps", 9, 4)], prompts=3)
    analysis = analysed(plan, lambda run: {"generation_time_seconds": 0.05 * run.params.num_inference_steps})
    sentence = sentences(analysis, measure(analysis, "generation_time_seconds"))[0]
    assert sentence.endswith("; on these 3, the mean of 4 is 0.250 s below that of 9.")


def test_found_difference_reads_as_a_sentence():
    plan = sample_plan(baseline={"shift": "3.0"})
    analysis = analysed(plan, noisy_scores({"4.0": 0.5}, spread=0.05))
    comparison = comparison_of(measure(analysis), "4.0")
    amount, low, high = format_estimate(comparison.difference)
    assert sentences(analysis, measure(analysis))[0] == (
        f"shift 4.0 beats 3.0 by {amount}, 95 % interval {low} to {high}; "
        "the others can't be told apart from it with 12 prompts."
    )


def test_worse_level_loses_by_a_positive_amount():
    plan = sample_plan(axes=[axis("shift", 3.0, 1.0)])
    analysis = analysed(plan, noisy_scores({"1.0": -0.5}, spread=0.01))
    sentence = sentences(analysis, measure(analysis))[0]
    assert sentence.startswith("shift 1.0 loses to 3.0 by 0.")
    assert "-" not in sentence


def test_one_outlier_does_not_widen_a_finding_beyond_its_test():
    differences = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 3.0]
    levels = {"3.0": [0.0] * 8, "4.0": differences}
    analysis = analysed(sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=8), by_prompt(levels))
    comparison = measure(analysis).comparisons[0]
    assert comparison.p_holm == 2 / 2**8
    assert (comparison.difference.low, comparison.difference.high) == (pytest.approx(0.1), pytest.approx(1.55))
    assert sentences(analysis, measure(analysis)) == ["shift 4.0 beats 3.0 by 0.5, 95 % interval 0.1 to 1.6."]


def test_shorter_time_is_the_better_one():
    plan = sample_plan(axes=[axis("num_inference_steps", 9, 4)])
    analysis = analysed(plan, lambda run: {"generation_time_seconds": 0.05 * run.params.num_inference_steps})
    sentence = sentences(analysis, measure(analysis, "generation_time_seconds"))[0]
    assert sentence == "num_inference_steps 4 is faster than 9 by 0.250 s, 95 % interval 0.250 to 0.250."


def test_nothing_found_says_what_could_have_been():
    analysis = analysed(sample_plan(), noisy_scores({}))
    result = measure(analysis)
    sentence = sentences(analysis, result)[0]
    largest = max(item.detectable for item in result.comparisons)
    prompts = max(item.prompts_for_half for item in result.comparisons)
    assert sentence.startswith("No level can be told apart from shift 3.0 with 12 prompts; 4 in 5 such experiments")
    assert f"a difference of {format_number(largest, decimals_for(largest))}," in sentence
    assert sentence.endswith(f"half of that needs {prompts} prompts.")


def with_few_prompts(level: str, prompts: int, scores=None):
    """Runs of one level fail beyond so many prompts."""
    scores = scores or noisy_scores({})

    def given(run):
        is_out = run.cell.levels["shift"] == level and prompt_number(run) >= prompts
        return "out of memory" if is_out else scores(run)

    return given


def test_a_level_with_too_few_prompts_is_told_apart_from_those_with_many():
    analysis = analysed(sample_plan(), with_few_prompts("4.0", 4))
    sentence = sentences(analysis, measure(analysis))[0]
    assert sentence.startswith("No level can be told apart from shift 3.0 with 12 prompts; 4 in 5 such experiments")
    assert sentence.endswith("; too little to show any difference, however large: 4.0 (4 prompts).")
    found = analysed(sample_plan(), with_few_prompts("4.0", 4, noisy_scores({"1.0": 2.0}, spread=0.05)))
    sentence = sentences(found, measure(found))[0]
    assert "the others can't be told apart from it with 12 prompts; too little to show any difference" in sentence


def test_levels_with_different_numbers_of_prompts_are_not_given_one():
    analysis = analysed(sample_plan(), with_few_prompts("4.0", 9))
    assert " told apart from shift 3.0 with 9 to 12 prompts; " in sentences(analysis, measure(analysis))[0]


def test_prompts_that_do_not_differ_show_nothing_and_are_said():
    def scores(run):
        is_better = run.cell.levels["shift"] == "4.0" and prompt_number(run) < 4
        return {"image_reward": prompt_number(run) + is_better}

    analysis = analysed(sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=20), scores)
    comparison = measure(analysis).comparisons[0]
    assert (comparison.differing, comparison.can_be_found, comparison.detectable) == (4, False, None)
    assert sentences(analysis, measure(analysis)) == [
        "With 20 prompts no difference from shift 3.0 can be shown, however large: 4.0 (differs on 4 of 20 prompts)."
    ]


def test_every_level_with_fewer_runs_than_planned_is_named_with_the_number():
    def half(run):
        return "failed" if prompt_number(run) >= 6 else noisy_scores({})(run)

    notes = measure(analysed(sample_plan(), half)).notes  # all hit alike
    assert notes[0] == (
        "Not every planned run has this number: 1.0 has 6 of 12, 2.0 has 6 of 12, 3.0 has 6 of 12, 4.0 has 6 of 12. "
        "What is missing need not be like the rest."
    )
    assert "4.0 has 4 of 12." in measure(analysed(sample_plan(), with_few_prompts("4.0", 4))).notes[0]
    assert measure(analysed(sample_plan(), noisy_scores({}))).notes == ()


def test_a_difference_that_rounds_to_nothing_is_said_in_words():
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)])
    analysis = analysed(plan, lambda run: {"image_reward": prompt_number(run) / 8 + 1e-7 * (run.params.shift == 4.0)})
    assert sentences(analysis, measure(analysis)) == ["shift 4.0 beats 3.0 by less than 0.001."]


def test_a_finding_with_strongly_skewed_differences_comes_with_the_sign_test():
    differences = [-0.2, -0.1, 0.3, 0.4, 0.5, 0.4, 0.3, 0.6, 0.5, 0.7, 0.6, 9.0]
    levels = {"3.0": [0.0] * 12, "4.0": differences}
    result = measure(analysed(sample_plan(axes=[axis("shift", 3.0, 4.0)]), by_prompt(levels)))
    assert result.comparisons[0].is_found
    expected = stats.binomtest(2, 12).pvalue
    assert any(note.endswith(f"asks about the median, gives p {expected:.2g}.") for note in result.notes)
    even = measure(analysed(sample_plan(), noisy_scores({"4.0": 1.0})))
    assert not any("skewed" in note for note in even.notes)


def test_equal_arms_are_called_equal():
    analysis = analysed(sample_plan(), lambda run: {"image_reward": float(prompt_number(run))})
    assert sentences(analysis, measure(analysis)) == ["Every level gave exactly the same numbers as shift 3.0."]


def test_one_equal_arm_among_others_is_named():
    noise = noisy_scores({}, spread=0.1)

    def scores(run):
        return {"image_reward": 1.0} if run.cell.levels["shift"] in ("2.0", "3.0") else noise(run)

    assert "Exactly the same number as 3.0 in every pair: 2.0." in measure(analysed(sample_plan(), scores)).notes


def test_missing_baseline_compares_nothing():
    def scores(run):
        return "failed" if run.cell.levels["shift"] == "3.0" else {"image_reward": 1.0}

    analysis = analysed(sample_plan(), scores)
    assert measure(analysis).comparisons == ()
    assert sentences(analysis, measure(analysis))[0].startswith("Nothing can be compared with shift 3.0")


def test_a_level_without_pictures_has_no_pairs_and_stays_in_the_table():
    analysis = analysed(sample_plan(), with_few_prompts("4.0", 0))
    comparison = comparison_of(measure(analysis), "4.0")
    assert (comparison.pairs, comparison.prompts, comparison.difference, comparison.p_value) == (0, 0, None, None)
    level = measure(analysis).levels[3]
    assert (level.level, level.runs, level.prompts, level.estimate, level.deviation) == ("4.0", 0, 0, None, None)
    assert " told apart from shift 3.0 with 12 prompts; " in sentences(analysis, measure(analysis))[0]


def test_levels_that_set_the_seed_are_paired_by_prompt():
    plan = sample_plan(axes=[axis("seed", 1, 2, 3)], prompts=7)
    result = measure(analysed(plan, lambda run: {"image_reward": prompt_number(run) + 0.5 * (run.params.seed == 2)}))
    assert comparison_of(result, "2").pairs == 7
    assert comparison_of(result, "2").difference.mean == pytest.approx(0.5)


def test_numbers_that_are_no_numbers_are_left_out():
    def scores(run):
        broken = {0: None, 1: None, 2: True}  # infinity makes a record unreadable
        return {"image_reward": broken.get(prompt_number(run), float(prompt_number(run)))}

    result = measure(analysed(sample_plan(prompts=9), scores))
    assert result.levels[0].runs == 6
    assert "12 of 36 pictures have no ImageReward and are left out." in result.notes


def test_a_number_that_one_measure_lacks_takes_nothing_from_the_others():
    def scores(run):
        reward = {} if prompt_number(run) < 3 else {"image_reward": 1.0}
        return {"siglip_score": 0.2, **reward}

    analysis = analysed(sample_plan(prompts=9), scores)
    assert [level.runs for level in measure(analysis).levels] == [6] * 4
    assert [level.runs for level in measure(analysis, "siglip_score").levels] == [9] * 4


def test_flags_are_notes_and_never_measures():
    analysis = analysed(sample_plan(), noisy_scores({}, flag_every=1))
    assert [result.measure.column for result in analysis.measures] == [
        "image_reward",
        "siglip_score",
        "generation_time_seconds",
    ]
    assert any(note.startswith("48 of 48 pictures: The prompt is longer") for note in measure(analysis).notes)


def test_experiment_without_pictures_has_no_measures():
    analysis = analysed(sample_plan(), lambda run: "failed")
    assert (analysis.finished, analysis.failed, analysis.measures) == (0, 48, ())


def test_no_module_hides_one_of_the_standard_library():
    # `python experiments/run_ablation.py` puts this folder first on the path, and torch imports `statistics`
    names = {path.stem for path in Path(analyze.__file__).parent.glob("*.py")}
    assert not names & sys.stdlib_module_names


def test_interval_of_scipy_agrees_for_a_level_with_few_prompts():
    plan = sample_plan(prompts=4)
    records = sample_records(plan, noisy_scores({}))
    summary = measure(analyse(sample_manifest(plan), records, METRICS)).levels[0]
    values = [record.scores["image_reward"] for record in records if record.level == "1.0"]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (summary.estimate.low, summary.estimate.high) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
