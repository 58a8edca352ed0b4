"""The spread of differences that earlier results tell a plan."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sample_results import axis, sample_plan, write_results

from experiments.running.earlier_spread import earlier_spreads
from experiments.store.result_store import ResultStore

PAIR = [axis("shift", 3.0, 4.0)]
DRAWS = np.random.default_rng(1).normal(size=(40, 2))


def scores(run):
    number, seed = int(run.prompt.id[-3:]), run.params.seed
    return {"image_reward": number + DRAWS[number, seed - 1] * (run.params.shift == 4.0)}


def results(folder, *, prompts: int, seeds=(1,), model: str = "mini", plan_axes=PAIR):
    write_results(
        folder, sample_plan(axes=plan_axes, prompts=prompts, seeds=seeds, name=folder.name), scores, image_size=8
    )
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_path": model}))
    ResultStore(folder).write_summary()
    return folder


def test_the_experiments_own_results_tell_the_spread_of_their_paired_differences(tmp_path):
    folder = results(tmp_path / "own", prompts=12)
    results(tmp_path / "other", prompts=20)
    (spread,) = earlier_spreads(folder, "mini", ["image_reward", "siglip_score"], 1)
    assert spread.deviation == pytest.approx(DRAWS[:12, 0].std(ddof=1))
    assert (spread.column, spread.estimated_from, spread.source) == ("image_reward", 12, "on 12 prompts of own")


def test_neighbours_are_pooled_by_their_degrees_of_freedom(tmp_path):
    results(tmp_path / "a", prompts=10)
    results(tmp_path / "b", prompts=20)
    (spread,) = earlier_spreads(tmp_path / "new", "mini", ["image_reward"], 1)
    squares = 9 * DRAWS[:10, 0].var(ddof=1) + 19 * DRAWS[:20, 0].var(ddof=1)
    assert spread.deviation == pytest.approx(np.sqrt(squares / 28))
    assert (spread.estimated_from, spread.source) == (29, "on 30 prompts of a, b")


def test_no_more_seeds_are_taken_than_are_planned(tmp_path):
    folder = results(tmp_path / "own", prompts=12, seeds=(1, 2))
    one, two = (earlier_spreads(folder, "mini", ["image_reward"], seeds)[0].deviation for seeds in (1, 2))
    assert one == pytest.approx(DRAWS[:12, 0].std(ddof=1))
    assert two == pytest.approx(DRAWS[:12].mean(axis=1).std(ddof=1))


def test_another_models_results_and_what_is_no_result_tell_nothing(tmp_path):
    results(tmp_path / "other", prompts=12, model="Tongyi-MAI/Z-Image-Turbo")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "manifest.json").write_text("{")
    (tmp_path / "note.txt").write_text("not a folder")
    assert earlier_spreads(tmp_path / "new", "mini", ["image_reward"], 1) == []
    assert earlier_spreads(tmp_path / "nowhere" / "new", "mini", ["image_reward"], 1) == []
