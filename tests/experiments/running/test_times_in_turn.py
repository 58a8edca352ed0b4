"""What a picture's place among those of its prompt costs it is no level's own."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from fake_pipeline import FakePipeline
from small_runs import make, plan_of

from experiments.prompts import Prompt
from experiments.stats.findings import analyse
from experiments.stats.measures import TIME_COLUMN

PROMPTS = [Prompt(f"p{number:02d}", "c", "", f"A cat {number}") for number in range(13)]
ALONE_S = 1.0
BESIDE_A_FILE_S = 0.025
"""What the file of the picture before costs each but the first of a prompt, which is encoded meanwhile."""
AFTER_MUCH_NOISE_S = 0.01
"""And what a picture costs the next one, for each unit of its shift, since its file takes longer to compress."""


class BusyMachine(FakePipeline):
    """Draws in times that follow from what was drawn before."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Any = None

    def draw(self, params: Any, conditioning: Any, shared: Any = None) -> SimpleNamespace:
        image, _ = super().draw(params, conditioning, shared).wait()
        seconds = ALONE_S
        if self.before is not None and self.before.prompt == params.prompt:
            seconds += BESIDE_A_FILE_S + AFTER_MUCH_NOISE_S * self.before.shift
        self.before = params
        return SimpleNamespace(wait=lambda: (image, {"denoise": seconds, "decode": 0.0}))


def test_levels_that_cost_the_same_have_equal_mean_times_whatever_a_place_costs(tmp_path):
    store, _ = make(tmp_path, plan_of("shift=1..6", prompts=PROMPTS), BusyMachine())
    seconds = defaultdict(list)
    for record in store.runs():
        if not record.is_warm_up:
            seconds[record.level].append(record.generation_time_seconds)
    # in 12 prompts each of 6 levels is the first twice, and comes twice after each of the 5 others
    for level, found in seconds.items():
        others = sum(range(1, 7)) - float(level)
        expected = ALONE_S + (10 * BESIDE_A_FILE_S + 2 * AFTER_MUCH_NOISE_S * others) / 12
        assert len(found) == 12
        assert sum(found) / 12 == pytest.approx(expected, abs=5e-4), level


def test_what_a_place_costs_is_told_of_no_level(tmp_path):
    store, _ = make(tmp_path, plan_of("shift=1..6", prompts=PROMPTS), BusyMachine())
    analysis = analyse(store.manifest(), store.runs(), ())
    (time,) = [result for result in analysis.measures if result.measure.column == TIME_COLUMN]
    assert [item.level for item in time.comparisons if item.is_found] == []
