"""Stage 3a: the denoiser's data, resident on one device: latents by size, hidden states by caption length.

A batch shares one picture size and one padded caption length. Pictures are rendered and encoded in parts, so that
never more than latents are kept of them.

Shapes: N samples, H and W sides of a latent, L padded caption tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen3ForCausalLM

from llm_dit.networks.transformer_config import SEQUENCE_MULTIPLE
from training.learning.flow_network import padded_length
from training.stages.dataset import Ragged
from training.stages.language_model import hidden_states
from training.stages.vae import encode

Size = tuple[int, int]
PICTURE_SIZES: dict[Size, float] = {
    (128, 128): 0.58,
    (96, 96): 0.05,
    (160, 160): 0.05,
    (192, 192): 0.05,
    (128, 192): 0.05,
    (192, 128): 0.05,
    (96, 144): 0.03,
    (144, 96): 0.03,
    (96, 192): 0.02,
    (192, 96): 0.02,
    (112, 160): 0.035,
    (160, 112): 0.035,
}
"""Height and width in pixels -> share of the samples."""
MAX_TOKENS = 512
RENDERED_PIXELS = 8192 * 128 * 128
"""Pixels that are rendered at a time; a call for few takes as long as one for many."""
ENCODED_PIXELS = 2048 * 128 * 128
"""Pixels that are encoded at a time."""


@dataclass
class Slots:
    """Values of some samples under one key, and where each sample lies among them.

    Attributes:
        tables: Key -> values of the samples with that key.
        key_of: Index of each sample's key in the order of `keys`.
        slot_of: Row of each sample in its table, on the device.
    """

    tables: dict[int, Tensor]
    key_of: NDArray[np.int64]
    slot_of: Tensor


class LatentBatches:
    """Batches of normalised latents with their captions' hidden states.

    Args:
        latents: By index of the picture size.
        captions: By padded length.
        lengths: Real tokens of each caption, on the device.
        tokens: Tokens of one batch, picture and caption together.
        seed: Order of the batches; the same on all devices, so that they work on equal shapes.
    """

    def __init__(self, latents: Slots, captions: Slots, lengths: Tensor, tokens: int, seed: int) -> None:
        self.latents, self.captions, self.lengths = latents, captions, lengths
        self.generator = np.random.default_rng(seed)
        self.device_generator = torch.Generator(lengths.device).manual_seed(seed)
        self.groups: list[tuple[int, int, int, Tensor]] = []
        weights = []
        for size, table in latents.tables.items():
            picture_tokens = padded_length(table.shape[2] * table.shape[3] // 4)
            for length in captions.tables:
                members = np.flatnonzero((latents.key_of == size) & (captions.key_of == length))
                if len(members) == 0:
                    continue
                count = max(1, tokens // (picture_tokens + length))
                self.groups.append((size, length, count, torch.from_numpy(members).to(lengths.device)))
                weights.append(len(members) / count)
        self.weights = np.array(weights) / sum(weights)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents [B, 16, H, W] float32, captions [B, L, width] and their lengths [B]."""
        size, length, count, members = self.groups[self.generator.choice(len(self.groups), p=self.weights)]
        picks = torch.randint(len(members), (count,), device=members.device, generator=self.device_generator)
        chosen = members[picks]
        pictures = self.latents.tables[size][self.latents.slot_of[chosen]].float()
        return pictures, self.captions.tables[length][self.captions.slot_of[chosen]], self.lengths[chosen]


def assign_sizes(count: int, seed: int) -> NDArray[np.int64]:
    """Draw a picture size for each sample, as an index into `PICTURE_SIZES`."""
    shares = np.array(list(PICTURE_SIZES.values()))
    return np.random.default_rng(seed).choice(len(shares), size=count, p=shares / shares.sum())


def encode_renders(
    render: Callable[[Tensor, int, int], Tensor],
    vae: AutoencoderKL,
    rows: NDArray[np.float32],
    sizes: NDArray[np.int64],
    device: torch.device,
) -> Slots:
    """Render every sample at its size and encode it at once: normalised latents, float16, by index of the size."""
    scaling, shift = vae.config.scaling_factor, vae.config.shift_factor
    tables = {}
    for size, (height, width) in enumerate(PICTURE_SIZES):
        members = np.flatnonzero(sizes == size)
        if len(members):
            parts = torch.from_numpy(rows[members]).to(device).split(RENDERED_PIXELS // (height * width))
            pictures = (
                part
                for rendered in (render(part, height, width) for part in parts)
                for part in rendered.split(ENCODED_PIXELS // (height * width))
            )
            tables[size] = torch.cat([((encode(vae, part) - shift) * scaling).half() for part in pictures])
    return Slots(tables, sizes, _slots(sizes, device))


def encode_captions(model: Qwen3ForCausalLM, prompts: Ragged, device: torch.device) -> tuple[Slots, Tensor]:
    """Hidden states of every prompt by padded length (float16), and the real lengths.

    Prompts longer than `MAX_TOKENS` are cut, as the engine's `truncate` does.
    """
    lengths = np.minimum(prompts.lengths, MAX_TOKENS)
    padded = -(-lengths // SEQUENCE_MULTIPLE) * SEQUENCE_MULTIPLE
    pad_id = model.config.pad_token_id
    tables = {}
    for length in np.unique(padded).tolist():
        members = np.flatnonzero(padded == length)
        ids = torch.from_numpy(prompts.padded(members, length, pad_id)).to(device)
        tables[length] = torch.cat([hidden_states(model, part).half() for part in ids.split(max(1, 262_144 // length))])
    return Slots(tables, padded, _slots(padded, device)), torch.from_numpy(lengths).to(device)


def _slots(keys: NDArray[np.int64], device: torch.device) -> Tensor:
    slots = np.zeros(len(keys), dtype=np.int64)
    for key in np.unique(keys):
        members = np.flatnonzero(keys == key)
        slots[members] = np.arange(len(members))
    return torch.from_numpy(slots).to(device)
