"""The parts that all metrics share: declarations, loading, reading pictures, dividing prompts, diversity."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_models import write_hps, write_pick_score
from metric_models import write_image_reward, write_lpips, write_siglip
from PIL import Image
from vqa_models import write_vqa

from experiments.metrics import (
    METRICS,
    PixelDiversityScorer,
    ScoreInput,
    default_metrics,
    load_scorers,
    metric_named,
    scorer_models_for,
)
from experiments.metrics.embedding_diversity import EmbeddingDiversityScorer
from experiments.metrics.images import open_image, read_ahead
from experiments.metrics.judges import judges_for
from experiments.metrics.pixel_diversity import diversity
from experiments.metrics.prompt_chunks import split_prompt, split_sentences
from experiments.metrics.siglip import SigLIPJudge, SigLIPScorer
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.errors import LlmDitError
from llm_dit.parameters import MetricSettings

ROOT = Path(__file__).parents[3]


def at_most(words: int):
    return lambda text: len(text.split()) <= words


def save(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def noise(seed: int, side: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_importing_the_metrics_loads_neither_torch_nor_transformers():
    code = (
        "import sys, experiments.metrics; print([m for m in ('torch', 'transformers', 'skimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [
        ("image_reward", 0.51, "excellent"),
        ("image_reward", 0.5, "good"),
        ("image_reward", 0.0, "acceptable"),
        ("image_reward", -0.5, "poor"),
        ("siglip_score", 0.36, "excellent"),
        ("siglip_score", 0.29, "good"),
        ("siglip_score", 0.21, "moderate"),
        ("siglip_score", 0.2, "weak"),
        ("pixel_diversity", 0.5, ""),
    ],
)
def test_a_value_has_the_label_of_its_band(name, value, label):
    assert metric_named(name).label(value) == label


def test_no_column_belongs_to_two_metrics():
    columns = [column.name for metric in METRICS for column in metric.columns]
    assert len(columns) == len(set(columns))


def test_every_declaration_of_the_room_is_registered():
    files = (ROOT / "experiments" / "metrics").glob("*.py")
    declared = {name for path in files for name in re.findall(r'= Metric\(\s*name="(\w+)"', path.read_text())}
    assert declared == {metric.name for metric in METRICS}, "a line is missing in REGISTRY of registry.py"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_has_its_row_and_its_columns_in_the_documentation(metric):
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert f"| {metric.title} | `{metric.name}` |" in page
    assert f"\n## {metric.title}\n" in page
    assert [column.name for column in metric.columns if f"`{column.name}`" not in page] == []


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(LlmDitError, match="no metric 'image_rewards'; did you mean 'image_reward'"):
        load_scorers(["image_rewards"])


def test_a_scorer_that_is_nowhere_is_named_with_the_way_out(tmp_path):
    with pytest.raises(
        LlmDitError, match=r"Metric siglip_score can't be loaded: Scorer folder ./nothing does not exist"
    ):
        load_scorers(["siglip_score"], siglip_model="./nothing")
    with pytest.raises(LlmDitError, match=r"has no config\.json"):
        load_scorers(["siglip_score"], siglip_model=str(tmp_path))
    with pytest.raises(LlmDitError, match=r"has no med_config\.json"):
        load_scorers(["image_reward"], image_reward_model=str(tmp_path))


def test_a_hub_scorer_without_network_is_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    started = time.process_time()
    with pytest.raises(LlmDitError, match=r"zai-org/ImageReward is not in .* cache and the hub can't be reached"):
        load_scorers(["image_reward"], image_reward_model="zai-org/ImageReward")
    assert time.process_time() - started < 20


def test_the_embedded_scorers_judge_the_embedded_model_only():
    assert scorer_models_for("mini")[:2] == ("image-reward-mini", "siglip-mini")
    assert scorer_models_for(str(EMBEDDED_MODELS / "mini"))[:2] == ("image-reward-mini", "siglip-mini")
    assert scorer_models_for("./my-model") == scorer_models_for("Tongyi-MAI/Z-Image-Turbo")
    assert scorer_models_for("Tongyi-MAI/Z-Image-Turbo") == (
        "zai-org/ImageReward",
        "google/siglip2-giant-opt-patch16-384",
        *[None] * 4,
    )


def test_all_scorers_give_exactly_their_declared_columns(tmp_path):
    names = [metric.name for metric in reversed(METRICS)]
    scorers = load_scorers(
        [*names, names[0]],
        image_reward_model=str(write_image_reward(tmp_path / "reward")),
        siglip_model=str(write_siglip(tmp_path / "siglip")),
        lpips_model=str(write_lpips(tmp_path / "lpips")),
        pick_score_model=str(write_pick_score(tmp_path / "pick")),
        hps_score_model=str(write_hps(tmp_path / "hps")),
        vqa_score_model=str(write_vqa(tmp_path / "vqa")),
        device="cpu",
    )
    assert [scorer.metric.name for scorer in scorers] == names
    paths = [save(tmp_path / f"{seed}.png", noise(seed, 32)) for seed in range(2)]
    rows = [ScoreInput('a "cat"', path, baseline=paths[0]) for path in paths]
    for scorer in scorers:
        declared = [column.name for column in scorer.metric.columns]
        assert [list(columns) for columns in scorer.score_rows(rows)] == [declared, declared]


@pytest.mark.parametrize("name", ["pick_score", "hps_score", "vqa_score"])
def test_a_judge_without_weights_says_which_setting_names_them(name):
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(
        LlmDitError, match=rf"Metric {name} can't be loaded: it has no weights; set {name} .* {flag}, to"
    ):
        load_scorers([name])


def test_the_judges_taken_are_those_that_are_installed_and_have_weights(monkeypatch):
    assert "text_accuracy" in default_metrics(MetricSettings())
    assert not {"pick_score", "hps_score", "vqa_score"} & set(default_metrics(MetricSettings()))
    assert "pick_score" in default_metrics(MetricSettings(pick_score="/models/pick"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "text_accuracy" not in default_metrics(MetricSettings())


def test_each_judge_says_what_it_needs(monkeypatch, tmp_path):
    settings = MetricSettings(pick_score=str(tmp_path), hps_score="./nowhere", siglip="nobody/has-this")
    found = {judge.name: judge for judge in judges_for(settings, "mini")}
    assert (found["image_reward"].needs, found["pick_score"].needs) == ("", "")
    assert found["hps_score"].needs == "It needs the folder ./nowhere, which does not exist."
    assert found["vqa_score"].needs == (
        "It needs weights: set vqa_score in [PROFILE.metrics], to Qwen/Qwen3-VL-4B-Instruct for example."
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = {judge.name: judge for judge in judges_for(settings, "mini")}
    assert (found["siglip_score"].is_here, found["siglip_score"].can_score) == (False, False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    found = {judge.name: judge for judge in judges_for(settings, "mini")}
    assert (found["siglip_score"].is_here, found["siglip_score"].can_score) == (False, True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    missing = next(judge for judge in judges_for(settings, "mini") if judge.name == "text_accuracy")
    assert missing.needs == "It needs rapidocr and onnxruntime: uv sync --extra ocr."


def test_no_rows_give_no_scores(tmp_path):
    (scorer,) = load_scorers(["image_reward"], image_reward_model=str(write_image_reward(tmp_path)))
    assert scorer.score_rows([]) == []


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), (b"", "can't be read"), (b"\x89PNG\r\n\x1a\n", "can't be read")]
)
def test_a_missing_or_torn_picture_is_named(tmp_path, content, message):
    path = tmp_path / "torn.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LlmDitError, match=rf"torn\.png.*{message}"):
        open_image(path)


def test_a_picture_cut_off_in_the_middle_is_named(tmp_path):
    path = save(tmp_path / "cut.png", noise(0, 64))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(LlmDitError, match=r"cut\.png can't be read"):
        open_image(path)


def test_reading_ahead_keeps_the_order_and_holds_few_items():
    held, most, lock = 0, 0, threading.Lock()

    def prepare(item: int) -> int:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return item * 2

    seen = []
    for batch, results in read_ahead(list(range(50)), prepare, batch_size=4):
        assert [item * 2 for item in batch] == results
        seen += results
        with lock:
            held -= len(batch)
    assert seen == [item * 2 for item in range(50)]
    assert most <= 12


def test_sentences_end_at_marks_and_line_breaks_but_not_inside_numbers():
    text = 'A cat. It weighs 3.5 kg!  "Why?" asks a dog\nThe end'
    assert split_sentences(text) == ["A cat.", "It weighs 3.5 kg!", '"Why?"', "asks a dog", "The end"]


def test_a_long_sentence_is_divided_at_commas_and_then_between_words():
    prompt = "one two three, four five, six seven eight nine ten eleven twelve."
    assert split_prompt(prompt, at_most(5)) == [
        "one two three, four five,",
        "six seven eight nine ten",
        "eleven twelve.",
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_every_word_is_in_exactly_one_piece_and_every_piece_fits(limit):
    prompt = "A tabby cat, striped and warm, lies in a pool of sunlight. Dust floats - golden; slow. It sleeps!"
    pieces = split_prompt(prompt, at_most(limit))
    assert " ".join(pieces).split() == prompt.split()
    assert all(at_most(limit)(piece) for piece in pieces)


@pytest.mark.parametrize("prompt", ["", "   ", "word"])
def test_a_prompt_without_sentences_is_one_piece(prompt):
    assert len(split_prompt(prompt, at_most(5))) == 1


def test_equal_pictures_have_no_diversity_and_opposite_ones_more_than_one():
    chequered = np.kron(np.indices((6, 6)).sum(0) % 2, np.ones((4, 4)))[..., None].repeat(3, -1)
    picture = (chequered * 255).astype(np.uint8)
    assert diversity(picture, picture) == pytest.approx(0, abs=1e-12)
    assert diversity(picture, 255 - picture) > 1


def test_two_flat_pictures_have_the_closed_form_of_ssim():
    # without variance SSIM is (2 m1 m2 + C1) / (m1^2 + m2^2 + C1) with C1 = (0.01 * 255)^2
    dark, bright = (np.full((16, 16, 3), value, np.uint8) for value in (50, 150))
    constant = (0.01 * 255) ** 2
    expected = 1 - (2 * 50 * 150 + constant) / (50**2 + 150**2 + constant)
    assert diversity(dark, bright) == pytest.approx(expected, abs=1e-9)


def test_diversity_is_the_mean_over_the_other_seeds_of_the_group(tmp_path):
    pictures = [noise(0), noise(0), noise(1), noise(2)]
    paths = [save(tmp_path / f"{index}.png", values) for index, values in enumerate(pictures)]
    groups = ["cat|3.0", "cat|3.0", "cat|3.0", "cat|4.0"]
    rows = [ScoreInput("cat", path, group) for path, group in zip(paths, groups, strict=True)]
    columns = PixelDiversityScorer().score_rows(rows)
    far = diversity(pictures[0], pictures[2])
    assert [row["pixel_diversity"] for row in columns[:3]] == pytest.approx([far / 2, far / 2, far])
    assert [row["pixel_diversity_seeds"] for row in columns[:3]] == [3, 3, 3]
    assert columns[3] == {}


def test_embedding_diversity_is_the_mean_cosine_distance_to_the_other_seeds(tmp_path):
    folder = write_siglip(tmp_path / "siglip")
    paths = [save(tmp_path / f"{index}.png", noise(seed, 32)) for index, seed in enumerate((0, 0, 1, 2))]
    groups = ["cat|3.0", "cat|3.0", "cat|3.0", "cat|4.0"]
    scorer = EmbeddingDiversityScorer(SigLIPScorer(folder, device="cpu"))
    columns = scorer.score_rows([ScoreInput("cat", *row) for row in zip(paths, groups, strict=True)])
    network = SigLIPJudge(folder).network
    with torch.inference_mode():
        pixels = [torch.tensor(noise(seed, 32)).permute(2, 0, 1)[None] / 127.5 - 1 for seed in (0, 1)]
        same, other = (network.vision_model(pixel_values=values).pooler_output[0].double() for values in pixels)
    far = 1 - float(same @ other / same.norm() / other.norm())
    assert far > 0.001
    assert [row["embedding_diversity"] for row in columns[:3]] == pytest.approx([far / 2, far / 2, far], abs=1e-5)
    assert [row["embedding_diversity_seeds"] for row in columns[:3]] == [3, 3, 3]
    assert columns[3] == {}


def test_metrics_of_one_model_hold_it_once(tmp_path):
    model = str(write_siglip(tmp_path / "siglip"))
    names = ["embedding_distance", "siglip_score", "embedding_diversity"]
    distance, score, diversity_of = load_scorers(names, siglip_model=model, device="cpu")
    assert distance.siglip is score is diversity_of.siglip
    distance, diversity_of = load_scorers([names[0], names[2]], siglip_model=model, device="cpu")
    assert distance.siglip is diversity_of.siglip
