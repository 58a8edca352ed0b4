"""Text accuracy: whether the words that a prompt asks for can be read in the picture.

Read by RapidOCR, whose wheel holds PP-OCRv6's small networks for Latin and Chinese writing; nothing is fetched.

Source: github.com/RapidAI/RapidOCR 3.10 (detection, direction, recognition of lines); Chen et al. 2023, "TextDiffuser",
section 5, and Wang et al. 2025, "Qwen-Image", for the same question asked of pictures by a reader of text.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.metrics.asked_words import text_similarity, words_asked_for
from experiments.metrics.declaration import Column, Metric, ScoreInput, Scores
from experiments.metrics.images import ImageSource, open_image, read_ahead
from experiments.metrics.model_files import model_identity
from llm_dit.errors import LlmDitError

PACKAGES = ("rapidocr", "onnxruntime")
EXTRA = "ocr"
BATCH = 4

METRIC = Metric(
    name="text_accuracy",
    title="Text accuracy",
    unit="share",
    direction="higher",
    model="rapidocr",
    columns=(
        Column("text_accuracy", "1 if the words asked for were read, else 1 - edit distance / length; mean over texts"),
        Column("text_accuracy_read", "What was read, line by line"),
    ),
    source="RapidOCR 3.10 with PP-OCRv6; edit distance, Levenshtein 1966",
    needs="a prompt that asks for words",
)


class TextAccuracyScorer:
    """Reads pictures whose prompt asks for words; the others have no score.

    Raises:
        LlmDitError: If the reader is not installed.
    """

    def __init__(self) -> None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise LlmDitError(
                f"{' and '.join(missing)} are not installed; uv sync --extra {EXTRA} installs the reader."
            )
        found = importlib.util.find_spec(PACKAGES[0])
        assert found is not None and found.submodule_search_locations, "a package that is installed has a folder"
        folder = Path(next(iter(found.submodule_search_locations))) / "models"
        mark = model_identity("rapidocr", folder, sorted(folder.glob("*.onnx"))).partition("@")[2]
        self.metric = replace(METRIC, model=f"rapidocr-{importlib.metadata.version('rapidocr')}@{mark}")

    def move_to(self, device: str) -> None:
        """Do nothing: the small networks read on the processor."""

    def read(self, image: ImageSource) -> tuple[str, ...]:
        """Return the lines of text in a picture, from the top down; none where there is no text.

        Raises:
            LlmDitError: If the picture can't be read.
        """
        return self._lines(_pixels(image))

    def score_rows(self, rows: Sequence[ScoreInput]) -> list[Scores]:
        """Return the columns of the rows whose prompts ask for words, and nothing for the others."""
        asked = {index: words_asked_for(row.prompt, row.words) for index, row in enumerate(rows)}
        indices = [index for index, words in asked.items() if words and rows[index].is_wanted]
        columns: list[Scores] = [{} for _ in rows]
        for batch, pictures in read_ahead(indices, lambda index: _pixels(rows[index].image), BATCH):
            for index, pixels in zip(batch, pictures, strict=True):
                lines = self._lines(pixels)
                near = [text_similarity(wanted, lines) for wanted in asked[index]]
                columns[index] = {"text_accuracy": float(np.mean(near)), "text_accuracy_read": "\n".join(lines)}
        return columns

    def _lines(self, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
        return tuple(self._reader(pixels).txts or ())

    @cached_property
    def _reader(self) -> Any:
        """Of the first picture that asks for words: importing it takes seconds."""
        import rapidocr

        return rapidocr.RapidOCR(params={"Global.log_level": "critical"})


def _pixels(image: ImageSource) -> NDArray[np.uint8]:
    """Return pixels in the order that the reader takes, blue first, [height, width, 3]."""
    return np.ascontiguousarray(np.asarray(open_image(image).convert("RGB"))[:, :, ::-1])
