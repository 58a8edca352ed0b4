"""The tokenizer of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_dit.checkpoints.finding import shortened
from llm_dit.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json` of a folder, without the cutting and filling up that it may ask for.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json; fetch it again.", field="model_path")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  the library raises nothing narrower
        raise CheckpointError(
            f"{path} is damaged ({shortened(str(error))}); fetch it again.", field="model_path"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
