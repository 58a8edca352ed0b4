"""Weights into transformers' networks of a text and a picture tower, CLIP and SigLIP, which were made without any.

Knows nothing of what tells one from the other: sizes, names of other layouts, tokenizers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_dit.checkpoints.weights import load_weights, open_weights


def load_towers(network: Any, folder: Path) -> Any:
    """Read a folder's weights into an empty network in float32, on the CPU; return it ready for use.

    Raises:
        LlmDitError: If they are damaged, or one is missing, spare or of another shape.
    """
    import torch

    stored = {
        name: file.lazy(name)
        for file in open_weights(folder)
        for name in file.shapes
        if not name.endswith(".position_ids")  # constant numbers that older checkpoints hold
    }
    load_weights(network, folder, stored, dtype=torch.float32, device=torch.device("cpu"))
    return ready(network)


def ready(network: Any) -> Any:
    """Return a network whose weights are in place with its positions, in evaluation mode and without gradients."""
    import torch

    for tower in (network.text_model, network.vision_model):
        count = tower.embeddings.position_ids.shape[-1]
        tower.embeddings.position_ids = torch.arange(count)[None]  # not part of the state, so still without storage
    return network.eval().requires_grad_(False)
