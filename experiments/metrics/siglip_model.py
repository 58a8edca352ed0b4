"""Loading SigLIP: the network with every weight in place, its tokens, and the numbers of its image processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from experiments.metrics.model_files import first_line, read_json
from experiments.metrics.two_towers import load_towers
from llm_dit.errors import LlmDitError

Triple = tuple[float, float, float]


class ImageSize(BaseModel):
    """The size both sides are scaled to, in pixels."""

    model_config = ConfigDict(frozen=True)

    height: PositiveInt
    width: PositiveInt


class ImageFormat(BaseModel):
    """What the image processor's file says, as far as it changes a pixel; other ways of preparing are refused."""

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


class ProcessorConfig(BaseModel):
    """`processor_config.json`, where transformers 5 writes what used to be `preprocessor_config.json`."""

    model_config = ConfigDict(frozen=True)

    image_processor: ImageFormat


class ModelConfig(BaseModel):
    """What `config.json` says; sizes that it leaves out have transformers' defaults."""

    model_config = ConfigDict(frozen=True)

    model_type: str
    text_config: dict[str, Any] = {}
    vision_config: dict[str, Any] = {}


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
    config = read_json(folder / "config.json", ModelConfig)
    if config.model_type != "siglip":
        raise LlmDitError(
            f"{folder} holds a {config.model_type} model, not a siglip one of fixed size; "
            "google/siglip2-giant-opt-patch16-384 is one."
        )
    image_format = _read_image_format(folder)
    network = _load_network(folder, config)
    text_length = network.config.text_config.max_position_embeddings
    return network, SigLIPTokenizer(_load_tokenizer(folder, network.config), text_length), image_format


def _read_image_format(folder: Path) -> ImageFormat:
    if (folder / "processor_config.json").is_file() and not (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "processor_config.json", ProcessorConfig).image_processor
    return read_json(folder / "preprocessor_config.json", ImageFormat)


def _load_network(folder: Path, config: ModelConfig) -> Any:
    import torch
    from transformers import SiglipConfig, SiglipModel

    try:
        sizes = SiglipConfig(text_config=config.text_config, vision_config=config.vision_config)
        with torch.device("meta"):  # a random start would cost seconds and be thrown away
            network = SiglipModel(sizes)
    except (OSError, ValueError, TypeError) as error:
        raise LlmDitError(f"{folder}/config.json does not describe a SigLIP model: {first_line(error)}") from error
    return load_towers(network, folder)


def _load_tokenizer(folder: Path, config: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, config=config, local_files_only=True)
    except (OSError, ValueError) as error:
        raise LlmDitError(f"The tokenizer in {folder} can't be read: {first_line(error)}") from error
