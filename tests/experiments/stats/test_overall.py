"""The sentence over all measures: who agrees, who contradicts, who says nothing, and which measure leads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_plan, write_results

from experiments import analyze
from experiments.metrics.declaration import Column, Fidelity, Metric
from experiments.planning.looks import LookPlan
from experiments.stats.best import best_level, headline
from experiments.stats.findings import Analysis, MeasureAnalysis
from experiments.stats.grids import AxisEffect
from experiments.stats.levels import Comparison, Estimate, LevelSummary
from experiments.stats.margins import MarginAnswer, MarginStanding
from experiments.stats.measures import GENERATION_TIME, TIME_COLUMN, Measure
from experiments.stats.overall import overall_sentence
from experiments.store.look_log import LevelAtLook, Look, LookLog


def compared(level: str, mean: float, **facts: object) -> Comparison:
    """A difference that 30 prompts show, or none for a mean of 0."""
    p = 0.5 if mean == 0 else 0.01
    usual = Comparison(level, "-2", 30, 30, Estimate(mean, mean - 0.1, mean + 0.1), p, p, differing=30)
    return replace(usual, **facts)


def measured(title: str, direction: str = "higher", column: str = "", **means: float) -> MeasureAnalysis:
    """A measure's differences: `L1=0.5` is level 1 above the baseline by half."""
    column = column or title.lower()
    metric = (
        GENERATION_TIME
        if column == TIME_COLUMN
        else Metric(column, title, "", direction, "a model", (Column(column, "How good"),), "a paper")
    )
    comparisons = tuple(compared(name.removeprefix("L"), mean) for name, mean in means.items())
    return MeasureAnalysis(Measure(column, title, "How good", metric), (), comparisons, (), (), 30, ())


def said(*results: MeasureAnalysis, primary: str | None = None, axes: tuple[str, ...] = ("layer",)) -> str:
    return overall_sentence(Analysis("trial", axes, "-2", 0, 0, results, primary=primary))


def test_scores_that_agree_are_told_as_both_or_all():
    judges = [measured(name, L1=0.5, L2=-0.5, L3=0.0) for name in ("A", "B", "C")]
    assert said(*judges[:2]) == (
        "Over A and B: 1 beats layer -2 by both; 2 loses to it by both; no score tells 3 from it."
    )
    assert said(*judges).startswith("Over A, B and C: 1 beats layer -2 by all 3; ")


def test_a_score_that_shows_nothing_of_a_level_is_named_beside_one_that_does():
    assert said(measured("A", L1=0, L2=0, L3=0), measured("B", L1=-0.5, L2=-0.5, L3=0)) == (
        "Over A and B: 1 and 2 lose to layer -2 by B, and can't be told apart from it by A; no score tells 3 from it."
    )


def test_scores_that_contradict_each_other_come_first():
    assert said(measured("A", L1=0.5, L2=0.5), measured("B", L1=0, L2=-0.5)) == (
        "Over A and B: the scores contradict each other about 2, better than layer -2 by A, worse by B; 1 beats it by "
        "A, and can't be told apart from it by B."
    )


def test_of_a_score_where_lower_is_better_the_lower_level_wins():
    assert said(measured("A", "lower", L1=-0.5), measured("B", L1=0.5)) == "Over A and B: 1 beats layer -2 by both."


def test_nothing_found_is_told_once_and_what_could_not_have_been_found_is_told():
    nothing = [measured("A", L1=0, L2=0), measured("B", L1=0, L2=0)]
    assert said(*nothing) == "Over A and B: no score tells any level from layer -2."
    few = [
        replace(item, comparisons=tuple(replace(c, prompts=3, differing=3) for c in item.comparisons))
        for item in nothing
    ]
    assert said(*few) == (
        "Over A and B: no score tells any level from layer -2, and with 3 prompts no difference could "
        "be shown, however large."
    )


def test_the_measure_that_counts_leads_and_the_others_stand_to_it():
    counts = measured("A", L1=0.5, L2=-0.5, L3=0)
    sentence = said(
        counts,
        measured("Same", L1=0.2, L2=-0.2, L3=0),
        measured("Part", L1=0.2, L2=0, L3=-0.2),
        measured("Against", L1=-0.2, L2=0, L3=0),
        measured("Nothing", L1=0, L2=0, L3=0),
        primary="a",
    )
    assert sentence == (
        "By A, which counts, 1 beats layer -2; 2 loses to it; 3 can't be told apart from it; exploratory: Same agrees, "
        "Part agrees about 1 and alone finds 3 worse, Against contradicts it about 1, Nothing finds no difference."
    )


def test_a_single_score_is_told_as_the_only_one_and_the_time_beside_it():
    time = measured("Generation time", column=TIME_COLUMN, L1=-0.5, L2=0.5, L3=0)
    assert said(measured("A", L1=-0.5, L2=0, L3=0), time) == (
        "By A, the only score, 1 loses to layer -2; 2 and 3 can't be told apart from it; by Generation time 1 is "
        "faster than it and 2 is slower than it."
    )
    assert said(time) == (
        "No score compares any level with layer -2 yet; by Generation time 1 is faster than it and 2 is slower than it."
    )


def timed(*means: float, usual: float = 1.0) -> MeasureAnalysis:
    """Seconds of levels 1, 2, ... beside a baseline that takes `usual`."""
    found = measured("Generation time", column=TIME_COLUMN, **{f"L{at}": mean for at, mean in enumerate(means, 1)})
    level = LevelSummary("-2", 30, 30, Estimate(usual, usual, usual), 0.0)
    return replace(found, levels=(level,))


def test_a_time_is_told_beside_scores_from_a_tenth_of_the_baselines_on():
    score = measured("A", L1=0, L2=0, L3=0, L4=0)
    assert (
        said(score, timed(-0.099, 0.099, 0.03, -0.03))
        == "By A, the only score, no level can be told apart from layer -2."
    )
    assert said(score, timed(-0.101, 0.101, 0.03, -0.03)) == (
        "By A, the only score, no level can be told apart from layer -2; by Generation time 1 is faster than it and 2 "
        "is slower than it."
    )
    assert said(score, timed(-0.101, 0.101, usual=2.0)).endswith("told apart from layer -2.")


def test_a_time_that_counts_is_told_however_little():
    time = timed(-0.01)
    assert said(time, measured("A", L1=0), primary=TIME_COLUMN).startswith(
        "By Generation time, which counts, 1 is faster than layer -2; by A, "
    )


def test_the_time_leads_where_it_counts_and_a_measure_without_direction_is_higher_or_lower():
    time = measured("Generation time", column=TIME_COLUMN, L1=-0.5)
    diverse = measured("D", "none", L1=0.5)
    assert said(time, measured("A", L1=0), diverse, primary=TIME_COLUMN) == (
        "By Generation time, which counts, 1 is faster than layer -2; by A, the only score, 1 can't be told apart "
        "from layer -2; by D 1 is higher than it."
    )


def test_as_good_as_is_said_where_a_margin_or_a_look_has_shown_it():
    result = measured("A", L1=0, L2=0)
    standing = MarginStanding("1", 30, Estimate(0, -0.01, 0.01), 0.01, 0.01, 0.01)
    by_margin = replace(result, margin=MarginAnswer(0.1, (standing,), 0.05, 6))
    assert said(by_margin) == "By A, the only score, 1 is as good as layer -2; 2 can't be told apart from it."
    states = {"1": LevelAtLook("as good as", 30), "2": LevelAtLook("as good as", 30)}
    log = LookLog(plan=looks(), taken=(Look(30, "", 0, states),))
    assert said(replace(result, looks=log)) == "By A, the only score, 1 and 2 are as good as layer -2."


def test_a_grid_tells_what_is_found_of_an_axis_by_itself():
    effect = AxisEffect("shift", "3.0", (), (compared("6.0", 0.5, baseline="3.0"),))
    result = replace(measured("A", **{"L6.0 x 4": 0}), main_effects=(effect,))
    assert said(result, axes=("shift", "steps")) == (
        "By A, the only score, 6.0 x 4 can't be told apart from shift x steps -2; averaged over the other axes, 6.0 "
        "beats shift 3.0."
    )


def looks(*, is_race: bool = False) -> LookPlan:
    return LookPlan("a", is_race, 0.3, True, (), (30,))


def test_of_a_race_nothing_is_said_since_its_levels_are_compared_with_no_baseline():
    raced = measured("A", L1=0, L2=0)
    untested = tuple(replace(item, p_value=None, p_holm=None) for item in raced.comparisons)
    log = LookLog(looks(is_race=True), taken=(Look(30, "", 0, {"1": LevelAtLook("left", 30)}),))
    raced = replace(raced, comparisons=untested, looks=log)
    assert said(raced, timed(-0.5, 0.5)) == "", "no score compares any level, and it never will"
    assert said(raced, measured("B", L1=0.5)) == "", "B is not the only score"
    both = Analysis("trial", ("layer",), "-2", 0, 0, (raced, measured("B", L1=0.5)))
    assert headline(both) == "layer 1 is the best: every other level was shown to be worse than the leader."
    beside = replace(measured("A", L1=0.5), looks=replace(log, plan=looks()))
    assert said(beside) == "By A, the only score, 1 beats layer -2."


def test_many_levels_are_counted():
    many = measured("A", **{f"L{index}": 0.5 for index in range(1, 9)})
    assert said(many) == "By A, the only score, 1, 2, 3, 4, 5, 6 and 2 more beat layer -2."


def test_distances_have_no_part_in_it_and_what_is_not_tested_says_nothing():
    distance = measured("P", "none", L1=0.5)
    metric = replace(distance.measure.metric, fidelity=Fidelity("higher", 1.0))
    assert said(replace(distance, measure=replace(distance.measure, metric=metric))) == ""
    race = measured("A", L1=0.5)
    untested = tuple(replace(item, p_value=None, p_holm=None) for item in race.comparisons)
    assert said(replace(race, comparisons=untested)) == ""


@pytest.mark.parametrize("primary", [None, "a"])
def test_one_prompt_shows_nothing(primary):
    one = measured("A", L1=0.5)
    alone = tuple(replace(item, prompts=1, p_value=None, p_holm=None) for item in one.comparisons)
    assert said(replace(one, comparisons=alone), primary=primary) == (
        "With one prompt nothing can be shown by any measure: it does not say how the next would differ."
    )


def test_times_without_their_first_prompt_do_not_make_two_prompts_one():
    untested = compared("1", 0.1, prompts=1, pairs=1, p_value=None, p_holm=None)
    time = replace(measured("Generation time", "lower", TIME_COLUMN), comparisons=(untested,))
    assert said(time) == ""


def test_analyze_says_it_before_the_first_table_of_the_measures_that_are_shown(tmp_path):
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)])
    folder = str(write_results(tmp_path / "sweep", plan, noisy_scores({"4.0": 0.5}, spread=0.05)))
    told = " ".join(CliRunner().invoke(analyze.main, [folder]).output.split())
    found = "Over ImageReward and SigLIP 2: 4.0 beats shift 3.0 by ImageReward, and can't be told apart from it by"
    assert 0 < told.index(f"{found} SigLIP 2.") < told.index("ImageReward (higher is better)")
    shown = " ".join(CliRunner().invoke(analyze.main, [folder, "--measure", "siglip_score"]).output.split())
    assert "By SigLIP 2, the only score, 4.0 can't be told apart from shift 3.0." in shown


def in_a_line(*results: MeasureAnalysis, primary: str | None = None) -> tuple[str, str]:
    trial = Analysis("trial", ("layer",), "-2", 0, 0, results, primary=primary)
    return headline(trial), best_level(trial)


def test_the_line_is_the_first_scores_where_no_other_finds_more():
    first, silent = measured("A", L1=0.5, L2=-0.5), measured("B", L1=0, L2=0)
    of_first = (
        "layer 1 beats -2 by 0.50, 95 % interval 0.40 to 0.60; 2 loses to it by 0.50, 95 % interval 0.40 to 0.60."
    )
    assert in_a_line(first) == in_a_line(first, silent) == (of_first, "1")
    assert in_a_line(first, measured("B", L1=0.5, L2=0)) == (of_first, "1")
    assert in_a_line() == ("", "")


def test_the_line_is_of_all_scores_where_another_finds_what_the_first_does_not():
    losers = measured("B", L1=0, L2=-0.5)
    assert in_a_line(measured("A", L1=0, L2=0), losers) == (
        "Over A and B: 2 loses to layer -2 by B, and can't be told apart from it by A; no score tells 1 from it.",
        "none found better than -2",
    )
    against, best = in_a_line(measured("A", L1=-0.5, L2=0), measured("B", L1=0.5, L2=0))
    assert against.startswith("Over A and B: the scores contradict each other about 1, better than layer -2 by B, ")
    assert best == "none found better than -2 by A"


def test_the_line_is_of_the_measure_that_counts_whatever_others_find():
    first, other = measured("A", L1=0, L2=0), measured("B", L1=0.5, L2=-0.5)
    assert in_a_line(first, other, primary="a")[0].startswith(
        "No level can be told apart from layer -2 with 30 prompts"
    )


def test_the_line_says_what_a_margin_says_where_one_was_named_and_no_more():
    standing = MarginStanding("1", 30, Estimate(0, -0.01, 0.01), 0.01, 0.01, 0.01)
    asked = replace(measured("A", L1=0), margin=MarginAnswer(0.1, (standing,), 0.05, 6))
    unasked = replace(asked, margin=MarginAnswer(None, (), 0.05, 6))
    alone = "layer 1 can't be told apart from -2 with 30 prompts."
    assert (
        in_a_line(asked)[0]
        == f"{alone} layer 1 is as good as -2 within 0.1 (90 % interval -0.010 to 0.010, 30 prompts)."
    )
    assert in_a_line(unasked)[0] == alone


def test_the_best_level_has_the_largest_gain_of_a_score_in_its_direction_and_no_time_or_distance_wins():
    lower = measured("A", "lower", L1=-0.5, L2=-0.25, L3=0.75)
    assert in_a_line(lower)[1] == "1"
    assert in_a_line(measured("A", "none", L1=0.5))[1] == ""
    time = measured("Generation time", column=TIME_COLUMN, L1=-0.5)
    assert in_a_line(time) == ("", "")
    assert in_a_line(time, measured("A", L1=0, L2=0))[1] == "none found better than -2"
    distance = measured("D", "none", L1=0.5, L2=0)
    pairs = replace(
        distance,
        measure=replace(distance.measure, metric=replace(distance.measure.metric, fidelity=Fidelity("higher", 1.0))),
    )
    told, best = in_a_line(measured("A", L1=0, L2=0), pairs)
    assert told.startswith("No level can be told apart from layer -2") and best == "none found better than -2"
