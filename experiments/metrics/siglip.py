"""SigLIP 2: how closely a picture and a prompt lie together for a model trained on image-text pairs.

Source: Tschannen et al. 2025, "SigLIP 2: Multilingual Vision-Language Encoders"; Zhai et al. 2023 (the sigmoid loss, of
which the logit column is the argument); transformers' SiglipModel.

The text tower reads exactly 64 tokens, padding included, and pools the last of them: padding to the longest prompt of a
batch, as is usual elsewhere, would change the score with the company a prompt is in.

Shape legend: B = batch, L = text tokens (64), D = embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.metrics.declaration import Band, Column, Metric, ScoreInput, Scores
from experiments.metrics.images import ImageSource, Pixels, normalise, open_image, read_ahead, squash
from experiments.metrics.model_files import find_model, model_identity
from llm_dit.errors import LlmDitError
from llm_dit.placement.devices import resolve_device

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDED = "siglip-mini"
PUBLISHED = "google/siglip2-giant-opt-patch16-384"
HUB_FILES = ("*.json", "*.safetensors", "*.model")
IMAGES_PER_BATCH = 16

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


class SigLIPScorer:
    """Scores pictures with SigLIP 2.

    Args:
        model: None or `auto` for the embedded miniature, a folder, or a hub id such as
            `google/siglip2-giant-opt-patch16-384`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        LlmDitError: If the model can't be found or does not fit.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto") -> None:
        from experiments.metrics.siglip_model import load_siglip

        folder = find_model(model, embedded=EMBEDDED, patterns=HUB_FILES)
        self._network, self._tokenizer, self._image_format = load_siglip(folder)
        self.metric = replace(METRIC, model=model_identity(model, folder, list(folder.glob("*.safetensors"))))
        self.move_to(device)

    def move_to(self, device: str) -> None:
        """Go to another device; `auto` takes the fastest."""
        self._device = resolve_device(device, "device")
        self._network.to(self._device)

    def score(self, prompt: str, image: ImageSource) -> float:
        """Return the cosine of one picture and its prompt; higher is better."""
        return self.score_batch([prompt], [image])[0]

    def score_batch(self, prompts: Sequence[str], images: Sequence[ImageSource]) -> list[float]:
        """Return the cosine of each picture and the prompt beside it.

        Args:
            prompts: As many texts as pictures.
            images: Paths or PIL pictures.

        Raises:
            LlmDitError: If the numbers differ or a picture can't be read.
        """
        if len(prompts) != len(images):
            raise LlmDitError(f"score_batch needs a prompt for each image, not {len(prompts)} for {len(images)}.")
        return [similarity.cosine for similarity in self._similarities(prompts, images)]

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return every column of the metric for every row."""
        similarities = self._similarities([row.prompt for row in rows], [row.image for row in rows])
        is_truncated = {prompt: not self._tokenizer.fits(prompt) for prompt in {row.prompt for row in rows}}
        return [
            {
                "siglip_score": similarity.cosine,
                "siglip_logit": similarity.logit,
                "siglip_truncated": is_truncated[row.prompt],
            }
            for row, similarity in zip(rows, similarities, strict=True)
        ]

    def _similarities(self, prompts: Sequence[str], images: Sequence[ImageSource]) -> list[_Similarity]:
        import torch

        similarities: list[_Similarity] = []
        with torch.inference_mode():
            for _, pixels in read_ahead(images, self._prepare, IMAGES_PER_BATCH):
                batch_prompts = prompts[len(similarities) : len(similarities) + len(pixels)]
                similarities += self._compare(batch_prompts, pixels)
        return similarities

    def _compare(self, prompts: Sequence[str], pixels: Sequence[Pixels]) -> list[_Similarity]:
        import torch
        from torch.nn.functional import normalize

        pixel_values = torch.from_numpy(np.stack(pixels)).to(self._device)
        image_embeds = normalize(self._network.vision_model(pixel_values=pixel_values).pooler_output)  # [B, D]
        cosines = (image_embeds * self._text_embeds(prompts)).sum(-1)  # [B]
        logits = cosines * self._network.logit_scale.exp() + self._network.logit_bias  # [B]
        return [_Similarity(*pair) for pair in zip(cosines.tolist(), logits.tolist(), strict=True)]

    def _text_embeds(self, prompts: Sequence[str]) -> Tensor:
        """Return the normalised embedding of each prompt, [B, D]; equal prompts are computed once."""
        import torch
        from torch.nn.functional import normalize

        distinct = list(dict.fromkeys(prompts))
        input_ids = torch.tensor(self._tokenizer.encode(distinct), device=self._device)  # [distinct, L]
        embeds = normalize(self._network.text_model(input_ids=input_ids).pooler_output)
        rows: Tensor = embeds[[distinct.index(prompt) for prompt in prompts]]
        return rows

    def _prepare(self, source: ImageSource) -> Pixels:
        facts = self._image_format
        image = squash(open_image(source).convert("RGB"), facts.size.height, facts.size.width, facts.resampling)
        return normalise(image, facts.image_mean, facts.image_std)


def compute_siglip_score(
    prompt: str, image: ImageSource, *, model: str | Path | None = None, device: str = "auto"
) -> float:
    """Return the SigLIP cosine of one picture; the scorer stays loaded for the next call."""
    return _shared_scorer(model, device).score(prompt, image)


@lru_cache(maxsize=1)
def _shared_scorer(model: str | Path | None, device: str) -> SigLIPScorer:
    return SigLIPScorer(model, device=device)
