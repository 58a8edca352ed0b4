"""Scorers of the published sizes with random weights: what judging costs, without the downloads.

    python -m benchmarks.random_scorers FOLDER --device cuda

Writes `FOLDER/siglip` (siglip2-giant-opt-patch16-384) and `FOLDER/image-reward` (ImageReward-v1.0), with the embedded
scorers' tokenizers. Their numbers say nothing.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.full_size import randomise
from experiments.metrics.image_reward_model import PUBLISHED, ImageRewardConfig, ImageRewardModel, TextSizes
from experiments.metrics.image_reward_model import _published_name as published_name
from llm_dit.checkpoints.finding import EMBEDDED_MODELS

VOCABULARY = 256_000
SIGLIP_TEXT = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "max_position_embeddings": 64,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "projection_size": 1536,
    "vocab_size": VOCABULARY,
}
SIGLIP_VISION = {
    "hidden_size": 1536,
    "image_size": 384,
    "intermediate_size": 6144,
    "num_attention_heads": 16,
    "num_hidden_layers": 40,
    "patch_size": 16,
}
IMAGE_REWARD_TEXT = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
"""But for the vocabulary, which is the embedded tokenizer's."""


def write_siglip(folder: Path, device: torch.device, **smaller: Any) -> None:
    """Write a random SigLIP in half precision, as the published ones are.

    Args:
        folder: Is created.
        device: Where weights are drawn.
        smaller: Values in place of those of both towers.
    """
    from transformers import SiglipConfig, SiglipModel

    embedded = EMBEDDED_MODELS / "siglip-mini"
    small = json.loads((embedded / "config.json").read_text(encoding="utf-8"))
    text, vision = small["text_config"] | SIGLIP_TEXT | smaller, small["vision_config"] | SIGLIP_VISION | smaller
    with torch.device(device):
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).half()
    randomise(model)
    model.save_pretrained(folder)
    processor = json.loads((embedded / "processor_config.json").read_text(encoding="utf-8"))
    processor["image_processor"]["size"] = {"height": vision["image_size"], "width": vision["image_size"]}
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder / name)


def write_image_reward(folder: Path, device: torch.device, **smaller: Any) -> None:
    """Write a random ImageReward of the published sizes.

    Args:
        folder: Is created.
        device: Where weights are drawn.
        smaller: Values in place of those of the text encoder.
    """
    from safetensors.torch import save_file

    embedded = EMBEDDED_MODELS / "image-reward-mini"
    text = json.loads((embedded / "med_config.json").read_text(encoding="utf-8")) | IMAGE_REWARD_TEXT | smaller
    text["encoder_width"] = PUBLISHED.vision_config.hidden_size
    with torch.device(device):
        model = ImageRewardModel(ImageRewardConfig(text=TextSizes.model_validate(text), head=PUBLISHED))
    randomise(model)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {published_name(name): weight.contiguous().cpu() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "med_config.json").write_text(json.dumps(text), encoding="utf-8")
    shutil.copy(embedded / "tokenizer.json", folder / "tokenizer.json")


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--device", default="cpu", show_default=True, help="Where weights are drawn.")
def main(folder: Path, device: str) -> None:
    """Write both."""
    write_siglip(folder / "siglip", torch.device(device))
    write_image_reward(folder / "image-reward", torch.device(device))
    print(folder)


if __name__ == "__main__":
    main()
