"""Results that were extended after somebody had analysed them: which analyses count, and what a claim is worth then."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sample_results import axis, noisy_scores, sample_manifest, sample_plan, sample_records, write_results

from benchmarks.bench_extension import FIVE_LOOKS, KINDS, claims, claims_by_seeds, growing
from experiments import analyze
from experiments.metrics import METRICS
from experiments.planning.looks import LookPlan
from experiments.stats import paired_statistics as statistics
from experiments.stats.extension import (
    COST,
    Look,
    at_looks,
    corrected_over_looks,
    earlier_looks,
    false_claims_of,
    level_of_last_test,
    this_analysis,
)
from experiments.stats.findings import MeasureAnalysis, analyse, seen_now
from experiments.stats.verdict import sentences
from experiments.store.analyses import text_hash
from experiments.store.result_store import ResultStore

PAIR = [axis("shift", 3.0, 4.0)]


def series_of(differences: np.ndarray) -> pd.Series:
    """One difference per prompt, seed 1."""
    index = pd.MultiIndex.from_tuples([(f"p{i:02}", 1) for i in range(len(differences))])
    return pd.Series(differences, index=index)


def look_of(prompts: int) -> Look:
    return Look(frozenset((f"p{i:02}", 1) for i in range(prompts)), prompts, 1)


def seen(prompts: int, *measures: str, seeds: tuple[int, ...] = (1,)):
    pairs = [(f"text {i}", seed) for i in range(prompts) for seed in seeds]
    return this_analysis("analyze.py", measures or ("reward",), len(pairs), pairs)


def pairs_now(prompts: int, seeds: tuple[int, ...] = (1,)):
    return [((f"p{i}", seed), f"text {i}") for i in range(prompts) for seed in seeds]


@pytest.mark.parametrize("kind", list(KINDS))
def test_five_looks_until_something_is_claimed_stay_within_the_error(kind):
    found = claims(growing(KINDS[kind], 0.0), FIVE_LOOKS)
    assert found.uncorrected >= 1.5 * found.corrected
    assert found.corrected <= 0.065  # 5 % of the first analysis, at most 1 % of all others, and a standard error


def test_extension_until_significance_is_wrong_in_13_percent_without_the_correction():
    found = claims(growing(KINDS["normal"], 0.0), FIVE_LOOKS)
    assert found.uncorrected == pytest.approx(0.142, abs=0.016)  # Armitage, McPherson & Rowe 1969, table 2
    assert found.corrected <= 0.06


def test_seeds_added_after_looking_stay_within_the_error_too():
    found = claims_by_seeds(12, 5)
    assert found.uncorrected >= 0.10
    assert found.corrected <= 0.065


def test_a_difference_of_half_a_deviation_is_still_found_in_four_of_five_extended_experiments():
    assert claims(growing(KINDS["normal"], 0.5), FIVE_LOOKS).corrected >= 0.80


def test_the_corrected_p_value_is_the_share_of_patterns_at_any_look_times_the_cost():
    differences = np.random.default_rng(3).normal(0.9, 0.7, 8)
    statistic = {prompts: np.sqrt((differences[:prompts] ** 2).sum()) for prompts in (6, 8)}
    now = abs(differences.sum()) / statistic[8]
    share = np.mean(
        [
            max(abs((differences * signs)[:prompts].sum()) / statistic[prompts] for prompts in (6, 8)) >= now - 1e-12
            for signs in itertools.product((-1, 1), repeat=8)
        ]
    )
    p_values, _ = corrected_over_looks({"4.0": series_of(differences)}, [look_of(6)])
    assert p_values["4.0"] == pytest.approx(min(COST * share, 1.0))
    assert p_values["4.0"] >= COST * float(statistics.sign_flip_p_value(differences))


def test_false_claims_of_looks_equal_their_definition():
    differences = np.random.default_rng(4).normal(0, 1, 9)
    claimed = 0
    for signs in itertools.product((-1, 1), repeat=9):
        flipped = differences * signs
        claimed += any(statistics.sign_flip_p_value(flipped[:prompts]) <= 0.05 for prompts in (7, 9))
    table = np.stack([np.append(differences[:7], [np.nan, np.nan]), differences])[None]
    assert false_claims_of(table) == pytest.approx(claimed / 2**9)


def test_false_claims_by_random_patterns_are_those_whose_own_p_value_is_five_percent():
    """Of 25 prompts; a pattern's p-value counts those as extreme, and the one seen, as `sign_flip_p_value` does."""
    differences = np.random.default_rng(9).normal(0, 1, 25)
    signs, _ = statistics.sign_patterns(25)
    claimed = np.zeros(signs.shape[1], dtype=bool)
    for prompts in (12, 25):
        extremes = np.abs(differences[:prompts] @ signs[:prompts]).round(9)
        as_extreme = len(extremes) - np.searchsorted(np.sort(extremes), extremes)
        claimed |= (as_extreme + 1) / (len(extremes) + 1) <= 0.05
    table = np.stack([np.where(np.arange(25) < 12, differences, np.nan), differences])[None]
    assert false_claims_of(table) == claimed.mean()
    assert 0.05 < claimed.mean() < 0.1


def test_one_look_alone_claims_no_more_than_five_percent():
    assert false_claims_of(np.random.default_rng(5).normal(size=(3, 1, 12))) <= 0.05


def test_the_level_of_the_last_test_is_less_than_what_is_left_and_falls_with_the_looks():
    differences = np.random.default_rng(6).normal(size=60)
    levels = [
        level_of_last_test(at_looks(series_of(differences), looks, pd.Index([f"p{i:02}" for i in range(60)])), 2)
        for looks in ([look_of(12)], [look_of(12), look_of(27)], [look_of(12), look_of(27), look_of(40)])
    ]
    assert 0.005 > levels[0] > levels[1] > levels[2] > 0.001


def test_one_look_with_ties_leaves_all_that_is_left():
    # of 12 equal differences 0.6 % of the sums are 10 or more and 3.9 % are 8 or more
    assert level_of_last_test(np.ones((1, 12)), 4) == 0.01 / 4


def test_random_patterns_belong_to_prompts_in_the_order_of_their_ids():
    differences = np.random.default_rng(10).normal(0.3, 1, (2, 25))
    contrasts = {name: series_of(row) for name, row in zip("ab", differences, strict=True)}
    table = np.stack([[np.where(np.arange(25) < 12, row, np.nan), row] for row in differences])
    expected = statistics.sign_flip_p_values_together(table)
    p_values, _ = corrected_over_looks({name: row[::-1] for name, row in contrasts.items()}, [look_of(12)])
    assert list(p_values.values()) == np.minimum(COST * expected, 1.0).tolist()
    assert (statistics.sign_flip_p_values_together(table[..., ::-1]) != expected).all()


def test_each_state_of_the_data_counts_once_and_the_present_one_never():
    analyses = [seen(12), seen(12), seen(18), seen(30)]
    looks = earlier_looks(analyses, "reward", pairs_now(30), 1)
    assert [(look.prompts, look.seeds) for look in looks] == [(12, 1), (18, 1)]


def test_another_measure_and_pictures_that_are_gone_are_no_looks():
    assert earlier_looks([seen(12, "siglip_score")], "reward", pairs_now(30), 1) == ()
    gone = this_analysis("analyze.py", ["reward"], 12, [(f"another text {i}", 1) for i in range(12)])
    assert earlier_looks([gone], "reward", pairs_now(30), 1) == ()


def test_a_look_that_could_show_nothing_does_not_count():
    assert earlier_looks([seen(5)], "reward", pairs_now(30), 1) == ()
    assert len(earlier_looks([seen(6)], "reward", pairs_now(30), 1)) == 1
    assert len(earlier_looks([seen(6)], "reward", pairs_now(30), 1.6)) == 1  # 2 / 2^6 times 1.6 is 5 %
    assert earlier_looks([seen(6)], "reward", pairs_now(30), 3) == ()  # three levels need 7 prompts


def test_seeds_added_are_an_extension():
    looks = earlier_looks([seen(12)], "reward", pairs_now(12, (1, 2)), 1)
    assert [(look.prompts, look.seeds) for look in looks] == [(12, 1)]
    (look,) = earlier_looks([seen(12, seeds=(1, 2))], "reward", pairs_now(12, (1, 2, 3)), 1)
    assert (look.prompts, look.seeds) == (12, 2)
    assert look.pairs == {(f"p{i}", seed) for i in range(12) for seed in (1, 2)}


def test_looks_are_in_the_order_of_their_size_whatever_was_seen_first():
    analyses = [seen(count) for count in (20, 9, 14, 26, 7)]
    assert [look.prompts for look in earlier_looks(analyses, "reward", pairs_now(30), 1)] == [7, 9, 14, 20, 26]


def test_looks_of_one_size_are_in_the_order_of_their_prompts():
    generator = np.random.default_rng(11)
    chosen = [sorted(generator.choice(30, size=7, replace=False).tolist()) for _ in range(12)]
    analyses = [this_analysis("x", ["reward"], 7, [(f"text {n}", 1) for n in numbers]) for numbers in chosen]
    pairs = [((f"p{i:02}", 1), f"text {i}") for i in range(30)]
    looks = earlier_looks(analyses, "reward", pairs, 1)
    assert [sorted(look.pairs) for look in looks] == [[(f"p{n:02}", 1) for n in numbers] for numbers in sorted(chosen)]


def test_contrasts_of_a_single_prompt_are_not_corrected():
    assert corrected_over_looks({"4.0": series_of(np.ones(1))}, [look_of(1)]) == ({}, 0.05)
    few = {"4.0": series_of(np.ones(1)), "5.0": series_of(np.ones(2))}
    assert corrected_over_looks(few, [look_of(1)])[0] == {"5.0": 1.0}


def test_the_level_of_the_last_test_is_how_often_its_corrected_p_value_passes():
    differences = np.random.default_rng(8).normal(size=12)
    looks = [look_of(6), look_of(7)]
    rows = []
    for signs in itertools.product((-1, 1), repeat=11):
        flipped = differences * (1, *signs)
        rows.append([abs(flipped[:n].sum()) / np.sqrt((flipped[:n] ** 2).sum()) for n in (6, 7, 12)])
    most, last = np.max(rows, axis=1), np.array(rows)[:, -1]
    passing = np.mean([np.mean(most >= one - 1e-12) <= 0.01 for one in last])
    table = at_looks(series_of(differences), looks, pd.Index([f"p{i:02}" for i in range(12)]))
    assert level_of_last_test(table, 1) == pytest.approx(passing, abs=1.5 / 2**11)
    assert level_of_last_test(table, 4) == level_of_last_test(table, 1) / 4


def test_an_analysis_whose_pictures_are_partly_gone_counts_with_the_rest():
    assert [look.prompts for look in earlier_looks([seen(40)], "reward", pairs_now(30), 1)] == []
    later = [((f"p{i}", 1), f"text {i}") for i in range(10, 40)]
    assert [look.prompts for look in earlier_looks([seen(30)], "reward", later, 1)] == [20]


def extended(
    scores, *, axes=PAIR, before=(12, 18), prompts: int = 30, raw: dict | None = None
) -> tuple[MeasureAnalysis, list[str]]:
    """An experiment that was analysed on fewer prompts before."""
    manifest = sample_manifest(sample_plan(axes=axes, prompts=prompts))
    analyses = []
    for count in before:
        records = sample_records(sample_plan(axes=axes, prompts=count), scores)
        analysis = analyse(manifest, records, METRICS)
        analyses.append(seen_now(manifest, records, analysis, by="analyze.py"))
    changes = {"analyses": tuple(analyses), "raw": {**manifest.raw, **(raw or {})}}
    analysis = analyse(
        dataclasses.replace(manifest, **changes),
        sample_records(sample_plan(axes=axes, prompts=prompts), scores),
        METRICS,
    )
    return analysis.measures[0], sentences(analysis, analysis.measures[0])


def test_beats_follows_the_corrected_p_and_the_sentence_tells_of_the_looks():
    alone, _ = extended(noisy_scores({"4.0": 0.075}), before=())
    result, lines = extended(noisy_scores({"4.0": 0.075}))
    before, now = alone.comparisons[0], result.comparisons[0]
    assert before.is_found
    assert (now.p_value, now.difference) == (before.p_value, before.difference)
    assert now.p_holm > 5 * before.p_holm
    assert now.is_found == (now.p_holm <= 0.05)
    assert ("beats" in lines[0]) == now.is_found
    assert lines[-1].startswith(
        "Extended twice after it had been analysed (on 12, 18 prompts): who adds prompts or seeds until p is "
        "below 5 % claims something in up to "
    )
    assert 0.08 <= result.extension.false_claims <= 0.14


def test_looks_that_were_planned_cost_nothing_more():
    plan = LookPlan("image_reward", False, None, True, tuple(f"p{i}" for i in range(30)), (12, 18, 30))
    level = {"state": "better", "prompts": 30, "ended_at": 2, "mean": 0.07, "low": 0.01, "high": 0.13, "p_value": 0.04}
    look = {"prompts": 30, "at": "2026-01-01T00:00:00+00:00", "pictures": 0, "levels": {"4.0": level}}
    block = {"plan": plan.values(), "taken": [look], "end": "decided", "pictures_a_prompt": 2}
    result, lines = extended(noisy_scores({"4.0": 0.075}), raw={"looks": block})
    assert result.extension is None
    assert result.comparisons[0].p_holm == 0.04
    assert result.comparisons[0].is_found
    assert not any(line.startswith("Extended") for line in lines)
    other = {**block, "plan": {**plan.values(), "measure": "siglip_score"}}  # whose looks were nobody's plan
    assert len(extended(noisy_scores({"4.0": 0.075}), raw={"looks": other})[0].extension.looks) == 2


def test_equal_levels_have_nothing_to_claim_after_an_extension():
    result, lines = extended(lambda run: {"image_reward": float(run.prompt.id[-3:])})
    assert len(result.extension.looks) == 2
    assert lines == ["Every level gave exactly the same numbers as shift 3.0."]


def test_a_strong_effect_is_found_after_an_extension():
    result, lines = extended(noisy_scores({"4.0": 0.5}))
    assert result.comparisons[0].is_found
    assert lines[0].startswith("shift 4.0 beats 3.0 by ")
    assert lines[-1].endswith(
        "The corrected p allows for it: <0.001 for 4.0, <0.001 alone. To start afresh, take another --name, new "
        "seeds and looks that are planned (--until-decided)."
    )


def test_too_few_prompts_after_an_extension_say_how_many_it_takes():
    _, lines = extended(noisy_scores({}), before=(6,), prompts=7)
    assert lines[0].startswith(
        "With 7 prompts no difference from shift 3.0 can be shown, however large: "
        "after an earlier analysis it takes at least 8 prompts"
    )


def test_a_grid_is_corrected_for_looks_as_one_plan():
    axes = [axis("shift", 3.0, 4.0), axis("num_inference_steps", 4, 9)]
    alone, _ = extended(noisy_scores({"4.0": 0.5}), axes=axes, before=())
    result, lines = extended(noisy_scores({"4.0": 0.5}), axes=axes, before=(12,))
    assert result.main_effects[0].comparisons[0].is_found
    for before, now in zip(alone.comparisons, result.comparisons, strict=True):
        assert now.p_holm >= min(1.0, 5 * before.p_holm) - 1e-12
    assert lines[-1].startswith("Extended once after it had been analysed (on 12 prompts): ")


def test_a_look_on_six_prompts_counts_in_a_grid_and_not_beside_three_comparisons():
    # max-T of a grid may claim at 2 / 2^6 = 0.031; three comparisons need 3 * 2 / 2^prompts <= 0.05, that is 7 prompts
    grid = [axis("shift", 3.0, 4.0), axis("num_inference_steps", 4, 9)]
    assert [
        look.prompts for look in extended(noisy_scores({}), axes=grid, before=(6,), prompts=8)[0].extension.looks
    ] == [6]
    four = [axis("shift", 1.0, 2.0, 3.0, 4.0)]
    assert extended(noisy_scores({}), axes=four, before=(6,), prompts=8)[0].extension is None
    assert extended(noisy_scores({}), axes=four, before=(7,), prompts=8)[0].extension is not None


def test_what_is_kept_of_an_analysis_is_what_it_showed():
    plan = sample_plan(axes=PAIR, prompts=5, seeds=(1, 2))
    manifest = sample_manifest(plan)

    def scores(run):
        number = int(run.prompt.id[-3:])
        return "failed" if number == 0 else {"siglip_score": 0.2, **({"image_reward": 1.0} if number > 1 else {})}

    records = sample_records(plan, scores)
    timeless = [dataclasses.replace(record, generation_time_seconds=None) for record in records]
    hashes = [text_hash(prompt.text) for prompt in plan.prompts]
    analysis = analyse(manifest, timeless, METRICS)
    everything = seen_now(manifest, timeless, analysis, by="report.py")
    assert everything.measures == {"image_reward", "siglip_score"}
    assert everything.seen == {(text, seed) for text in hashes[1:] for seed in (1, 2)}
    assert (everything.by, everything.pictures) == ("report.py", 16)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", everything.when)
    assert records[0].generation_time_seconds is not None  # of a run that failed
    timed = seen_now(manifest, records, analyse(manifest, records, METRICS), by="report.py")
    assert timed.seen == everything.seen
    one = seen_now(manifest, timeless, analysis, by="analyze.py", columns=["image_reward"])
    assert one.measures == {"image_reward"}
    assert one.seen == {(text, seed) for text in hashes[2:] for seed in (1, 2)}


def test_runs_whose_seed_an_axis_sets_are_kept_under_one():
    plan = sample_plan(axes=[axis("seed", 1, 2), *PAIR], prompts=2)
    manifest, records = sample_manifest(plan), sample_records(plan, noisy_scores({}))
    kept = seen_now(manifest, records, analyse(manifest, records, METRICS), by="analyze.py")
    assert kept.seen == {(text_hash(prompt.text), 0) for prompt in plan.prompts}


def test_the_command_counts_its_analyses_and_the_same_data_once(tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(axes=PAIR, prompts=8), noisy_scores({}), image_size=8)
    for _ in range(2):
        assert CliRunner().invoke(analyze.main, [str(folder)]).exit_code == 0
    (kept,) = ResultStore(folder).manifest().raw["analyses"]
    assert (kept["by"], kept["prompts"], kept["pictures"]) == ("analyze.py", 8, 16)
    assert kept["measures"] == ["generation_time_seconds", "image_reward", "siglip_score"]


def test_a_folder_that_takes_nothing_is_analysed_and_it_is_said(tmp_path):
    folder = write_results(tmp_path / "r", sample_plan(axes=PAIR, prompts=8), noisy_scores({}), image_size=8)
    (folder / ".manifest.lock").mkdir()  # a lock that nobody can take, whoever runs the tests
    result = CliRunner().invoke(analyze.main, [str(folder)])
    assert result.exit_code == 0
    assert "ImageReward" in result.output
    assert "This analysis is not written down, so the next one won't allow for it: " in result.output
    assert "analyses" not in ResultStore(folder).manifest().raw
