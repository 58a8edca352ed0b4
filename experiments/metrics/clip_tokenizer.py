"""CLIP's byte-pair tokens: lower case, start ... end, a fixed length; uses the `tokenizers` library directly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from experiments.metrics.model_files import fetch_from_hub
from llm_dit.errors import LlmDitError

PUBLISHED_TOKENIZER = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
TOKENIZER_FILE = "tokenizer.json"
START = "<|startoftext|>"
PADDING = 0
"""As open_clip pads; texts are read up to their end, so it changes no score."""


class CLIPTokenizer:
    """Turns prompts into rows of token ids.

    Args:
        tokenizer: A tokenizer that frames a text with start and end; its truncation and padding are set here.
        length: Tokens per row, start and end included.
    """

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        tokenizer.enable_truncation(length)
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._length = length

    def encode(self, prompts: Sequence[str]) -> NDArray[np.int64]:
        """Return token ids, [B, length]; of a longer text the beginning, and its end mark."""
        rows = np.full((len(prompts), self._length), PADDING, dtype=np.int64)
        for row, encoding in zip(rows, self._tokenizer.encode_batch(list(prompts)), strict=True):
            row[: len(encoding.ids)] = encoding.ids
        return rows

    def fits(self, text: str) -> bool:
        """Return whether a text is read to its end."""
        return not self._tokenizer.encode(text).overflowing


def load_clip_tokenizer(folder: Path, vocabulary: int, length: int) -> CLIPTokenizer:
    """Read CLIP's tokenizer from a scorer's folder; where it is not there, from the hub.

    Args:
        folder: Where `tokenizer.json` may be.
        vocabulary: Rows of the model's embedding table.
        length: Tokens that the model reads.

    Raises:
        LlmDitError: If there is none, or it does not fit the model.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        try:
            path = fetch_from_hub(PUBLISHED_TOKENIZER, [TOKENIZER_FILE]) / TOKENIZER_FILE
        except LlmDitError as error:
            raise LlmDitError(
                f"Scorer folder {folder} has no {TOKENIZER_FILE}, and {PUBLISHED_TOKENIZER} can't be fetched; put its "
                f"{TOKENIZER_FILE} into the folder."
            ) from error
    tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size > vocabulary or tokenizer.encode("a").tokens[0] != START:
        raise LlmDitError(
            f"{path} is not this CLIP's tokenizer: it has {size} tokens, the model has {vocabulary}, and a text must "
            f"begin with {START}."
        )
    return CLIPTokenizer(tokenizer, length)
