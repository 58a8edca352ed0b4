"""Which hidden states of the text encoder condition an image: one layer, or a weighted mix of several.

A layer is named from the end: -1 is the state after the last layer and the final norm, `last_before_norm` the same
without the norm, -2 the state before the last layer. A mix is `LAYER:WEIGHT`, more after commas.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from llm_dit.parameters.values import number_not_switch

LAST_BEFORE_NORM: Final = "last_before_norm"
"""Output of the last layer, before the final norm; transformers' `hidden_states[-1]` has the norm applied."""
DEEPEST: Final = -1000
MAX_WEIGHT: Final = 100.0
SEPARATOR: Final = ", "
EXAMPLE: Final = "-2:0.7,-6:0.3"

Layer = int | Literal["last_before_norm"]


class LayerShare(NamedTuple):
    """One layer of a mix, and what its hidden state is multiplied by."""

    layer: Layer
    weight: float

    def text(self) -> str:
        """Return it as it is read."""
        return f"{self.layer}:{repr(self.weight).removesuffix('.0')}"


def layer_shares(blend: str) -> tuple[LayerShare, ...]:
    """Take a value of `hidden_layer_blend` apart, from the last layer to the first; it has been validated before.

    A weight of 0 adds nothing, so that layer is left out.
    """
    return tuple(share for share in map(_share, _parts(blend)) if share.weight)


def from_the_last(layer: Layer) -> float:
    """Return how far a hidden state is from the end of the network, for sorting: the final norm is the very end."""
    return 1.5 if layer == LAST_BEFORE_NORM else float(-layer)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _share(part: str) -> LayerShare:
    name, _, weight = (side.strip() for side in part.partition(":"))
    return LayerShare(LAST_BEFORE_NORM if name == LAST_BEFORE_NORM else int(name), float(weight))


def _checked_share(part: str) -> LayerShare:
    try:
        share = _share(part)
    except ValueError:
        raise PydanticCustomError(
            "text", f"has {part!r}, which is not LAYER:WEIGHT; write for example {EXAMPLE}"
        ) from None
    if share.layer != LAST_BEFORE_NORM and not DEEPEST <= share.layer <= -1:
        raise PydanticCustomError("text", f"has the layer {share.layer}; use {DEEPEST} to -1, or {LAST_BEFORE_NORM}")
    if not math.isfinite(share.weight) or abs(share.weight) > MAX_WEIGHT:
        raise PydanticCustomError(
            "text", f"has the weight {share.weight:g} in {part}; use -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        )
    return share


def _valid_blend(text: str) -> str:
    """Return the one way to write a mix: from the last layer to the first."""
    shares = sorted(map(_checked_share, _parts(text)), key=lambda share: from_the_last(share.layer))
    layers = [share.layer for share in shares]
    for layer in layers:
        if layers.count(layer) > 1:
            raise PydanticCustomError("text", f"names the layer {layer} twice; add up its weights")
    if shares and not any(share.weight for share in shares):
        raise PydanticCustomError("text", f"has no weight but 0; write for example {EXAMPLE}")
    return SEPARATOR.join(share.text() for share in shares)


def _joined(value: Any) -> Any:
    """Take a list of entries for the text that they make."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return value
    return SEPARATOR.join(item.strip() for item in value if item.strip())


def _kind_of(value: Any) -> str:
    return "word" if isinstance(value, str) and value.strip() == LAST_BEFORE_NORM else "index"


_Index = Annotated[int, BeforeValidator(number_not_switch), Field(ge=DEEPEST, le=-1)]
_Word = Annotated[Literal["last_before_norm"], BeforeValidator(lambda value: value.strip())]
HiddenLayer = Annotated[
    Annotated[_Index, Tag("index")] | Annotated[_Word, Tag("word")],
    Discriminator(_kind_of),
]
LayerBlend = Annotated[str, BeforeValidator(_joined), AfterValidator(_valid_blend)]
