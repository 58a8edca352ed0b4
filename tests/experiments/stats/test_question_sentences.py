"""What is said where a question has no answer, or one that is seldom: from numbers that are given, not drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.metrics import METRICS
from experiments.metrics.declaration import Column
from experiments.stats.extension import Look
from experiments.stats.levels import Comparison, Estimate
from experiments.stats.margin_sentences import standing_text, without_margin_sentence
from experiments.stats.margins import MarginAnswer, MarginStanding
from experiments.stats.measures import GENERATION_TIME, Measure
from experiments.stats.questions.all_pairs import PairedLevels
from experiments.stats.questions.contrasts import corrected_together
from experiments.stats.questions.correlations import Correlation
from experiments.stats.questions.groups import Disagreement, Group, Grouped
from experiments.stats.questions.sentences import (
    correlation_sentence,
    disagreement_sentence,
    pairs_sentence,
    trend_sentence,
)
from experiments.stats.questions.trends import Trend

METRIC = next(metric for metric in METRICS if metric.name == "image_reward")
REWARD = Measure("image_reward", "ImageReward", "How good", METRIC)
SECONDS = Measure(GENERATION_TIME.name, "Generation time", "How long", GENERATION_TIME)
HUE = Measure(
    "hue",
    "Hue",
    "Which hue",
    replace(METRIC, name="hue", direction="none", columns=(Column("hue", "Which hue"),), bands=()),
)
SLOPES = {f"p{index}": 1.0 for index in range(8)}
TREND = Trend("shift", (1.0, 2.0), 8, Estimate(1.0, 0.5, 1.5), 0.01, 0.01, None, None, SLOPES)
TOGETHER = Correlation(REWARD, SECONDS, 8, 0.5, None, None, 0.01, None)


def test_levels_of_which_no_two_share_two_prompts_can_not_be_compared() -> None:
    pairs = PairedLevels("shift", ("1.0", "2.0"), {("2.0", "1.0"): Comparison("2.0", "1.0", 1, 1)})
    assert pairs_sentence(REWARD, pairs) == (
        "No two levels of shift can be compared: each pair shares fewer than two prompts."
    )
    assert pairs.of("1.0", "3.0") is None
    assert pairs.of("1.0", "2.0") == (pairs.comparisons["2.0", "1.0"], -1.0)


def grouped(p_corrected: float | None, *, is_possible: bool) -> Grouped:
    groups = tuple(Group(name, 3, (), ()) for name in ("animals", "signs"))
    disagreement = Disagreement("2.0", p_corrected, ("animals", 0.0), ("signs", 1.0))
    return Grouped("category", "shift", "1.0", groups, (disagreement,), is_possible, False)


@pytest.mark.parametrize(
    ("p_corrected", "is_possible", "sentence"),
    [
        (
            None,
            True,
            "Whether the answer differs by category can't be said: fewer than two groups have two prompts with both "
            "levels.",
        ),
        (
            1.0,
            False,
            "Whether the answer differs by category can't be shown with 3 prompts in a group, however much.",
        ),
        (
            1.0,
            True,
            "No sign that the answer differs by category, with 3 prompts in a group; that does not show it to be the "
            "same.",
        ),
    ],
)
def test_groups_too_small_to_differ_are_not_said_to_agree(p_corrected, is_possible, sentence) -> None:
    assert disagreement_sentence(REWARD, grouped(p_corrected, is_possible=is_possible)) == sentence


def test_a_line_is_told_as_far_as_it_was_tested() -> None:
    assert trend_sentence(REWARD, replace(TREND, slope=None, p_corrected=None)) == (
        "No line can be tested along shift: fewer than two prompts have every level."
    )
    assert trend_sentence(REWARD, TREND).endswith("; it rises for 8 of 8 prompts.")
    falling = trend_sentence(REWARD, replace(TREND, slope=Estimate(-1.0, -1.5, -0.5)))
    assert falling.startswith("It falls along shift, by 1.0")
    assert "95 % interval 0.5" in falling
    assert trend_sentence(REWARD, replace(TREND, slope=Estimate(-1.0, None, None))).startswith("It falls along shift")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"within": None}, "can't be said: one of them does not vary within prompts."),
        ({"p_corrected": None}, "can't be said: fewer than two prompts have both at two levels."),
        (
            {"p_corrected": 0.5},
            "no sign that ImageReward and Generation time go together (correlation 0.50, 8 prompts).",
        ),
        (
            {"within": -0.5},
            "ImageReward and Generation time go against each other (correlation -0.50, 8 prompts, p 0.010",
        ),
        ({"low": 0.1, "high": 0.9}, "go together (correlation 0.50, 95 % interval 0.10 to 0.90, 8 prompts"),
    ],
)
def test_two_measures_are_told_as_far_as_they_vary(changes, sentence) -> None:
    assert sentence in correlation_sentence(replace(TOGETHER, **changes))


def test_contrasts_of_one_prompt_are_not_tested() -> None:
    index = pd.MultiIndex.from_tuples([("p1", 1), ("p1", 2)], names=["prompt_id", "seed"])
    assert corrected_together({"2.0": pd.Series(np.array([1.0, 2.0]), index=index)}, ()) == ({}, {})


def test_contrasts_of_an_extended_experiment_are_corrected_for_its_looks() -> None:
    index = pd.MultiIndex.from_tuples([(f"p{number}", 1) for number in range(12)], names=["prompt_id", "seed"])
    series = {"2.0": pd.Series(np.linspace(0.5, 1.5, 12), index=index)}
    look = Look(frozenset(index[:8]), 8, 1)
    alone, tests = corrected_together(series, ())
    extended, _ = corrected_together(series, (look,))
    assert alone == {"2.0": pytest.approx(2 / 2**12)}
    assert tests == {"2.0": 1}
    assert alone["2.0"] < extended["2.0"] < 0.05


@pytest.mark.parametrize(
    ("measure", "texts"),
    [
        (REWARD, ["as good", "not worse", "not shown"]),
        (SECONDS, ["as fast", "not slower", "not shown"]),
        (HUE, ["equal", "not worse", "not shown"]),
    ],
)
def test_a_levels_standing_is_told_in_the_measures_words(measure, texts) -> None:
    standings = [(0.01, 0.01), (0.5, 0.01), (0.5, None)]
    told = [
        standing_text(MarginStanding("2.0", 8, Estimate(0.0, None, None), p_as_good=good, p_not_worse=worse), measure)
        for good, worse in standings
    ]
    assert told == texts


@pytest.mark.parametrize(("measure", "word"), [(REWARD, "equally good"), (SECONDS, "equally fast"), (HUE, "equal")])
def test_what_cannot_be_told_apart_is_not_called_equal(measure, word) -> None:
    open_ = Comparison("2.0", "1.0", 12, 12, Estimate(0.1, -1.0, 1.2), 0.5, 0.5, differing=12)
    said = without_margin_sentence(measure, MarginAnswer(None, (), 0.5, 6), [open_])
    assert said is not None
    assert said.startswith(f"That does not show them {word}: where nothing differs, 4 in 5 such experiments would show")
