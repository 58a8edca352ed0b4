"""What the judges on CLIP share: the cosine of a picture's and a prompt's embedding.

Shape legend: B = batch, S = image size in pixels, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from experiments.metrics.clip_tokenizer import CLIPTokenizer
from experiments.metrics.images import Pixels
from experiments.metrics.learned_scorer import Judge

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
Prepared = TypeVar("Prepared")


class CLIPJudge(Judge[Prepared, float], Generic[Prepared]):
    """Rates by cosine; subclasses load the towers and say how pictures are prepared.

    Attributes:
        tokenizer: Of the text tower.
        network: transformers' CLIPModel.
    """

    tokenizer: CLIPTokenizer

    @property
    def image_size(self) -> int:
        """Side of the square that the image tower reads, in pixels."""
        return int(self.network.config.vision_config.image_size)

    def pixels(self, prepared: Prepared) -> Pixels:
        """Return what the image tower reads, [3, S, S]."""
        assert isinstance(prepared, np.ndarray)
        return prepared

    def rate(self, texts: Sequence[Sequence[str]], pictures: Sequence[Prepared]) -> list[list[float]]:
        """Return the cosine of each picture and the one text beside it."""
        import torch
        from torch.nn.functional import normalize

        stacked = torch.from_numpy(np.stack([self.pixels(picture) for picture in pictures])).to(self.device)
        pooled = self.network.vision_model(pixel_values=stacked).pooler_output
        image_embeds = normalize(self.network.visual_projection(pooled))  # [B, D]
        cosines: list[float] = (image_embeds * self._text_embeds([text for (text,) in texts])).sum(-1).tolist()
        return [[cosine] for cosine in cosines]

    def _text_embeds(self, prompts: Sequence[str]) -> Tensor:
        """Return the normalised embedding of each prompt, [B, D]; equal prompts are computed once."""
        import torch
        from torch.nn.functional import normalize

        distinct = list(dict.fromkeys(prompts))
        input_ids = torch.from_numpy(self.tokenizer.encode(distinct)).to(self.device)
        embeds = normalize(self.network.text_projection(self.network.text_model(input_ids=input_ids).pooler_output))
        rows: Tensor = embeds[[distinct.index(prompt) for prompt in prompts]]
        return rows


def text_sizes(network: Any) -> tuple[int, int]:
    """Return the vocabulary and the number of tokens of a CLIPModel's text tower."""
    sizes = network.config.text_config
    return int(sizes.vocab_size), int(sizes.max_position_embeddings)
