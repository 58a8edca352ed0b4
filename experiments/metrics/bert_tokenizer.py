"""BERT's WordPiece tokens as ImageReward reads them: lower case, [CLS] ... [SEP], a fixed length.

Uses the `tokenizers` library directly: transformers' wrappers rebuild the tokenizer from its vocabulary, and what is
wanted here is exactly the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, BertWordPieceTokenizer, Tokenizer
from tokenizers.models import WordPiece

from experiments.metrics.model_files import fetch_from_hub
from llm_dit.errors import LlmDitError

PUBLISHED_TOKENIZER = "google-bert/bert-base-uncased"
ADDED_TOKENS = ("[DEC]", "[ENC]")
"""BLIP's begin-of-sequence and encoder tokens; ImageReward never uses them, but its vocabulary counts them."""

TokenArray = NDArray[np.int64]


class BertTokenizer:
    """Turns prompts into rows of token ids.

    Args:
        tokenizer: A tokenizer that frames a text with [CLS] and [SEP]; its truncation and padding are set here.
        max_length: Tokens per row, [CLS] and [SEP] included.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        pad_id = tokenizer.token_to_id("[PAD]")
        assert pad_id is not None, "the loader checked that [PAD] is there"
        tokenizer.enable_truncation(max_length)
        tokenizer.enable_padding(length=max_length, pad_id=pad_id, pad_token="[PAD]")  # noqa: S106 - a token of text
        self._tokenizer = tokenizer

    def encode(self, prompts: Sequence[str]) -> tuple[TokenArray, TokenArray]:
        """Return token ids and mask (1 = token, 0 = padding), both [B, max_length]."""
        encodings = self._tokenizer.encode_batch(list(prompts))
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return ids, mask

    def fits(self, text: str) -> bool:
        """Return whether a text is read to its end."""
        return not self._tokenizer.encode(text).overflowing


def load_bert_tokenizer(folder: Path, vocab_size: int, max_length: int) -> BertTokenizer:
    """Read a scorer's tokenizer and add BLIP's two tokens.

    Args:
        folder: Where `tokenizer.json` or `vocab.txt` may be; with neither, bert-base-uncased comes from the hub.
        vocab_size: Rows of the model's embedding table, the added tokens included.
        max_length: Tokens the model reads.

    Raises:
        LlmDitError: If there is no tokenizer, or it does not fit the model.
    """
    tokenizer = _read_tokenizer(folder)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ADDED_TOKENS])
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size != vocab_size:
        raise LlmDitError(f"The tokenizer of {folder} has {size} tokens, but the model's vocabulary has {vocab_size}.")
    if tokenizer.token_to_id("[PAD]") is None or tokenizer.encode("a").tokens[0] != "[CLS]":
        raise LlmDitError(f"The tokenizer of {folder} is not BERT's: it needs [PAD] and must put [CLS] first.")
    return BertTokenizer(tokenizer, max_length)


def _read_tokenizer(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if (folder / "vocab.txt").is_file():
        words = WordPiece.read_file(str(folder / "vocab.txt"))
        return Tokenizer.from_str(BertWordPieceTokenizer(words, lowercase=True).to_str())
    try:
        fetched = fetch_from_hub(PUBLISHED_TOKENIZER, ["tokenizer.json"])
    except LlmDitError as error:
        raise LlmDitError(
            f"Scorer folder {folder} has no tokenizer.json, and {PUBLISHED_TOKENIZER} can't be fetched; put its "
            "tokenizer.json or vocab.txt into the folder."
        ) from error
    return Tokenizer.from_file(str(fetched / "tokenizer.json"))
