"""The known-answer test itself: it must notice a scorer whose values moved."""

import json

import torch
from click.testing import CliRunner
from metric_models import image_reward_weights, write_image_reward, write_siglip

from experiments.metrics import default_metrics, load_scorers, selftest


def scorers(tmp_path, **changed: torch.Tensor):
    return load_scorers(
        default_metrics(),
        image_reward_model=str(write_image_reward(tmp_path / "reward", **changed)),
        siglip_model=str(write_siglip(tmp_path / "siglip")),
        device="cpu",
    )


def test_recorded_values_are_found_again_and_a_moved_scorer_is_noticed(tmp_path):
    path = tmp_path / "expected.json"
    selftest.record(scorers(tmp_path), path)
    assert selftest.check(scorers(tmp_path), path) == []
    bias = image_reward_weights()["mlp.layers.7.bias"]
    moved = selftest.check(scorers(tmp_path, **{"mlp.layers.7.bias": bias + 0.01}), path)
    assert {answer.column for answer in moved} == {"image_reward", "image_reward_chunked"}


def test_a_metric_that_was_never_recorded_counts_as_moved_and_is_told_the_way(tmp_path, capsys):
    path = tmp_path / "expected.json"
    path.write_text("{}")
    moved = selftest.check(load_scorers(["pixel_diversity"]), path)
    assert {answer.expected for answer in moved} == {None}
    assert "NOT RECORDED; look whether it is right, then --record --metric pixel_diversity" in capsys.readouterr().out


def test_a_recorded_column_that_is_gone_counts_as_moved(tmp_path):
    path = tmp_path / "expected.json"
    selftest.record(load_scorers(["pixel_diversity"]), path)
    values = json.loads(path.read_text())
    values["pixel_diversity"]["rows"][1]["sharpness"] = 0.5
    path.write_text(json.dumps(values))
    assert [answer.column for answer in selftest.check(load_scorers(["pixel_diversity"]), path)] == ["sharpness"]


def test_the_known_files_cover_flags_both_ways(tmp_path):
    reward = scorers(tmp_path)[0].score_rows(selftest.ROWS)
    for flag in ("image_reward_truncated", "image_reward_cropped"):
        assert {row[flag] for row in reward} == {True, False}


def test_the_embedded_scorers_give_their_recorded_values():
    done = CliRunner().invoke(selftest.main)
    assert done.exit_code == 0, done.output
    recorded = json.loads((selftest.FILES / selftest.EXPECTED_FILE).read_text())
    assert recorded.keys() == set(default_metrics())
