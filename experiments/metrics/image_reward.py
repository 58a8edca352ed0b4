"""ImageReward: a network's guess at how much people would like a picture for a prompt.

This module prepares prompts and pictures and collects the columns; the network is in `image_reward_model`.

Source: Xu et al. 2023, "ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation";
github.com/THUDM/ImageReward, `ImageReward/ImageReward.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.metrics.declaration import Band, Column, Metric, Scores
from experiments.metrics.images import ImageSource, Pixels, crop_to_square, normalise, open_image
from experiments.metrics.learned_scorer import Judge, LearnedScorer, check_list, shared_scorer
from experiments.metrics.prompt_chunks import split_prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EMBEDDED = "image-reward-mini"
PUBLISHED = "zai-org/ImageReward"
WEIGHT_FILES = ("model.safetensors", "ImageReward.pt")
OTHER_FILES = ("med_config.json", "config.json", "tokenizer.json", "vocab.txt")
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
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


class ImageRewardJudge(Judge[_Seen, float]):
    """The network that reads picture and text together."""

    def __init__(self, folder: Path) -> None:
        from experiments.metrics.bert_tokenizer import load_bert_tokenizer
        from experiments.metrics.image_reward_model import load_image_reward

        self.network, weights = load_image_reward(folder)
        self.weights = [weights]
        config = self.network.config
        self._image_size = config.head.vision_config.image_size
        self._tokenizer = load_bert_tokenizer(folder, config.text.vocab_size, config.head.max_length)
        self._pieces = lru_cache(maxsize=1024)(lambda prompt: split_prompt(prompt, self._tokenizer.fits))

    def texts(self, prompt: str) -> list[str]:
        """Return the prompt and its pieces."""
        return list(dict.fromkeys([prompt, *self._pieces(prompt)]))

    def prepare(self, source: ImageSource) -> _Seen:
        """Return the centre square, normalised."""
        image = open_image(source)
        pixels = normalise(crop_to_square(image, self._image_size), IMAGE_MEAN, IMAGE_STD)
        return _Seen(pixels, is_cropped=image.width != image.height)

    def rate(self, texts: Sequence[Sequence[str]], pictures: Sequence[_Seen]) -> list[list[float]]:
        """Return the reward of each picture for each of its texts."""
        pairs = [(index, text) for index, of_image in enumerate(texts) for text in of_image]
        image_embeds = self.network.encode_images(self._on_device(np.stack([seen.pixels for seen in pictures])))
        flat: list[float] = []
        for start in range(0, len(pairs), TEXTS_PER_BATCH):
            flat += self._rate_pairs(pairs[start : start + TEXTS_PER_BATCH], image_embeds)
        remaining = iter(flat)
        return [[next(remaining) for _ in of_image] for of_image in texts]

    def value(self, rating: float) -> float:
        """Return the reward, in standard deviations."""
        return rating

    def columns(self, prompt: str, ratings: dict[str, float], picture: _Seen) -> Scores:
        """Return the reward of the prompt and of its pieces, and what was not read."""
        return {
            "image_reward": ratings[prompt],
            "image_reward_chunked": float(np.mean([ratings[piece] for piece in self._pieces(prompt)])),
            "image_reward_truncated": not self._tokenizer.fits(prompt),
            "image_reward_cropped": picture.is_cropped,
        }

    def _rate_pairs(self, pairs: Sequence[tuple[int, str]], image_embeds: Tensor) -> list[float]:
        ids, mask = self._tokenizer.encode([text for _, text in pairs])
        own_images = image_embeds[self._on_device(np.array([index for index, _ in pairs]))]
        rewards: list[float] = self.network.reward(self._on_device(ids), self._on_device(mask), own_images).tolist()
        return rewards

    def _on_device(self, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> torch.Tensor:
        import torch

        return torch.from_numpy(values).to(self.device)


class ImageRewardScorer(LearnedScorer):
    """Scores pictures with ImageReward; by the weights that fit each picture, or those named."""

    declaration = METRIC
    judge_class = ImageRewardJudge
    embedded = EMBEDDED
    published = PUBLISHED
    weight_files = WEIGHT_FILES
    other_files = OTHER_FILES

    def rank(self, prompt: str, images: Sequence[ImageSource]) -> tuple[list[int], list[float]]:
        """Rank pictures of one prompt.

        Returns:
            The rank of each picture, 1 for the best, equal pictures in the order given; and the rewards.

        Raises:
            LlmDitError: If the pictures are no list, or one can't be read.
        """
        check_list("rank", "images", images)
        rewards = self.score_batch([prompt] * len(images), images)
        best_first = np.argsort(-np.asarray(rewards), kind="stable")
        ranks = np.empty(len(images), dtype=int)
        ranks[best_first] = np.arange(1, len(images) + 1)
        return ranks.tolist(), rewards


def compute_image_reward(
    prompt: str, image: ImageSource, *, model: str | Path | None = None, device: str = "auto"
) -> float:
    """Return the ImageReward of one picture; the scorer stays loaded for the next call."""
    return shared_scorer(ImageRewardScorer, model, device).score(prompt, image)
