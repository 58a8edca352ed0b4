"""ImageReward: a network's guess at how much people would like a picture for a prompt.

This module prepares prompts and pictures and collects the columns; the network is in `image_reward_model`.

Source: Xu et al. 2023, "ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation";
github.com/THUDM/ImageReward, `ImageReward/ImageReward.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.metrics.declaration import Band, Column, Metric, ScoreInput, Scores
from experiments.metrics.images import ImageSource, Pixels, crop_to_square, normalise, open_image, read_ahead
from experiments.metrics.model_files import find_model, model_identity
from experiments.metrics.prompt_chunks import split_prompt
from llm_dit.errors import LlmDitError
from llm_dit.placement.devices import resolve_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EMBEDDED = "image-reward-mini"
PUBLISHED = "zai-org/ImageReward"
HUB_FILES = ("ImageReward.pt", "med_config.json", "config.json", "model.safetensors", "tokenizer.json", "vocab.txt")
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGES_PER_BATCH = 16
TEXTS_PER_BATCH = 32

METRIC = Metric(
    name="image_reward",
    title="ImageReward",
    unit="standard deviations",
    direction="higher",
    model=EMBEDDED,
    columns=(
        Column("image_reward", "How much people would like the picture for the prompt"),
        Column("image_reward_chunked", "The same for each sentence alone, averaged, so that no word goes unread"),
        Column("image_reward_truncated", "The prompt is longer than the metric reads; image_reward ignores its end"),
        Column("image_reward_cropped", "The picture is not square; the metric sees its centre only"),
    ),
    source="Xu et al. 2023, arXiv:2304.05977",
    bands=(Band("excellent", 0.5), Band("good", 0.0), Band("acceptable", -0.5)),
    below="poor",
)


class _Seen(NamedTuple):
    """A picture as the network reads it, and whether anything was cut off."""

    pixels: Pixels
    is_cropped: bool


class ImageRewardScorer:
    """Scores pictures with ImageReward.

    Args:
        model: None or `auto` for the embedded miniature, a folder, or a hub id such as `zai-org/ImageReward`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If the model can't be found or does not fit.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto") -> None:
        from experiments.metrics.bert_tokenizer import load_bert_tokenizer
        from experiments.metrics.image_reward_model import load_image_reward

        folder = find_model(model, embedded=EMBEDDED, patterns=HUB_FILES)
        network, weights = load_image_reward(folder)
        config = network.config
        self._network = network
        self._image_size = config.head.vision_config.image_size
        self._tokenizer = load_bert_tokenizer(folder, config.text.vocab_size, config.head.max_length)
        self.metric = replace(METRIC, model=model_identity(model, folder, [weights]))
        self.move_to(device)

    def move_to(self, device: str) -> None:
        """Go to another device; `auto` takes the fastest."""
        self._device = resolve_device(device, "device")
        self._network.to(self._device)

    def score(self, prompt: str, image: ImageSource) -> float:
        """Return the reward of one picture, in standard deviations; higher is better."""
        return self.score_batch([prompt], [image])[0]

    def score_batch(self, prompts: Sequence[str], images: Sequence[ImageSource]) -> list[float]:
        """Return the reward of each picture for the prompt beside it.

        Args:
            prompts: As many texts as pictures.
            images: Paths or PIL pictures.

        Raises:
            LlmDitError: If the numbers differ or a picture can't be read.
        """
        if len(prompts) != len(images):
            raise LlmDitError(f"score_batch needs a prompt for each image, not {len(prompts)} for {len(images)}.")
        rewards, _ = self._rewards([[prompt] for prompt in prompts], images)
        return [reward for (reward,) in rewards]

    def rank(self, prompt: str, images: Sequence[ImageSource]) -> tuple[list[int], list[float]]:
        """Rank pictures of one prompt.

        Returns:
            The rank of each picture, 1 for the best, equal pictures in the order given; and the rewards.
        """
        rewards = self.score_batch([prompt] * len(images), images)
        best_first = np.argsort(-np.asarray(rewards), kind="stable")
        ranks = np.empty(len(images), dtype=int)
        ranks[best_first] = np.arange(1, len(images) + 1)
        return ranks.tolist(), rewards

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return every column of the metric for every row."""
        pieces = {prompt: split_prompt(prompt, self._tokenizer.fits) for prompt in {row.prompt for row in rows}}
        texts = [list(dict.fromkeys([row.prompt, *pieces[row.prompt]])) for row in rows]
        rewards, are_cropped = self._rewards(texts, [row.image for row in rows])
        columns: list[Scores] = []
        for row, row_texts, row_rewards, is_cropped in zip(rows, texts, rewards, are_cropped, strict=True):
            by_text = dict(zip(row_texts, row_rewards, strict=True))
            columns.append(
                {
                    "image_reward": by_text[row.prompt],
                    "image_reward_chunked": float(np.mean([by_text[piece] for piece in pieces[row.prompt]])),
                    "image_reward_truncated": not self._tokenizer.fits(row.prompt),
                    "image_reward_cropped": is_cropped,
                }
            )
        return columns

    def _rewards(
        self, texts: Sequence[Sequence[str]], images: Sequence[ImageSource]
    ) -> tuple[list[list[float]], list[bool]]:
        """Score each picture against its own texts; return the rewards and whether each picture was cropped."""
        rewards: list[list[float]] = []
        are_cropped: list[bool] = []
        for _, seen in read_ahead(images, self._prepare, IMAGES_PER_BATCH):
            batch_texts = texts[len(rewards) : len(rewards) + len(seen)]
            rewards += self._score_prepared(batch_texts, [image.pixels for image in seen])
            are_cropped += [image.is_cropped for image in seen]
        return rewards, are_cropped

    def _prepare(self, source: ImageSource) -> _Seen:
        image = open_image(source)
        pixels = normalise(crop_to_square(image, self._image_size), IMAGE_MEAN, IMAGE_STD)
        return _Seen(pixels, is_cropped=image.width != image.height)

    def _score_prepared(self, texts: Sequence[Sequence[str]], pixels: Sequence[Pixels]) -> list[list[float]]:
        import torch

        pairs = [(index, text) for index, of_image in enumerate(texts) for text in of_image]
        with torch.inference_mode():
            image_embeds = self._network.encode_images(self._on_device(np.stack(pixels)))
            flat: list[float] = []
            for start in range(0, len(pairs), TEXTS_PER_BATCH):
                flat += self._score_pairs(pairs[start : start + TEXTS_PER_BATCH], image_embeds)
        remaining = iter(flat)
        return [[next(remaining) for _ in of_image] for of_image in texts]

    def _score_pairs(self, pairs: Sequence[tuple[int, str]], image_embeds: Tensor) -> list[float]:
        ids, mask = self._tokenizer.encode([text for _, text in pairs])
        own_images = image_embeds[self._on_device(np.array([index for index, _ in pairs]))]
        rewards: list[float] = self._network.reward(self._on_device(ids), self._on_device(mask), own_images).tolist()
        return rewards

    def _on_device(self, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> torch.Tensor:
        import torch

        return torch.from_numpy(values).to(self._device)


def compute_image_reward(
    prompt: str, image: ImageSource, *, model: str | Path | None = None, device: str = "auto"
) -> float:
    """Return the ImageReward of one picture; the scorer stays loaded for the next call."""
    return _shared_scorer(model, device).score(prompt, image)


@lru_cache(maxsize=1)
def _shared_scorer(model: str | Path | None, device: str) -> ImageRewardScorer:
    return ImageRewardScorer(model, device=device)
