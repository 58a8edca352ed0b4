"""Euler sampling in batches, for the stages that judge what the transformer draws.

The schedule is the engine's: N + 1 levels from 1 to 0, shifted, N evaluations. Guidance is
`positive + scale * (positive - negative)` with the empty prompt as negative.

Shapes: B pictures, L padded caption tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen3ForCausalLM

from llm_dit.prompting.chat_template import format_prompt
from training.learning.flow_network import FlowModel, padded_length
from training.stages.language_model import CONDITIONING_LAYER, hidden_states
from training.stages.vae import decode


@dataclass(frozen=True)
class SampleSettings:
    """How pictures are drawn."""

    steps: int = 9
    shift: float = 3.0
    guidance_scale: float = 0.0
    hidden_layer: int = CONDITIONING_LAYER
    height: int = 128
    width: int = 128


DEFAULT_SETTINGS = SampleSettings()


@dataclass(frozen=True)
class Generator:
    """The whole miniature on one device.

    Attributes:
        tokenizer: Of the language model.
        language_model: Frozen.
        flow: The transformer's batched forward.
        vae: Frozen.
        device: Where all of it lives.
    """

    tokenizer: Tokenizer
    language_model: Qwen3ForCausalLM
    flow: FlowModel
    vae: AutoencoderKL
    device: torch.device

    @torch.no_grad()
    def draw(
        self, formatted_prompts: Sequence[str], seeds: Sequence[int], settings: SampleSettings = DEFAULT_SETTINGS
    ) -> Tensor:
        """Draw one picture for each formatted prompt: uint8 [B, 3, height, width] on the device.

        The noise of a picture depends on its seed alone, as in the engine.
        """
        rows = [row.ids for row in self.tokenizer.encode_batch(list(formatted_prompts))]
        shape = (16, settings.height // 8, settings.width // 8)
        of_seed = {seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in set(seeds)}
        noise = torch.stack([of_seed[seed] for seed in seeds])
        pictures = torch.empty(len(rows), 3, settings.height, settings.width, dtype=torch.uint8, device=self.device)
        lengths = np.array([padded_length(len(row)) for row in rows])
        for length in np.unique(lengths).tolist():
            for members in np.array_split(np.flatnonzero(lengths == length), -(-int((lengths == length).sum()) // 512)):
                captions, counts = self._read([rows[member] for member in members], length, settings.hidden_layer)
                latents = self._denoise(noise[members].to(self.device), captions, counts, settings)
                pictures[torch.from_numpy(members).to(self.device)] = decode(self.vae, latents)
        return pictures

    def _read(self, rows: list[list[int]], length: int, layer: int) -> tuple[Tensor, Tensor]:
        pad_id = self.language_model.config.pad_token_id
        ids = torch.tensor([row + [pad_id] * (length - len(row)) for row in rows], device=self.device)
        return hidden_states(self.language_model, ids, layer), torch.tensor([len(row) for row in rows]).to(self.device)

    def _denoise(self, latents: Tensor, captions: Tensor, counts: Tensor, settings: SampleSettings) -> Tensor:
        sigmas = torch.linspace(1.0, 0.0, settings.steps + 1, dtype=torch.float64)
        sigmas = settings.shift * sigmas / (1.0 + (settings.shift - 1.0) * sigmas)
        empty = None
        if settings.guidance_scale > 0:
            row = self.tokenizer.encode(format_prompt("")).ids
            empty = self._read([row] * len(latents), padded_length(len(row)), settings.hidden_layer)
        for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
            time = torch.full((len(latents),), 1.0 - sigma, device=self.device)
            estimate = self.flow(latents, time, captions, counts)
            if empty is not None:
                estimate = estimate + settings.guidance_scale * (estimate - self.flow(latents, time, *empty))
            latents = latents + (sigma - following) * estimate
        return latents
