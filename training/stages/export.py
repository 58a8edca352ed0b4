"""Stage 6: from the stages' weights to the folders that ship: half-precision safetensors in the hub's layout.

Usage: `python -m training.stages.export --tokenizer training/build/tokenizer --build training/build
--models src/llm_dit/models`
"""

import json
from pathlib import Path

import click
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipProcessor,
)

from training.learning.flow_network import build_transformer
from training.learning.reward_network import RewardSizes
from training.learning.weights import load_weights
from training.stages.language_model import load_language_model
from training.stages.siglip_mini import PICTURE_SIZE, TEXT_TOKENS, load_siglip
from training.stages.vae import load_vae

SHARD_SIZE = "15MB"
SHIFT = 3.0
ORIGIN_KEYS = frozenset({"_name_or_path", "name_or_path", "is_local", "local_files_only"})


def export_pipeline(tokenizer: Path, build: Path, target: Path) -> None:
    """Write transformer, text encoder, tokenizer, VAE and scheduler as diffusers' ZImagePipeline reads them."""
    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    cpu = torch.device("cpu")
    language_model = load_language_model(vocabulary, build / "language_model.safetensors", cpu)
    language_model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        eos_token_id=[vocabulary.token_to_id("<|im_end|>"), vocabulary.token_to_id("<|endoftext|>")],
        pad_token_id=vocabulary.token_to_id("<|endoftext|>"),
    )
    transformer = load_weights(build_transformer(), build / "transformer.safetensors")
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT),
        vae=load_vae(build / "vae.safetensors", cpu).half(),
        text_encoder=language_model.half(),
        tokenizer=AutoTokenizer.from_pretrained(tokenizer),
        transformer=transformer.half(),
    )
    pipeline.save_pretrained(target, safe_serialization=True, max_shard_size=SHARD_SIZE)
    _drop_origin(target)


def _drop_origin(target: Path) -> None:
    """Remove what the libraries write down of the folder that a component was read from."""
    for path in target.rglob("*.json"):
        values = json.loads(path.read_text())
        if isinstance(values, dict) and not ORIGIN_KEYS.isdisjoint(values):
            kept = {name: value for name, value in values.items() if name not in ORIGIN_KEYS}
            path.write_text(json.dumps(kept, indent=2) + "\n")


def export_siglip(build: Path, target: Path) -> None:
    """Write siglip-mini as transformers' AutoModel and AutoProcessor read it."""
    words = Tokenizer.from_file(str(build / "scorer_tokenizer.json"))
    words.no_truncation()
    words.no_padding()
    model = load_siglip(build / "siglip.safetensors", words.get_vocab_size(), torch.device("cpu"))
    model.half().save_pretrained(target, safe_serialization=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",  # noqa: S106 - a token of text
        unk_token="[UNK]",  # noqa: S106 - a token of text
        cls_token="[CLS]",  # noqa: S106 - a token of text
        sep_token="[SEP]",  # noqa: S106 - a token of text
        model_max_length=TEXT_TOKENS,
        model_input_names=["input_ids"],
    )
    size = {"height": PICTURE_SIZE, "width": PICTURE_SIZE}
    pictures = SiglipImageProcessor(size=size, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    SiglipProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(target)
    _drop_origin(target)


def export_reward(build: Path, target: Path) -> None:
    """Write image-reward-mini with ImageReward's published names; `config.json` adds its sizes and scale."""
    words = Tokenizer.from_file(str(build / "scorer_tokenizer.json"))
    words.no_truncation()
    words.no_padding()
    target.mkdir(parents=True, exist_ok=True)
    sizes = RewardSizes(words.get_vocab_size())
    scale = json.loads((build / "reward.json").read_text())
    save_file(load_file(build / "reward.safetensors"), target / "model.safetensors", metadata={"format": "pt"})
    words.save(str(target / "tokenizer.json"))
    for name, values in (("med_config", sizes.med_config()), ("config", sizes.config(scale["mean"], scale["std"]))):
        (target / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")


@click.command()
@click.option("--tokenizer", type=click.Path(path_type=Path), required=True)
@click.option("--build", type=click.Path(path_type=Path), required=True)
@click.option("--models", type=click.Path(path_type=Path), required=True, help="Folder of the embedded models.")
def main(tokenizer: Path, build: Path, models: Path) -> None:
    """Write mini, siglip-mini and image-reward-mini."""
    export_pipeline(tokenizer, build, models / "mini")
    export_siglip(build, models / "siglip-mini")
    export_reward(build, models / "image-reward-mini")
    total = sum(path.stat().st_size for path in models.rglob("*") if path.is_file())
    print(f"exported {total / 1e6:.1f} MB to {models}")


if __name__ == "__main__":
    main()
