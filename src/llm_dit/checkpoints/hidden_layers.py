"""Which hidden states a text encoder has."""

from __future__ import annotations

from llm_dit.errors import InvalidParameter
from llm_dit.parameters import GenerationParams
from llm_dit.parameters.hidden_layers import LAST_BEFORE_NORM, Layer


def check_hidden_layer(hidden_layer: Layer, count: int, field: str = "hidden_layer") -> None:
    """Check the name of a hidden state.

    Args:
        hidden_layer: -1 for the last state, or `last_before_norm`.
        count: Number of hidden states, the embeddings included.
        field: Parameter that names it.

    Raises:
        InvalidParameter: If there is no such state; the message has the range.
    """
    if hidden_layer != LAST_BEFORE_NORM and not -count <= hidden_layer <= -1:
        raise InvalidParameter(field, f"{hidden_layer} is not in this model; use -{count} to -1.")


def check_hidden_layers(params: GenerationParams, count: int) -> None:
    """Check every hidden state that conditions an image.

    Raises:
        InvalidParameter: If there is no such state; it names the parameter that asks for it.
    """
    field = "hidden_layer_blend" if params.hidden_layer_blend else "hidden_layer"
    for share in params.layer_shares:
        check_hidden_layer(share.layer, count, field)
