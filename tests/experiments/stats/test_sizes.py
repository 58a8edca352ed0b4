"""What a plan says a design can find, and the shapes of differences that are warned of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sample_results import axis, noisy_scores, sample_manifest, sample_plan, sample_records
from scipy import stats
from statsmodels.stats.power import TTestPower

from experiments.metrics import METRICS
from experiments.stats import power
from experiments.stats.findings import analyse
from experiments.stats.levels import Estimate
from experiments.stats.numbers_as_text import format_amount, format_share
from experiments.stats.sizes import Size, Spread, size_sentences
from experiments.stats.verdict import is_too_small_to_show

PAIR = [axis("shift", 3.0, 4.0)]


def known(deviation: float, estimated_from: int | None = None) -> Spread:
    return Spread("image_reward", deviation, estimated_from, "as --spread says")


def test_a_known_spread_gives_the_t_tests_size_in_the_measures_unit():
    found, takes = size_sentences(Size(60, 3), [known(0.5)], 0.1)
    effect = 0.5 * TTestPower().solve_power(nobs=60, alpha=0.05 / 3, power=0.8)
    assert found == (
        f"image_reward: with 60 prompts and 3 comparisons, 4 in 5 such experiments find a difference of {effect:.2f}; "
        "paired differences spread by 0.50 as --spread says."
    )
    prompts = int(np.ceil(TTestPower().solve_power(effect_size=0.2, alpha=0.05 / 3, power=0.8)))
    assert takes == f"image_reward: 4 in 5 such experiments find a difference of 0.1 with {prompts} prompts."


def test_an_estimated_spread_asks_for_more_prompts():
    size = Size(12, 1)
    given, estimated = (int(size_sentences(size, [known(1.0, n)], 0.5)[1].split()[-2]) for n in (None, 8))
    assert given == power.prompts_for_effect(0.5)
    assert estimated == power.prompts_for_effect(0.5, estimated_from=8) > given


@pytest.mark.parametrize(("comparisons", "counted"), [(1, "1 comparison"), (3, "3 comparisons")])
def test_without_a_spread_the_size_is_in_standard_deviations(comparisons, counted):
    (sentence,) = size_sentences(Size(60, comparisons), [], None)
    effect = TTestPower().solve_power(nobs=60, alpha=0.05 / comparisons, power=0.8)
    assert sentence == (
        f"With 60 prompts and {counted}, 4 in 5 such experiments find a difference of {effect:.2f} standard deviations "
        "of the paired differences."
    )


def test_too_few_prompts_find_nothing_and_it_is_said_how_many_it_takes():
    assert size_sentences(Size(6, 5), [known(1.0)], None) == [
        "No difference can be shown with 6 prompts and 5 comparisons, however large: it takes at least 8 prompts."
    ]


def test_a_tiny_difference_takes_more_prompts_than_anybody_plans():
    assert size_sentences(Size(12, 1), [known(1.0)], 1e-4)[1].endswith("with more than 100,000 prompts.")


def test_one_level_has_nothing_to_compare():
    assert size_sentences(Size(12, 0), [known(1.0)], 0.1) == []


def test_counts_of_one_have_no_plural_and_thousands_a_comma():
    assert str(Size(1, 1)) == "1 prompt and 1 comparison"
    assert str(Size(1000, 2)) == "1,000 prompts and 2 comparisons"


def test_the_strictest_of_several_tests_has_its_share_of_the_error():
    assert [Size(12, comparisons).alpha for comparisons in (0, 1, 2, 5)] == [0.05, 0.05, 0.025, 0.01]


def test_each_measure_has_its_sentences_and_amounts_have_two_digits():
    lines = size_sentences(Size(12, 1), [known(0.012), dataclasses.replace(known(150.0), column="time")], 30.0)
    assert [line.split(":")[0] for line in lines] == ["image_reward", "time", "image_reward", "time"]
    effect = 150 * power.detectable_effect(12)
    assert lines[0].endswith("; paired differences spread by 0.012 as --spread says.")
    assert lines[1] == (
        f"time: with 12 prompts and 1 comparison, 4 in 5 such experiments find a difference of {effect:.0f}; paired "
        "differences spread by 150 as --spread says."
    )


def test_what_is_found_in_an_estimated_spread_is_more():
    (line,) = size_sentences(Size(12, 1), [known(1.0, 8)], None)
    assert f" find a difference of {power.detectable_effect(12, estimated_from=8):.1f}; " in line
    assert power.detectable_effect(12, estimated_from=8) > 1.0 > power.detectable_effect(12)


def test_too_few_prompts_are_told_how_many_a_difference_takes():
    assert size_sentences(Size(5, 1), [known(1.0)], 2.0) == [
        "No difference can be shown with 5 prompts and 1 comparison, however large: it takes at least 6 prompts.",
        f"image_reward: 4 in 5 such experiments find a difference of 2 with {power.prompts_for_effect(2.0)} prompts.",
    ]


def notes_of(differences: list[float]) -> tuple[str, ...]:
    plan = sample_plan(axes=PAIR, prompts=len(differences))

    def scores(run):
        return {"image_reward": differences[int(run.prompt.id[-3:])] * (run.params.shift == 4.0)}

    return analyse(sample_manifest(plan), sample_records(plan, scores), METRICS).measures[0].notes


def test_a_finding_on_mostly_ties_comes_with_the_sign_test():
    differences = [0.0] * 14 + [0.5, 0.6, 0.7, 0.4, 0.5, 0.6]
    (note,) = notes_of(differences)
    assert note.startswith(
        "Most prompts don't differ at 4.0 (6 of 20 do): the interval may promise more than it holds."
    )
    assert note.endswith(f"gives p {stats.binomtest(6, 6).pvalue:.2g}.")


def test_levels_that_are_no_finding_are_warned_of_together():
    assert notes_of([0.0] * 14 + [0.5, -0.6, 0.7, 0.4, -0.5, 0.6]) == (
        "Most prompts don't differ: 4.0 (6 of 20 do). Interval and detects rest on the few that do.",
    )
    assert notes_of([0.1, -0.1] * 8 + [9.0]) == (
        "Strongly skewed differences: 4.0. p and interval may promise more than they hold.",
    )


def test_even_differences_are_not_warned_of():
    assert notes_of(np.random.default_rng(3).normal(0, 1, 30).tolist()) == ()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0.0, 3, "0.000"), (1e-7, 3, "less than 0.001"), (-0.2, 0, "less than 1"), (0.25, 2, "0.25")],
)
def test_amounts_that_round_to_nothing_are_said_in_words(value, decimals, text):
    assert format_amount(value, decimals) == text


def test_an_estimate_is_too_small_only_with_its_whole_interval():
    assert is_too_small_to_show(Estimate(1e-7, 1e-7, 1e-7), 3)
    assert is_too_small_to_show(Estimate(-1e-7, None, None), 3)
    assert not is_too_small_to_show(Estimate(1e-7, -0.2, 0.2), 3)
    assert not is_too_small_to_show(Estimate(0.0, 0.0, 0.0), 3)


def test_shares_are_written_in_percent():
    assert format_share(0.1426) == "14 %"


def questions(primary: dict | None, analyses=()) -> tuple[str, ...]:
    plan = sample_plan(axes=PAIR)
    manifest = sample_manifest(plan)
    raw = {**manifest.raw, **({"primary": primary} if primary else {})}
    changed = dataclasses.replace(manifest, raw=raw, analyses=analyses)
    return analyse(changed, sample_records(plan, noisy_scores({})), METRICS)


def test_questions_are_counted_and_a_primary_one_is_asked_for():
    analysis = questions(None)
    assert {analysis.standing(item) for item in analysis.measures} == {""}
    (note,) = analysis.notes
    assert note == (
        "3 questions were asked, one a measure, with 3 comparisons: where nothing differs, about 14 % of experiments "
        "claim something for one of them. --primary MEASURE marks the one that counts, best before the first picture."
    )  # 1 - 0.95^3 = 0.143


def test_the_measure_that_counts_comes_first_and_the_others_are_exploratory():
    analysis = questions({"measure": "siglip_score", "named": "2026-01-01"})
    assert [(item.measure.column, analysis.standing(item)) for item in analysis.measures] == [
        ("siglip_score", "primary"),
        ("image_reward", "exploratory"),
        ("generation_time_seconds", "exploratory"),
    ]
    assert analysis.notes == (
        "The measure that counts is SigLIP 2, named before any analysis of it.",
        "3 questions were asked, one a measure, with 3 comparisons: where nothing differs, about 10 % of experiments "
        "claim something for one of the others, which are exploratory.",
    )


def test_a_measure_named_after_an_analysis_of_it_is_said():
    from experiments.stats.extension import this_analysis

    seen = this_analysis("analyze.py", ["siglip_score"], 1, [("a text", 1)])
    analysis = questions({"measure": "siglip_score", "named": "9999-01-01"}, (seen,))
    assert analysis.notes[0] == "The measure that counts is SigLIP 2, named only after 1 analysis of it."
    analysis = questions({"measure": "siglip_score", "named": "9999-01-01"}, (seen, seen))
    assert analysis.notes[0] == "The measure that counts is SigLIP 2, named only after 2 analyses of it."


def test_a_primary_measure_without_numbers_is_said():
    missing, counted = questions({"measure": "pixel_diversity", "named": "2026"}).notes
    assert counted.startswith("3 questions were asked")
    assert missing == "The measure that counts is pixel_diversity, which no picture has yet."


def asked(scores, *, levels: int = 2, with_times: bool = True) -> tuple[str, ...]:
    """The notes about the questions of an experiment with 12 prompts; the level after the baseline is 4.0."""
    plan = sample_plan(axes=[axis("shift", *(3.0, 4.0, 5.0)[:levels])], baseline={"shift": "3.0"})
    records = sample_records(plan, scores)
    if not with_times:
        records = [dataclasses.replace(record, generation_time_seconds=None) for record in records]
    return analyse(sample_manifest(plan), records, METRICS).notes


def test_one_question_is_not_counted_and_two_are():
    noise = noisy_scores({})
    assert asked(lambda run: {"image_reward": noise(run)["image_reward"]}, with_times=False) == ()
    (two,) = asked(noise, with_times=False)
    assert two == (
        "2 questions were asked, one a measure, with 2 comparisons: where nothing differs, about 10 % of experiments "
        "claim something for one of them. --primary MEASURE marks the one that counts, best before the first picture."
    )  # 1 - 0.95^2 = 0.0975


def test_a_measure_that_no_test_asks_about_is_no_question():
    noise = noisy_scores({})

    def scores(run):
        has_both = run.prompt.id.endswith("_000")  # one prompt is no test
        return noise(run) if has_both else {"image_reward": noise(run)["image_reward"]}

    assert asked(scores, with_times=False) == ()
    assert asked(scores)[0].startswith("2 questions were asked, one a measure, with 2 comparisons: ")


def test_a_level_without_pictures_takes_no_question_away():
    noise = noisy_scores({})
    (note,) = asked(lambda run: "failed" if run.params.shift == 5.0 else noise(run), levels=3)
    assert note.startswith("3 questions were asked, one a measure, with 3 comparisons: ")
