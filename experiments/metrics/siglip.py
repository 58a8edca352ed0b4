"""SigLIP 2: how closely a picture and a prompt lie together for a model trained on image-text pairs.

Source: Tschannen et al. 2025, "SigLIP 2: Multilingual Vision-Language Encoders"; Zhai et al. 2023 (the sigmoid loss, of
which the logit column is the argument); transformers' SiglipModel.

The text tower reads exactly 64 tokens, padding included, and pools the last of them: padding to the longest prompt of a
batch, as is usual elsewhere, would change the score with the company a prompt is in.

Shape legend: B = batch, L = text tokens (64), D = embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.declaration import Band, Column, Metric, Scores
from experiments.metrics.images import ImageSource, Pixels, normalise, open_image, read_ahead, squash
from experiments.metrics.learned_scorer import IMAGES_PER_BATCH, Judge, LearnedScorer, shared_scorer
from llm_dit.checkpoints.weight_files import choose_weight_files

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDED = "siglip-mini"
PUBLISHED = "google/siglip2-giant-opt-patch16-384"
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
OTHER_FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
)

METRIC = Metric(
    name="siglip_score",
    title="SigLIP 2",
    unit="cosine",
    direction="higher",
    model=EMBEDDED,
    columns=(
        Column("siglip_score", "Cosine between the picture's and the prompt's embedding, -1 to 1"),
        Column("siglip_logit", "cosine * exp(scale) + bias: the log-odds that picture and prompt belong together"),
        Column("siglip_truncated", "The prompt is longer than the metric reads; its end is ignored"),
    ),
    source="Tschannen et al. 2025, arXiv:2502.14786",
    bands=(Band("excellent", 0.35), Band("good", 0.28), Band("moderate", 0.20)),
    below="weak",
)


class _Similarity(NamedTuple):
    """Both forms of one picture's agreement with its prompt."""

    cosine: float
    logit: float


class SigLIPJudge(Judge[Pixels, _Similarity]):
    """The two towers."""

    def __init__(self, folder: Path) -> None:
        from experiments.metrics.siglip_model import load_siglip

        self.network, self._tokenizer, self._image_format = load_siglip(folder)
        self.weights = choose_weight_files(folder).paths

    def prepare(self, source: ImageSource) -> Pixels:
        """Return the whole picture squashed to the model's square, normalised."""
        facts = self._image_format
        image = squash(open_image(source).convert("RGB"), facts.size.height, facts.size.width, facts.resampling)
        return normalise(image, facts.image_mean, facts.image_std)

    def rate(self, texts: Sequence[Sequence[str]], pictures: Sequence[Pixels]) -> list[list[_Similarity]]:
        """Return the similarity of each picture to the one text beside it."""
        cosines = (self.image_embeds(pictures) * self._text_embeds([text for (text,) in texts])).sum(-1)  # [B]
        logits = cosines * self.network.logit_scale.exp() + self.network.logit_bias  # [B]
        return [[_Similarity(*pair)] for pair in zip(cosines.tolist(), logits.tolist(), strict=True)]

    def image_embeds(self, pictures: Sequence[Pixels]) -> Tensor:
        """Return the normalised embedding of each picture, [B, D]."""
        import torch
        from torch.nn.functional import normalize

        pixel_values = torch.from_numpy(np.stack(pictures)).to(self.device)
        embeds: Tensor = normalize(self.network.vision_model(pixel_values=pixel_values).pooler_output)
        return embeds

    def value(self, rating: _Similarity) -> float:
        """Return the cosine."""
        return rating.cosine

    def columns(self, prompt: str, ratings: dict[str, _Similarity], picture: Pixels) -> Scores:  # noqa: ARG002
        """Return cosine and logit, and whether the prompt was read to its end."""
        return {
            "siglip_score": ratings[prompt].cosine,
            "siglip_logit": ratings[prompt].logit,
            "siglip_truncated": not self._tokenizer.fits(prompt),
        }

    def _text_embeds(self, prompts: Sequence[str]) -> Tensor:
        """Return the normalised embedding of each prompt, [B, D]; equal prompts are computed once."""
        import torch
        from torch.nn.functional import normalize

        distinct = list(dict.fromkeys(prompts))
        input_ids = torch.tensor(self._tokenizer.encode(distinct), device=self.device)  # [distinct, L]
        embeds = normalize(self.network.text_model(input_ids=input_ids).pooler_output)
        rows: Tensor = embeds[[distinct.index(prompt) for prompt in prompts]]
        return rows


class SigLIPScorer(LearnedScorer):
    """Scores pictures with SigLIP 2; by the weights that fit each picture, or those named."""

    declaration = METRIC
    judge_class = SigLIPJudge
    embedded = EMBEDDED
    published = PUBLISHED
    weight_files = WEIGHT_FILES
    other_files = OTHER_FILES

    def embed(self, images: Sequence[ImageSource]) -> NDArray[np.float64]:
        """Return the normalised embedding of each picture, [images, D].

        Raises:
            LlmDitError: If a picture can't be read, or two would be embedded by different weights.
        """
        import torch

        (judge,) = self.judges_for(images)
        batches = []
        for _, pictures in read_ahead(images, judge.prepare, IMAGES_PER_BATCH):
            with torch.inference_mode():
                batches.append(judge.image_embeds(pictures).double().cpu())
        embeds: NDArray[np.float64] = torch.cat(batches).numpy()
        return embeds


def compute_siglip_score(
    prompt: str, image: ImageSource, *, model: str | Path | None = None, device: str = "auto"
) -> float:
    """Return the SigLIP cosine of one picture; the scorer stays loaded for the next call."""
    return shared_scorer(SigLIPScorer, model, device).score(prompt, image)
