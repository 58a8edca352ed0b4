"""VQA score: how surely a model that sees the picture answers the prompt's questions with "Yes".

Questions come from the prompt's file; without any, the prompt itself is asked for. The answer is read off before it is
given: the probability of the token "Yes" as the first one, among all tokens.

Source: Lin et al. 2024, "Evaluating Text-to-Visual Generation with Image-to-Text Generation" (VQAScore); questions per
prompt as in Cho et al. 2024, "Davidsonian Scene Graph"; the model is Qwen3-VL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.metrics.declaration import Column, Metric, ScoreInput, Scores
from experiments.metrics.images import ImageSource, open_image
from experiments.metrics.learned_scorer import Judge, LearnedScorer
from experiments.metrics.model_files import read_json
from experiments.metrics.vqa_model import (
    ASKED,
    IMAGE_TOKEN,
    YES,
    Patches,
    PatchFormat,
    cut_into_patches,
    load_vqa_network,
    load_vqa_tokenizer,
)
from llm_dit.checkpoints.weight_files import choose_weight_files

PUBLISHED = "Qwen/Qwen3-VL-4B-Instruct"
ANSWER = "{question} Please answer yes or no."
WHOLE_PROMPT = 'Does this picture show "{prompt}"?'

METRIC = Metric(
    name="vqa_score",
    title="VQA score",
    unit="probability",
    direction="higher",
    model=PUBLISHED,
    columns=(
        Column("vqa_score", 'Probability of "Yes" as the first answer to each of the prompt\'s questions; their mean'),
        Column("vqa_score_geometric", "The geometric mean of the same: one sure No brings it down"),
        Column("vqa_score_whole", "The prompt's file has no questions; the prompt as a whole was asked for"),
    ),
    source="Lin et al. 2024, arXiv:2404.01291",
)


class VQAJudge(Judge[Patches, float]):
    """A model that sees a picture and answers."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_vqa_tokenizer(folder)
        self._form = read_json(folder / "preprocessor_config.json", PatchFormat)
        self.network = load_vqa_network(folder)
        self.weights = choose_weight_files(folder).paths
        self._yes = self._tokenizer.encode(YES).ids[0]
        self._picture_token = int(self._tokenizer.token_to_id(IMAGE_TOKEN) or 0)  # the loader checked that it is there

    def texts(self, prompt: str) -> list[str]:
        """Return the question for a prompt that has none of its own."""
        return [WHOLE_PROMPT.format(prompt=prompt)]

    def texts_of(self, row: ScoreInput) -> list[str]:
        """Return the row's questions, each once."""
        return list(dict.fromkeys(row.questions)) or self.texts(row.prompt)

    def prepare(self, source: ImageSource) -> Patches:
        """Return the whole picture in patches."""
        return cut_into_patches(open_image(source), self._form)

    def rate(self, texts: Sequence[Sequence[str]], pictures: Sequence[Patches]) -> list[list[float]]:
        """Return the probability of "Yes" for each question of each picture; one by one, so without padding."""
        return [
            [self._probability(question, picture) for question in own]
            for own, picture in zip(texts, pictures, strict=True)
        ]

    def value(self, rating: float) -> float:
        """Return the probability."""
        return rating

    def columns(self, prompt: str, ratings: dict[str, float], picture: Patches) -> Scores:  # noqa: ARG002
        """Return both means over the questions."""
        answers = list(ratings.values())
        return {
            "vqa_score": float(np.mean(answers)),
            "vqa_score_geometric": math.prod(answers) ** (1 / len(answers)),
            "vqa_score_whole": list(ratings) == self.texts(prompt),
        }

    def _probability(self, question: str, picture: Patches) -> float:
        import torch

        places = math.prod(picture.grid) // self._form.merge_size**2
        text = ASKED.format(image=IMAGE_TOKEN * places, text=ANSWER.format(question=question))
        ids = torch.tensor([self._tokenizer.encode(text, add_special_tokens=False).ids], device=self.device)  # [1, L]
        is_picture = torch.eq(ids, self._picture_token)
        logits = self.network(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=is_picture.int(),
            pixel_values=torch.from_numpy(picture.values).to(self.device, self.network.dtype),
            image_grid_thw=torch.tensor([picture.grid], device=self.device),
            logits_to_keep=1,
            use_cache=False,
        ).logits  # [1, 1, vocabulary]
        return float(logits[0, -1].float().softmax(-1)[self._yes])


class VQAScorer(LearnedScorer):
    """Scores pictures by questions; nothing of it comes with the code."""

    declaration = METRIC
    judge_class = VQAJudge
    embedded = None
    published = PUBLISHED
    weight_files = ("*.safetensors", "*.safetensors.index.json")
    other_files = ("config.json", "preprocessor_config.json", "tokenizer.json")
