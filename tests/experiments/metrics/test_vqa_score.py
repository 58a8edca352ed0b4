"""Qwen3-VL as a judge, beside transformers' own image processor and generation."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer
from transformers import Qwen3VLForConditionalGeneration
from vqa_models import LIMITS, PATCH, VOCABULARY, write_vqa

from experiments.metrics.declaration import ScoreInput
from experiments.metrics.vqa_score import VQAScorer
from llm_dit.errors import LlmDitError

PROCESSOR = getattr(transformers, "Qwen2VLImageProcessorPil", None) or transformers.Qwen2VLImageProcessor  # before 5.4


def picture(seed: int, width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_vqa(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def scorer(folder) -> VQAScorer:
    return VQAScorer(folder, device="cpu")


@pytest.fixture(scope="module")
def reference(folder):
    """The probability of "Yes" by transformers' processor of pictures and its generation of one token."""
    processor = PROCESSOR(
        size=LIMITS, patch_size=PATCH, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def probability(image: Image.Image, text: str) -> float:
        seen = processor(image, return_tensors="pt")
        pads = "<|image_pad|>" * (int(seen["image_grid_thw"].prod()) // 4)
        asked = f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"
        ids = torch.tensor([tokenizer.encode(asked).ids])
        kinds = (ids == VOCABULARY["<|image_pad|>"]).int()
        answer = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=kinds,
            **seen,
            max_new_tokens=1,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=0,
        )
        return float(answer.logits[0][0].softmax(-1)[VOCABULARY["Yes"]])

    return probability


def test_the_probability_of_yes_equals_transformers_own(scorer, reference):
    images = [picture(0, 16, 16), picture(1, 40, 24), picture(2, 61, 90), picture(3, 6, 5)]
    prompts = ["a red cat", "ice", "a cat on ice", "red"]
    ours = scorer.score_batch(prompts, images)
    expected = [
        reference(image, f'Does this picture show "{prompt}"? Please answer yes or no.')
        for image, prompt in zip(images, prompts, strict=True)
    ]
    difference = np.abs(np.array(ours) - expected)
    assert np.ptp(ours) > 0.01, f"the random model is too flat to test anything: {ours}"
    assert difference.max() < 1e-4, f"max {difference.max():.2e}: {ours} {expected}"


def test_means_over_the_questions_of_the_prompts_file(scorer, reference, tmp_path):
    image = picture(1, 40, 24)
    image.save(tmp_path / "0.png")
    questions = ("Is there a red cat?", "Is there ice?", "Is there a red cat?")
    asked, whole = scorer.score_rows(
        [ScoreInput("a cat", tmp_path / "0.png", questions=questions), ScoreInput("a cat", tmp_path / "0.png")]
    )
    one, two = (reference(image, f"{question} Please answer yes or no.") for question in questions[:2])
    assert asked["vqa_score"] == pytest.approx((one + two) / 2, abs=1e-4)
    assert asked["vqa_score_geometric"] == pytest.approx((one * two) ** 0.5, abs=1e-4)
    assert (asked["vqa_score_whole"], whole["vqa_score_whole"]) == (False, True)
    assert whole["vqa_score"] == pytest.approx(whole["vqa_score_geometric"], abs=1e-9)
    assert list(asked) == [column.name for column in scorer.metric.columns]


def test_another_model_missing_weights_and_tokens_are_named(folder, tmp_path):
    with pytest.raises(LlmDitError, match=r"has no tokenizer\.json"):
        VQAScorer(tmp_path)
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(LlmDitError, match="holds a siglip model, not a qwen3_vl one; Qwen/Qwen3-VL-4B-Instruct is one"):
        VQAScorer(tmp_path)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({name: weight for name, weight in weights.items() if name != gone}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(LlmDitError, match=rf"does not fit its config\.json: 1 missing \(.*{gone[-20:]}\)"):
        VQAScorer(tmp_path)
    with pytest.raises(LlmDitError, match="too elongated for Qwen3-VL"):
        VQAScorer(folder, device="cpu").score("a cat", Image.new("RGB", (500, 2)))
