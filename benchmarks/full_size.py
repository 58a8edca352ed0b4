"""The real model's size without its weights: random parameters in the published layout, made where they are needed.

A model with random weights costs what the real one costs. Builders for the benchmarks, and a command that writes a
whole random checkpoint folder, so that everything from `generate.py` to an experiment can be timed at full size:

    python -m benchmarks.full_size z-image-random --device cuda
    python -m benchmarks.full_size z-image-small --config tiny

The pictures are noise. The tokenizer is trained on a text of yours, so that a word costs about one token, as with the
real one.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch
from huggingface_hub import save_torch_state_dict
from torch import nn

from llm_dit.checkpoints import published
from llm_dit.checkpoints.finding import EMBEDDED_MODELS
from llm_dit.networks.transformer import ZImageTransformer
from llm_dit.networks.transformer_config import ZImageTransformerConfig

TRANSFORMERS = ("full", "mini", "tiny")
"""`mini` has the sizes of the embedded miniature, `tiny` is for trying a benchmark out."""
TINY_TRANSFORMER = {
    "axes_dims": [8, 12, 12],
    "cap_feat_dim": 32,
    "dim": 64,
    "n_heads": 2,
    "n_kv_heads": 2,
    "n_layers": 2,
    "n_refiner_layers": 1,
}

QWEN3_CONFIGS: dict[str, dict[str, Any]] = {"full": published.TEXT_ENCODER}
QWEN3_CONFIGS["tiny"] = QWEN3_CONFIGS["full"] | {
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "num_key_value_heads": 1,
    "vocab_size": 8192,
}

VAE_CONFIGS: dict[str, dict[str, Any]] = {"full": published.VAE}
VAE_CONFIGS["tiny"] = VAE_CONFIGS["full"] | {"block_out_channels": [8, 8, 16, 16], "norm_num_groups": 4}

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
MODEL_INDEX = {
    "_class_name": "ZImagePipeline",
    "_diffusers_version": "0.36.0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
WEIGHT_STD = 0.02
SHARD_SIZE = "5GB"
TOKENIZER_WORDS = 8000
"""Below the vocabulary of `tiny`."""


def transformer_config(name: str) -> dict[str, Any]:
    """Return the configuration of a transformer of `TRANSFORMERS`."""
    if name == "mini":
        shipped = json.loads((EMBEDDED_MODELS / "mini" / "transformer" / "config.json").read_text())
        return {key: shipped[key] for key in published.TRANSFORMER}
    return published.TRANSFORMER | (TINY_TRANSFORMER if name == "tiny" else {})


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Draw weights that keep activations in range: gains near 1, everything else near 0, both with deviation 0.02.

    Equal names, shapes and device give equal weights, whatever the order of the parameters.
    """
    with torch.no_grad():
        for index, (name, parameter) in enumerate(sorted(module.named_parameters())):
            generator = torch.Generator(parameter.device).manual_seed(seed + index)
            is_gain = parameter.ndim == 1 and "norm" in name and name.endswith("weight")
            parameter.normal_(1.0 if is_gain else 0.0, WEIGHT_STD, generator=generator)


def build_ours(name: str, device: torch.device, dtype: torch.dtype) -> ZImageTransformer:
    """Make our transformer on `device`, with random weights and the published parameter names."""
    with torch.device("meta"):
        model = ZImageTransformer(ZImageTransformerConfig.from_dict(transformer_config(name)))
    _materialise(model, device, dtype)
    return model


def build_diffusers(name: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Make diffusers' transformer with the weights of `build_ours`."""
    from diffusers import ZImageTransformer2DModel

    with torch.device("meta"):
        model: nn.Module = ZImageTransformer2DModel(**transformer_config(name))
    _materialise(model, device, dtype)
    return model


def build_vae(name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Make diffusers' `AutoencoderKL` with random weights."""
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(**VAE_CONFIGS[name])
    _materialise(vae, device, dtype)
    return vae


def build_text_encoder(name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """Make transformers' `Qwen3ForCausalLM` with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    # Not on the meta device: its rotary buffer is computed in the constructor and would stay empty.
    default_dtype = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        encoder = Qwen3ForCausalLM(Qwen3Config(**QWEN3_CONFIGS[name]))
    torch.set_default_dtype(default_dtype)
    randomise(encoder)
    return encoder.eval().requires_grad_(False)


def write_checkpoint(folder: Path, name: str, device: torch.device, dtype: torch.dtype, tokenizer_text: str) -> None:
    """Write a random checkpoint in the hub's layout, one component after the other.

    Args:
        folder: Is created; needs 21 GB for `full` in bfloat16.
        name: `full` or `tiny`.
        device: Where weights are drawn.
        dtype: Of the stored weights.
        tokenizer_text: What the tokenizer learns its words from.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    (folder / "transformer").mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2))
    config = {"_class_name": "ZImageTransformer2DModel", **transformer_config(name)}
    (folder / "transformer" / "config.json").write_text(json.dumps(config, indent=2))
    save_torch_state_dict(
        build_ours(name, device, dtype).state_dict(),
        folder / "transformer",
        filename_pattern="diffusion_pytorch_model{suffix}.safetensors",
        max_shard_size=SHARD_SIZE,
    )
    build_text_encoder(name, device, dtype).save_pretrained(folder / "text_encoder", max_shard_size=SHARD_SIZE)
    build_vae(name, device, dtype).save_pretrained(folder / "vae")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    write_tokenizer(folder / "tokenizer", tokenizer_text)


def write_tokenizer(folder: Path, text: str) -> None:
    """Train a byte-level tokenizer with Qwen's special tokens on `text`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_WORDS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    fast = Qwen2TokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    fast.add_special_tokens({"additional_special_tokens": SPECIAL_TOKENS})
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def _materialise(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Turn a module on the meta device into a random one for inference."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype)  # not module.to(dtype), about which diffusers warns
    module.to_empty(device=device)
    randomise(module)
    module.eval().requires_grad_(False)


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--config", "name", type=click.Choice(list(QWEN3_CONFIGS)), default="full", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Where weights are drawn.")
@click.option("--dtype", type=click.Choice(["bfloat16", "float32"]), default="bfloat16", show_default=True)
@click.option(
    "--tokenizer-text",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default="experiments/prompts/standard_prompts.yaml",
    show_default=True,
    help="Text to learn words from.",
)
def main(folder: Path, name: str, device: str, dtype: str, tokenizer_text: Path) -> None:
    """Write the checkpoint."""
    write_checkpoint(
        folder, name, torch.device(device), getattr(torch, dtype), tokenizer_text.read_text(encoding="utf-8")
    )
    print(folder)


if __name__ == "__main__":
    main()
