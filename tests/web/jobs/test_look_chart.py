"""What the page draws of planned looks."""

import pytest

from experiments.planning.looks import LookPlan
from experiments.store.look_log import LevelAtLook, Look, LookLog
from web.jobs.look_chart import look_chart

PLAN = LookPlan("siglip_score", False, None, True, ("a", "b", "c", "d"), (2, 4))


def test_before_the_first_look_there_is_only_the_plan():
    chart = look_chart(LookLog(PLAN, pictures_a_prompt=2))
    assert (chart["taken"], chart["planned"], chart["next"], chart["levels"]) == (0, 2, 2, [])


def test_no_difference_is_in_the_middle_and_the_widest_end_near_the_edge():
    levels = {
        "1.0": LevelAtLook("worse", 2, 0, -0.5, -1.0, -0.1, 0.01),
        "2.0": LevelAtLook("open", 2, None, 0.0, None, None, 1.0),
    }
    log = LookLog(PLAN, (Look(2, "2026-01-01T00:00:00+00:00", 0, levels),), pictures_a_prompt=3)
    worse, unknown = look_chart(log)["levels"]
    reach = 1.08
    assert worse["from"] == pytest.approx(50 * (1 - 1 / reach), abs=0.01)
    assert worse["at"] == pytest.approx(50 * (1 - 0.5 / reach), abs=0.01)
    assert worse["to"] == pytest.approx(50 * (1 - 0.1 / reach), abs=0.01)
    assert (unknown["from"], unknown["at"], unknown["to"]) == (0.0, 50.0, 100.0)


def test_a_chart_of_an_ended_run_awaits_no_look():
    levels = {"1.0": LevelAtLook("worse", 2, 0, -0.5, -1.0, -0.1, 0.01)}
    log = LookLog(PLAN, (Look(2, "2026-01-01T00:00:00+00:00", 0, levels),), "decided", 2)
    assert look_chart(log)["next"] is None
