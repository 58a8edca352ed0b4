"""ImageReward against an independent computation from the published layout, and its loading."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from metric_models import (
    IMAGE_SIZE,
    MAX_LENGTH,
    MEAN,
    PATCH,
    STD,
    TEXT,
    VISION,
    bert_tokenizer,
    bert_vocabulary,
    image_reward_shapes,
    image_reward_weights,
    write_image_reward,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from experiments.metrics import ImageRewardScorer, ScoreInput
from experiments.metrics.images import crop_to_square, normalise
from experiments.metrics.selftest import FILES as KNOWN
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.errors import LlmDitError

SHORT = "a cat sits on the table"
LONG = "a red cat sits on the big table. the small dog sits in the sun, with two blue apples on ice."


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_image_reward(tmp_path_factory.mktemp("scorers") / "random-reward")


@pytest.fixture(scope="module")
def scorer(folder) -> ImageRewardScorer:
    return ImageRewardScorer(folder, device="cpu")


def picture(seed: int, width: int = IMAGE_SIZE, height: int = IMAGE_SIZE) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


# The published network once more, from its layout alone: timm's vision transformer and BLIP's med.py, in plain torch.


def linear(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights, name, x, eps):
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attend(query, key, value, heads, mask=None):
    def split(x):
        return x.reshape(x.shape[0], heads, -1).transpose(0, 1)

    scores = split(query) @ split(key).transpose(1, 2) / (query.shape[-1] // heads) ** 0.5
    if mask is not None:
        scores = scores + (1 - mask.float()) * -10000.0
    return (scores.softmax(-1) @ split(value)).transpose(0, 1).reshape(query.shape[0], -1)


def reference_vision(weights, pixels):
    root = "blip.visual_encoder"
    patches = F.unfold(pixels[None], PATCH, stride=PATCH)[0].T
    kernel = weights[f"{root}.patch_embed.proj.weight"].flatten(1)
    tokens = patches @ kernel.T + weights[f"{root}.patch_embed.proj.bias"]
    x = torch.cat([weights[f"{root}.cls_token"][0], tokens]) + weights[f"{root}.pos_embed"][0]
    for layer in range(VISION["num_hidden_layers"]):
        block = f"{root}.blocks.{layer}"
        query, key, value = linear(weights, f"{block}.attn.qkv", norm(weights, f"{block}.norm1", x, 1e-6)).chunk(3, -1)
        mixed = attend(query, key, value, VISION["num_attention_heads"])
        x = x + linear(weights, f"{block}.attn.proj", mixed)
        inner = F.gelu(linear(weights, f"{block}.mlp.fc1", norm(weights, f"{block}.norm2", x, 1e-6)))
        x = x + linear(weights, f"{block}.mlp.fc2", inner)
    return norm(weights, f"{root}.norm", x, 1e-6)


def reference_reward(weights, ids, mask, pixels):
    image = reference_vision(weights, pixels)
    root = "blip.text_encoder"
    x = weights[f"{root}.embeddings.word_embeddings.weight"][ids]
    x = x + weights[f"{root}.embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(weights, f"{root}.embeddings.LayerNorm", x, 1e-12)
    for layer in range(TEXT["num_hidden_layers"]):
        block = f"{root}.encoder.layer.{layer}"
        for name, source, key_mask in (("attention", None, mask), ("crossattention", image, None)):
            keys_from = x if source is None else source
            parts = [linear(weights, f"{block}.{name}.self.query", x)]
            parts += [linear(weights, f"{block}.{name}.self.{part}", keys_from) for part in ("key", "value")]
            mixed = linear(
                weights, f"{block}.{name}.output.dense", attend(*parts, TEXT["num_attention_heads"], key_mask)
            )
            x = norm(weights, f"{block}.{name}.output.LayerNorm", mixed + x, 1e-12)
        inner = F.gelu(linear(weights, f"{block}.intermediate.dense", x))
        x = norm(weights, f"{block}.output.LayerNorm", linear(weights, f"{block}.output.dense", inner) + x, 1e-12)
    y = x[0]
    for index in (0, 2, 4, 6, 7):
        y = linear(weights, f"mlp.layers.{index}", y)
    return (y.item() - MEAN) / STD


def reference_score(prompt: str, image: Image.Image) -> float:
    encoding = bert_tokenizer().encode(prompt)
    ids = encoding.ids if len(encoding.ids) <= MAX_LENGTH else [*encoding.ids[: MAX_LENGTH - 1], 3]
    mask = torch.tensor([1] * len(ids) + [0] * (MAX_LENGTH - len(ids)))
    ids = torch.tensor(ids + [0] * (MAX_LENGTH - len(ids)))
    pixels = np.asarray(image, dtype=np.float64) / 255
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    normalised = torch.tensor(((pixels - mean) / std).transpose(2, 0, 1), dtype=torch.float32)
    return reference_reward(image_reward_weights(), ids, mask, normalised)


def test_the_reward_equals_an_independent_computation_from_the_published_layout(scorer):
    prompts = [SHORT, "a dog", "red apples in the sun", LONG]
    images = [picture(seed) for seed in range(4)]
    ours = np.array(scorer.score_batch(prompts, images))
    reference = np.array([reference_score(prompt, image) for prompt, image in zip(prompts, images, strict=True)])
    difference = np.abs(ours - reference)
    assert np.ptp(reference) > 0.1, f"the random model is too flat to test anything: {reference}"
    assert difference.max() < 1e-4, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_a_reward_does_not_depend_on_the_batch(scorer):
    prompts = [SHORT, LONG, "a dog"] * 7
    images = [picture(seed) for seed in range(21)]
    together = np.array(scorer.score_batch(prompts, images))
    alone = np.array([scorer.score(prompt, image) for prompt, image in zip(prompts, images, strict=True)])
    assert np.abs(together - alone).max() < 2e-5, f"max {np.abs(together - alone).max():.2e}"


def test_the_best_image_has_rank_one_and_equal_images_keep_their_order(scorer):
    images = [picture(0), picture(1), picture(0), picture(2)]
    ranks, rewards = scorer.rank(SHORT, images)
    assert sorted(ranks) == [1, 2, 3, 4]
    assert ranks[int(np.argmax(rewards))] == 1
    assert ranks[2] == ranks[0] + 1


@pytest.mark.parametrize(("images", "given"), [(picture(1), "Image"), ("a.png", "str"), (None, "NoneType")])
def test_one_picture_is_no_ranking(scorer, images, given):
    with pytest.raises(LlmDitError, match=f"^rank needs a list of images, not {given}\\.$"):
        scorer.rank("A cat", images)


def test_a_prompt_beyond_the_tokens_read_is_flagged_and_its_end_ignored(scorer, tmp_path):
    path = tmp_path / "image.png"
    picture(0).save(path)
    fits = "a cat sits on the table with a dog in ice"[: -len(" in ice")]  # 10 tokens with the frame
    rows = [ScoreInput(prompt, path) for prompt in (fits, LONG, LONG + " a river.")]
    columns = scorer.score_rows(rows)
    assert [row["image_reward_truncated"] for row in columns] == [False, True, True]
    assert columns[1]["image_reward"] == pytest.approx(columns[2]["image_reward"], abs=1e-6)
    assert columns[1]["image_reward_chunked"] != pytest.approx(columns[2]["image_reward_chunked"], abs=1e-4)


def test_the_chunked_reward_is_the_mean_over_the_pieces(scorer, tmp_path):
    path = tmp_path / "image.png"
    picture(3).save(path)
    pieces = ["a red cat sits on the big table.", "the small dog sits in the sun,", "with two blue apples on ice."]
    (row,) = scorer.score_rows([ScoreInput(LONG, path)])
    expected = np.mean(scorer.score_batch(pieces, [path] * 3))
    assert row["image_reward_chunked"] == pytest.approx(expected, abs=1e-5)
    (single,) = scorer.score_rows([ScoreInput(SHORT, path)])
    assert single["image_reward_chunked"] == pytest.approx(single["image_reward"], abs=1e-6)


def test_only_images_that_are_not_square_are_flagged_as_cropped(scorer, tmp_path):
    sizes = {"square": (40, 40), "wide": (48, 32), "tall": (32, 48)}
    for name, (width, height) in sizes.items():
        picture(0, width, height).save(tmp_path / f"{name}.png")
    rows = scorer.score_rows([ScoreInput("a cat", tmp_path / f"{name}.png") for name in sizes])
    assert [row["image_reward_cropped"] for row in rows] == [False, True, True]


def test_the_crop_keeps_the_centre_of_the_longer_side():
    bands = np.zeros((32, 96, 3), np.uint8)
    bands[:, 32:64] = 200
    assert np.unique(np.asarray(crop_to_square(Image.fromarray(bands), 32))).tolist() == [200]


def test_the_crop_rounds_sizes_and_offsets_as_torchvision_does():
    # Resize(224) of 300 x 451 gives 224 x int(224 * 451 / 300) = 336; CenterCrop starts at round(112 / 2) = 56
    ramp = np.repeat(np.arange(451, dtype=np.uint8)[:, None, None] // 2, 300, axis=1).repeat(3, axis=2)
    scaled = Image.fromarray(ramp).resize((224, 336), Image.Resampling.BICUBIC)
    assert crop_to_square(Image.fromarray(ramp), 224).tobytes() == scaled.crop((0, 56, 224, 280)).tobytes()


def test_pixels_are_normalised_per_channel():
    pixels = normalise(Image.new("RGB", (2, 2), (255, 0, 51)), (0.5, 0.25, 0.0), (0.5, 0.5, 0.1))
    assert pixels.shape == (3, 2, 2)
    assert pixels[:, 0, 0].tolist() == pytest.approx([1.0, -0.5, 2.0])


def test_the_published_pickle_and_safetensors_give_one_score(scorer, tmp_path):
    from_pickle = ImageRewardScorer(write_image_reward(tmp_path, as_pickle=True), device="cpu")
    assert from_pickle.score(SHORT, picture(1)) == pytest.approx(scorer.score(SHORT, picture(1)), abs=1e-5)


def test_keys_without_influence_may_be_in_the_file(scorer, tmp_path):
    extra = {
        "blip.text_encoder.embeddings.position_ids": torch.arange(20)[None],
        "blip.vision_proj.weight": torch.zeros(4, 24),
        "blip.text_proj.bias": torch.zeros(4),
    }
    score = ImageRewardScorer(write_image_reward(tmp_path, **extra)).score("a cat", picture(1))
    assert score == pytest.approx(scorer.score("a cat", picture(1)), abs=1e-5)


@pytest.mark.parametrize("name", sorted(image_reward_shapes())[::9])
def test_a_missing_weight_is_named(tmp_path, name):
    folder = write_image_reward(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(LlmDitError, match=rf"1 missing: {name}"):
        ImageRewardScorer(folder)


def test_spare_and_misshapen_weights_are_named(tmp_path):
    changed = {"blip.itm_head.weight": torch.zeros(2), "mlp.layers.7.weight": torch.zeros(2, 16)}
    with pytest.raises(LlmDitError, match=r"not known: blip\.itm_head\.weight") as raised:
        ImageRewardScorer(write_image_reward(tmp_path, **changed))
    assert "mlp.layers.7.weight (2, 16) instead of (1, 16)" in str(raised.value)


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap-was-run"),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_image_reward(tmp_path / "model", as_pickle=True)
    torch.save({"weights": _Trap()}, folder / "ImageReward.pt")
    with pytest.raises(LlmDitError, match="could run code"):
        ImageRewardScorer(folder)
    (folder / "ImageReward.pt").write_bytes(pickle.dumps(_Trap(), protocol=2))
    with pytest.raises(LlmDitError, match=r"ImageReward\.pt"):
        ImageRewardScorer(folder)
    assert not Path("trap-was-run").exists()


@pytest.mark.parametrize("as_pickle", [True, False])
def test_a_torn_weights_file_is_one_sentence(tmp_path, as_pickle):
    folder = write_image_reward(tmp_path, as_pickle=as_pickle)
    path = folder / ("ImageReward.pt" if as_pickle else "model.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LlmDitError, match=r"is damaged and can't be read"):
        ImageRewardScorer(folder)


def test_without_config_json_the_sizes_and_constants_are_the_published_ones(tmp_path):
    from experiments.metrics.image_reward_model import ImageRewardConfig

    folder = write_image_reward(tmp_path)
    (folder / "config.json").unlink()
    head = ImageRewardConfig.from_folder(folder).head
    (folder / "config.json").write_text('{"library_name": "a file that a hub repository may hold"}')
    assert ImageRewardConfig.from_folder(folder).head == head
    assert (head.mean, head.std, head.max_length) == (0.16717362830052426, 1.0333394966054072, 35)
    assert head.mlp_hidden_sizes == (1024, 128, 64, 16)
    assert head.vision_config.model_dump() == {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "image_size": 224,
        "patch_size": 16,
    }


def test_the_published_sizes_make_the_published_file_of_1_79_gigabytes():
    from experiments.metrics.image_reward_model import PUBLISHED, ImageRewardConfig, ImageRewardModel, TextSizes

    text = TextSizes(
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        vocab_size=30524,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        pad_token_id=0,
    )
    with torch.device("meta"):
        network = ImageRewardModel(ImageRewardConfig(text=text, head=PUBLISHED))
    unused_projections = (1024 + 1) * 256 + (768 + 1) * 256
    weights = sum(weight.numel() for weight in network.parameters()) + unused_projections
    assert weights * 4 / 1e9 == pytest.approx(1.79, abs=0.005)


def test_a_vocab_file_gives_the_tokens_of_the_tokenizer_file(tmp_path):
    from experiments.metrics.bert_tokenizer import load_bert_tokenizer

    folder = write_image_reward(tmp_path)
    size = len(bert_vocabulary()) + 2
    from_json = load_bert_tokenizer(folder, size, MAX_LENGTH).encode([SHORT, LONG])
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary()))
    from_vocabulary = load_bert_tokenizer(folder, size, MAX_LENGTH).encode([SHORT, LONG])
    assert [values.tolist() for values in from_json] == [values.tolist() for values in from_vocabulary]


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    folder = write_image_reward(tmp_path)
    tokenizer = bert_tokenizer()
    tokenizer.add_tokens(["extra"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(LlmDitError, match=r"has \d+ tokens, but the model's vocabulary has \d+"):
        ImageRewardScorer(folder)


def test_the_scale_is_read_from_the_folder(scorer, tmp_path):
    folder = write_image_reward(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mean": MEAN + STD}))
    shifted = ImageRewardScorer(folder, device="cpu")
    assert shifted.score("a cat", picture(0)) == pytest.approx(scorer.score("a cat", picture(0)) - 1, abs=1e-5)


def test_the_metric_names_the_weights_it_was_loaded_from(scorer, folder, tmp_path):
    same = ImageRewardScorer(write_image_reward(tmp_path / "random-reward"))
    other = ImageRewardScorer(write_image_reward(tmp_path / "random-reward", **{"mlp.layers.7.bias": torch.ones(1)}))
    assert scorer.metric.model == same.metric.model
    assert scorer.metric.model.startswith("random-reward@")
    assert scorer.metric.model != other.metric.model


def test_the_embedded_reward_says_the_same_of_mirrored_copies():
    scorer = ImageRewardScorer("image-reward-mini", device="cpu")
    whole = [Image.open(path).convert("RGB") for path in sorted(KNOWN.glob("*.png"))]
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in whole]
    prompts = ["Two houses with red roofs by the sea"] * len(whole)
    rewards = np.array(scorer.score_batch(prompts, whole))
    assert np.ptp(rewards) > 0.5
    assert np.abs(rewards - scorer.score_batch(prompts, mirrored)).max() < 1e-5


def test_the_embedded_reward_s_filters_and_positions_are_their_own_mirror_images():
    weights = load_file(EMBEDDED_MODELS / "image-reward-mini" / "model.safetensors")
    filters = weights["blip.visual_encoder.patch_embed.proj.weight"]
    columns = weights["blip.visual_encoder.pos_embed"][0, 1:].unflatten(0, (8, 8))
    assert torch.equal(filters, filters.flip(-1))
    assert torch.equal(columns, columns.flip(1))
