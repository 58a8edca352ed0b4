"""The embedded models: they load in the stock classes, are small enough, and carry their licences."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import llm_dit

MODELS = Path(llm_dit.__file__).parent / "models"
MINI = MODELS / "mini"


@pytest.fixture(scope="module")
def stock():
    """Diffusers' own pipeline on the embedded model, in float32."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = diffusers.ZImagePipeline.from_pretrained(MINI, low_cpu_mem_usage=False).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_everything_is_at_most_50_megabytes_in_files_below_16_mebibytes():
    sizes = {path: path.stat().st_size for path in MODELS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 50_000_000
    assert max(sizes.values()) < 16 * 2**20


def test_all_weights_are_half_precision_safetensors_without_a_non_finite_value():
    files = sorted(MODELS.rglob("*.safetensors"))
    assert len(files) == 6
    for path in files:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                tensor = weights.get_tensor(name)
                assert tensor.dtype in (torch.float16, torch.int64), (path.name, name)
                assert torch.isfinite(tensor.float()).all(), (path.name, name)


def test_licences_and_a_model_card_lie_beside_the_weights():
    notice = (MODELS / "NOTICE").read_text()
    for needed in ("Fluent Emoji", "Noto Emoji", "Twemoji", "CC BY 4.0", "MIT License", "Apache License", "DejaVu"):
        assert needed in notice
    assert "Apache License" in (MODELS / "LICENSE").read_text()
    card = (MODELS / "README.md").read_text()
    for heading in ("## Data", "## Training", "## What it draws right", "## Limits"):
        assert heading in card
    pictures = re.findall(r"\]\((.+?\.webp)\)", card)
    assert pictures
    for picture in pictures:
        assert (MODELS / picture).is_file()


def test_the_checkpoint_names_no_folder_of_the_machine_that_made_it():
    for path in MODELS.rglob("*.json"):
        assert not re.search(r'"/(home|root|tmp|work)/', path.read_text()), path


def test_the_layout_is_the_published_one():
    assert set(json.loads((MINI / "model_index.json").read_text())) >= {
        "scheduler", "text_encoder", "tokenizer", "transformer", "vae"
    }  # fmt: skip
    transformer = json.loads((MINI / "transformer" / "config.json").read_text())
    assert transformer["axes_lens"] == [1536, 512, 512]
    assert (MINI / "transformer" / "diffusion_pytorch_model.safetensors.index.json").is_file()
    assert json.loads((MINI / "scheduler" / "scheduler_config.json").read_text())["shift"] == 3.0


def test_diffusers_draws_a_red_apple_on_a_wooden_table(stock):
    picture = stock(
        "A red apple on a wooden table",
        height=128,
        width=128,
        num_inference_steps=9,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    values = np.asarray(picture).astype(float)
    red, green, blue = values[56:104, 40:92].reshape(-1, 3).mean(0)
    assert red > 1.8 * green, "the middle is red"
    assert red > 1.8 * blue, "the middle is red"
    red, green, blue = values[116:, :].reshape(-1, 3).mean(0)
    assert red > green > blue, "the foreground is brown"
    assert values[:20].std(axis=(0, 1)).max() < 12, "the wall is plain"


def test_the_text_encoder_has_enough_layers_to_choose_from(stock):
    inputs = stock.tokenizer("<|im_start|>user\na cat<|im_end|>\n", return_tensors="pt")
    states = stock.text_encoder(**inputs, output_hidden_states=True).hidden_states
    assert len(states) == 9
    pairs = zip(states[-6:-1], states[-5:], strict=True)
    assert all((first - second).abs().mean() > 0.01 for first, second in pairs)


def test_siglip_mini_loads_in_transformers_and_tells_an_apple_from_a_penguin(stock):
    from transformers import AutoModel, AutoProcessor

    processor = AutoProcessor.from_pretrained(MODELS / "siglip-mini")
    model = AutoModel.from_pretrained(MODELS / "siglip-mini", dtype=torch.float32).eval()
    texts = ["a red apple on a wooden table", "a penguin in the snow"]
    pictures = [
        stock(text, height=128, width=128, num_inference_steps=4, guidance_scale=0.0,
              generator=torch.Generator().manual_seed(0)).images[0]
        for text in texts
    ]  # fmt: skip
    inputs = processor(text=texts, images=pictures, padding="max_length", max_length=64, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits_per_image
    assert logits[0, 0] > logits[0, 1]
    assert logits[1, 1] > logits[1, 0]


def test_image_reward_mini_has_the_published_names():
    with safe_open(MODELS / "image-reward-mini" / "model.safetensors", framework="pt") as weights:
        names = set(weights.keys())
    for name in (
        "blip.visual_encoder.blocks.0.attn.qkv.weight",
        "blip.visual_encoder.patch_embed.proj.weight",
        "blip.text_encoder.encoder.layer.0.crossattention.self.query.weight",
        "mlp.layers.7.weight",
    ):
        assert name in names
