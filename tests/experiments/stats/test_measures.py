"""Which columns of numbers are compared, and what a number of them is called."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from sample_results import sample_plan, sample_records

from experiments.metrics.declaration import Band, Column, Metric
from experiments.stats.measures import GENERATION_TIME, Measure, flags_of, measures_of, number, set_flags
from experiments.store.records import RunRecord

REWARD = Metric(
    name="reward",
    title="Reward",
    unit="pts",
    direction="higher",
    model="a model",
    columns=(
        Column("reward", "How good"),
        Column("reward_share", "How much of it"),
        Column("reward_cut", "It was cut"),
    ),
    source="a paper",
    bands=(Band("good", 2.0), Band("fair", 1.0)),
    below="poor",
)
HUE = replace(
    REWARD,
    name="hue",
    title="Hue",
    direction="none",
    columns=(Column("hue", "Where on the circle"), Column("hue_spread", "How wide")),
)


def records_with(*scores: dict[str, Any]) -> list[RunRecord]:
    records = sample_records(sample_plan(prompts=len(scores)), lambda run: {})
    return [replace(record, scores=given) for record, given in zip(records, scores, strict=False)]


@pytest.mark.parametrize("value", [None, True, False, "3", math.inf, -math.inf, math.nan, [1.0]])
def test_what_is_no_finite_number_is_nan(value: Any) -> None:
    assert math.isnan(number(value))


@pytest.mark.parametrize("value", [0, 3, -2.5])
def test_numbers_are_floats(value: float) -> None:
    assert (type(number(value)), number(value)) == (float, value)


def test_the_main_column_bears_the_metrics_title_unit_and_bands_and_others_bear_none() -> None:
    main, share = measures_of(records_with({"reward": 1.0, "reward_share": 0.5}), [REWARD])[:2]
    assert (main.title, main.meaning, main.unit, main.bands) == ("Reward", "How good", "pts", REWARD.bands)
    assert (share.title, share.meaning, share.unit, share.bands) == ("reward_share", "How much of it", "", ())
    assert [main.label(value) for value in (2.5, 2.0, 1.0)] == ["good", "fair", "poor"]
    assert [share.label(value) for value in (2.5, 2.0, 1.0)] == ["", "", ""]


def test_a_unit_of_more_than_three_letters_is_not_printed_after_numbers() -> None:
    def unit_of(unit: str) -> str:
        return Measure("reward", "Reward", "How good", replace(REWARD, unit=unit)).unit

    assert [unit_of(unit) for unit in ("s", "pts", "nats")] == ["s", "pts", ""]


def test_further_columns_are_measures_only_where_one_direction_is_better() -> None:
    scores = {"reward": 1.0, "reward_share": 0.5, "reward_cut": True, "hue": 0.1, "hue_spread": 0.2}
    measures = measures_of(records_with(scores), [HUE, REWARD])
    assert [measure.column for measure in measures] == ["hue", "reward", "reward_share", "generation_time_seconds"]
    assert [measure.direction for measure in measures] == ["none", "higher", "higher", "lower"]


def test_a_measure_is_there_if_one_run_has_it() -> None:
    some = records_with({"reward": None}, {"reward": 1.0})
    assert [measure.column for measure in measures_of(some, [HUE, REWARD])] == ["reward", "generation_time_seconds"]
    untimed = [replace(record, generation_time_seconds=None) for record in some]
    assert [measure.column for measure in measures_of(untimed, [REWARD])] == ["reward"]
    assert [measure.column for measure in measures_of([untimed[0], some[1]], [])] == ["generation_time_seconds"]


def test_the_time_says_what_it_measures() -> None:
    (time,) = measures_of(records_with({}), [])
    assert (time.title, time.unit, time.metric) == ("Generation time", "s", GENERATION_TIME)
    assert time.meaning == "Seconds for encoding (its share), denoising and decoding one picture"
    (record,) = records_with({"generation_time_seconds": 9.0})
    assert time.value(replace(record, generation_time_seconds=0.25)) == 0.25


def test_flags_are_counted_where_they_are_set() -> None:
    records = records_with({"reward_cut": True}, {"reward_cut": False}, {"reward_cut": 1.0}, {"reward_cut": True})
    assert flags_of(set_flags(records), REWARD) == {REWARD.columns[2]: 2}
