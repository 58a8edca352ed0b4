"""What planned looks decide of the embedded model, on sixty prompts of its own world.

The scores of `decided_scores.json` are those of

    uv run experiments/run_ablation.py --experiment EXPERIMENT --until-decided siglip_score [--margin 0.1]
        --prompts-file PROMPTS.txt --width 96 --height 96 --steps 4

with every score of a picture that was drawn, by its level and prompt. Here the lab decides by them anew, and the model
draws and judges the first prompt again. A picture that is asked for and was never drawn has no score: the test fails.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_pipeline import FakePipeline

from experiments.planning.command_flags import request_from_arguments
from experiments.running.experiment_run import run_experiment
from experiments.running.one_device import OneDevice
from experiments.store.result_store import ResultStore
from llm_dit.config import Config
from llm_dit.pipeline import ZImagePipeline

RECORDED = json.loads(Path(__file__).with_name("decided_scores.json").read_text())
PROMPTS = RECORDED["prompts"]
TRAINED_LAYER = "-2"


class Model:
    """Hands out one pipeline."""

    def __init__(self, pipeline):
        self.hands = OneDevice.of(pipeline)

    def get(self, settings_in_turn, planned, on_load):
        return self.hands

    def check(self, settings):
        pass

    def release(self):
        pass


def request(folder, experiment, *more, texts=PROMPTS):
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(texts) + "\n")
    small = ("--width=96", "--height=96", "--steps=4")
    arguments = [f"--experiment={experiment}", f"--prompts-file={prompts}", f"--output-dir={folder}", *small, *more]
    return request_from_arguments(arguments, Config())


def decided(folder, monkeypatch, experiment, *more):
    """Run an experiment until it is decided, with the recorded scores in the place of pictures and judge."""
    asked = request(folder, experiment, "--until-decided=siglip_score", *more)

    def score(row):
        record = json.loads(row.image.parents[1].joinpath("metadata", f"{row.image.stem}.json").read_text())["run"]
        (level,) = record["levels"].values()
        return {"siglip_score": RECORDED[experiment][level][str(PROMPTS.index(record["prompt"]))]}

    metric = SimpleNamespace(
        name="siglip_score", model="m", compares_seeds=0, direction="higher", fidelity=None, needs=""
    )
    judge = SimpleNamespace(
        metric=metric, move_to=lambda device: None, score_rows=lambda rows: [score(row) for row in rows]
    )
    monkeypatch.setattr("experiments.metrics.load_configured_scorers", lambda *args, **values: [judge])
    result = run_experiment(asked, Model(FakePipeline()), command="c")
    assert result.looks is not None
    return result


def test_hidden_layers_are_decided_with_half_of_the_pictures_and_the_layers_that_were_not_trained_lose(
    tmp_path, monkeypatch
):
    result = decided(tmp_path, monkeypatch, "hidden_layer")
    full = 60 * 7
    assert result.looks.end == "decided"
    assert result.outcome.made <= full / 2
    states = {name: item.state for name, item in result.looks.latest.levels.items()}
    assert {name for name, state in states.items() if state == "worse"} == {"-1", "last_before_norm", "-6"}
    assert "better" not in states.values()
    (sentence, account, *_) = result.verdict
    assert f"hidden_layer -1 loses to {TRAINED_LAYER} by 0.15" in sentence
    assert "every level was decided" in account


def test_shifts_within_a_margin_end_as_good_as(tmp_path, monkeypatch):
    result = decided(tmp_path, monkeypatch, "shift_sweep", "--margin=0.1")
    assert result.looks.end == "decided"
    assert {item.state for item in result.looks.latest.levels.values()} == {"as good as"}
    assert result.outcome.made <= 60 * 6 / 2
    assert "as good as 3.0: they differ by less than 0.1" in result.verdict[0]


@pytest.mark.slow  # the model draws 13 pictures, which are judged
@pytest.mark.parametrize(("experiment", "count"), [("hidden_layer", 7), ("shift_sweep", 6)])
def test_the_model_draws_and_is_judged_as_recorded(tmp_path, experiment, count):
    drawn_everywhere = set.intersection(*(set(scores) for scores in RECORDED[experiment].values()))
    index = min(drawn_everywhere, key=int)
    asked = request(tmp_path, experiment, texts=[PROMPTS[int(index)]])
    result = run_experiment(asked, Model(ZImagePipeline.from_pretrained()), command="c", metrics=["siglip_score"])
    assert result.outcome.made == count
    for record in ResultStore(asked.folder).runs():
        assert record.scores["siglip_score"] == pytest.approx(RECORDED[experiment][record.level][index], abs=2e-3)
