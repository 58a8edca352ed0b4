"""Files that torch wrote by pickling, read as tensors and plain values only: nothing in them can run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from experiments.metrics.model_files import first_line
from llm_dit.errors import LlmDitError


def read_pickled(path: Path) -> Any:
    """Return what a file of `torch.save` holds, onto the CPU.

    Raises:
        LlmDitError: If it is damaged or holds more than tensors and plain values.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LlmDitError(f"{path} holds more than tensors and was not read, since that could run code.") from error
    except (RuntimeError, EOFError, OSError) as error:
        raise LlmDitError(f"{path} is damaged and can't be read; fetch it again ({first_line(error)}).") from error
