"""The judge, colours and retrieval: what finds things in pictures, and what is asked of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.checks import evaluate, judge, retrieval
from training.checks.painted_color import painted_color
from training.checks.questions import COUNTED, make_questions, named_concepts, prose_questions
from training.learning.time_budget import TimeBudget
from training.learning.weights import load_weights, save_weights
from training.stages.batched_euler import Generator, SampleSettings
from training.world.looks import COLORS, TINTS
from training.world.scene import MAX_OBJECTS, Scene, SceneObject, Setting
from training.world.truth import OBJECT_FACTS, middle_of


def test_the_judge_finds_what_it_has_learnt(samples, renderer, world, tmp_path):
    torch.manual_seed(0)
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16))
    pool = renderer.render(torch.from_numpy(samples.rows[:24]), 64, 64)
    facts = torch.from_numpy(samples.facts[:24])
    first = judge.judge_loss(network, pool, facts).item()
    judge.train_judge(network, pool, facts, TimeBudget(60, max_steps=8), 12)
    assert judge.judge_loss(network, pool, facts).item() < first
    verdicts = judge.look(network.eval(), pool)
    assert len(verdicts) == 24
    assert all(verdict.objects for verdict in verdicts)
    save_weights(network.state_dict(), tmp_path / "judge.safetensors")
    load_weights(judge.Judge(len(world.concepts), (8, 16, 16, 16)), tmp_path / "judge.safetensors")


def test_the_heat_of_a_picture_is_highest_at_its_objects():
    facts = torch.full((1, len(OBJECT_FACTS) * MAX_OBJECTS + 3), -1.0)
    facts[0, :5] = torch.tensor([3.0, 0.0, 0.25, 0.75, 0.2])
    heat = judge.heat_of(facts, 8, 8)[0]
    assert heat[5:7, 1:3].min() == heat.max() == pytest.approx(np.exp(-0.5 / (2 * judge.HEAT_WIDTH**2)))
    assert heat[0].max() < 1e-6
    assert not judge.heat_of(torch.full_like(facts, -1.0), 8, 8).any()


def test_neighbouring_cells_are_one_object_and_the_threshold_is_calibrated(monkeypatch):
    presence = torch.zeros(2, 8, 8)
    presence[0, 2, 2], presence[0, 2, 4], presence[0, 6, 6] = 0.9, 0.6, 0.45
    presence[1, 2, 2], presence[1, 5, 5] = 0.8, 0.15
    assert (judge.peaks_of(presence) > 0.1).sum((1, 2)).tolist() == [2, 2]
    facts = torch.full((2, len(OBJECT_FACTS) * MAX_OBJECTS + 3), -1.0)
    for picture, place, x in ((0, 0, 0.3), (0, 1, 0.8), (1, 0, 0.3)):
        facts[picture, 5 * place : 5 * place + 5] = torch.tensor([3.0, 0.0, x, x, 0.2])
    network = judge.Judge(4, (8, 16, 16, 16)).eval()
    views = judge.Views(torch.zeros(2, 256, 8, 8), presence.logit(), torch.zeros(2, 16))
    monkeypatch.setattr(judge, "_views", lambda _judge, _pictures: views)
    assert judge.calibrate(network, torch.zeros(2, 3, 64, 64, dtype=torch.uint8), facts) == 1.0
    assert 0.15 < network.threshold < 0.45


def test_a_true_verdict_passes_its_question_and_a_wrong_one_fails(world, renderer):
    kinds = set()
    for question in make_questions(world, 6):
        kinds.add(question.kind)
        if question.scene is None:
            continue
        picture = renderer.render(torch.from_numpy(world.row(question.scene))[None], 128, 128)[0]
        things = question.scene.objects
        truth = judge.Verdict(
            tuple(judge.Detection(thing.concept, thing.style, *middle_of(thing), 1.0) for thing in things),
            question.scene.setting.place or "none",
            question.scene.mood,
            question.scene.medium,
            picture,
        )
        wrong_color = "green" if things[0].color != "green" else "red"
        nothing = judge.Verdict((), "none", "none", "none", painted(wrong_color))
        assert question.test(truth), question
        assert not question.test(nothing), question
    assert {"object, trained pair", "bare noun", "relation", "count 2", "color"} <= kinds


def painted(color: str, background: str | None = None) -> torch.Tensor:
    """A picture of one colour, or a square of it on a background."""
    picture = torch.tensor(COLORS[background or color], dtype=torch.uint8)[:, None, None].repeat(1, 128, 128)
    picture[:, 40:100, 30:90] = torch.tensor(COLORS[color], dtype=torch.uint8)[:, None, None]
    return picture


@pytest.mark.parametrize("color", TINTS)
def test_a_square_has_its_colour_on_any_background(color):
    for background in ("cream", "navy", "green", "white"):
        if background != color:
            assert painted_color(painted(color, background), 60 / 128, 70 / 128) == color
    assert painted_color(painted("red"), 0.0, 0.0) == painted_color(painted("red"), 0.999, 0.999) == "red"


def test_concepts_are_found_in_foreign_prose_as_whole_words(world):
    named = named_concepts(world, "A Cat, asleep in a carpet shop beside the apple.")
    assert {world.concepts[number].label for number in named} == {"cat", "apple"}


def test_the_table_shows_the_judge_beside_the_miniature(world, renderer, generator):
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16)).eval()
    questions = make_questions(world, 1)
    settings = SampleSettings(steps=1, height=64, width=64)
    drawn = evaluate.ask(network, generator, questions, 1, settings)
    table = evaluate.as_markdown(drawn, {"bare noun": 1.0}, dict.fromkeys(drawn, 1), 1)
    assert "| bare noun | 1 | 1 |" in table
    assert "| 90% | 100.0% |" in table
    counted = [question for question in questions if question.kind.startswith("count ")]
    assert drawn[COUNTED] == pytest.approx(np.mean([drawn[question.kind] for question in counted]))
    assert [line.split(" | ")[0] for line in table.splitlines()[2:4]] == [
        "| object, trained pair",
        "| object, held-out pair",
    ]


def test_one_picture_answers_all_questions_about_it(world, generator, monkeypatch):
    jobs = []

    def draw(prompts, seeds, settings):
        jobs.extend(zip(prompts, seeds, strict=True))
        return torch.zeros(len(prompts), 3, settings.height, settings.width, dtype=torch.uint8)

    monkeypatch.setattr(Generator, "draw", lambda _self, *arguments: draw(*arguments))
    network = judge.Judge(len(world.concepts), (8, 16, 16, 16)).eval()
    held_out = [question for question in make_questions(world, 3) if "held-out" in question.kind]
    drawn = evaluate.ask(network, generator, held_out, 2, SampleSettings(height=64, width=64))
    assert drawn.keys() == {"object, held-out pair", "style, held-out pair"}
    assert len(jobs) == len(set(jobs)) == 2 * len({question.prompt for question in held_out})


def test_a_beach_in_prose_from_outside_may_be_the_setting(world):
    concepts = [replace(world.concepts[0], label="beach", names=("beach",)), *world.concepts[1:]]
    [question] = prose_questions(replace(world, concepts=concepts), ["Waves roll up a pale beach."])
    assert question.test(judge.Verdict((), "beach", "none", "none", painted("red")))
    assert not question.test(judge.Verdict((), "desert", "none", "none", painted("red")))


def test_a_clean_render_is_retrieved_wherever_it_stands_and_on_any_background(world, renderer):
    known, pairs = retrieval.templates(world, renderer)
    asked = [(0, "flat"), (3, "3d"), (7, "cartoon")]
    scenes = [
        Scene((SceneObject(concept, style, 0.45, 0.55, 0.6),), Setting("plain", ("cream",)), count=1)
        for concept, style in asked
    ]
    pictures = renderer.render(torch.from_numpy(np.stack([world.row(scene) for scene in scenes])), 128, 128)
    found = retrieval.nearest(list(pictures), known, pairs)
    assert retrieval.shares(found, asked)["concept"] == 1.0
    assert [style in ("flat", "sticker") for _, style in found] == [True, False, False]
    assert not retrieval.signature(torch.full((3, 32, 32), 9, dtype=torch.uint8)).any()
