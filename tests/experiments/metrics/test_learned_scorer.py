"""The weights that fit a picture: chosen by the model that made it, as the picture or its record says."""

import json
from pathlib import Path

import numpy as np
import pytest
from metric_models import write_image_reward, write_siglip
from PIL import Image

from experiments.metrics import (
    ImageRewardScorer,
    ScoreInput,
    SigLIPScorer,
    compute_image_reward,
    learned_scorer,
    load_scorers,
)
from experiments.metrics.missing_scores import score_results
from experiments.metrics.picture_model import generator_of
from llm_dit.errors import LlmDitError
from llm_dit.image_io import attach_record, png_bytes

PROMPT = "a red cat"
KINDS = [(ImageRewardScorer, write_image_reward), (SigLIPScorer, write_siglip)]


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def record(model: str) -> dict:
    names = ("num_inference_steps", "guidance_scale", "shift", "seed", "width", "height", "hidden_layer")
    parameters = {**dict.fromkeys(names, 1), "prompt": PROMPT, "negative_prompt": ""}
    return {
        "parameters": parameters,
        "model_path": model,
        "model_fingerprint": "0" * 64,
        "versions": {"llm-dit": "0"},
    }


def save(path: Path, model: str | None, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if model is None:
        picture(seed).save(path)
    else:
        path.write_bytes(png_bytes(picture(seed), record(model)))
    return path


@pytest.fixture(params=KINDS, ids=["image_reward", "siglip"])
def kind(request, tmp_path, monkeypatch):
    """A scorer class whose embedded and published weights are two small random models, and the names it looked for."""
    scorer, write = request.param
    folders = {scorer.embedded: write(tmp_path / "embedded"), scorer.published: write(tmp_path / "published")}
    asked: list[str] = []

    def find(model, **_options):
        asked.append(str(model))
        return folders.get(model, model)

    monkeypatch.setattr(learned_scorer, "find_model", find)
    return scorer, asked


def test_each_picture_is_judged_by_the_weights_that_fit_its_model(kind, tmp_path):
    scorer_class, asked = kind
    scorer = scorer_class(device="cpu")
    assert (asked, scorer.metric.model) == ([], "")
    paths = [
        save(tmp_path / "photo.png", None, 1),
        save(tmp_path / "mini.png", "mini", 2),
        save(tmp_path / "turbo.png", "Tongyi-MAI/Z-Image-Turbo", 3),
        save(tmp_path / "mini2.png", "mini", 4),
    ]
    together = scorer.score_batch([PROMPT] * 4, paths)
    assert sorted(asked) == sorted([scorer_class.embedded, scorer_class.published])
    named = [scorer_class(name, device="cpu") for name in (scorer_class.published, scorer_class.embedded)]
    expected = [named[index].score(PROMPT, path) for index, path in zip((0, 1, 0, 1), paths, strict=True)]
    assert together == pytest.approx(expected, abs=2e-5)
    rows = scorer.score_rows([ScoreInput(PROMPT, path) for path in paths])
    assert [row[scorer.metric.name] for row in rows] == pytest.approx(expected, abs=2e-5)


def test_auto_is_the_same_as_nothing(kind, tmp_path):
    scorer_class, asked = kind
    scorer_class("auto", device="cpu").score(PROMPT, save(tmp_path / "mini.png", "mini"))
    assert asked == [scorer_class.embedded]


def test_named_weights_judge_every_picture(kind, tmp_path):
    scorer_class, asked = kind
    scorer = scorer_class(scorer_class.embedded, device="cpu")
    scorer.score(PROMPT, save(tmp_path / "photo.png", None))
    assert asked == [scorer_class.embedded]
    assert scorer.metric.model.startswith("embedded@")


@pytest.mark.parametrize("kind_of", [ImageRewardScorer, SigLIPScorer])
def test_weights_that_can_t_be_had_are_a_sentence_that_says_how_to_choose(tmp_path, monkeypatch, kind_of):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    photo = save(tmp_path / "photo.png", None)
    with pytest.raises(LlmDitError) as caught:
        kind_of(device="cpu").score(PROMPT, photo)
    assert f"{photo} does not say which model made it, so {kind_of.published} judges it" in str(caught.value)
    assert f'Choose weights by {kind_of.__name__}("{kind_of.embedded}")' in str(caught.value)
    with pytest.raises(LlmDitError, match="was made by my/model, so"):
        kind_of(device="cpu").score(PROMPT, save(tmp_path / "other.png", "my/model"))


def test_a_picture_of_mini_is_judged_by_the_embedded_scorer_without_any_choice(tmp_path):
    path = save(tmp_path / "mini.png", "mini")
    expected = ImageRewardScorer("image-reward-mini", device="cpu").score(PROMPT, path)
    assert compute_image_reward(PROMPT, path, device="cpu") == pytest.approx(expected, abs=1e-5)


def test_the_generator_is_read_from_file_open_picture_memory_or_run_record(tmp_path):
    path = save(tmp_path / "a.png", "mini")
    with Image.open(path) as opened:
        assert (generator_of(path), generator_of(str(path)), generator_of(opened)) == ("mini", "mini", "mini")
    drawn = picture()
    assert generator_of(drawn) is None
    attach_record(drawn, record("mini"))
    assert generator_of(drawn) == "mini"
    stripped = save(tmp_path / "results" / "images" / "run.png", None)
    assert generator_of(stripped) is None
    (tmp_path / "results" / "metadata").mkdir()
    (tmp_path / "results" / "metadata" / "run.json").write_text(json.dumps(record("mini")))
    assert generator_of(stripped) == "mini"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda scorer: scorer.score("A cat", [picture()]), "not list; score_batch takes a list of them"),
        (lambda scorer: scorer.score(None, picture()), "A prompt is a text, not NoneType"),
        (lambda scorer: scorer.score_batch("A cat", [picture()]), "needs a list of prompts, not str"),
        (lambda scorer: scorer.score_batch(["A cat"], picture()), "needs a list of images, not Image"),
        (lambda scorer: scorer.score_batch(["A cat"], [None]), "a path or a PIL image, not NoneType"),
        (lambda scorer: scorer.score_batch(["A cat"], []), "a prompt for each image, not 1 for 0"),
    ],
)
def test_what_is_no_text_or_no_picture_is_said(call, message):
    with pytest.raises(LlmDitError, match=message):
        call(ImageRewardScorer(device="cpu"))


def test_a_results_folder_is_scored_by_named_weights_only():
    with pytest.raises(LlmDitError, match="image_reward chooses its weights by each picture"):
        score_results(None, [ImageRewardScorer(device="cpu")])


def test_an_embedded_scorer_named_for_another_models_picture_warns(kind, tmp_path):
    scorer_class, _ = kind
    scorer = scorer_class(scorer_class.embedded, device="cpu")
    turbo = save(tmp_path / "turbo.png", "Tongyi-MAI/Z-Image-Turbo", 3)
    told = rf"{scorer_class.embedded} knows the embedded model's world only, and .*turbo\.png was made by Tongyi-MAI/Z"
    with pytest.warns(UserWarning, match=told):
        scorer.score_batch([PROMPT, PROMPT], [save(tmp_path / "mini.png", "mini"), turbo])
    scorer.score(PROMPT, save(tmp_path / "photo.png", None))  # says nothing: warnings would be errors here


def test_a_text_is_no_list_of_names():
    with pytest.raises(LlmDitError, match="load_scorers needs a list of names, not str"):
        load_scorers("image_reward")
