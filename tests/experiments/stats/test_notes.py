"""What a reader is told beside the numbers: what is missing, lopsided, equal or not comparable."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from sample_results import axis, noisy_scores, sample_manifest, sample_plan, sample_records

from experiments.metrics import METRICS
from experiments.planning.axes import Level
from experiments.planning.design import Axis, Plan
from experiments.stats import paired_statistics as statistics
from experiments.stats.findings import Analysis, analyse
from experiments.stats.notes import OUT_OF_TURN, blocks_of
from experiments.store.records import RunRecord

EIGHT_SHIFTS = axis("shift", 3.0, *(float(number) for number in range(10, 17)))
LOPSIDED = (-0.2, -0.1, 0.3, 0.4, 0.5, 0.4, 0.3, 0.6, 0.5, 0.7, 0.6, 9.0)
EVEN = (0.5, 0.6, 0.4, 0.7, 0.3, 0.5, 0.6, 0.4, 0.5, 0.6, 0.4, 0.5)
NOTHING = (0.5, -0.5) * 6


def notes_of(plan: Plan, scores: object, column: str = "image_reward") -> tuple[str, ...]:
    return column_of(analyse(sample_manifest(plan), sample_records(plan, scores), METRICS), column)  # type: ignore[arg-type]


def column_of(analysis: Analysis, column: str) -> tuple[str, ...]:
    return next(result.notes for result in analysis.measures if result.measure.column == column)


def skew_notes(differences: Mapping[str, Sequence[float]]) -> list[str]:
    """Notes about levels that differ from 3.0 by these numbers, one per prompt."""
    given = {"3.0": [0.0] * 12, **differences}
    plan = sample_plan(axes=[axis("shift", *(float(name) for name in given))], baseline={"shift": "3.0"})

    def scores(run):
        return {"image_reward": given[run.cell.levels["shift"]][int(run.prompt.id[-3:])]}

    return [note.split(" are ")[0] for note in notes_of(plan, scores) if "strongly skewed" in note]


def failing(*levels: str, prompts: int):
    """Scores where these levels have pictures for the first prompts only."""

    def scores(run):
        is_missing = run.cell.levels["shift"] in levels and int(run.prompt.id[-3:]) >= prompts
        return "failed" if is_missing else noisy_scores({})(run)

    return scores


@pytest.mark.parametrize("short", [4, 5, 6, 7])
def test_every_level_with_missing_runs_is_named_with_the_number(short: int) -> None:
    levels = [level.name for level in EIGHT_SHIFTS.levels[1:]][:short]
    note = notes_of(sample_plan(axes=[EIGHT_SHIFTS]), failing(*levels, prompts=8))[0]
    told = ", ".join(f"{level} has 8 of 12" for level in levels)
    assert note == (f"Not every planned run has this number: {told}. What is missing need not be like the rest.")


def test_levels_with_fewer_pairs_than_others_are_named_five_at_most() -> None:
    levels = [level.name for level in EIGHT_SHIFTS.levels[1:-1]]
    note = notes_of(sample_plan(axes=[EIGHT_SHIFTS]), failing(*levels, prompts=8))[1]
    told = ", ".join(f"{level} (8 of 12)" for level in levels[:5])
    assert note == f"Compared on fewer pairs, those that both levels have: {told} and 1 more."


@pytest.mark.parametrize(
    ("equal", "told"),
    [
        (2, "10.0, 11.0."),
        (5, "10.0, 11.0, 12.0, 13.0, 14.0."),
        (6, "10.0, 11.0, 12.0, 13.0, 14.0 and 1 more."),
        (7, None),  # then the sentence says that every level is equal
    ],
)
def test_levels_equal_to_the_baseline_are_named_five_at_most(equal: int, told: str | None) -> None:
    levels = ["3.0", *(level.name for level in EIGHT_SHIFTS.levels[1:])][: equal + 1]

    def scores(run):
        return {"image_reward": 1.0} if run.cell.levels["shift"] in levels else noisy_scores({})(run)

    notes = [note for note in notes_of(sample_plan(axes=[EIGHT_SHIFTS]), scores) if note.startswith("Exactly")]
    assert notes == ([] if told is None else [f"Exactly the same number as 3.0 in every pair: {told}"])


def test_skewed_findings_are_named_wherever_they_stand_and_nothing_else() -> None:
    minus = [-value for value in LOPSIDED]
    assert skew_notes({"1.0": NOTHING, "2.0": EVEN, "4.0": LOPSIDED, "5.0": minus}) == [
        "The differences of 4.0",
        "The differences of 5.0",
    ]


def test_a_prompt_that_a_skewed_level_lacks_does_not_hide_the_warning() -> None:
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=13)

    def scores(run):
        prompt = int(run.prompt.id[-3:])
        if run.cell.levels["shift"] == "4.0":
            return "failed" if prompt == 12 else {"image_reward": LOPSIDED[prompt]}
        return {"image_reward": 0.0}

    assert any("differences of 4.0 are strongly skewed" in note for note in notes_of(plan, scores))


def test_a_prompt_that_a_level_lacks_makes_even_differences_no_skewed_ones() -> None:
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=13)

    def scores(run):
        prompt = int(run.prompt.id[-3:])
        if run.cell.levels["shift"] == "4.0":
            return "failed" if prompt == 12 else {"image_reward": EVEN[prompt]}
        return {"image_reward": 0.0}

    assert not any("skewed" in note for note in notes_of(plan, scores))


@pytest.mark.parametrize(("skewness", "is_warned"), [(1.49, False), (1.5, True), (-1.5, True), (-1.49, False)])
def test_skewness_is_strong_from_one_and_a_half(
    monkeypatch: pytest.MonkeyPatch, skewness: float, is_warned: bool
) -> None:
    monkeypatch.setattr(statistics, "skewness", lambda values: skewness)
    assert bool(skew_notes({"4.0": EVEN})) is is_warned


def test_an_analysis_says_what_was_made_elsewhere_and_which_times_are_left_out() -> None:
    plan = sample_plan(prompts=6)
    records = sample_records(plan, noisy_scores({}))
    asked = (
        "3 questions were asked, one a measure, with 9 comparisons: where nothing differs, about 14 % of experiments "
        "claim something for one of them. --primary MEASURE marks the one that counts, best before the first picture."
    )
    assert analyse(sample_manifest(plan), records, METRICS).notes == (asked,)

    def elsewhere(record: RunRecord) -> RunRecord:
        return replace(record, session="another", metadata={**record.metadata, "versions": {"torch": "2.10"}})

    mixed = [elsewhere(record) if index < 4 else record for index, record in enumerate(records)]
    same, time, surroundings = analyse(sample_manifest(plan), mixed, METRICS).notes
    assert same == asked
    assert time.startswith("Time is compared for 20 of 24 pictures: those of one run of the command on one machine")
    assert surroundings.startswith("Pictures were made with several versions or machines: torch 2.10 (4), 2.9 (20).")


def test_levels_that_set_the_seed_are_paired_by_prompt_in_a_grid_too() -> None:
    plan = sample_plan(axes=[axis("seed", 1, 2), axis("shift", 3.0, 4.0)], prompts=7)
    records = sample_records(plan, lambda run: {"image_reward": int(run.prompt.id[-3:]) + (run.params.seed == 2)})
    result = next(iter(analyse(sample_manifest(plan), records, METRICS).measures))
    assert [comparison.pairs for comparison in result.comparisons] == [7, 7, 7]


@pytest.mark.parametrize(
    ("other", "take_turns"),
    [
        (axis("num_inference_steps", 4, 9), True),
        (axis("quantization", "none", "int8"), False),
        (axis("width", 64, 128), False),
        (axis("model_path", "mini", "another"), False),
    ],
)
def test_levels_that_were_not_drawn_in_turn_are_told_beside_their_times_alone(other: Axis, take_turns: bool) -> None:
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0), other], prompts=8)
    records = sample_records(plan, noisy_scores({}))
    analysis = analyse(sample_manifest(plan), records, METRICS)
    told = {result.measure.column for result in analysis.measures if OUT_OF_TURN in result.notes}
    assert told == (set() if take_turns else {"generation_time_seconds"})


def test_a_level_that_says_what_the_engine_does_anyway_takes_turns_with_one_that_does_not() -> None:
    levels = {"as it is": {}, "said": {"quantization": "none"}, "int8": {"quantization": "int8"}}
    plan = sample_plan(axes=[Axis("engine", tuple(Level(name, values) for name, values in levels.items()))], prompts=8)
    manifest = sample_manifest(plan)
    as_written = replace(manifest, raw={**manifest.raw, "config": {"engine": plan.engine.model_dump()}})
    assert blocks_of(as_written) == [0, 0, 1]
    first = [run.cell.name for run in itertools.islice(plan.runs(), 4)]
    assert first == ["as it is", "said", "said", "as it is"]


@pytest.mark.parametrize("lacks_one_more", [False, True])
def test_times_that_all_levels_lack_as_many_of_are_told_in_the_note_on_times_alone(lacks_one_more: bool) -> None:
    plan = sample_plan(axes=[axis("shift", 3.0, 4.0)], prompts=8)
    records = [
        replace(record, is_warm_up=record.prompt_id.endswith("_000"))
        for record in sample_records(plan, noisy_scores({}))
        if not (lacks_one_more and record.level == "4.0" and record.prompt_id.endswith("_005"))
    ]
    analysis = analyse(sample_manifest(plan), records, METRICS)
    told = [note for note in column_of(analysis, "generation_time_seconds") if "Not every planned run" in note]
    expected = (
        "Not every planned run has this number: 3.0 has 7 of 8, 4.0 has 6 of 8. What is missing need not be like "
    )
    assert told == ([f"{expected}the rest."] if lacks_one_more else [])
    assert any(note.startswith("Time is compared for") for note in analysis.notes)
