"""Loading SigLIP: the network with every weight in place, its tokens, and the numbers of its image processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from experiments.metrics.model_files import read_json
from llm_dit.errors import LlmDitError

Triple = tuple[float, float, float]


class ImageSize(BaseModel):
    """The size both sides are scaled to, in pixels."""

    model_config = ConfigDict(frozen=True)

    height: PositiveInt
    width: PositiveInt


class ImageFormat(BaseModel):
    """What `preprocessor_config.json` says, as far as it changes a pixel; other ways of preparing are refused."""

    model_config = ConfigDict(frozen=True)

    size: ImageSize
    image_mean: Triple
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    resample: int = Field(default=Image.Resampling.BICUBIC, ge=0, le=5)
    rescale_factor: float = Field(default=1 / 255, ge=0.003921, le=0.003922)
    do_resize: Literal[True] = True
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True

    @property
    def resampling(self) -> Image.Resampling:
        """PIL's filter."""
        return Image.Resampling(self.resample)


class _ModelKind(BaseModel):
    model_type: str


class SigLIPTokenizer:
    """Turns prompts into rows of a fixed number of tokens, without a mask: padding is read by the model.

    Args:
        tokenizer: A transformers tokenizer.
        length: Tokens per row.
    """

    def __init__(self, tokenizer: Any, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return token ids of the lower-cased prompts, padded and truncated, [B, length]."""
        rows = self._tokenizer(
            [prompt.lower() for prompt in prompts],
            padding="max_length",
            truncation=True,
            max_length=self._length,
            padding_side="right",
        )
        ids: list[list[int]] = rows["input_ids"]
        return ids

    def fits(self, prompt: str) -> bool:
        """Return whether a prompt is read to its end."""
        ids = self._tokenizer([prompt.lower()], padding=False, truncation=False, verbose=False)["input_ids"][0]
        return len(ids) <= self._length


def load_siglip(folder: Path) -> tuple[Any, SigLIPTokenizer, ImageFormat]:
    """Load a SigLIP checkpoint in float32, on the CPU, in evaluation mode.

    Raises:
        LlmDitError: If it is another kind of model, damaged, or a weight is missing, spare or of another shape.
    """
    kind = read_json(folder / "config.json", _ModelKind).model_type
    if kind != "siglip":
        raise LlmDitError(
            f"{folder} holds a {kind} model, not a siglip one of fixed size; "
            "google/siglip2-giant-opt-patch16-384 is one."
        )
    image_format = read_json(folder / "preprocessor_config.json", ImageFormat)
    network = _load_network(folder)
    text_length = network.config.text_config.max_position_embeddings
    return network, SigLIPTokenizer(_load_tokenizer(folder), text_length), image_format


def _load_network(folder: Path) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import SiglipModel

    try:
        network, report = SiglipModel.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise LlmDitError(f"The SigLIP model in {folder} can't be read: {str(error).splitlines()[0]}") from error
    # transformers fills what is missing with random numbers and goes on; a score of those would look like any other
    faults = [f"{kind.removesuffix('_keys')}: {sorted(report[kind])[:5]}" for kind in report if report[kind]]
    if faults:
        raise LlmDitError(f"The weights in {folder} do not fit a SigLIP model; {'; '.join(faults)}.")
    return network.eval().requires_grad_(False)


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise LlmDitError(f"The tokenizer in {folder} can't be read: {str(error).splitlines()[0]}") from error
