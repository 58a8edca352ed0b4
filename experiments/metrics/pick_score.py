"""PickScore: which of two pictures of a prompt people would pick, by a CLIP trained on such choices.

Source: Kirstain et al. 2023, "Pick-a-Pic: An Open Dataset of User Preferences for Text-to-Image Generation";
huggingface.co/yuvalkirstain/PickScore_v1, pictures and texts prepared as by the processor of
laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from experiments.metrics.clip_judge import IMAGE_MEAN, IMAGE_STD, CLIPJudge, text_sizes
from experiments.metrics.clip_model import load_clip
from experiments.metrics.clip_tokenizer import load_clip_tokenizer
from experiments.metrics.declaration import Column, Metric, Scores
from experiments.metrics.images import ImageSource, Pixels, crop_to_square, normalise, open_image
from experiments.metrics.learned_scorer import LearnedScorer
from llm_dit.checkpoints.weight_files import choose_weight_files

PUBLISHED = "yuvalkirstain/PickScore_v1"

METRIC = Metric(
    name="pick_score",
    title="PickScore",
    unit="logit",
    direction="higher",
    model=PUBLISHED,
    columns=(
        Column("pick_score", "exp(scale) * cosine of picture and prompt, about 18 to 24: the log-odds of being picked"),
        Column("pick_score_truncated", "The prompt has more than 77 tokens; its end is ignored"),
        Column("pick_score_cropped", "The picture is not square; the metric sees its centre only"),
    ),
    source="Kirstain et al. 2023, arXiv:2305.01569",
)


class _Seen(NamedTuple):
    """A picture as the network reads it, and whether anything was cut off."""

    pixels: Pixels
    is_cropped: bool


class PickScoreJudge(CLIPJudge[_Seen]):
    """A CLIP whose scaled cosine is a picture's strength in a choice."""

    def __init__(self, folder: Path) -> None:
        self.network = load_clip(folder)
        self.weights = choose_weight_files(folder).paths
        self.tokenizer = load_clip_tokenizer(folder, *text_sizes(self.network))

    def prepare(self, source: ImageSource) -> _Seen:
        """Return the centre square, normalised."""
        image = open_image(source).convert("RGB")
        pixels = normalise(crop_to_square(image, self.image_size, odd_rest=int), IMAGE_MEAN, IMAGE_STD)
        return _Seen(pixels, is_cropped=image.width != image.height)

    def pixels(self, prepared: _Seen) -> Pixels:
        """Return the square."""
        return prepared.pixels

    def value(self, rating: float) -> float:
        """Return the cosine times the trained scale."""
        return rating * float(self.network.logit_scale.exp())

    def columns(self, prompt: str, ratings: dict[str, float], picture: _Seen) -> Scores:
        """Return the scaled cosine, and what was not read."""
        return {
            "pick_score": self.value(ratings[prompt]),
            "pick_score_truncated": not self.tokenizer.fits(prompt),
            "pick_score_cropped": picture.is_cropped,
        }


class PickScoreScorer(LearnedScorer):
    """Scores pictures with PickScore; nothing of it comes with the code."""

    declaration = METRIC
    judge_class = PickScoreJudge
    embedded = None
    published = PUBLISHED
    weight_files = ("*.safetensors", "*.safetensors.index.json")
    other_files = ("config.json", "tokenizer.json")
