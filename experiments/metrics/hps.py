"""HPS v2.1: a CLIP trained on people's choices between pictures of many models.

The picture is seen whole: its longer side is scaled to the model's size and the rest filled with black. Scaling is done
on float pixels, bicubic with antialiasing, as the published code does it. The tokenizer makes texts lower case.

Source: Wu et al. 2023, "Human Preference Score v2"; github.com/tgxs002/HPSv2, `hpsv2/img_score.py` and
`hpsv2/src/open_clip/transform.py`; weights HPS_v2.1_compressed.pt of huggingface.co/xswu/HPSv2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.metrics.clip_judge import IMAGE_MEAN, IMAGE_STD, CLIPJudge, text_sizes
from experiments.metrics.clip_model import load_open_clip
from experiments.metrics.clip_tokenizer import load_clip_tokenizer
from experiments.metrics.declaration import Column, Metric, Scores
from experiments.metrics.images import ImageSource, Pixels, open_image
from experiments.metrics.learned_scorer import LearnedScorer
from experiments.metrics.pickled_tensors import read_pickled
from llm_dit.errors import LlmDitError

PUBLISHED = "xswu/HPSv2"
WEIGHTS_FILE = "HPS_v2.1_compressed.pt"
STATE = "state_dict"

METRIC = Metric(
    name="hps_score",
    title="HPS v2.1",
    unit="cosine",
    direction="higher",
    model=PUBLISHED,
    columns=(
        Column("hps_score", "Cosine of picture and prompt, about 0.2 to 0.35, trained on people's choices"),
        Column("hps_score_truncated", "The prompt has more than 77 tokens; its end is ignored"),
    ),
    source="Wu et al. 2023, arXiv:2306.09341",
)


class HPSJudge(CLIPJudge[Pixels]):
    """A CLIP in open_clip's layout."""

    def __init__(self, folder: Path) -> None:
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise LlmDitError(f"Scorer folder {folder} has no {WEIGHTS_FILE}; put it there, from {PUBLISHED}.")
        content: Any = read_pickled(path)
        if not isinstance(content, dict) or not isinstance(content.get(STATE), dict):
            raise LlmDitError(f"{path} has no {STATE}, as HPS v2.1 is published; fetch it again.")
        self.network = load_open_clip(path, content[STATE])
        self.weights = [path]
        self.tokenizer = load_clip_tokenizer(folder, *text_sizes(self.network))

    def prepare(self, source: ImageSource) -> Pixels:
        """Return the whole picture on a black square, normalised."""
        return fitted(open_image(source), self.image_size)

    def value(self, rating: float) -> float:
        """Return the cosine."""
        return rating

    def columns(self, prompt: str, ratings: dict[str, float], picture: Pixels) -> Scores:  # noqa: ARG002
        """Return the cosine, and whether the prompt was read to its end."""
        return {"hps_score": ratings[prompt], "hps_score_truncated": not self.tokenizer.fits(prompt)}


def fitted(image: Image.Image, size: int) -> Pixels:
    """Scale the longer side to `size`, fill up with black in equal parts, and normalise, [3, size, size].

    Of an odd rest the right and the lower side have the larger part.
    """
    import torch
    from torch.nn.functional import interpolate, pad

    values = np.asarray(image.convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    pixels = torch.from_numpy(np.ascontiguousarray(values))[None]
    scale = size / max(image.size)
    height, width = (round(side * scale) for side in (image.height, image.width))
    if scale != 1.0:
        pixels = interpolate(pixels, (height, width), mode="bicubic", align_corners=False, antialias=True)
    left, top = (size - width) // 2, (size - height) // 2
    whole = pad(pixels[0], (left, size - width - left, top, size - height - top)).numpy()
    mean, std = (np.asarray(numbers, np.float32)[:, None, None] for numbers in (IMAGE_MEAN, IMAGE_STD))
    normalised: Pixels = (whole - mean) / std
    return normalised


class HPSScorer(LearnedScorer):
    """Scores pictures with HPS v2.1; nothing of it comes with the code."""

    declaration = METRIC
    judge_class = HPSJudge
    embedded = None
    published = PUBLISHED
    weight_files = (WEIGHTS_FILE,)
    other_files = ("tokenizer.json",)
