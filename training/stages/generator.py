"""Put the trained stages together to a generator that draws."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from llm_dit.prompting.chat_template import format_prompt
from training.learning.flow_network import FlowModel, build_transformer
from training.learning.weights import load_weights, wait_for
from training.stages.batched_euler import Generator, SampleSettings
from training.stages.language_model import load_language_model
from training.stages.vae import load_vae

STEPS = (2, 4, 9)
"""Numbers of steps that the scorers learn to tell apart."""


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


def draw_by_steps(generator: Generator, captions: list[str]) -> Tensor:
    """What the transformer draws for each caption in each of `STEPS`, uint8 [len(STEPS), N, 3, 128, 128]."""
    prompts = [format_prompt(caption) for caption in captions]
    return torch.stack([generator.draw(prompts, range(len(prompts)), SampleSettings(steps=steps)) for steps in STEPS])
