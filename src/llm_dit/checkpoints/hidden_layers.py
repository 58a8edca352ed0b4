"""Which hidden states a text encoder has."""

from __future__ import annotations

from llm_dit.errors import InvalidParameter


def check_hidden_layer(hidden_layer: int, count: int) -> None:
    """Check an index from the end.

    Args:
        hidden_layer: -1 for the last state.
        count: Number of hidden states, the embeddings included.

    Raises:
        InvalidParameter: If there is no such state; the message has the range.
    """
    if not -count <= hidden_layer <= -1:
        raise InvalidParameter("hidden_layer", f"{hidden_layer} is not in this model; use -{count} to -1.")
