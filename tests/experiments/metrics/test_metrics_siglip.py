"""SigLIP against an independent computation, and its loading."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from metric_models import WORDS, write_siglip
from PIL import Image
from safetensors.torch import load_file, save_file

from experiments.metrics import ScoreInput, SigLIPScorer, compute_siglip_score
from experiments.metrics.siglip import SigLIPJudge
from llm_dit.errors import LlmDitError

HEADS, EPS = 4, 1e-6
PROMPT = "a red cat sits on the table"
LONG = "a cat and a dog " * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_siglip(tmp_path_factory.mktemp("scorers") / "random-siglip")


@pytest.fixture(scope="module")
def scorer(folder) -> SigLIPScorer:
    return SigLIPScorer(folder, device="cpu")


def picture(seed: int, width: int = 32, height: int = 32) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


# SigLIP once more, from its weights alone.


def linear(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights, name, x):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPS)


def attend(query, key, value):
    def split(x):
        return x.reshape(x.shape[0], HEADS, -1).transpose(0, 1)

    scores = split(query) @ split(key).transpose(1, 2) / (query.shape[-1] // HEADS) ** 0.5
    return (scores.softmax(-1) @ split(value)).transpose(0, 1).reshape(query.shape[0], -1)


def feed_forward(weights, name, x):
    return linear(weights, f"{name}.fc2", F.gelu(linear(weights, f"{name}.fc1", x), approximate="tanh"))


def tower(weights, root, x):
    for layer in range(2):
        block = f"{root}.encoder.layers.{layer}"
        inner = norm(weights, f"{block}.layer_norm1", x)
        parts = [linear(weights, f"{block}.self_attn.{part}_proj", inner) for part in "qkv"]
        x = x + linear(weights, f"{block}.self_attn.out_proj", attend(*parts))
        x = x + feed_forward(weights, f"{block}.mlp", norm(weights, f"{block}.layer_norm2", x))
    return x


def reference_image(weights, pixels):
    root = "vision_model"
    patches = F.unfold(pixels[None], 8, stride=8)[0].T
    kernel = weights[f"{root}.embeddings.patch_embedding.weight"].flatten(1)
    x = patches @ kernel.T + weights[f"{root}.embeddings.patch_embedding.bias"]
    x = tower(weights, root, x + weights[f"{root}.embeddings.position_embedding.weight"])
    x = norm(weights, f"{root}.post_layernorm", x)
    width = x.shape[-1]
    kernel, bias = weights[f"{root}.head.attention.in_proj_weight"], weights[f"{root}.head.attention.in_proj_bias"]
    query = weights[f"{root}.head.probe"][0] @ kernel[:width].T + bias[:width]
    key, value = (x @ kernel[width:].T + bias[width:]).chunk(2, -1)
    pooled = linear(weights, f"{root}.head.attention.out_proj", attend(query, key, value))
    pooled = pooled + feed_forward(weights, f"{root}.head.mlp", norm(weights, f"{root}.head.layernorm", pooled))
    return pooled[0]


def reference_text(weights, prompt):
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    ids = [vocabulary.get(word, 2) for word in prompt.lower().split()][:63]
    ids = torch.tensor([*ids, 1] + [0] * (63 - len(ids)))
    root = "text_model"
    x = weights[f"{root}.embeddings.token_embedding.weight"][ids]
    x = tower(weights, root, x + weights[f"{root}.embeddings.position_embedding.weight"])
    return linear(weights, f"{root}.head", norm(weights, f"{root}.final_layer_norm", x)[-1])


def reference(folder, prompt, image):
    weights = load_file(folder / "model.safetensors")
    pixels = torch.tensor(np.asarray(image, dtype=np.float64).transpose(2, 0, 1) / 255 * 2 - 1, dtype=torch.float32)
    image_embed, text_embed = reference_image(weights, pixels), reference_text(weights, prompt)
    cosine = (image_embed @ text_embed / image_embed.norm() / text_embed.norm()).item()
    return cosine, cosine * np.exp(2.0) - 3.0


def test_cosine_and_logit_equal_an_independent_computation(scorer, folder, tmp_path):
    rows, expected = [], []
    for seed, prompt in enumerate([PROMPT, "A Red CAT", "two apple in the river"]):
        path = tmp_path / f"{seed}.png"
        picture(seed).save(path)
        rows.append(ScoreInput(prompt, path))
        expected.append(reference(folder, prompt, picture(seed)))
    ours = np.array([(row["siglip_score"], row["siglip_logit"]) for row in scorer.score_rows(rows)])
    difference = np.abs(ours - np.array(expected))
    assert np.ptp(ours[:, 0]) > 0.01, f"the random model is too flat to test anything: {ours[:, 0]}"
    assert difference.max() < 1e-4, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_a_score_does_not_depend_on_the_batch(scorer):
    prompts = [PROMPT, LONG, "a", "blue ice", "two big dog in the sun"] * 4
    images = [picture(seed) for seed in range(20)]
    together = np.array(scorer.score_batch(prompts, images))
    alone = np.array([scorer.score(prompt, image) for prompt, image in zip(prompts, images, strict=True)])
    assert np.abs(together - alone).max() < 2e-6, f"max {np.abs(together - alone).max():.2e}"


def test_letter_case_does_not_matter(scorer):
    assert scorer.score("A Red CAT", picture(1)) == pytest.approx(scorer.score("a red cat", picture(1)), abs=1e-6)


def test_only_a_prompt_beyond_64_tokens_is_flagged(scorer, tmp_path):
    path = tmp_path / "image.png"
    picture(0).save(path)
    exact = " ".join(["cat"] * 63)  # and the end token: 64
    rows = scorer.score_rows([ScoreInput(prompt, path) for prompt in (exact, exact + " dog", "")])
    assert [row["siglip_truncated"] for row in rows] == [False, True, False]
    assert rows[0]["siglip_score"] == pytest.approx(rows[1]["siglip_score"], abs=1e-6)


def test_preparing_equals_transformers_own_image_processor(folder):
    import transformers

    own = getattr(transformers, "SiglipImageProcessorPil", None) or transformers.SiglipImageProcessor  # before 5.4
    image = picture(3, 77, 45)
    processor = own.from_pretrained(folder)
    theirs = np.asarray(processor(images=image)["pixel_values"][0])
    difference = np.abs(SigLIPJudge(folder).prepare(image) - theirs)
    assert difference.max() < 1e-6, f"max {difference.max():.2e}"


@pytest.mark.parametrize(("change", "fault"), [("drop", "1 missing"), ("add", "1 spare"), ("reshape", "1 misshapen")])
def test_weights_that_do_not_fit_are_refused(tmp_path, change, fault):
    folder = write_siglip(tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = "text_model.head.weight"
    if change == "drop":
        del weights[name]
    elif change == "add":
        weights["text_model.spare"] = torch.zeros(2)
    else:
        weights[name] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LlmDitError, match=fault):
        SigLIPScorer(folder)


def test_weights_in_several_files_are_put_together(scorer, tmp_path):
    folder = write_siglip(tmp_path)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, of_shard in shards.items():
        save_file({name: weights[name] for name in of_shard}, folder / file)
    index = {"weight_map": {name: file for file, of_shard in shards.items() for name in of_shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    score = SigLIPScorer(folder, device="cpu").score(PROMPT, picture(1))
    assert score == pytest.approx(scorer.score(PROMPT, picture(1)), abs=1e-6)


def test_a_torn_weights_file_is_one_sentence(tmp_path):
    folder = write_siglip(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LlmDitError, match="truncated or damaged"):
        SigLIPScorer(folder)


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(LlmDitError, match="holds a siglip2 model"):
        SigLIPScorer(tmp_path)


def test_a_preprocessor_that_crops_pixels_differently_is_refused(tmp_path):
    folder = write_siglip(tmp_path)
    config = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**config, "do_normalize": False}))
    with pytest.raises(LlmDitError, match="do_normalize is wrong"):
        SigLIPScorer(folder)


def test_the_image_processor_may_stand_in_the_newer_file(tmp_path):
    older, folder = write_siglip(tmp_path / "older"), write_siglip(tmp_path / "newer")
    config = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": config}))
    image = picture(4, 50, 40)
    assert np.array_equal(SigLIPJudge(folder).prepare(image), SigLIPJudge(older).prepare(image))


def test_the_function_gives_the_scorers_value(scorer, folder):
    assert compute_siglip_score(PROMPT, picture(2), model=folder, device="cpu") == pytest.approx(
        scorer.score(PROMPT, picture(2)), abs=1e-6
    )
