"""Put the trained stages together to a generator that draws."""

from pathlib import Path

import torch
from tokenizers import Tokenizer

from training.flow_model import FlowModel, build_transformer
from training.language_model import load_language_model
from training.sampler import Generator
from training.vae import load_vae
from training.weights import load_weights, wait_for


def load_generator(tokenizer: Path, build: Path, device: torch.device) -> Generator:
    """Read the weights of language model, transformer and VAE from the build folder, waiting for what is missing."""
    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    transformer = load_weights(build_transformer(), wait_for(build / "transformer.safetensors"))
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    return Generator(
        vocabulary,
        load_language_model(vocabulary, build / "language_model.safetensors", device),
        FlowModel(transformer.eval().requires_grad_(False).to(device), kind, is_compiled=False),
        load_vae(build / "vae.safetensors", device),
        device,
    )
