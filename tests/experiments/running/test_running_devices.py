"""What the lab asks of a card, by a stand-in for torch's calls, since a test machine has none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from experiments.running import forecast, look_runs, speed
from llm_dit.parameters import EngineSettings
from llm_dit.placement.planned_work import PlannedWork

CARD = SimpleNamespace(type="cuda")
GIB = 2**30


@pytest.mark.parametrize(("reserved", "told"), [(20, ["other processes held about 50 GiB of the device"]), (69.9, [])])
def test_memory_of_others_is_what_is_neither_free_nor_ours(monkeypatch, reserved, told):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(reserved * GIB))
    assert list(speed._foreign_memory(CARD)) == told
    assert list(speed._foreign_memory(SimpleNamespace(type="cpu"))) == []


@pytest.mark.parametrize(("free", "place"), [(1, "cpu"), (60, "cuda")])
def test_a_judge_goes_to_the_cpu_where_the_card_has_no_room_beside_the_model(monkeypatch, free, place):
    monkeypatch.setattr("llm_dit.placement.devices.resolve_device", lambda *_: CARD)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * GIB, 80 * GIB))
    assert look_runs.judging_device("cuda") == place


def test_a_forecast_tells_what_stays_on_the_cards_of_a_model_that_is_here(monkeypatch):
    monkeypatch.setattr(
        "llm_dit.stages.loading.memory_sentence",
        lambda settings, planned: f"{settings.model_path} fits beside {planned.pixels} pixels.",
    )
    monkeypatch.setattr(forecast, "is_on_gpu", lambda settings: True)
    planned = PlannedWork(pixels=4096)
    assert forecast._memory(EngineSettings(model_path="mini"), planned) == "mini fits beside 4096 pixels."
    assert forecast._memory(EngineSettings(model_path="someone/model"), planned) == ""
