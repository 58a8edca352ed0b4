"""Sentences from comparisons written by hand: what is named, in which order, and how it is rounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from experiments.metrics.declaration import Column, Metric
from experiments.stats.extension import Extension, Look
from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.grids import AxisEffect, Interaction
from experiments.stats.levels import Comparison, Estimate, LevelSummary
from experiments.stats.measures import GENERATION_TIME, TIME_COLUMN, Measure
from experiments.stats.numbers_as_text import decimals_for, format_p_value
from experiments.stats.paired_statistics import least_prompts
from experiments.stats.sizes import Size, size_sentences
from experiments.stats.verdict import decimals_of, format_estimate, quoted, sentences


def result_of(comparisons: Sequence[Comparison], direction: str = "higher", *interactions: Interaction):
    metric = Metric("reward", "Reward", "", direction, "a model", (Column("reward", "How good"),), "a paper")
    return MeasureAnalysis(
        Measure("reward", "Reward", "How good", metric), (), tuple(comparisons), (), interactions, 12, ()
    )


def said(comparisons: Sequence[Comparison], direction: str = "higher", *interactions: Interaction) -> list[str]:
    result = result_of(comparisons, direction, *interactions)
    return sentences(Analysis("trial", ("shift",), "3.0", 0, 0, (result,)), result)


def compared(level: str, mean: float, **facts: object) -> Comparison:
    """A difference that 12 prompts show, known to a quarter."""
    usual = Comparison(level, "3.0", 12, 12, Estimate(mean, mean - 0.25, mean + 0.25), 0.01, 0.01, differing=12)
    return replace(usual, **facts)


def nothing(level: str, **facts: object) -> Comparison:
    return compared(level, 0.0, p_value=0.5, p_holm=0.5, **facts)


def few(level: str) -> Comparison:
    return nothing(level, pairs=4, prompts=4, differing=4)


def test_the_best_three_are_named_and_the_others_counted():
    found = [compared(name, mean) for name, mean in (("1.0", 0.5), ("2.0", 1.5), ("4.0", 1.0), ("5.0", 0.75))]
    named = (
        "shift 2.0 beats 3.0 by 1.50, 95 % interval 1.25 to 1.75; 4.0 beats it by 1.00, 95 % interval 0.75 to 1.25; "
        "5.0 beats it by 0.75, 95 % interval 0.50 to 1.00"
    )
    assert said([*found[1:]]) == [f"{named}."]
    assert said(found) == [f"{named}; 1 more differs from it, see the table."]
    assert said([*found, compared("6.0", -0.5)]) == [f"{named}; 2 more differ from it, see the table."]


@pytest.mark.parametrize(
    ("direction", "higher", "lower"),
    [
        ("higher", "beats", "loses to"),
        ("lower", "loses to", "beats"),
        ("none", "is higher than", "is lower than"),
    ],
)
def test_the_verb_says_which_direction_is_the_better_one(direction, higher, lower):
    assert said([compared("4.0", 0.5)], direction) == [f"shift 4.0 {higher} 3.0 by 0.50, 95 % interval 0.25 to 0.75."]
    assert said([compared("4.0", -0.5)], direction) == [f"shift 4.0 {lower} 3.0 by 0.50, 95 % interval 0.25 to 0.75."]


def test_a_p_value_of_five_percent_is_a_finding():
    assert compared("4.0", 0.5, p_holm=0.05).is_found
    assert not compared("4.0", 0.5, p_holm=0.0501).is_found


def test_a_level_that_is_left_over_alone_is_named():
    rest = "can't be told apart from it with 12 prompts."
    assert said([compared("4.0", 0.5), nothing("1.0")])[0].endswith(f"; 1.0 {rest}")
    assert said([compared("4.0", 0.5), nothing("1.0"), nothing("2.0")])[0].endswith(f"; the others {rest}")


def test_three_levels_that_can_show_nothing_are_named_and_the_others_counted():
    lacking = "; too little to show any difference, however large: 1.0 (4 prompts), 2.0 (4 prompts), 4.0 (4 prompts)"
    three = [few("1.0"), few("2.0"), few("4.0")]
    assert said([compared("5.0", 0.5), *three])[0].endswith(f"{lacking}.")
    assert said([compared("5.0", 0.5), *three, few("6.0")])[0].endswith(f"{lacking} and 1 more.")
    one = few("1.0")
    assert said([compared("5.0", 0.5), replace(one, prompts=1, differing=1)])[0].endswith(
        "however large: 1.0 (1 prompt)."
    )


def test_a_single_level_without_a_finding_is_named():
    least = {"detectable": 0.25, "prompts_for_half": 48}
    assert said([nothing("4.0", **least)]) == [
        "shift 4.0 can't be told apart from 3.0 with 12 prompts; 4 in 5 such experiments would have found a difference "
        "of 0.25, half of that needs 48 prompts."
    ]
    assert said([nothing("4.0", **least), nothing("5.0", detectable=0.5, prompts_for_half=40)]) == [
        "No level can be told apart from shift 3.0 with 12 prompts; 4 in 5 such experiments would have found a "
        "difference of 0.5, half of that needs 48 prompts."
    ]
    assert said([nothing("4.0")]) == ["shift 4.0 can't be told apart from 3.0 with 12 prompts."]


def test_too_few_prompts_say_what_it_takes_for_one_comparison_for_several_and_in_a_grid():
    beginning = "With 4 prompts no difference from shift 3.0 can be shown, however large: "
    assert said([few("4.0")]) == [f"{beginning}one comparison needs at least 6 prompts."]
    assert said([few("4.0"), few("5.0")]) == [f"{beginning}it takes at least 6 prompts."]
    three = [replace(few(level), tests=3) for level in ("1.0", "2.0", "4.0")]
    assert said(three) == [f"{beginning}3 comparisons need at least 7 prompts."]
    assert [least_prompts(tests) for tests in (1, 2, 3, 6, 7)] == [6, 7, 7, 8, 9]  # 2 / 2^n <= 0.05 / tests


def test_of_more_comparisons_than_any_number_of_prompts_is_enough_for_that_is_said():
    assert (least_prompts(1638), least_prompts(1639)) == (16, math.inf)  # 2 / 2^16 <= 0.05 / 1638
    fewer = "it takes fewer comparisons, since no number of prompts is enough for so many"
    many = [replace(few(level), tests=1653) for level in ("1.0", "2.0")]  # all pairs of 58 levels
    assert said(many) == [f"With 4 prompts no difference from shift 3.0 can be shown, however large: {fewer}."]
    told = size_sentences(Size(40, 1999), [], None)
    assert told == [f"No difference can be shown with 40 prompts and 1,999 comparisons, however large: {fewer}."]


def test_a_grid_that_is_not_additive_names_its_surest_three_combinations():
    cells = [replace(compared(name, 0.5), p_holm=p) for name, p in (("a", 0.04), ("b", 0.01), ("c", 0.03), ("d", 0.02))]
    table = Interaction("shift", "steps", ("1", "2"), ("4", "9"), (), (tuple(cells[:2]), tuple(cells[2:])), 12)
    told = "Shift and steps depend on each other: b, d, c and 1 more differ from the sum of the two effects."
    assert said([compared("4.0", 0.5)], "higher", table)[1] == told
    three = replace(table, deviations=(tuple(cells[1:]),))
    assert said([compared("4.0", 0.5)], "higher", three)[1] == told.replace(" and 1 more", "")
    nowhere = replace(table, deviations=(tuple(replace(cell, p_holm=0.5) for cell in cells),))
    no_sign = "No sign that shift and steps depend on each other, with 6 prompts that have every combination."
    assert said([compared("4.0", 0.5)], "higher", replace(nowhere, prompts=6))[1] == no_sign
    alone = "Whether shift and steps depend on each other can't be said: fewer than two prompts have every combination."
    assert said([compared("4.0", 0.5)], "higher", replace(nowhere, prompts=1))[1] == alone
    assert "can't be shown with 2 prompts" in said([compared("4.0", 0.5)], "higher", replace(nowhere, prompts=2))[1]


def test_one_prompt_says_what_was_seen_only_where_something_was():
    one = {"pairs": 1, "prompts": 1, "p_value": None, "p_holm": None, "differing": 0}
    reason = "Only one prompt: no interval and no test, since one prompt does not say how the next would differ"
    seen = compared("4.0", 0.5, difference=Estimate(0.5, None, None), **one)
    assert said([seen]) == [f"{reason}; on this one, the mean of 4.0 is 0.500 above that of 3.0."]
    for mean in (0.0, -0.5, 0.0001):
        assert said([replace(seen, difference=Estimate(mean, None, None))]) == [f"{reason}."]


@pytest.mark.parametrize(
    ("half_width", "decimals"),
    [(1.0, 1), (2.5, 1), (3.0, 0), (10.0, 0), (25.0, 0), (1e-5, 6), (1e-9, 6), (float("inf"), 3), (-1.0, 3)],
)
def test_decimals_at_the_borders(half_width, decimals):
    assert decimals_for(half_width) == decimals


@pytest.mark.parametrize(
    ("p_value", "text"), [(0.001, "0.001"), (0.00099, "<0.001"), (0.0994, "0.099"), (0.1, "0.10"), (0.125, "0.12")]
)
def test_p_values_at_the_borders(p_value, text):
    assert format_p_value(p_value) == text


def test_a_table_has_the_decimals_of_its_most_certain_difference():
    rough, fine = compared("1.0", 5.0), replace(compared("4.0", 5.0), difference=Estimate(5.0, 4.975, 5.025))
    exact = replace(compared("5.0", 5.0), difference=Estimate(5.0, 5.0, 5.0))  # says nothing of what the others deserve
    assert decimals_of(result_of([rough])) == 2
    assert decimals_of(result_of([rough, fine, exact])) == 3
    assert decimals_of(result_of([exact])) == 3


def test_a_long_name_is_shortened_in_its_middle():
    assert quoted("a" * 20 + "b" * 20) == "“" + "a" * 20 + "b" * 20 + "”"
    assert quoted("a" * 20 + "-" + "b" * 20) == "“" + "a" * 19 + "…" + "b" * 20 + "”"
    assert quoted("a" * 18 + " --- " + "b" * 19) == "“" + "a" * 18 + "…" + "b" * 19 + "”"
    assert (quoted("3.0 x 9"), quoted("3.0 x fast")) == ("3.0 x 9", "“3.0 x fast”")


def test_a_level_without_pairs_is_none_of_the_comparison():
    assert (
        said([])
        == said([nothing("4.0", pairs=0, prompts=0)])
        == ["Nothing can be compared with shift 3.0: no other level shares a scored prompt and seed with it."]
    )
    assert said([compared("4.0", 0.5), nothing("5.0", pairs=0, prompts=0)]) == said([compared("4.0", 0.5)])


def test_a_level_without_pairs_is_not_among_the_others_of_whom_something_is_said():
    told = [compared("2.0", 0.5), nothing("4.0"), nothing("5.0")]
    assert said(told)[0].endswith("; the others can't be told apart from it with 12 prompts.")
    assert said([*told, nothing("6.0", pairs=0, prompts=0)])[0].endswith(
        "; the others that have numbers can't be told apart from it with 12 prompts."
    )


def test_levels_are_equal_only_where_all_are():
    equal = nothing("4.0", is_identical=True, differing=0)
    assert said([equal, replace(equal, level="5.0")]) == ["Every level gave exactly the same numbers as shift 3.0."]
    assert said([equal, compared("5.0", 0.5)])[0].startswith("shift 5.0 beats 3.0 by 0.50")


def test_two_prompts_are_not_told_as_one():
    two = nothing("4.0", pairs=2, prompts=2, differing=2)
    assert said([two])[0].startswith("With 2 prompts no difference from shift 3.0 can be shown, however large: ")


def test_what_a_level_lacks_is_its_prompts_or_those_that_differ():
    assert said([nothing("4.0", differing=3)]) == [
        "With 12 prompts no difference from shift 3.0 can be shown, however large: 4.0 (differs on 3 of 12 prompts)."
    ]
    four = [nothing(name, differing=3) for name in ("1.0", "2.0", "4.0", "5.0")]
    assert said(four)[0].endswith(
        ": " + ", ".join(f"{name}.0 (differs on 3 of 12 prompts)" for name in (1, 2, 4)) + "."
    )
    assert said([nothing("4.0"), few("5.0")])[0] == (
        "No level can be told apart from shift 3.0 with 12 prompts; too little to show any difference, however large: "
        "5.0 (4 prompts)."
    )


def test_levels_of_different_prompts_have_a_range():
    forty = nothing("5.0", pairs=40, prompts=40, differing=40)
    assert said([nothing("4.0"), forty]) == ["No level can be told apart from shift 3.0 with 12 to 40 prompts."]


def test_what_was_seen_on_too_few_prompts_is_that_of_the_best_level():
    seen = [replace(few(name), difference=Estimate(mean, None, None)) for name, mean in (("4.0", 0.25), ("5.0", -0.5))]
    least = "With 4 prompts no difference from shift 3.0 can be shown, however large: it takes at least 6 prompts"
    assert said(seen) == [f"{least}; on these 4, the mean of 4.0 is 0.250 above that of 3.0."]
    assert said(seen, "lower") == [f"{least}; on these 4, the mean of 5.0 is 0.500 below that of 3.0."]


def test_after_an_analysis_it_takes_more_prompts():
    looked = replace(few("4.0"), cost=5.0)  # 5 x 2 / 2^8 <= 5 %
    assert said([looked]) == [
        "With 4 prompts no difference from shift 3.0 can be shown, however large: after an earlier analysis it takes "
        "at least 8 prompts."
    ]


def test_a_difference_that_rounds_to_nothing_is_less_than_the_last_digit():
    tiny = compared("4.0", 1e-7, difference=Estimate(1e-7, 1e-7, 1e-7))
    assert said([tiny]) == ["shift 4.0 beats 3.0 by less than 0.001."]


def test_time_is_faster_or_slower_and_has_its_unit():
    seconds = Measure(TIME_COLUMN, "Time", "", GENERATION_TIME)
    for mean, told in ((0.5, "slower"), (-0.5, "faster")):
        result = replace(result_of([compared("4.0", mean)]), measure=seconds)
        assert sentences(Analysis("trial", ("shift",), "3.0", 0, 0, (result,)), result) == [
            f"shift 4.0 is {told} than 3.0 by 0.50 s, 95 % interval 0.25 to 0.75."
        ]
    result = replace(result_of([nothing("4.0", detectable=0.25)]), measure=seconds)
    (told,) = sentences(Analysis("trial", ("shift",), "3.0", 0, 0, (result,)), result)
    assert told.endswith("; 4 in 5 such experiments would have found a difference of 0.25 s.")


def test_each_axis_of_a_grid_has_its_sentence_before_the_interactions():
    cells = (tuple(nothing(name) for name in "ab"), tuple(nothing(name) for name in "cd"))
    table = Interaction("shift", "steps", ("1", "2"), ("4", "9"), (), cells, 12)
    effects = (AxisEffect("steps", "4", (), (compared("9", 0.5, baseline="4"),)), AxisEffect("shift", "3.0", (), ()))
    look = Look(frozenset((f"p{number}", 1) for number in range(6)), 6, 1)
    result = replace(
        result_of([compared("4.0", 0.5)], "higher", table), main_effects=effects, extension=Extension((look,), 0.08)
    )
    told = sentences(Analysis("trial", ("shift", "steps"), "3.0", 0, 0, (result,)), result)
    assert [line.partition(" by ")[0] for line in told[:3]] == [
        "shift x steps 4.0 beats 3.0",
        "Averaged over the other axes: steps 9 beats 4",
        "Averaged over the other axes: Nothing can be compared with shift 3.0: no other level shares a scored prompt "
        "and seed with it.",
    ]
    assert told[3].startswith("No sign that shift and steps depend on each other, with 12 prompts")
    assert told[4].startswith("Extended once after it had been analysed (on 6 prompts): ")
    assert len(told) == 5


def extended(comparisons: Sequence[Comparison], *looks: tuple[int, int]) -> str:
    """What is said last of results that were analysed on so many prompts and seeds before."""
    seen = tuple(
        Look(frozenset((f"p{number}", 1) for number in range(prompts)), prompts, seeds) for prompts, seeds in looks
    )
    result = replace(result_of(comparisons), extension=Extension(seen, 0.123))
    return sentences(Analysis("trial", ("shift",), "3.0", 0, 0, (result,)), result)[-1]


AFRESH = " alone. To start afresh, take another --name, new seeds and looks that are planned (--until-decided)."


def test_an_extension_tells_its_looks_its_error_and_the_surest_level():
    levels = [compared("4.0", 0.5, p_holm=0.03, p_value=0.01), compared("5.0", 0.5, p_holm=0.03, p_value=0.006)]
    assert extended(levels, (12, 1), (18, 1)) == (
        "Extended twice after it had been analysed (on 12, 18 prompts): who adds prompts or seeds until p is below 5 % "
        "claims something in up to 12 % of the experiments where nothing differs. The corrected p allows for it: 0.030 "
        "for 5.0, 0.006" + AFRESH
    )
    surest = [*levels, compared("1.0", 0.5, p_holm=0.02, p_value=0.5), compared("2.0", 0.5, p_holm=None, p_value=None)]
    assert extended(surest, (12, 1)).endswith("0.020 for 1.0, 0.50" + AFRESH)
    assert "Extended 3 times after it had been analysed (on 6, 7, 8 prompts): " in extended(
        levels, (6, 1), (7, 1), (8, 1)
    )


def test_seven_looks_are_six_and_one_more_and_seeds_are_told_where_there_were_several():
    levels = [compared("4.0", 0.5)]
    many = [(prompts, 1) for prompts in range(6, 13)]
    assert " (on 6, 7, 8, 9, 10, 11 and 1 more prompts): " in extended(levels, *many)
    assert " (on 6, 7, 8, 9, 10, 11 prompts): " in extended(levels, *many[:6])
    assert " (on 12 prompts with 1 seed, 12 prompts with 2 seeds): " in extended(levels, (12, 1), (12, 2))


def test_an_extension_without_a_test_has_no_p_value_and_equal_levels_have_no_extension():
    (one,) = [compared("4.0", 0.5, p_holm=None, p_value=None)]
    assert extended([one], (12, 1)).endswith("claims something in up to 12 % of the experiments where nothing differs.")
    equal = nothing("4.0", is_identical=True, differing=0)
    assert extended([equal], (12, 1)) == "Every level gave exactly the same numbers as shift 3.0."
    assert extended([equal, compared("5.0", 0.5)], (12, 1)).startswith("Extended once ")


def test_an_estimate_without_interval_has_no_ends_and_a_table_without_differences_the_decimals_of_its_means():
    assert format_estimate(Estimate(0.5, None, None), "s") == ("0.500 s", "", "")
    assert format_estimate(Estimate(0.5, 0.25, 0.75), "s") == ("0.50 s", "0.25", "0.75")
    assert format_estimate(Estimate(-0.5, -0.75, -0.25), decimals=0) == ("0", "-1", "0")
    none = replace(compared("4.0", 0.0), difference=None)
    means = [LevelSummary("3.0", 9, 9, Estimate(5.0, 4.975, 5.025), 0.1), LevelSummary("4.0", 0, 0, None, None)]
    assert decimals_of(replace(result_of([none]), levels=tuple(means))) == 3
    assert decimals_of(result_of([none])) == 3
    rounding = replace(compared("5.0", 5.0), difference=Estimate(5.0, 5.0, 5.0 + 4e-15))
    assert decimals_of(result_of([compared("1.0", -5.0), rounding])) == 2
    assert decimals_of(result_of([compared("1.0", -5.0, difference=Estimate(-5.0, -5.0 - 4e-15, -5.0))])) == 3
