"""Qwen3-VL as a judge: its network, its tokens, and its pictures cut into patches.

Pictures are prepared here, by PIL and numpy, so that an answer does not depend on whether torchvision is installed.

Source: Qwen3-VL's `preprocessor_config.json` and chat template; transformers' Qwen2VLImageProcessor (`smart_resize`).

Shape legend: N = patches, P = patch side, M = patches merged per side, T = frames a patch holds, C = 3.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from tokenizers import Tokenizer

from experiments.metrics.images import normalise
from experiments.metrics.model_files import first_line, read_json
from llm_dit.checkpoints.weights import open_weights
from llm_dit.errors import LlmDitError

MODEL_TYPE = "qwen3_vl"
IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105 - a token of text
ASKED = "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"
"""What the published chat template makes of one picture and one text."""
YES = "Yes"
MOST_ELONGATED = 200
Triple = tuple[float, float, float]


class PixelLimits(BaseModel):
    """Least and most pixels of a picture, as they are called there."""

    model_config = ConfigDict(frozen=True)

    shortest_edge: PositiveInt
    longest_edge: PositiveInt


class PatchFormat(BaseModel):
    """What `preprocessor_config.json` says, as far as it changes a pixel."""

    model_config = ConfigDict(frozen=True)

    size: PixelLimits
    patch_size: PositiveInt
    merge_size: PositiveInt
    temporal_patch_size: PositiveInt
    image_mean: Triple
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class ModelType(BaseModel):
    """What of `config.json` is looked at before transformers reads it."""

    model_config = ConfigDict(frozen=True)

    model_type: str


class Patches(NamedTuple):
    """A picture as the network reads it: patches [N, C * T * P * P] and their grid, frames x rows x columns."""

    values: NDArray[np.float32]
    grid: tuple[int, int, int]


def load_vqa_network(folder: Path) -> Any:
    """Load Qwen3-VL in the number format it is stored in, on the CPU, in evaluation mode.

    Raises:
        LlmDitError: If it is another kind of model, damaged, or a weight is missing, spare or of another shape.
    """
    from transformers import Qwen3VLForConditionalGeneration

    found = read_json(folder / "config.json", ModelType).model_type
    if found != MODEL_TYPE:
        raise LlmDitError(f"{folder} holds a {found} model, not a {MODEL_TYPE} one; Qwen/Qwen3-VL-4B-Instruct is one.")
    open_weights(folder)  # says in a sentence what is missing or cut off
    try:
        network, told = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype="auto", local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise LlmDitError(f"{folder} can't be loaded as Qwen3-VL: {first_line(error)}") from error
    problems = [
        f"{len(told[kind])} {kind.removesuffix('_keys')} ({next(iter(sorted(map(str, told[kind]))))})"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if told[kind]
    ]
    if problems:
        raise LlmDitError(f"{folder} does not fit its config.json: {'; '.join(problems)} tensors; fetch it again.")
    return network.eval().requires_grad_(False)


def load_vqa_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json`.

    Raises:
        LlmDitError: If it is absent, or has no token for pictures or "Yes".
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise LlmDitError(f"Scorer folder {folder} has no tokenizer.json.")
    tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    if tokenizer.token_to_id(IMAGE_TOKEN) is None or len(tokenizer.encode(YES).ids) != 1:
        raise LlmDitError(f"{path} is not Qwen3-VL's tokenizer: it needs {IMAGE_TOKEN} and {YES!r} as one token.")
    return tokenizer


def cut_into_patches(image: Image.Image, form: PatchFormat) -> Patches:
    """Scale a picture to whole merged patches within the limits, normalise it, and cut it up.

    Raises:
        LlmDitError: If it is too elongated for the model.
    """
    side, merged, frames = form.patch_size, form.merge_size, form.temporal_patch_size
    height, width = fitting_size(image.height, image.width, side * merged, form.size)
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    pixels = normalise(scaled, form.image_mean, form.image_std)  # [C, height, width]
    rows, columns = height // side, width // side
    blocks = pixels.reshape(3, rows // merged, merged, side, columns // merged, merged, side)
    blocks = blocks.transpose(1, 4, 2, 5, 0, 3, 6)  # [rows / M, columns / M, M, M, C, P, P]
    stacked = np.repeat(blocks[:, :, :, :, :, None], frames, axis=5)  # one picture stands for T frames
    return Patches(stacked.reshape(rows * columns, -1), (1, rows, columns))


def fitting_size(height: int, width: int, step: int, limits: PixelLimits) -> tuple[int, int]:
    """Return the size nearest to a picture's in steps, with its shape, within the limits of pixels.

    Raises:
        LlmDitError: If one side is more than 200 times the other.
    """
    if max(height, width) > MOST_ELONGATED * min(height, width):
        raise LlmDitError(f"A picture of {width} x {height} is too elongated for Qwen3-VL, which takes up to 200:1.")
    tall, wide = round(height / step) * step, round(width / step) * step
    if tall * wide > limits.longest_edge:
        shrink = math.sqrt(height * width / limits.longest_edge)
        return max(step, math.floor(height / shrink / step) * step), max(step, math.floor(width / shrink / step) * step)
    if tall * wide < limits.shortest_edge:
        grow = math.sqrt(limits.shortest_edge / (height * width))
        return math.ceil(height * grow / step) * step, math.ceil(width * grow / step) * step
    return tall, wide
